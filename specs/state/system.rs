//! The handoff as a [`stateright::Model`], for any engine.
//!
//! Verdicts come from our own search; stateright's checkers explore the same trait in tests.
//! `next_state` never returns `None`: an ignored action would shift the indices of stateright's
//! paths.

use crate::scenario::Scenario;
use crate::state::State;
use crate::state::action::Action;
use crate::state::constants::Constants;
use crate::state::setup::set_up;
use handoff_model::vm::launch::LaunchError;
use stateright::{Model, Property};

/// A scenario that has been set up.
#[derive(Clone, Debug)]
pub struct System {
    constants: Constants,
    init: State,
}

impl System {
    /// Sets a scenario up on its simulated kernel.
    pub fn new(scenario: &Scenario) -> Result<Self, LaunchError> {
        let (constants, init) = set_up(scenario)?;
        Ok(Self { constants, init })
    }

    /// Returns the values that all states share.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Lets a test corrupt the constants.
    #[cfg(test)]
    pub(crate) fn constants_mut(&mut self) -> &mut Constants {
        &mut self.constants
    }

    /// Returns the initial state.
    pub fn init(&self) -> &State {
        &self.init
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.init.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(&self.constants, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.act(&self.constants, &action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}
