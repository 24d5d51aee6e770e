//! A check: it explores the state space of a scenario and gives a verdict for each property.
//!
//! A verdict never claims more than was explored. *Proved* requires an exhaustive search in which
//! the property could have failed in some state. A property that is not applicable in any state is
//! vacuous, and one that held in an interrupted search holds within that limit.
//!
//! | module | contents |
//! |---|---|
//! | [`packed`] | the state space as the search sees it: states in twenty bytes |
//! | [`evaluate`] | the one evaluator of all kinds of properties, on states and transitions |
//! | `liveness` | termination, action properties, `AG EF`: verdicts from the graph of all states |
//! | `canonical` | the choice of a counterexample among the cheapest runs |
//! | [`blackout`] | the worst-case blackout in kernel calls |
//! | [`certificate`] | proofs that an independent checker verifies |
//! | [`checkpoint`] | interrupted checks in files |

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

/// The verdict on a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The property holds in every reachable state, and could have failed in some.
    Proved,
    /// The property holds in every state that was reached before the search was interrupted.
    HoldsWithin(StopReason),
    /// The property fails. The run has the fewest faults, and of those the fewest steps.
    Violated(Run),
    /// The property was not applicable in any state.
    Vacuous,
    /// The search was interrupted before the property could be evaluated.
    Inconclusive(StopReason),
    /// The property does not apply to this scenario, for this reason.
    NotApplicable(&'static str),
}

/// A run that violates a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The actions, from the initial state.
    pub actions: Vec<Action>,
    /// Number of faults among them: failing calls, kills, a cancellation.
    pub faults: u32,
    /// The index of the first step of the cycle, if the run is infinite.
    pub repeats_from: Option<usize>,
    /// The run's points of no return. `None` if they were not computed: for an interrupted search,
    /// a cycle, or a single step.
    pub point_of_no_return: Option<PointOfNoReturn>,
    /// The violation in the last state or step.
    pub violation: String,
}

/// Number of steps after which the violation is inevitable: one step earlier, some continuation
/// would still have satisfied the property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointOfNoReturn {
    /// For all continuations.
    pub any_run: usize,
    /// For fault-free continuations.
    pub fault_free: usize,
}

impl Run {
    fn new(actions: Vec<Action>, repeats_from: Option<usize>, violation: String) -> Self {
        let faults = actions.iter().map(|action| u32::from(action.is_fault())).sum();
        Self { actions, faults, repeats_from, point_of_no_return: None, violation }
    }
}

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// The name of the scenario.
    pub scenario: String,
    /// Number of reachable states.
    pub states: u32,
    /// Number of transitions.
    pub transitions: u64,
    /// Length in steps of the longest of the cheapest runs.
    pub depth: u32,
    /// Length in steps of the longest run, if every run ends.
    pub longest_run: Option<u32>,
    /// Kinds of actions that the scenario enables and that never happen: the check proves nothing
    /// about them.
    pub never_happens: Vec<&'static str>,
    /// The worst-case blackouts, if the search is exhaustive and every run ends.
    pub blackouts: Option<Blackouts>,
    /// The reason why the search is incomplete; `None` if it is exhaustive.
    pub stopped_by: Option<StopReason>,
    /// The run in which the protocol, the kernel or a property panicked, if one did.
    pub panic: Option<Run>,
    /// Duration of the check.
    pub time: Duration,
    /// The verdicts on [`PROPERTIES`], in their order.
    pub verdicts: Vec<(&'static Property, Verdict)>,
}

impl Report {
    /// Returns the violated properties.
    pub fn violations(&self) -> impl Iterator<Item = (&'static Property, &Run)> {
        self.verdicts.iter().filter_map(|(property, verdict)| match verdict {
            Verdict::Violated(run) => Some((*property, run)),
            _ => None,
        })
    }

    /// Returns true if any verdict is open, or the search was incomplete.
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

/// Checks a scenario, and passes the exploration to `look`.
pub fn check_with<T>(
    scenario: &Scenario,
    limits: Limits,
    look: impl FnOnce(&Report, &Exploration<Packed>) -> T,
) -> Result<(Report, T), LaunchError> {
    let search = |packed: &PackedSystem<'_>| Ok(explore(packed, packed, limits));
    check_system(&System::new(scenario)?, &scenario.name, limits.threads, search, look)
}

/// Checks a scenario that is set up, with the given search: [`explore`], or one in several runs.
///
/// # Errors
/// Those of `search`.
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
    // The graph executes every action again, including one that panicked.
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
        never_happens: judged.never_happens(),
        blackouts: judged.blackouts(),
        stopped_by: exploration.cut,
        panic: judged.panic(),
        verdicts,
        time: started.elapsed(),
    };
    let seen = look(&report, &exploration);
    Ok((report, seen))
}

/// A search under evaluation.
struct Judged<'a> {
    system: &'a System,
    packed: &'a PackedSystem<'a>,
    exploration: &'a Exploration<Packed>,
    /// `None` if the model panicked.
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

    /// Returns the canonical one of the cheapest runs to a goal (`goal` is one of the goals): its
    /// states and its actions.
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

    /// Returns the run with the property's violation in its last state.
    fn run(&self, at: usize, actions: Vec<Action>) -> Run {
        let state = self.system.play(&actions);
        let violation = match self.system.judge(&state).swap_remove(at) {
            Some(Judgement::Fails(violation)) => violation,
            other => unreachable!("the search saw a failure where the replay sees {other:?}"),
        };
        Run::new(actions, None, violation)
    }

    /// Returns the points of no return of the run through these states.
    fn no_return(&self, at: usize, steps: &[StateIndex]) -> Option<PointOfNoReturn> {
        let graph = self.graph.filter(|_| self.exploration.cut.is_none())?;
        let bad: Vec<bool> =
            (0..self.exploration.states()).map(|state| self.is_bad(at, state)).collect();
        // A fault can lead out of a state from which no other continuation would: the last such
        // step counts.
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

    fn never_happens(&self) -> Vec<&'static str> {
        let expected = self.system.init().expected(self.system.constants()).into_iter();
        let never = expected.filter(|kind| self.exploration.taken[*kind as usize] == 0);
        never.filter(|_| self.exploration.cut.is_none()).map(Kind::describe).collect()
    }

    fn blackouts(&self) -> Option<Blackouts> {
        let graph = self.graph.filter(|_| self.exploration.cut.is_none())?;
        blackouts(self.packed, self.exploration, graph)
    }

    /// Returns the run to a panic, including the action that panicked.
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

/// Returns a predicate that is true for transitions that are no faults.
fn undisturbed(graph: &Graph) -> impl Fn(StateIndex, usize) -> bool {
    let faults = Kind::ALL.map(Kind::is_fault);
    move |state, place| !faults[usize::from(graph.labels(state)[place])]
}

impl System {
    /// Returns the last state of a run from the initial state.
    pub fn play(&self, actions: &[Action]) -> State {
        let mut state = self.init().clone();
        for action in actions {
            state.act(self.constants(), action);
        }
        state
    }

    /// Returns the actions of a run, from the index of each among those of its state.
    pub(crate) fn actions_at(&self, places: &[u16]) -> Vec<Action> {
        let mut state = self.init().clone();
        let mut run = Vec::with_capacity(places.len());
        for place in places {
            let mut enabled = Vec::new();
            self.actions(&state, &mut enabled);
            let action = enabled.swap_remove(usize::from(*place));
            state.act(self.constants(), &action);
            run.push(action);
        }
        run
    }
}
