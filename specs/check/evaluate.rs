//! What each property says of a state and of a step.

use crate::properties::{
    Case, END_2, END_3, Judgement, Moment, PROPERTIES, REF_1, Scope, has_ended_well,
};
use crate::spec::{Essence, Handoff, refinement};
use crate::state::World;
use crate::state::action::Action;
use crate::state::parts::{Machinery, Player};
use crate::state::system::System;
use handoff_model::incoming::Incoming;
use handoff_model::outgoing::Outgoing;
use handoff_model::view::FileRef;
use stateright::{Model, Property};

impl System {
    /// Asks every property of [`PROPERTIES`] about a state, in their order; `None` for one that
    /// cannot be asked here. Of [`crate::properties::END_1`], [`END_2`], [`END_3`] and [`REF_1`] this is what a state shows: a
    /// dead end, that a step is due, a good end, whether anything is left to do. Steps and the graph show the rest.
    pub fn judge(&self, world: &World) -> Vec<Option<Judgement>> {
        self.with_case(world, |case| {
            let ask = |property: &crate::properties::Property| {
                property.scope.covers(case).then(|| match property.judge {
                    Some(judge) => judge(case),
                    None => self.judge_ending(property.id, world, case),
                })
            };
            PROPERTIES.iter().map(ask).collect()
        })
    }

    fn judge_ending(&self, id: &str, world: &World, case: &Case<'_>) -> Judgement {
        let holds_where = |here: bool| if here { Judgement::Holds } else { Judgement::Idle };
        match id {
            END_2 => holds_where(!world.is_quiescent()),
            END_3 => holds_where(has_ended_well(case)),
            REF_1 => self.judge_rest(world),
            _ => self.judge_end(world),
        }
    }

    /// Where no role can go on, nobody may be waiting: neither a kill nor a cancel may be needed.
    pub(crate) fn judge_end<M, O, I>(&self, world: &World<M, O, I>) -> Judgement
    where
        M: Machinery,
        O: Player<Role = Outgoing, Call = M::Call, Answer = M::Answer>,
        I: Player<Role = Incoming, Call = M::Call, Answer = M::Answer>,
    {
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

    /// Where no role acts, no step of the essence may be left.
    pub(crate) fn judge_rest<M, O, I>(&self, world: &World<M, O, I>) -> Judgement
    where
        M: Machinery,
        O: Player<Role = Outgoing, Call = M::Call, Answer = M::Answer>,
        I: Player<Role = Incoming, Call = M::Call, Answer = M::Answer>,
    {
        if !world.is_quiescent() {
            return Judgement::Holds;
        }
        self.essence().due(&self.essence_of(world)).map_or(Judgement::Holds, |row| {
            Judgement::Fails(format!("nothing is under way, and this is left to do: {}", row.name))
        })
    }

    /// What a property that is judged on steps has against one; `None`: nothing.
    pub fn judge_step(&self, id: &str, from: &World, to: &World) -> Option<String> {
        match id {
            END_2 => from.rank().against(&to.rank()),
            REF_1 => {
                refinement::against(&self.essence(), self.essence_of(from), self.essence_of(to))
            }
            _ => None,
        }
    }

    /// A handoff in essence.
    pub fn essence(&self) -> Essence {
        Essence::new(self.setting().protocol.mode)
    }

    /// What a world is in essence.
    pub fn essence_of<M, O, I>(&self, world: &World<M, O, I>) -> Handoff
    where
        M: Machinery,
        O: Player<Role = Outgoing, Call = M::Call, Answer = M::Answer>,
        I: Player<Role = Incoming, Call = M::Call, Answer = M::Answer>,
    {
        world.essence(self.setting())
    }

    /// A state as properties see it.
    pub fn with_case<T>(&self, world: &World, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let (base, preserved) = self.setting().due_with(world.rest.history.armed);
        let (view, moment) = (&world.view(), self.moment(world));
        look(&Case { view, base: &base, moment, preserved: &preserved })
    }

    /// Whether something can be asked here, if only of what the guest may arm.
    pub(crate) fn can_ask(&self, scope: Scope) -> bool {
        let armed = self.setting().may_arm().then_some(FileRef(0));
        let (base, preserved) = self.setting().due_with(armed);
        let (view, moment) = (&self.init().view(), self.moment(self.init()));
        scope.covers(&Case { view, base: &base, moment, preserved: &preserved })
    }

    /// Where the handoff is.
    pub(crate) fn moment<M, O, I>(&self, world: &World<M, O, I>) -> Moment
    where
        M: Machinery,
        O: Player<Role = Outgoing, Call = M::Call, Answer = M::Answer>,
        I: Player<Role = Incoming, Call = M::Call, Answer = M::Answer>,
    {
        Moment {
            mode: self.setting().protocol.mode,
            keeper: world.keeper(),
            keeper_was_killed: world.keeper_was_killed(),
            quiescent: world.is_quiescent(),
            outcome: world.outcome(),
            fell_back: world.rest.history.fell_back,
            handed_over: world.is_handed_over(),
            disturbed: world.rest.history.disturbed,
            due: self.setting().due,
            unexplained: world.is_unexplained(),
            new_program: world.is_new_program(),
            left_over: world.leaves_one_over(),
            was_stopped: world.rest.history.was_stopped,
            changed_early: world.rest.history.changed_early,
            commit_allowed: world.rest.history.commit_allowed,
            progress: Some(world.rest.history.progress),
            window_open: world.window_is_open(),
            armed: world.rest.history.armed,
        }
    }
}

/// A system whose one property, to stateright, is that every registered property holds in a state.
///
/// It is one property so that stateright cannot overwrite a shorter counterexample of another, and no `eventually`.
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

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every property holds", |judged, world| {
            judged.0.judge(world).iter().all(|said| !matches!(said, Some(Judgement::Fails(_))))
        })]
    }
}
