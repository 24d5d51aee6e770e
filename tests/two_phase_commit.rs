//! Two-phase commit (Gray and Lamport, "Consensus on transaction commit"), as stateright's examples, TLA+'s and
//! SPIN's users have it: the same states and transitions in every tool.
//!
//! A state is one word. From its low end: two bits for each resource manager, a bit for each of whose vote the transaction
//! manager knows, a bit for each vote that was sent, two bits for the transaction manager, and whether it has sent a commit,
//! an abort.

use handoff_specs::reduced::Reducible;
use stateright::{Model, Property};

/// So many resource managers: at most 8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoPhaseCommit {
    pub(crate) managers: u32,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Commit,
    Abort,
    NoteVote(u32),
    Vote(u32),
    Refuse(u32),
    TakeCommit(u32),
    TakeAbort(u32),
}

const WORKING: u64 = 0;
const PREPARED: u64 = 1;
const COMMITTED: u64 = 2;
const ABORTED: u64 = 3;

const KNOWN: u32 = 16;
const SENT: u32 = 24;
const DECISION: u32 = 32;
const COMMIT_SENT: u64 = 1 << 34;
const ABORT_SENT: u64 = 1 << 35;

fn manager(state: u64, at: u32) -> u64 {
    state >> (2 * at) & 3
}

fn become_(state: u64, at: u32, what: u64) -> u64 {
    state & !(3 << (2 * at)) | what << (2 * at)
}

impl TwoPhaseCommit {
    fn all(self) -> u64 {
        (1 << self.managers) - 1
    }

    /// Nobody has aborted while somebody has committed.
    pub(crate) fn is_consistent(self, state: u64) -> bool {
        let is = |what| (0..self.managers).any(|at| manager(state, at) == what);
        !(is(COMMITTED) && is(ABORTED))
    }
}

impl Model for TwoPhaseCommit {
    type State = u64;
    type Action = Action;

    fn init_states(&self) -> Vec<u64> {
        vec![0]
    }

    fn actions(&self, state: &u64, actions: &mut Vec<Action>) {
        let (state, all) = (*state, self.all());
        let is_open = state >> DECISION & 3 == WORKING;
        if is_open && state >> KNOWN & all == all {
            actions.push(Action::Commit);
        }
        if is_open {
            actions.push(Action::Abort);
        }
        for at in 0..self.managers {
            if is_open && state >> (SENT + at) & 1 == 1 {
                actions.push(Action::NoteVote(at));
            }
            if manager(state, at) == WORKING {
                actions.extend([Action::Vote(at), Action::Refuse(at)]);
            }
            if state & COMMIT_SENT != 0 {
                actions.push(Action::TakeCommit(at));
            }
            if state & ABORT_SENT != 0 {
                actions.push(Action::TakeAbort(at));
            }
        }
    }

    fn next_state(&self, state: &u64, action: Action) -> Option<u64> {
        let state = *state;
        Some(match action {
            Action::Commit => state | COMMITTED << DECISION | COMMIT_SENT,
            Action::Abort => state | ABORTED << DECISION | ABORT_SENT,
            Action::NoteVote(at) => state | 1 << (KNOWN + at),
            Action::Vote(at) => become_(state, at, PREPARED) | 1 << (SENT + at),
            Action::Refuse(at) | Action::TakeAbort(at) => become_(state, at, ABORTED),
            Action::TakeCommit(at) => become_(state, at, COMMITTED),
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("consistent", |model, state| model.is_consistent(*state))]
    }
}

impl Reducible for TwoPhaseCommit {
    /// Resource managers are alike: those of the state that stands for all are sorted.
    fn representative(&self, state: u64) -> u64 {
        let mut all: Vec<_> = (0..self.managers)
            .map(|at| (manager(state, at), state >> (KNOWN + at) & 1, state >> (SENT + at) & 1))
            .collect();
        all.sort_unstable();
        (0..).zip(all).fold(state >> DECISION << DECISION, |state, (at, (is, known, sent))| {
            become_(state, at, is) | known << (KNOWN + at) | sent << (SENT + at)
        })
    }

    fn may_come_first(&self, _: &u64, _: &[Action], _: usize) -> bool {
        false
    }
}
