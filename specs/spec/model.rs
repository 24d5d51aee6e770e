//! The abstract spec as a [`stateright::Model`], and the steps by which a protocol may refine it.

use super::{AbstractState, By, EXEC, INVARIANTS, Participant, SpecAction, TRANSFER};
use handoff_model::protocol::Mode;
use stateright::{Model, Property};

/// The abstract spec of one mode.
#[derive(Clone, Debug)]
pub struct AbstractSpec {
    mode: Mode,
    actions: Vec<SpecAction>,
}

impl AbstractSpec {
    /// Creates the abstract spec of a mode.
    pub fn new(mode: Mode) -> Self {
        let actions = if mode == Mode::Exec { EXEC } else { TRANSFER };
        Self { mode, actions: actions.to_vec() }
    }

    /// Plants a flaw: replaces the precondition of an action.
    #[must_use]
    pub fn with(mut self, name: &str, enabled: fn(&AbstractState) -> bool) -> Self {
        let action = self.actions.iter_mut().find(|action| action.name == name);
        action.expect("an action of this name").enabled = enabled;
        self
    }

    /// Returns the actions that lead from one state to another, whether or not they are enabled.
    pub fn between(
        &self,
        from: AbstractState,
        to: AbstractState,
    ) -> impl Iterator<Item = &SpecAction> {
        self.actions.iter().filter(move |action| action.next(from) == to)
    }

    /// Returns true if a step refines the spec: it stutters, or it is one enabled action, or it is
    /// one followed by the start of the old VMM's rollback. (The latter is a call that had an
    /// effect and is reported as failed.)
    pub fn allows(&self, from: AbstractState, to: AbstractState) -> bool {
        let does =
            |from: AbstractState, to| self.between(from, to).any(|action| (action.enabled)(&from));
        let willing = AbstractState { old: Participant { life: from.old.life, ..to.old }, ..to };
        from == to || does(from, to) || does(from, willing) && does(willing, to)
    }

    /// Returns an enabled action of a program.
    pub fn pending(&self, it: &AbstractState) -> Option<&SpecAction> {
        self.actions.iter().find(|action| action.by == By::Program && (action.enabled)(it))
    }

    /// Returns true if no program has an enabled action.
    pub fn is_at_rest(&self, it: &AbstractState) -> bool {
        self.pending(it).is_none()
    }
}

/// Actions are indices into the list of actions.
impl Model for AbstractSpec {
    type State = AbstractState;
    type Action = usize;

    fn init_states(&self) -> Vec<AbstractState> {
        vec![AbstractState::begin(self.mode)]
    }

    fn actions(&self, it: &AbstractState, actions: &mut Vec<usize>) {
        let all = self.actions.iter().enumerate();
        actions.extend(all.filter(|(_, action)| (action.enabled)(it)).map(|(index, _)| index));
    }

    fn next_state(&self, it: &AbstractState, index: usize) -> Option<AbstractState> {
        Some(self.actions[index].next(*it))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every invariant holds", |model, it| {
            INVARIANTS.iter().all(|(_, holds)| holds(it, model.is_at_rest(it)))
        })]
    }
}
