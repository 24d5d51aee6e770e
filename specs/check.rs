//! A check: a scenario's whole world explored, and a verdict for each property.
//!
//! A verdict never says more than was looked at. "Proved" is said only of a complete search in which
//! the property had something to say; a property that was idle throughout is vacuous, and one that
//! held in a search that was cut short holds within that limit.

use crate::graph::{Shape, shape};
use crate::property::{END_1, Judgement, PROPERTIES, Property, Scope};
use crate::scenario::Scenario;
use crate::search::{Cut, Exploration, Limits, Said, StateIndex, explore};
use crate::system::System;
use crate::world::Action;
use handoff_model::launch::LaunchError;
use stateright::Model;
use std::time::{Duration, Instant};

/// What a check says of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds in every state that can be reached, and could have failed in some.
    Proved,
    /// It holds in every state that was reached before the search was cut short.
    HoldsWithin(Cut),
    /// It fails, by a shortest run.
    Violated(Run),
    /// It had nothing to say in any state.
    Vacuous,
    /// The search was cut short before it could be judged.
    Inconclusive(Cut),
    /// It cannot be asked here; why.
    NotAsked(&'static str),
}

/// A run that violates a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What happens, from the first state.
    pub actions: Vec<Action>,
    /// From which step on the rest repeats for ever.
    pub repeats_from: Option<usize>,
    /// What is wrong in the end.
    pub wrong: String,
}

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// Of which scenario.
    pub scenario: String,
    /// How many states were reached.
    pub states: u32,
    /// How many transitions.
    pub transitions: u64,
    /// The greatest number of steps by which a state is first reached.
    pub depth: u32,
    /// The steps of the longest run, where every run ends.
    pub longest_run: Option<u32>,
    /// What cut the search short; `None`: it is exhaustive.
    pub cut: Option<Cut>,
    /// How likely it is that two states were taken for one.
    pub collision_estimate: f64,
    /// How long it took.
    pub time: Duration,
    /// For each of [`PROPERTIES`], in their order.
    pub verdicts: Vec<(&'static Property, Verdict)>,
}

impl Report {
    /// Properties that are violated.
    pub fn violations(&self) -> impl Iterator<Item = (&'static Property, &Run)> {
        self.verdicts.iter().filter_map(|(property, verdict)| match verdict {
            Verdict::Violated(run) => Some((*property, run)),
            _ => None,
        })
    }

    /// Whether anything is left open.
    pub fn is_inconclusive(&self) -> bool {
        let open = |verdict: &Verdict| {
            matches!(verdict, Verdict::HoldsWithin(_) | Verdict::Inconclusive(_) | Verdict::Vacuous)
        };
        self.cut.is_some() || self.verdicts.iter().any(|(_, verdict)| open(verdict))
    }
}

/// Checks a scenario.
pub fn check(scenario: &Scenario, limits: Limits) -> Result<Report, LaunchError> {
    let started = Instant::now();
    let system = System::new(scenario)?;
    let exploration = explore(&system, PROPERTIES.len(), |world| said(&system, world), limits);
    let judged = Judged { system: &system, exploration: &exploration };
    let mut longest_run = None;
    let verdict = |(at, property): (usize, &'static Property)| {
        if property.id != END_1 {
            return (property, judged.verdict(at, property));
        }
        let (end, longest) = judged.end(at, property);
        longest_run = longest;
        (property, end)
    };
    let verdicts = PROPERTIES.iter().enumerate().map(verdict).collect();
    Ok(Report {
        scenario: scenario.name.clone(),
        states: exploration.states(),
        transitions: exploration.transitions(),
        depth: exploration.depth,
        longest_run,
        cut: exploration.cut,
        collision_estimate: exploration.collision_estimate(),
        verdicts,
        time: started.elapsed(),
    })
}

fn said(system: &System, world: &crate::world::World) -> Vec<Said> {
    let brief = |judgement: Option<Judgement>| match judgement {
        None | Some(Judgement::Idle) => Said::Idle,
        Some(Judgement::Holds) => Said::Good,
        Some(Judgement::Fails(_)) => Said::Bad,
    };
    system.judge(world).into_iter().map(brief).collect()
}

/// A search that is being judged.
struct Judged<'a> {
    system: &'a System,
    exploration: &'a Exploration,
}

impl Judged<'_> {
    fn verdict(&self, at: usize, property: &Property) -> Verdict {
        if let Some(state) = self.exploration.bad[at] {
            return Verdict::Violated(self.run(at, state));
        }
        if !self.is_asked(property.scope) {
            return Verdict::NotAsked(property.scope.words());
        }
        match (self.exploration.good[at], self.exploration.cut) {
            (0, None) => Verdict::Vacuous,
            (0, Some(cut)) => Verdict::Inconclusive(cut),
            (_, None) => Verdict::Proved,
            (_, Some(cut)) => Verdict::HoldsWithin(cut),
        }
    }

    fn is_asked(&self, scope: Scope) -> bool {
        self.system.with_case(self.system.init(), |case| scope.covers(case))
    }

    /// A shortest run to a state, and what the property says there.
    fn run(&self, at: usize, state: StateIndex) -> Run {
        let actions = self.actions_to(state);
        let world = self.system.play(&actions);
        let wrong = match self.system.judge(&world).swap_remove(at) {
            Some(Judgement::Fails(wrong)) => wrong,
            other => unreachable!("the search saw a failure where the replay sees {other:?}"),
        };
        Run { actions, repeats_from: None, wrong }
    }

    fn actions_to(&self, state: StateIndex) -> Vec<Action> {
        let (_, places) = self.exploration.run_to(state);
        self.system.actions_at(&places)
    }

    /// Every run ends, and where it ends nobody waits.
    fn end(&self, at: usize, property: &Property) -> (Verdict, Option<u32>) {
        let cut = self.exploration.cut;
        match (cut, shape(self.exploration)) {
            (_, Shape::Cyclic(cycle)) => (Verdict::Violated(self.lasso(&cycle)), None),
            (Some(cut), Shape::Acyclic { .. }) => (Verdict::Inconclusive(cut), None),
            (None, Shape::Acyclic { longest_run }) => {
                (self.verdict(at, property), Some(longest_run))
            }
        }
    }

    fn lasso(&self, cycle: &[StateIndex]) -> Run {
        let mut actions = self.actions_to(cycle[0]);
        let repeats_from = Some(actions.len());
        let mut world = self.system.play(&actions);
        for (at, state) in cycle.iter().enumerate() {
            let target = cycle[(at + 1) % cycle.len()];
            let successors = self.exploration.successors(*state);
            let place = successors.iter().position(|next| *next == target).unwrap_or(0);
            let mut enabled = Vec::new();
            self.system.actions(&world, &mut enabled);
            let action = enabled.swap_remove(place);
            world.act(self.system.setting(), &action);
            actions.push(action);
        }
        let wrong = "the last steps can repeat for ever".to_owned();
        Run { actions, repeats_from, wrong }
    }
}

impl System {
    /// The state after a run from the first one.
    pub fn play(&self, actions: &[Action]) -> crate::world::World {
        let mut world = self.init().clone();
        for action in actions {
            world.act(self.setting(), action);
        }
        world
    }

    /// The actions at these places among those of each state of a run.
    fn actions_at(&self, places: &[u16]) -> Vec<Action> {
        let mut world = self.init().clone();
        let mut run = Vec::with_capacity(places.len());
        for place in places {
            let mut enabled = Vec::new();
            self.actions(&world, &mut enabled);
            let action = enabled.swap_remove(usize::from(*place));
            world.act(self.setting(), &action);
            run.push(action);
        }
        run
    }
}
