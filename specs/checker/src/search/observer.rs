//! Observers: the properties that a search evaluates on states and transitions, and the cost of
//! faults.

use stateright::Model;

/// The most properties of an observer, and the most kinds of actions.
pub const PROPERTIES_MAX: usize = 64;

/// An observer's verdicts on a state, one bit per property. Neither bit set means vacuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The property holds there, and could have failed.
    pub witness: u64,
    /// The property fails there.
    pub violation: u64,
}

/// Evaluates properties on each state and each transition.
pub trait Observer<M: Model>: Sync {
    /// Returns the number of properties: at most [`PROPERTIES_MAX`].
    fn property_count(&self) -> usize;

    /// Evaluates the properties on a state. Called once for each state.
    fn state(&self, state: &M::State) -> Labels;

    /// Returns the action properties that a transition violates, as bits. The search reports the
    /// state before the transition: the first such state is one that is reached by the fewest
    /// faults, and then steps. A fault of the transition itself does not count.
    fn edge(&self, _from: &M::State, _to: &M::State) -> u64 {
        0
    }

    /// Returns how many faults an action is.
    fn faults(&self, _action: &M::Action) -> u16 {
        0
    }

    /// Returns the kind of an action, for statistics: below [`PROPERTIES_MAX`].
    fn kind(&self, _action: &M::Action) -> usize {
        0
    }
}

/// So many invariants, evaluated by a function.
impl<M: Model, F: Fn(&M::State) -> Labels + Sync> Observer<M> for (usize, F) {
    fn property_count(&self) -> usize {
        self.0
    }

    fn state(&self, state: &M::State) -> Labels {
        (self.1)(state)
    }
}
