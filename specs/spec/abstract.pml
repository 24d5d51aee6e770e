/* The abstract spec of a handoff for SPIN: the actions of specs/spec/mod.rs, which explains them, one by one.
 *
 * There is one process, whose only control state is the head of its loop, and each action is one d_step: so SPIN
 * stores exactly the states of specs/spec/. -DEXEC selects exec mode; each other macro that is tested below plants a
 * flaw in one action.
 */

/* Life, guest, owner, decision: the enums of specs/spec/mod.rs. */
#define HERE	0
#define GIVES_UP	1
#define GONE	2
#define KILLED	3

#define ABSENT	0
#define STOPPED	1
#define RUNS	2

#define OLD	0
#define NEW	1
#define NONE	2

#define UNDECIDED	0
#define ALLOWED	1
#define COMMITTED	2

byte old_life = HERE, old_guest = RUNS;
bit old_holds = 1;
#ifdef EXEC
byte new_life = GONE, new_guest = ABSENT;
#else
byte new_life = HERE, new_guest = ABSENT;
#endif
bit new_holds = 0;
byte owner = OLD;
bit works = 1;
byte decision = UNDECIDED;

#define OLD_IS_HERE	(old_life == HERE || old_life == GIVES_UP)
#define NEW_IS_HERE	(new_life == HERE)

/* The precondition of each action. */

#define MAY_ROLL_BACK	(old_life == HERE && decision != COMMITTED)
#define MAY_STOP	(old_life == HERE && old_guest == RUNS)
#define MAY_RECLAIM	(old_life == GIVES_UP && old_guest == STOPPED && owner != OLD && !NEW_IS_HERE)

#if defined(STAYS_STOPPED)
#define MAY_RESUME	(false)
#elif defined(RESUMED_UNREVOKED)
#define MAY_RESUME	(OLD_IS_HERE && old_guest == STOPPED && owner == OLD)
#elif defined(RESUMED_TOO_EARLY)
#define MAY_RESUME	(old_life == GIVES_UP && old_guest == STOPPED && owner == OLD)
#elif defined(RESUMED_UNOWNED)
#define MAY_RESUME	(old_life == GIVES_UP && old_guest == STOPPED && (decision == UNDECIDED || !NEW_IS_HERE))
#else
#define MAY_RESUME \
	(old_life == GIVES_UP && old_guest == STOPPED && owner == OLD && (decision == UNDECIDED || !NEW_IS_HERE))
#endif

#define MAY_RUN	(NEW_IS_HERE && decision == COMMITTED && new_guest == STOPPED)

#ifdef EXEC

#define MAY_BECOME_NEW	(old_life == HERE && old_guest == STOPPED)
#define MAY_LOAD_NEW	(NEW_IS_HERE && decision == UNDECIDED && new_guest == ABSENT)
#define MAY_TAKE	(NEW_IS_HERE && decision == UNDECIDED && new_guest == STOPPED)
#define MAY_BECOME_OLD	(NEW_IS_HERE && decision == UNDECIDED)
#define MAY_LOAD_OLD	(old_life == GIVES_UP && old_guest == ABSENT)
#define OTHERS	(MAY_BECOME_NEW || MAY_LOAD_NEW || MAY_TAKE || MAY_BECOME_OLD || MAY_LOAD_OLD)

#else

#define MAY_PASS	(old_life == HERE && old_guest != ABSENT && NEW_IS_HERE && !new_holds)
#define MAY_ALLOW	(old_life == HERE && old_guest == STOPPED && new_holds && decision == UNDECIDED)
#define MAY_TAKE_SOME	(NEW_IS_HERE && decision == ALLOWED && owner == OLD)
#define MAY_TAKE	(NEW_IS_HERE && decision == ALLOWED && owner != NEW)
#ifdef COMMITTED_UNOWNED
#define MAY_COMMIT	(NEW_IS_HERE && decision == ALLOWED && old_life != GIVES_UP && new_guest == STOPPED)
#else
#define MAY_COMMIT	(NEW_IS_HERE && decision == ALLOWED && old_life != GIVES_UP && new_guest == STOPPED && owner == NEW)
#endif
#ifdef LINGERS
#define MAY_EXIT_NEW	(false)
#else
#define MAY_EXIT_NEW	(NEW_IS_HERE && decision != COMMITTED)
#endif
#define MAY_CLOSE	(old_holds && decision == COMMITTED)
#ifdef ENDS_TOO_EARLY
#define MAY_EXIT_OLD	(OLD_IS_HERE)
#else
#define MAY_EXIT_OLD	(OLD_IS_HERE && decision == COMMITTED)
#endif
#define OTHERS \
	(MAY_PASS || MAY_ALLOW || MAY_TAKE_SOME || MAY_TAKE || MAY_COMMIT || MAY_EXIT_NEW || MAY_CLOSE || MAY_EXIT_OLD)

#endif

#define AT_REST	(!(MAY_ROLL_BACK || MAY_STOP || MAY_RECLAIM || MAY_RESUME || MAY_RUN || OTHERS))

/* The effect of each action. */

#define action(may, does)	:: d_step { may -> does }

#define OLD_DIES(how) \
	old_life = how; old_guest = ABSENT; old_holds = 0; \
	owner = (owner == OLD -> NONE : owner); works = works && new_holds
#define NEW_DIES(how) \
	new_life = how; new_guest = ABSENT; new_holds = 0; \
	owner = (owner == NEW -> NONE : owner); works = works && old_holds

active proctype handoff()
{
end:
	do
	action(MAY_ROLL_BACK, old_life = GIVES_UP)
	action(MAY_STOP, old_guest = STOPPED)
#ifdef EXEC
	action(MAY_BECOME_NEW, new_life = HERE; new_holds = 1; OLD_DIES(GONE))
	action(MAY_LOAD_NEW, new_guest = STOPPED)
	action(MAY_TAKE, owner = NEW; decision = COMMITTED)
	action(MAY_RUN, new_guest = RUNS)
	action(MAY_BECOME_OLD, old_life = GIVES_UP; old_holds = 1; NEW_DIES(GONE))
	action(MAY_LOAD_OLD, old_guest = STOPPED)
#else
	action(MAY_PASS, new_holds = 1)
	action(MAY_ALLOW, decision = ALLOWED; new_guest = STOPPED)
	action(MAY_TAKE_SOME, owner = NONE)
	action(MAY_TAKE, owner = NEW)
	action(MAY_COMMIT, decision = COMMITTED; old_guest = (old_guest == STOPPED -> ABSENT : old_guest))
	action(MAY_RUN, new_guest = RUNS)
	action(MAY_EXIT_NEW, NEW_DIES(GONE))
	action(MAY_CLOSE, old_holds = 0; works = works && new_holds)
	action(MAY_EXIT_OLD, OLD_DIES(GONE))
#endif
	action(MAY_RECLAIM, owner = OLD)
	action(MAY_RESUME, old_guest = RUNS)
	action(OLD_IS_HERE, OLD_DIES(KILLED))
	action(NEW_IS_HERE, NEW_DIES(KILLED))
	od
}

/* The invariants of specs/spec/mod.rs, and termination. */

#define NEW_OWNS_GUEST	(decision == COMMITTED || old_life == GONE)

ltl one_guest { [] !(old_guest == RUNS && new_guest == RUNS) }
ltl owned { [] ((old_guest != RUNS || owner == OLD) && (new_guest != RUNS || owner == NEW)) }
ltl dma { [] (works || (NEW_OWNS_GUEST && !NEW_IS_HERE) || (!NEW_OWNS_GUEST && !OLD_IS_HERE)) }
ltl runs {
	[] (!AT_REST || (NEW_OWNS_GUEST && (new_guest == RUNS || new_life == KILLED))
		|| (!NEW_OWNS_GUEST && (old_guest == RUNS || old_life == KILLED)))
}
ltl fenced { [] (!AT_REST || !(OLD_IS_HERE && NEW_IS_HERE)) }
ltl ends { <> [] AT_REST }
