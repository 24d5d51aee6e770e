//! The handoff as a [`stateright::Model`]: what any engine needs to explore it.
//!
//! Verdicts come from our own search, which explores the same trait as stateright's checkers.
//! `next_state` never answers `None`: an ignored action would shift the indices of stateright's
//! paths.

use crate::scenario::Scenario;
use crate::state::World;
use crate::state::action::Action;
use crate::state::constants::Setting;
use crate::state::setup::set_up;
use handoff_model::vm::launch::LaunchError;
use stateright::{Model, Property};

/// A scenario, set up.
#[derive(Clone, Debug)]
pub struct System {
    setting: Setting,
    init: World,
}

impl System {
    /// Sets a scenario up on its simulated kernel.
    pub fn new(scenario: &Scenario) -> Result<Self, LaunchError> {
        let (setting, init) = set_up(scenario)?;
        Ok(Self { setting, init })
    }

    /// What is the same in every state.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// To break it.
    #[cfg(test)]
    pub(crate) fn setting_mut(&mut self) -> &mut Setting {
        &mut self.setting
    }

    /// The first state.
    pub fn init(&self) -> &World {
        &self.init
    }
}

impl Model for System {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.init.clone()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.setting, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.act(&self.setting, &action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}
