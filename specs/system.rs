//! The handoff as a [`stateright::Model`]: what any engine needs to explore it.
//!
//! stateright's own checkers and its explorer run on this; verdicts come from [`handoff_checker::search`],
//! which explores the same trait. Two of stateright's ways to lie are met here: `next_state` never
//! answers `None` (an ignored action would shift the indices of its paths), and no property is an
//! `eventually`. What is asked of stateright is one property, so that it cannot overwrite a shorter
//! counterexample of another.

use crate::action::Action;
use crate::essence::{Essence, Handoff};
use crate::parts::{Machinery, Player};
use crate::property::{
    Case, END_2, END_3, Judgement, Moment, PROPERTIES, REF_1, Scope, has_ended_well,
};
use crate::refinement;
use crate::scenario::Scenario;
use crate::setting::{Setting, set_up};
use crate::world::World;
use handoff_model::incoming::Incoming;
use handoff_model::launch::LaunchError;
use handoff_model::outgoing::Outgoing;
use handoff_model::view::FileRef;
use stateright::{Model, Property};

/// A scenario, set up.
#[derive(Clone, Debug)]
pub struct System {
    setting: Setting,
    init: World,
    essence: Essence,
}

impl System {
    /// Sets a scenario up on its simulated kernel.
    pub fn new(scenario: &Scenario) -> Result<Self, LaunchError> {
        let (setting, init) = set_up(scenario)?;
        let essence = Essence::new(scenario.mode);
        Ok(Self { setting, init, essence })
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

    /// Asks every property of [`PROPERTIES`] about a state, in their order; `None` for one that
    /// cannot be asked here. Of [`crate::property::END_1`], [`END_2`], [`END_3`] and [`REF_1`] this is what a state shows: a
    /// dead end, that a step is due, a good end, whether anything is left to do. Steps and the graph show the rest.
    pub fn judge(&self, world: &World) -> Vec<Option<Judgement>> {
        self.with_case(world, |case| {
            let ask = |property: &crate::property::Property| {
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
        world.actions(&self.setting, &mut actions);
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
        let due = world.is_quiescent().then(|| self.essence.due(&self.essence_of(world))).flatten();
        due.map_or(Judgement::Holds, |row| {
            Judgement::Fails(format!("nothing is under way, and this is left to do: {}", row.name))
        })
    }

    /// What a property that is judged on steps has against one; `None`: nothing.
    pub fn judge_step(&self, id: &str, from: &World, to: &World) -> Option<String> {
        match id {
            END_2 => from.rank().against(&to.rank()),
            REF_1 => refinement::against(&self.essence, self.essence_of(from), self.essence_of(to)),
            _ => None,
        }
    }

    /// A handoff in essence.
    pub fn essence(&self) -> &Essence {
        &self.essence
    }

    /// What a world is in essence.
    pub fn essence_of<M, O, I>(&self, world: &World<M, O, I>) -> Handoff
    where
        M: Machinery,
        O: Player<Role = Outgoing, Call = M::Call, Answer = M::Answer>,
        I: Player<Role = Incoming, Call = M::Call, Answer = M::Answer>,
    {
        world.essence(&self.setting)
    }

    /// A state as properties see it.
    pub fn with_case<T>(&self, world: &World, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let (base, preserved) = self.setting.due_with(world.rest.history.armed);
        let (view, moment) = (&world.view(), self.moment(world));
        look(&Case { view, base: &base, moment, preserved: &preserved })
    }

    /// Whether something can be asked here, if only of what the guest may arm.
    pub(crate) fn can_ask(&self, scope: Scope) -> bool {
        let armed = self.setting.may_arm().then_some(FileRef(0));
        let (base, preserved) = self.setting.due_with(armed);
        let (view, moment) = (&self.init.view(), self.moment(&self.init));
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
            mode: self.setting.protocol.mode,
            keeper: world.keeper(),
            keeper_was_killed: world.keeper_was_killed(),
            quiescent: world.is_quiescent(),
            outcome: world.outcome(),
            fell_back: world.rest.history.fell_back,
            handed_over: world.is_handed_over(),
            disturbed: world.rest.history.disturbed,
            due: self.setting.due,
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
        vec![Property::always("every property holds", |system, world| {
            system.judge(world).iter().all(|said| !matches!(said, Some(Judgement::Fails(_))))
        })]
    }
}
