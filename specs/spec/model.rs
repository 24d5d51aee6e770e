//! The essence as a [`stateright::Model`], and the steps by which a protocol may refine it.

use super::{AbstractState, By, EXEC, INVARIANTS, Participant, SpecAction, TRANSFER};
use handoff_model::protocol::Mode;
use stateright::{Model, Property};

/// All of it, as a model.
#[derive(Clone, Debug)]
pub struct AbstractSpec {
    mode: Mode,
    rows: Vec<SpecAction>,
}

impl AbstractSpec {
    /// What may happen.
    pub fn new(mode: Mode) -> Self {
        let rows = if mode == Mode::Exec { EXEC } else { TRANSFER };
        Self { mode, rows: rows.to_vec() }
    }

    /// With a flaw: a row may happen at other times.
    #[must_use]
    pub fn with(mut self, name: &str, may: fn(&AbstractState) -> bool) -> Self {
        let row = self.rows.iter_mut().find(|row| row.name == name);
        row.expect("a row of this name").may = may;
        self
    }

    /// The rows by which a state would come after another, if they might happen there.
    pub fn between(
        &self,
        from: AbstractState,
        to: AbstractState,
    ) -> impl Iterator<Item = &SpecAction> {
        self.rows.iter().filter(move |row| row.next(from) == to)
    }

    /// Whether a step changes nothing, or does what a row does that may happen; or that, and then
    /// the old process gives up. (A call that did something and is said to have failed is both.)
    pub fn allows(&self, from: AbstractState, to: AbstractState) -> bool {
        let does = |from: AbstractState, to| self.between(from, to).any(|row| (row.may)(&from));
        let willing = AbstractState { old: Participant { life: from.old.life, ..to.old }, ..to };
        from == to || does(from, to) || does(from, willing) && does(willing, to)
    }

    /// What a program has left to do.
    pub fn due(&self, it: &AbstractState) -> Option<&SpecAction> {
        self.rows.iter().find(|row| row.by == By::Program && (row.may)(it))
    }

    /// No program has anything left to do.
    pub fn is_at_rest(&self, it: &AbstractState) -> bool {
        self.due(it).is_none()
    }
}

/// An action is the place of a row.
impl Model for AbstractSpec {
    type State = AbstractState;
    type Action = usize;

    fn init_states(&self) -> Vec<AbstractState> {
        vec![AbstractState::begin(self.mode)]
    }

    fn actions(&self, it: &AbstractState, actions: &mut Vec<usize>) {
        let rows = self.rows.iter().enumerate();
        actions.extend(rows.filter(|(_, row)| (row.may)(it)).map(|(place, _)| place));
    }

    fn next_state(&self, it: &AbstractState, place: usize) -> Option<AbstractState> {
        Some(self.rows[place].next(*it))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every invariant holds", |model, it| {
            INVARIANTS.iter().all(|(_, holds)| holds(it, model.is_at_rest(it)))
        })]
    }
}
