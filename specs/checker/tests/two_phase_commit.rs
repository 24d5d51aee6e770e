//! Two-phase commit (Gray and Lamport, "Consensus on transaction commit"), as in the examples of
//! stateright, TLA+ and SPIN: the same states and transitions in every tool.
//!
//! A state is one word, mostly of sets of resource managers, eight bits each. From its low end: the
//! low and the high bit of each resource manager's status, the votes that the transaction manager
//! knows, the votes that were sent; then two bits for the transaction manager's decision, and one
//! bit each for a commit and an abort that it has sent.

use handoff_checker::reduction::Reducible;
use stateright::{Model, Property};

/// Two-phase commit with so many resource managers: at most 8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoPhaseCommit {
    pub(crate) managers: u32,
}

/// The steps of the protocol.
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

const HIGH: u32 = 8;
const KNOWN: u32 = 16;
const SENT: u32 = 24;
const DECISION: u32 = 32;

const PREPARED: u64 = 1;
const COMMITTED: u64 = 1 << HIGH;
const ABORTED: u64 = PREPARED | COMMITTED;

const DECIDED_COMMIT: u64 = 1 << DECISION;
const DECIDED_ABORT: u64 = 2 << DECISION;
const COMMIT_SENT: u64 = 4 << DECISION;
const ABORT_SENT: u64 = 8 << DECISION;

fn become_(state: u64, at: u32, what: u64) -> u64 {
    state & !(ABORTED << at) | what << at
}

/// Iterates over one action for each member of a set of resource managers.
fn each(mut set: u64, action: fn(u32) -> Action) -> impl Iterator<Item = Action> {
    std::iter::from_fn(move || {
        let at = (set != 0).then(|| set.trailing_zeros())?;
        set &= set - 1;
        Some(action(at))
    })
}

impl TwoPhaseCommit {
    fn all(self) -> u64 {
        (1 << self.managers) - 1
    }

    /// Returns true unless one manager has aborted and another has committed.
    pub(crate) fn is_consistent(self, state: u64) -> bool {
        let (low, high) = (state & self.all(), state >> HIGH & self.all());
        high & low == 0 || high & !low == 0
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
        if state & (DECIDED_COMMIT | DECIDED_ABORT) == 0 {
            if state >> KNOWN & all == all {
                actions.push(Action::Commit);
            }
            actions.push(Action::Abort);
            actions.extend(each(state >> SENT & all, Action::NoteVote));
        }
        let working = !(state | state >> HIGH) & all;
        actions.extend(each(working, Action::Vote));
        actions.extend(each(working, Action::Refuse));
        if state & COMMIT_SENT != 0 {
            actions.extend(each(all, Action::TakeCommit));
        }
        if state & ABORT_SENT != 0 {
            actions.extend(each(all, Action::TakeAbort));
        }
    }

    fn next_state(&self, state: &u64, action: Action) -> Option<u64> {
        let state = *state;
        Some(match action {
            Action::Commit => state | DECIDED_COMMIT | COMMIT_SENT,
            Action::Abort => state | DECIDED_ABORT | ABORT_SENT,
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
    /// Sorts the resource managers, which are interchangeable.
    fn representative(&self, state: u64) -> u64 {
        let mut all: Vec<_> = (0..self.managers)
            .map(|at| (state >> at & ABORTED, state >> (KNOWN + at) & 1, state >> (SENT + at) & 1))
            .collect();
        all.sort_unstable();
        (0..).zip(all).fold(state >> DECISION << DECISION, |state, (at, (is, known, sent))| {
            become_(state, at, is) | known << (KNOWN + at) | sent << (SENT + at)
        })
    }

    fn is_ample(&self, _: &u64, _: &[Action], _: usize) -> bool {
        false
    }
}
