//! The evaluator of all kinds of properties, on states and on transitions.
//!
//! A single state decides an invariant. For the other kinds it decides a part: whether an action
//! property applies, whether a state is a deadlock (termination), whether it is a goal
//! (possibility), and whether the abstract spec has terminated when no role acts (refinement).
//! Transitions decide action properties and the refinement; the graph of all states decides the
//! rest ([`crate::check`]).

use crate::properties::ranking::Rank;
use crate::properties::{
    Judgement, Kind, PROPERTIES, Property, PropertyInput, Relation, Scope, Setup, Snapshot, Status,
};
use crate::spec::{AbstractSpec, AbstractState, refinement};
use crate::state::State;
use crate::state::action::Action;
use crate::state::parts::{MachineOps, Store};
use crate::state::system::System;
use handoff_model::abi::view::View;
use stateright::{Model, Property as Stateright};

impl System {
    /// Evaluates all of [`PROPERTIES`] in a state, in their order; `None` for one that does not
    /// apply.
    pub fn judge(&self, state: &State) -> Vec<Option<Judgement>> {
        self.with_input(state, |case| {
            let here = setup(case);
            let ask = |property: &Property| {
                property.scope.covers(&here).then(|| self.judge_in(property.kind, state, case))
            };
            PROPERTIES.iter().map(ask).collect()
        })
    }

    /// Evaluates a property in a state, even if it does not apply there.
    pub(crate) fn judge_one(&self, property: &Property, state: &State) -> Judgement {
        self.with_input(state, |case| self.judge_in(property.kind, state, case))
    }

    fn judge_in(&self, kind: Kind, state: &State, case: &PropertyInput<'_>) -> Judgement {
        let holds_where = |here: bool| if here { Judgement::Holds } else { Judgement::Vacuous };
        match kind {
            Kind::Invariant(predicate) => predicate(case),
            Kind::Action(relation) => holds_where((relation.applies)(case)),
            Kind::Possibility(is_goal) => holds_where(is_goal(case)),
            Kind::Termination => self.judge_deadlock(state),
            Kind::Refinement => self.judge_rest(&self.abstract_spec(), state),
        }
    }

    /// Evaluates deadlock freedom: if no role can step, none may wait. Neither a kill nor a
    /// cancellation may be needed.
    pub(crate) fn judge_deadlock<S: Store>(&self, state: &State<S>) -> Judgement {
        if state.is_quiescent() {
            return Judgement::Holds;
        }
        let mut actions = Vec::new();
        state.actions(self.constants(), &mut actions);
        if actions.iter().any(|action| matches!(action, Action::Step(_) | Action::Die)) {
            return Judgement::Vacuous;
        }
        Judgement::Fails("deadlock: no process can take a step, and one still waits".to_owned())
    }

    /// Evaluates termination of the abstract spec: when no role acts, none of its actions may be
    /// pending.
    pub(crate) fn judge_rest<S: Store>(&self, spec: &AbstractSpec, state: &State<S>) -> Judgement {
        if !state.is_quiescent() {
            return Judgement::Holds;
        }
        spec.pending(&self.abstract_state(state)).map_or(Judgement::Holds, |action| {
            Judgement::Fails(format!(
                "the handoff has terminated, and this step is still pending: {}",
                action.name
            ))
        })
    }

    /// Describes how a transition violates a property; `None` if it does not.
    pub fn judge_step(&self, property: &Property, from: &State, to: &State) -> Option<String> {
        match property.kind {
            Kind::Action(Relation { holds, violation, .. }) => {
                let (from, to) = (self.snapshot(from), self.snapshot(to));
                (!holds(&from, &to)).then(|| violation(&from, &to))
            }
            Kind::Refinement => refinement::violation_of(
                &self.abstract_spec(),
                self.abstract_state(from),
                self.abstract_state(to),
            ),
            Kind::Invariant(_) | Kind::Termination | Kind::Possibility(_) => None,
        }
    }

    /// Returns the state as relations between states see it.
    pub(crate) fn snapshot<'a, S: Store>(&'a self, state: &'a State<S>) -> impl Snapshot + 'a {
        Seen { system: self, state }
    }

    /// Returns the abstract spec of this mode.
    pub fn abstract_spec(&self) -> AbstractSpec {
        AbstractSpec::new(self.constants().protocol.mode)
    }

    /// Returns the abstract state of a state (the refinement mapping).
    pub fn abstract_state<S: Store>(&self, state: &State<S>) -> AbstractState {
        state.abstract_state(self.constants())
    }

    /// Passes the state to `look`, as predicates see it.
    pub fn with_input<T>(&self, state: &State, look: impl FnOnce(&PropertyInput<'_>) -> T) -> T {
        let (base, preserved) = self.constants().expected_with(state.aux.history.armed);
        let (view, status) = (&state.view(), self.status(state));
        let names = &self.constants().names;
        look(&PropertyInput { view, base: &base, status, preserved: &preserved, names })
    }

    /// Returns true if a property with this scope applies in some state of this system.
    pub(crate) fn applies(&self, scope: Scope) -> bool {
        let constants = self.constants();
        scope.covers(&Setup {
            mode: constants.protocol.mode,
            expected: constants.expected,
            base: &constants.base,
            arms_later: constants.may_arm(),
            kvm: constants.kvm,
        })
    }

    /// Returns the status of the handoff.
    pub(crate) fn status<S: Store>(&self, state: &State<S>) -> Status {
        state.status(self.constants())
    }
}

/// Returns the facts of a state that decide whether a property applies. A later-armed interrupt is
/// in the input's base view.
pub(crate) fn setup<'a>(case: &PropertyInput<'a>) -> Setup<'a> {
    let Status { mode, expected, .. } = case.status;
    Setup { mode, expected, base: case.base, arms_later: false, kvm: false }
}

struct Seen<'a, S: Store> {
    system: &'a System,
    state: &'a State<S>,
}

impl<S: Store> Snapshot for Seen<'_, S> {
    fn rank(&self) -> Rank {
        self.state.rank()
    }

    fn status(&self) -> Status {
        self.system.status(self.state)
    }

    fn view(&self) -> View {
        self.state.machine.view()
    }
}

/// A system with a single property for stateright: every registered property holds in every state.
///
/// A single property, so that stateright cannot replace a shorter counterexample of another one;
/// and an invariant, not an `eventually`.
#[derive(Clone, Debug)]
pub struct Judged(pub System);

impl Model for Judged {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.0.init_states()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.0.actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.0.next_state(state, action)
    }

    fn properties(&self) -> Vec<Stateright<Self>> {
        vec![Stateright::always("every property holds", |judged, state| {
            judged
                .0
                .judge(state)
                .iter()
                .all(|judgement| !matches!(judgement, Some(Judgement::Fails(_))))
        })]
    }
}
