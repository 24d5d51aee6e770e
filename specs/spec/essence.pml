/* The essence of a handoff: specs/spec/, row by row, for SPIN. Read that first.
 *
 * One process, whose only place is the head of its loop, and each row one d_step: so SPIN stores the states that
 * essence.rs has, and no others. -DEXEC is the handoff by exec; each other name that is asked for below breaks one row.
 */

/* Life, guest, owner, word: as the enums of essence.rs. */
#define HERE	0
#define GIVES_UP	1
#define GONE	2
#define KILLED	3

#define ABSENT	0
#define STOPPED	1
#define RUNS	2

#define OLD	0
#define NEW	1
#define NOBODY	2

#define OPEN	0
#define GIVEN	1
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
byte word = OPEN;

#define OLD_IS_HERE	(old_life == HERE || old_life == GIVES_UP)
#define NEW_IS_HERE	(new_life == HERE)

/* When each row may happen. */

#define MAY_GIVE_UP	(old_life == HERE && word != COMMITTED)
#define MAY_STOP	(old_life == HERE && old_guest == RUNS)
#define MAY_TAKE_BACK	(old_life == GIVES_UP && old_guest == STOPPED && owner != OLD && !NEW_IS_HERE)

#if defined(STAYS_STOPPED)
#define MAY_RESUME	(false)
#elif defined(RESUMED_UNREVOKED)
#define MAY_RESUME	(OLD_IS_HERE && old_guest == STOPPED && owner == OLD)
#elif defined(RESUMED_TOO_EARLY)
#define MAY_RESUME	(old_life == GIVES_UP && old_guest == STOPPED && owner == OLD)
#elif defined(RESUMED_UNOWNED)
#define MAY_RESUME	(old_life == GIVES_UP && old_guest == STOPPED && (word == OPEN || !NEW_IS_HERE))
#else
#define MAY_RESUME	(old_life == GIVES_UP && old_guest == STOPPED && owner == OLD && (word == OPEN || !NEW_IS_HERE))
#endif

#define MAY_RUN	(NEW_IS_HERE && word == COMMITTED && new_guest == STOPPED)

#ifdef EXEC

#define MAY_BECOME_NEW	(old_life == HERE && old_guest == STOPPED)
#define MAY_LOAD_NEW	(NEW_IS_HERE && word == OPEN && new_guest == ABSENT)
#define MAY_TAKE	(NEW_IS_HERE && word == OPEN && new_guest == STOPPED)
#define MAY_BECOME_OLD	(NEW_IS_HERE && word == OPEN)
#define MAY_LOAD_OLD	(old_life == GIVES_UP && old_guest == ABSENT)
#define OTHERS	(MAY_BECOME_NEW || MAY_LOAD_NEW || MAY_TAKE || MAY_BECOME_OLD || MAY_LOAD_OLD)

#else

#define MAY_HAND	(old_life == HERE && old_guest != ABSENT && NEW_IS_HERE && !new_holds)
#define MAY_GIVE_WORD	(old_life == HERE && old_guest == STOPPED && new_holds && word == OPEN)
#define MAY_TAKE_SOME	(NEW_IS_HERE && word == GIVEN && owner == OLD)
#define MAY_TAKE	(NEW_IS_HERE && word == GIVEN && owner != NEW)
#ifdef COMMITTED_UNOWNED
#define MAY_COMMIT	(NEW_IS_HERE && word == GIVEN && old_life != GIVES_UP && new_guest == STOPPED)
#else
#define MAY_COMMIT	(NEW_IS_HERE && word == GIVEN && old_life != GIVES_UP && new_guest == STOPPED && owner == NEW)
#endif
#ifdef LINGERS
#define MAY_LEAVE_NEW	(false)
#else
#define MAY_LEAVE_NEW	(NEW_IS_HERE && word != COMMITTED)
#endif
#define MAY_LET_GO	(old_holds && word == COMMITTED)
#ifdef ENDS_TOO_EARLY
#define MAY_LEAVE_OLD	(OLD_IS_HERE)
#else
#define MAY_LEAVE_OLD	(OLD_IS_HERE && word == COMMITTED)
#endif
#define OTHERS	(MAY_HAND || MAY_GIVE_WORD || MAY_TAKE_SOME || MAY_TAKE || MAY_COMMIT || MAY_LEAVE_NEW || MAY_LET_GO || MAY_LEAVE_OLD)

#endif

#define AT_REST	(!(MAY_GIVE_UP || MAY_STOP || MAY_TAKE_BACK || MAY_RESUME || MAY_RUN || OTHERS))

/* What each row does. */

#define row(may, does)	:: d_step { may -> does }

#define OLD_DIES(how) \
	old_life = how; old_guest = ABSENT; old_holds = 0; \
	owner = (owner == OLD -> NOBODY : owner); works = works && new_holds
#define NEW_DIES(how) \
	new_life = how; new_guest = ABSENT; new_holds = 0; \
	owner = (owner == NEW -> NOBODY : owner); works = works && old_holds

active proctype handoff()
{
end:
	do
	row(MAY_GIVE_UP, old_life = GIVES_UP)
	row(MAY_STOP, old_guest = STOPPED)
#ifdef EXEC
	row(MAY_BECOME_NEW, new_life = HERE; new_holds = 1; OLD_DIES(GONE))
	row(MAY_LOAD_NEW, new_guest = STOPPED)
	row(MAY_TAKE, owner = NEW; word = COMMITTED)
	row(MAY_RUN, new_guest = RUNS)
	row(MAY_BECOME_OLD, old_life = GIVES_UP; old_holds = 1; NEW_DIES(GONE))
	row(MAY_LOAD_OLD, old_guest = STOPPED)
#else
	row(MAY_HAND, new_holds = 1)
	row(MAY_GIVE_WORD, word = GIVEN; new_guest = STOPPED)
	row(MAY_TAKE_SOME, owner = NOBODY)
	row(MAY_TAKE, owner = NEW)
	row(MAY_COMMIT, word = COMMITTED; old_guest = (old_guest == STOPPED -> ABSENT : old_guest))
	row(MAY_RUN, new_guest = RUNS)
	row(MAY_LEAVE_NEW, NEW_DIES(GONE))
	row(MAY_LET_GO, old_holds = 0; works = works && new_holds)
	row(MAY_LEAVE_OLD, OLD_DIES(GONE))
#endif
	row(MAY_TAKE_BACK, owner = OLD)
	row(MAY_RESUME, old_guest = RUNS)
	row(OLD_IS_HERE, OLD_DIES(KILLED))
	row(NEW_IS_HERE, NEW_DIES(KILLED))
	od
}

/* What must hold: the invariants of essence.rs, and that every run comes to rest. */

#define NEW_KEEPS	(word == COMMITTED || old_life == GONE)

ltl one_guest { [] !(old_guest == RUNS && new_guest == RUNS) }
ltl owned { [] ((old_guest != RUNS || owner == OLD) && (new_guest != RUNS || owner == NEW)) }
ltl dma { [] (works || (NEW_KEEPS && !NEW_IS_HERE) || (!NEW_KEEPS && !OLD_IS_HERE)) }
ltl runs {
	[] (!AT_REST || (NEW_KEEPS && (new_guest == RUNS || new_life == KILLED))
		|| (!NEW_KEEPS && (old_guest == RUNS || old_life == KILLED)))
}
ltl fenced { [] (!AT_REST || !(OLD_IS_HERE && NEW_IS_HERE)) }
ltl ends { <> [] AT_REST }
