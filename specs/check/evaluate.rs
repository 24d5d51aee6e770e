//! The one evaluator: what each kind of property says of a state and of a transition.
//!
//! A state shows an invariant whole. Of the other kinds it shows a part: of an action property
//! whether one is due, of termination a deadlock, of a possibility whether this is a goal, of the
//! refinement whether the abstract spec has ended where no role acts. Transitions show action
//! properties and the refinement; the graph of all states shows the rest ([`crate::check`]).

use crate::properties::ranking::Rank;
use crate::properties::{
    Case, Judgement, Kind, Moment, PROPERTIES, Property, Relation, Scope, Setup, Snapshot,
};
use crate::spec::{Essence, Handoff, refinement};
use crate::state::World;
use crate::state::action::Action;
use crate::state::parts::{Machinery, Store};
use crate::state::system::System;
use handoff_model::abi::view::View;
use stateright::{Model, Property as Stateright};

impl System {
    /// Judges every property of [`PROPERTIES`] in a state, in their order; `None` where one does
    /// not apply.
    pub fn judge(&self, world: &World) -> Vec<Option<Judgement>> {
        self.with_case(world, |case| {
            let here = setup(case);
            let ask = |property: &Property| {
                property.scope.covers(&here).then(|| self.judge_in(property.kind, world, case))
            };
            PROPERTIES.iter().map(ask).collect()
        })
    }

    /// Judges one property in a state, whether or not it applies there.
    pub(crate) fn judge_one(&self, property: &Property, world: &World) -> Judgement {
        self.with_case(world, |case| self.judge_in(property.kind, world, case))
    }

    fn judge_in(&self, kind: Kind, world: &World, case: &Case<'_>) -> Judgement {
        let holds_where = |here: bool| if here { Judgement::Holds } else { Judgement::Idle };
        match kind {
            Kind::Invariant(predicate) => predicate(case),
            Kind::Action(relation) => holds_where((relation.applies)(case)),
            Kind::Possibility(is_goal) => holds_where(is_goal(case)),
            Kind::Termination => self.judge_deadlock(world),
            Kind::Refinement => self.judge_rest(&self.essence(), world),
        }
    }

    /// Where no role can go on, none may wait: neither a kill nor a cancel may be needed.
    pub(crate) fn judge_deadlock<S: Store>(&self, world: &World<S>) -> Judgement {
        if world.is_quiescent() {
            return Judgement::Holds;
        }
        let mut actions = Vec::new();
        world.actions(self.setting(), &mut actions);
        if actions.iter().any(|action| matches!(action, Action::Step(_) | Action::Die)) {
            return Judgement::Idle;
        }
        Judgement::Fails("no process can go on, and one still waits".to_owned())
    }

    /// Where no role acts, no step of the abstract spec may be left.
    pub(crate) fn judge_rest<S: Store>(&self, spec: &Essence, world: &World<S>) -> Judgement {
        if !world.is_quiescent() {
            return Judgement::Holds;
        }
        spec.due(&self.essence_of(world)).map_or(Judgement::Holds, |row| {
            Judgement::Fails(format!("nothing is under way, and this is left to do: {}", row.name))
        })
    }

    /// Describes how a transition violates a property; `None` where it does not.
    pub fn judge_step(&self, property: &Property, from: &World, to: &World) -> Option<String> {
        match property.kind {
            Kind::Action(Relation { holds, violation, .. }) => {
                let (from, to) = (self.snapshot(from), self.snapshot(to));
                (!holds(&from, &to)).then(|| violation(&from, &to))
            }
            Kind::Refinement => {
                refinement::against(&self.essence(), self.essence_of(from), self.essence_of(to))
            }
            Kind::Invariant(_) | Kind::Termination | Kind::Possibility(_) => None,
        }
    }

    /// A state as a relation between states sees it.
    pub(crate) fn snapshot<'a, S: Store>(&'a self, world: &'a World<S>) -> impl Snapshot + 'a {
        Seen { system: self, world }
    }

    /// The abstract spec of this mode.
    pub fn essence(&self) -> Essence {
        Essence::new(self.setting().protocol.mode)
    }

    /// The abstract state of a state.
    pub fn essence_of<S: Store>(&self, world: &World<S>) -> Handoff {
        world.essence(self.setting())
    }

    /// A state as predicates see it.
    pub fn with_case<T>(&self, world: &World, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let (base, preserved) = self.setting().due_with(world.rest.history.armed);
        let (view, moment) = (&world.view(), self.moment(world));
        look(&Case { view, base: &base, moment, preserved: &preserved })
    }

    /// Whether a property with this scope applies in some state of this system.
    pub(crate) fn can_ask(&self, scope: Scope) -> bool {
        let setting = self.setting();
        scope.covers(&Setup {
            mode: setting.protocol.mode,
            due: setting.due,
            base: &setting.base,
            arms_later: setting.may_arm(),
            kvm: setting.kvm,
        })
    }

    /// Where the handoff is.
    pub(crate) fn moment<S: Store>(&self, world: &World<S>) -> Moment {
        world.moment(self.setting())
    }
}

/// What decides in one state whether a property applies: what is armed shows in the case's base.
pub(crate) fn setup<'a>(case: &Case<'a>) -> Setup<'a> {
    let Moment { mode, due, .. } = case.moment;
    Setup { mode, due, base: case.base, arms_later: false, kvm: false }
}

struct Seen<'a, S: Store> {
    system: &'a System,
    world: &'a World<S>,
}

impl<S: Store> Snapshot for Seen<'_, S> {
    fn rank(&self) -> Rank {
        self.world.rank()
    }

    fn moment(&self) -> Moment {
        self.system.moment(self.world)
    }

    fn view(&self) -> View {
        self.world.machine.view()
    }
}

/// A system whose one property, to stateright, is that every registered property holds in a state.
///
/// It is one property so that stateright cannot overwrite a shorter counterexample of another, and
/// no `eventually`.
#[derive(Clone, Debug)]
pub struct Judged(pub System);

impl Model for Judged {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        self.0.init_states()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.0.actions(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.0.next_state(world, action)
    }

    fn properties(&self) -> Vec<Stateright<Self>> {
        vec![Stateright::always("every property holds", |judged, world| {
            judged.0.judge(world).iter().all(|said| !matches!(said, Some(Judgement::Fails(_))))
        })]
    }
}
