//! Judges: what a search asks of states and transitions, and what faults cost.

use stateright::Model;

/// The most questions, and the most kinds of actions.
pub const PROPERTIES_MAX: usize = 64;

/// What a judge says of a state: a bit for each question. Neither is nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// It holds there, and could have failed.
    pub witness: u64,
    /// It fails there.
    pub violation: u64,
}

/// Who asks the questions.
pub trait Observer<M: Model>: Sync {
    /// How many questions: at most [`PROPERTIES_MAX`].
    fn property_count(&self) -> usize;

    /// About a state, once.
    fn state(&self, state: &M::State) -> Labels;

    /// About a transition: which questions it answers badly. What is found is the state that it
    /// leaves, and the first of these is one that is reached by the fewest faults, and then steps;
    /// whether the transition is a fault does not count.
    fn edge(&self, _from: &M::State, _to: &M::State) -> u64 {
        0
    }

    /// How many faults an action is.
    fn faults(&self, _action: &M::Action) -> u16 {
        0
    }

    /// Of which kind an action is, for counting: below [`PROPERTIES_MAX`].
    fn kind(&self, _action: &M::Action) -> usize {
        0
    }
}

/// So many questions about states, answered by a function.
impl<M: Model, F: Fn(&M::State) -> Labels + Sync> Observer<M> for (usize, F) {
    fn property_count(&self) -> usize {
        self.0
    }

    fn state(&self, state: &M::State) -> Labels {
        (self.1)(state)
    }
}
