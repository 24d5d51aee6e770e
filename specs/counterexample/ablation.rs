//! Ablation: executes a run again without some of its steps.
//!
//! A call that was made to fail is executed instead; a kill, a cancellation, or an action of a
//! device or the guest is left out. Later actions of the run are executed where they are enabled.
//! Then the processes continue without further faults, the first enabled one at each step, until
//! none is enabled or a state repeats.
//!
//! If a property fails in the run and never in this one, the steps that were left out are a cause.

use super::Followed;
use crate::properties::{Judgement, Kind, Property};
use crate::state::State;
use crate::state::action::Action;
use crate::state::system::System;
use stateright::Model;
use std::collections::HashSet;

/// Returns true if the run without these steps satisfies the property throughout.
pub(super) fn holds(followed: &Followed<'_>, property: &Property, left_out: &[usize]) -> bool {
    let system = followed.system();
    let mut other =
        Other { system, property, state: system.init().clone(), visited: HashSet::new() };
    if other.fails() {
        return false;
    }
    for (number, step) in (1..).zip(followed.steps()) {
        let replacement = if left_out.contains(&number) {
            replacement(&step.action)
        } else {
            Some(step.action.clone())
        };
        if let Some(action) = replacement.filter(|action| other.can(action))
            && !other.take(&action)
        {
            return false;
        }
    }
    while let Some(action) = other.first() {
        if other.visited.contains(&other.state) {
            return !property.is_liveness();
        }
        if !other.take(&action) {
            return false;
        }
    }
    true
}

/// Returns the action in place of one that is left out.
fn replacement(action: &Action) -> Option<Action> {
    match action {
        Action::Fail(side, _) => Some(Action::Step(*side)),
        _ => None,
    }
}

/// The run without the steps.
struct Other<'a> {
    system: &'a System,
    property: &'a Property,
    state: State,
    visited: HashSet<State>,
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

    /// Executes an action; returns true if neither the step nor the state violates the property.
    fn take(&mut self, action: &Action) -> bool {
        let before = self.state.clone();
        self.state.act(self.system.constants(), action);
        let violation = self.system.judge_step(self.property, &before, &self.state);
        self.visited.insert(before);
        violation.is_none() && !self.fails()
    }

    fn fails(&self) -> bool {
        let judgement = match self.property.kind {
            // A deadlock is no goal, and no run leads out of it.
            Kind::Possibility(_) => self.system.judge_deadlock(&self.state),
            _ => self.system.judge_one(self.property, &self.state),
        };
        matches!(judgement, Judgement::Fails(_))
    }
}
