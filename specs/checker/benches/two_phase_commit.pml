/* Two-phase commit with N resource managers (Gray and Lamport): the states and transitions of
 * tests/two_phase_commit.rs. Every option is one step. */
#ifndef N
#define N 8
#endif
#define ALL ((1 << N) - 1)

#define WORKING   0
#define PREPARED  1
#define COMMITTED 2
#define ABORTED   3

byte rm[N];		/* each resource manager */
byte tm;		/* the transaction manager */
byte known;		/* whose vote it knows */
byte sent;		/* who has voted */
bit commit_sent, abort_sent;

#define CONSISTENT assert(!(has(COMMITTED) && has(ABORTED)))
#define is(what, i) (rm[i] == what)
#if N == 7
#define has(what) (is(what,0) || is(what,1) || is(what,2) || is(what,3) || is(what,4) || is(what,5) || is(what,6))
#else
#define has(what) (is(what,0) || is(what,1) || is(what,2) || is(what,3) || is(what,4) || is(what,5) || is(what,6) || is(what,7))
#endif

#define MANAGER(i) \
	:: d_step { tm == WORKING && (sent & (1 << i)) -> known = known | (1 << i) } \
	:: d_step { rm[i] == WORKING -> rm[i] = PREPARED; sent = sent | (1 << i) } \
	:: d_step { rm[i] == WORKING -> rm[i] = ABORTED; CONSISTENT } \
	:: d_step { commit_sent -> rm[i] = COMMITTED; CONSISTENT } \
	:: d_step { abort_sent -> rm[i] = ABORTED; CONSISTENT }

active proctype all()
{
	do
	:: d_step { tm == WORKING && known == ALL -> tm = COMMITTED; commit_sent = 1 }
	:: d_step { tm == WORKING -> tm = ABORTED; abort_sent = 1 }
	MANAGER(0)
	MANAGER(1)
	MANAGER(2)
	MANAGER(3)
	MANAGER(4)
	MANAGER(5)
	MANAGER(6)
#if N > 7
	MANAGER(7)
#endif
	od
}
