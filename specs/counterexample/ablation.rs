//! The same run without some of its steps.
//!
//! A call that was made to fail is made after all; a kill, a cancel, a device's or the guest's act
//! does not happen. What the run does later happens where it still can. Then the processes go on,
//! the first that can at each step, and nothing more goes wrong, until none can go on or a state
//! comes again.
//!
//! A property that fails in the run and never in that other run fails because of what was left out.

use super::Followed;
use crate::properties::{Judgement, Kind, Property};
use crate::state::State;
use crate::state::action::Action;
use crate::state::system::System;
use stateright::Model;
use std::collections::HashSet;

/// Whether a run without the steps of these numbers keeps a property throughout.
pub(super) fn keeps(followed: &Followed<'_>, property: &Property, left_out: &[usize]) -> bool {
    let system = followed.system();
    let mut other = Other { system, property, state: system.init().clone(), been: HashSet::new() };
    if other.fails() {
        return false;
    }
    for (number, step) in (1..).zip(followed.steps()) {
        let instead = if left_out.contains(&number) {
            instead(&step.action)
        } else {
            Some(step.action.clone())
        };
        if let Some(action) = instead.filter(|action| other.can(action))
            && !other.goes_on(&action)
        {
            return false;
        }
    }
    while let Some(action) = other.first() {
        if other.been.contains(&other.state) {
            return !property.is_liveness();
        }
        if !other.goes_on(&action) {
            return false;
        }
    }
    true
}

/// What happens where an action of the environment is left out.
fn instead(action: &Action) -> Option<Action> {
    match action {
        Action::Fail(side, _) => Some(Action::Step(*side)),
        _ => None,
    }
}

/// A run that never was.
struct Other<'a> {
    system: &'a System,
    property: &'a Property,
    state: State,
    been: HashSet<State>,
}

impl Other<'_> {
    fn enabled(&self) -> Vec<Action> {
        let mut enabled = Vec::new();
        self.system.actions(&self.state, &mut enabled);
        enabled
    }

    fn can(&self, action: &Action) -> bool {
        self.enabled().contains(action)
    }

    fn first(&self) -> Option<Action> {
        let by_itself = |action: &Action| matches!(action, Action::Step(_) | Action::Die);
        self.enabled().into_iter().find(by_itself)
    }

    /// Does an action; whether the property does not fail after it.
    fn goes_on(&mut self, action: &Action) -> bool {
        let before = self.state.clone();
        self.state.act(self.system.constants(), action);
        let wrong = self.system.judge_step(self.property, &before, &self.state);
        self.been.insert(before);
        wrong.is_none() && !self.fails()
    }

    fn fails(&self) -> bool {
        let said = match self.property.kind {
            // A deadlock is no goal, and no way leads on from it.
            Kind::Possibility(_) => self.system.judge_deadlock(&self.state),
            _ => self.system.judge_one(self.property, &self.state),
        };
        matches!(said, Judgement::Fails(_))
    }
}
