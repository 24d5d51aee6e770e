//! A check: a scenario's whole world explored, and a verdict for each property.
//!
//! A verdict never says more than was looked at. "Proved" is said only of a complete search in
//! which the property had something to say; a property that was idle throughout is vacuous, and one
//! that held in a search that was cut short holds within that limit.

pub mod blackout;
mod canonical;
pub mod certificate;
pub mod checkpoint;
pub mod evaluate;
mod liveness;
pub mod packed;

use crate::check::blackout::{Blackouts, blackouts};
use crate::check::packed::{Packed, PackedSystem};
use crate::properties::{Judgement, Kind as PropertyKind, PROPERTIES, Property, Scope};
use crate::scenario::Scenario;
use crate::state::State;
use crate::state::action::{Action, Kind};
use crate::state::system::System;
use handoff_checker::graph::{Cycles, Graph, cycles, inevitable};
use handoff_checker::search::{Exploration, Limits, Observer, StateIndex, StopReason, explore};
use handoff_model::vm::launch::LaunchError;
use stateright::Model;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// What a check says of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds in every state that can be reached, and could have failed in some.
    Proved,
    /// It holds in every state that was reached before the search was cut short.
    HoldsWithin(StopReason),
    /// It fails, by a run with the fewest faults, and of those by a shortest.
    Violated(Run),
    /// It had nothing to say in any state.
    Vacuous,
    /// The search was cut short before it could be judged.
    Inconclusive(StopReason),
    /// It cannot be asked here; why.
    NotApplicable(&'static str),
}

/// A run that violates a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What happens, from the first state.
    pub actions: Vec<Action>,
    /// How many of them are faults: calls that fail, kills, a cancel.
    pub faults: u32,
    /// From which step on the rest repeats for ever.
    pub repeats_from: Option<usize>,
    /// Its steps of no return. `None` where that was not asked: of a search that was cut short, of
    /// a cycle, of a single step.
    pub point_of_no_return: Option<PointOfNoReturn>,
    /// What is wrong in the end.
    pub violation: String,
}

/// After how many steps of a run every way on violates the property: one step before, some way
/// would still have kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointOfNoReturn {
    /// Of all ways on.
    pub any_run: usize,
    /// Of those by which nothing more goes wrong.
    pub fault_free: usize,
}

impl Run {
    fn new(actions: Vec<Action>, repeats_from: Option<usize>, wrong: String) -> Self {
        let faults = actions.iter().map(|action| u32::from(action.is_fault())).sum();
        Self { actions, faults, repeats_from, point_of_no_return: None, violation: wrong }
    }
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
    /// The greatest number of steps by which a state is reached with the fewest faults.
    pub depth: u32,
    /// The steps of the longest run, where every run ends.
    pub longest_run: Option<u32>,
    /// What the scenario allows and never happens in any state: it proves nothing about that.
    pub never_happens: Vec<&'static str>,
    /// The worst blackouts, where the search is complete and every run ends.
    pub blackouts: Option<Blackouts>,
    /// What cut the search short; `None`: it is exhaustive.
    pub stopped_by: Option<StopReason>,
    /// The run in which the protocol, the kernel or a property panicked, where one did.
    pub panic: Option<Run>,
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
        let is_partial = self.stopped_by.is_some() || !self.never_happens.is_empty();
        is_partial || self.verdicts.iter().any(|(_, verdict)| open(verdict))
    }
}

/// Checks a scenario.
pub fn check(scenario: &Scenario, limits: Limits) -> Result<Report, LaunchError> {
    check_with(scenario, limits, |_, _| ()).map(|(report, ())| report)
}

/// Checks a scenario, and has a look at what was reached.
pub fn check_with<T>(
    scenario: &Scenario,
    limits: Limits,
    look: impl FnOnce(&Report, &Exploration<Packed>) -> T,
) -> Result<(Report, T), LaunchError> {
    let search = |packed: &PackedSystem<'_>| Ok(explore(packed, packed, limits));
    check_system(&System::new(scenario)?, &scenario.name, limits.threads, search, look)
}

/// Checks a scenario that is set up, with a search of one's own: [`explore`], or one in several
/// runs. Fails as that does.
pub fn check_system<T, E>(
    system: &System,
    name: &str,
    threads: NonZeroUsize,
    search: impl FnOnce(&PackedSystem<'_>) -> Result<Exploration<Packed>, E>,
    look: impl FnOnce(&Report, &Exploration<Packed>) -> T,
) -> Result<(Report, T), E> {
    let started = Instant::now();
    let packed = PackedSystem::new(system);
    let exploration = search(&packed)?;
    // Every action is followed once more for the graph, also one that panicked.
    let is_sound = exploration.panic.is_none();
    let graph =
        is_sound.then(|| Graph::of(&packed, &exploration, threads, |action| action.kind() as u8));
    let graph = graph.as_ref();
    let cycles = graph.map(cycles);
    let judged = Judged { system, packed: &packed, exploration: &exploration, graph, cycles };
    let longest_run = judged.longest_run();
    let verdict = |(at, property): (usize, &'static Property)| {
        let verdict = match property.kind {
            PropertyKind::Invariant(_) => judged.verdict(at, property),
            PropertyKind::Action(_) | PropertyKind::Refinement => judged.steps(at, property),
            PropertyKind::Termination => judged.ends(at, property),
            PropertyKind::Possibility(_) => judged.frees(at, property),
        };
        (property, verdict)
    };
    let verdicts = PROPERTIES.iter().enumerate().map(verdict).collect();
    let report = Report {
        scenario: name.to_owned(),
        states: exploration.states(),
        transitions: exploration.transitions,
        depth: exploration.depth,
        longest_run,
        never_happens: judged.never(),
        blackouts: judged.blackouts(),
        stopped_by: exploration.cut,
        panic: judged.panic(),
        verdicts,
        time: started.elapsed(),
    };
    let seen = look(&report, &exploration);
    Ok((report, seen))
}

/// A search that is being judged.
struct Judged<'a> {
    system: &'a System,
    packed: &'a PackedSystem<'a>,
    exploration: &'a Exploration<Packed>,
    /// None of a model that panics.
    graph: Option<&'a Graph>,
    cycles: Option<Cycles>,
}

impl Judged<'_> {
    fn verdict(&self, at: usize, property: &Property) -> Verdict {
        if !self.is_asked(property.scope) {
            return Verdict::NotApplicable(property.scope.describe());
        }
        if let Some(state) = self.exploration.bad[at] {
            let (states, actions) = self.first_run(state, |state| self.is_bad(at, state));
            let no_return = self.no_return(at, &states);
            return Verdict::Violated(Run {
                point_of_no_return: no_return,
                ..self.run(at, actions)
            });
        }
        match (self.exploration.good[at], self.exploration.cut) {
            (0, None) => Verdict::Vacuous,
            (0, Some(cut)) => Verdict::Inconclusive(cut),
            (_, None) => Verdict::Proved,
            (_, Some(cut)) => Verdict::HoldsWithin(cut),
        }
    }

    fn is_asked(&self, scope: Scope) -> bool {
        self.system.applies(scope)
    }

    fn is_bad(&self, at: usize, state: StateIndex) -> bool {
        self.packed.state(self.exploration.state(state)).violation >> at & 1 == 1
    }

    /// Of the cheapest runs to a goal, of which `goal` is one, the first: its states and its
    /// actions.
    fn first_run(
        &self,
        goal: StateIndex,
        is_goal: impl Fn(StateIndex) -> bool,
    ) -> (Vec<StateIndex>, Vec<Action>) {
        let (states, places) = match self.graph.filter(|_| self.exploration.cut.is_none()) {
            Some(graph) => {
                let is_open = undisturbed(graph);
                let is_fault = |state, place| !is_open(state, place);
                canonical::first_run(self.exploration, graph, goal, is_goal, is_fault)
            }
            None => (Vec::new(), self.exploration.run_to(goal).1),
        };
        (states, self.system.actions_at(&places))
    }

    /// A run, and what the property says in its end.
    fn run(&self, at: usize, actions: Vec<Action>) -> Run {
        let world = self.system.play(&actions);
        let wrong = match self.system.judge(&world).swap_remove(at) {
            Some(Judgement::Fails(wrong)) => wrong,
            other => unreachable!("the search saw a failure where the replay sees {other:?}"),
        };
        Run::new(actions, None, wrong)
    }

    /// Of the run through these states.
    fn no_return(&self, at: usize, steps: &[StateIndex]) -> Option<PointOfNoReturn> {
        let graph = self.graph.filter(|_| self.exploration.cut.is_none())?;
        let bad: Vec<bool> =
            (0..self.exploration.states()).map(|state| self.is_bad(at, state)).collect();
        // A fault on the way can save a state from which nothing else would have: the last step out
        // of it counts.
        let lost_from = |inevitable: Vec<bool>| {
            steps.iter().rposition(|state| !inevitable[*state as usize]).map_or(0, |last| last + 1)
        };
        Some(PointOfNoReturn {
            any_run: lost_from(inevitable(graph, bad.clone(), |_, _| true)),
            fault_free: lost_from(inevitable(graph, bad, undisturbed(graph))),
        })
    }

    fn actions_to(&self, state: StateIndex) -> Vec<Action> {
        self.first_run(state, |other| other == state).1
    }

    fn never(&self) -> Vec<&'static str> {
        let expected = self.system.init().expected(self.system.constants()).into_iter();
        let never = expected.filter(|kind| self.exploration.taken[*kind as usize] == 0);
        never.filter(|_| self.exploration.cut.is_none()).map(Kind::describe).collect()
    }

    fn blackouts(&self) -> Option<Blackouts> {
        let graph = self.graph.filter(|_| self.exploration.cut.is_none())?;
        blackouts(self.packed, self.exploration, graph)
    }

    /// The run to a panic, with the action that panicked.
    fn panic(&self) -> Option<Run> {
        let panic = self.exploration.panic.as_ref()?;
        let mut actions = self.actions_to(panic.state);
        if let Some(place) = panic.action {
            let mut enabled = Vec::new();
            self.packed.actions(self.exploration.state(panic.state), &mut enabled);
            actions.push(enabled.swap_remove(usize::from(place)));
        }
        Some(Run::new(actions, None, format!("a panic: {}", panic.message)))
    }
}

/// Which transitions are no faults.
fn undisturbed(graph: &Graph) -> impl Fn(StateIndex, usize) -> bool {
    let faults = Kind::ALL.map(Kind::is_fault);
    move |state, place| !faults[usize::from(graph.labels(state)[place])]
}

impl System {
    /// The state after a run from the first one.
    pub fn play(&self, actions: &[Action]) -> State {
        let mut world = self.init().clone();
        for action in actions {
            world.act(self.constants(), action);
        }
        world
    }

    /// The actions at these places among those of each state of a run.
    pub(crate) fn actions_at(&self, places: &[u16]) -> Vec<Action> {
        let mut world = self.init().clone();
        let mut run = Vec::with_capacity(places.len());
        for place in places {
            let mut enabled = Vec::new();
            self.actions(&world, &mut enabled);
            let action = enabled.swap_remove(usize::from(*place));
            world.act(self.constants(), &action);
            run.push(action);
        }
        run
    }
}
