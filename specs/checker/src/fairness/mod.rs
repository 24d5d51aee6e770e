//! Infinite runs of a fair scheduler that never reach a goal.
//!
//! On a finite graph an infinite run has a suffix that visits some states and takes some
//! transitions infinitely often, and no others. The scheduler's obligations are given for each
//! class of actions ([`Fairness`]); a class is *enabled* in a state that has a transition of it,
//! wherever that leads. A run is fair if
//! * for each weakly fair class it takes a transition of it infinitely often, or is infinitely
//!   often in states where the class is disabled;
//! * for each strongly fair class it takes a transition of it infinitely often, or from some point
//!   on visits no state where the class is enabled.
//!
//! The algorithm is exact, for weak and strong classes together (Emerson and Lei 1987; Streett
//! automata). The suffix of a run stays in a strongly connected component (SCC). If a weakly fair
//! class is enabled everywhere in an SCC and never taken, no fair run stays in the SCC or in a
//! subset. If a strongly fair class is enabled somewhere and never taken, a fair run must avoid the
//! states where it is enabled: they are removed, and the rest is decomposed again. Otherwise a
//! cycle through all of the SCC is fair.
//!
//! A self-loop is a transition and counts as taken. A *finite* run has no infinite suffix: no
//! stuttering is added to it. [`crate::graph::first_trapped`] finds a terminal state that is no
//! goal, and states that lead only there.
//!
//! `graph::cyclic_components` finds the components iteratively: a recursive search would overflow
//! the stack on long runs.

mod scc;

use crate::graph::Graph;
use crate::search::StateIndex;
use scc::Regions;
use std::collections::VecDeque;

/// The scheduler's obligation towards a class of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fairness {
    /// No obligation.
    Free,
    /// A class that stays enabled is eventually taken.
    Weak,
    /// A class that is enabled infinitely often is eventually taken.
    Strong,
}

/// A transition: a state, and the index among its transitions.
pub type Step = (StateIndex, usize);

/// An infinite run: a finite prefix, then a cycle that repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasso {
    /// The steps from the beginning to the cycle.
    pub prefix: Vec<Step>,
    /// The steps that repeat: each leads to the state of the next one, and the last to that of the
    /// first.
    pub cycle: Vec<Step>,
}

/// The fairness of each class, by label: at most 64.
#[derive(Clone, Copy, Debug)]
struct Owed<'a>(&'a [Fairness]);

impl Owed<'_> {
    fn of(self, owed: Fairness) -> u64 {
        let classes = self.0.iter().enumerate().filter(|(_, fairness)| **fairness == owed);
        classes.fold(0, |set, (class, _)| set | 1 << class)
    }
}

/// Returns a fair infinite run from one of the states `from` that never reaches a goal; `None` if
/// no such run exists. `fairness` is indexed by the labels of transitions. The cycle is in the fair
/// component with the lowest state; the prefix is a shortest one to it.
///
/// # Panics
/// If there are more than 64 classes.
pub fn fair_run(
    graph: &Graph,
    from: &[StateIndex],
    goals: &[bool],
    fairness: &[Fairness],
) -> Option<Lasso> {
    assert!(fairness.len() <= 64, "{} classes of actions, at most 64", fairness.len());
    let is_no_goal = |state: StateIndex| !goals[state as usize];
    let from: Vec<_> = from.iter().copied().filter(|state| is_no_goal(*state)).collect();
    let part = fair_part(graph, reached(graph, &from, is_no_goal), Owed(fairness))?;
    let mut inside = vec![false; graph.states() as usize];
    for state in &part {
        inside[*state as usize] = true;
    }
    let is_inside = |state: StateIndex| inside[state as usize];
    let prefix = walk(graph, &from, is_no_goal, is_inside)?;
    let first = prefix.last().map_or_else(
        || from.iter().copied().find(|state| is_inside(*state)).expect("one is inside"),
        |(state, place)| graph.successors(*state)[*place],
    );
    let cycle = Round { graph, inside: &inside, first, steps: Vec::new() }.walked(fairness);
    debug_assert!(starved(graph, &cycle, fairness).is_empty(), "the cycle is fair");
    Some(Lasso { prefix, cycle })
}

/// Returns the classes towards which a scheduler that repeats this cycle for ever is unfair.
pub fn starved(graph: &Graph, cycle: &[Step], fairness: &[Fairness]) -> Vec<usize> {
    let enabled = cycle.iter().map(|(state, _)| labels(graph, *state));
    let (all, any) = enabled.fold((u64::MAX, 0), |(all, any), here| (all & here, any | here));
    let taken = cycle.iter().fold(0, |set, (state, place)| set | 1 << graph.labels(*state)[*place]);
    let owed = Owed(fairness);
    let starved = (owed.of(Fairness::Weak) & all | owed.of(Fairness::Strong) & any) & !taken;
    (0..fairness.len()).filter(|class| starved >> class & 1 == 1).collect()
}

/// Returns the classes that are enabled in a state, as bits.
fn labels(graph: &Graph, state: StateIndex) -> u64 {
    graph.labels(state).iter().fold(0, |set, label| set | 1 << label)
}

/// Returns the states that are reachable from `from` through states for which `may` is true.
fn reached(
    graph: &Graph,
    from: &[StateIndex],
    may: impl Fn(StateIndex) -> bool,
) -> Vec<StateIndex> {
    let mut known = vec![false; graph.states() as usize];
    let mut found: Vec<StateIndex> = Vec::new();
    let mut at = 0;
    let mut next = from;
    loop {
        for state in next {
            if may(*state) && !std::mem::replace(&mut known[*state as usize], true) {
                found.push(*state);
            }
        }
        let Some(state) = found.get(at) else { return found };
        next = graph.successors(*state);
        at += 1;
    }
}

/// Returns the component of a region that has a fair cycle through all of it; of several, the one
/// with the lowest state.
fn fair_part(graph: &Graph, region: Vec<StateIndex>, owed: Owed<'_>) -> Option<Vec<StateIndex>> {
    let mut regions = Regions::new(graph);
    let mut best: Option<Vec<StateIndex>> = None;
    let mut left = vec![region];
    while let Some(region) = left.pop() {
        for part in regions.components(&region) {
            regions.set_apart(&part);
            let is_lower = best.as_ref().is_none_or(|best| part.iter().min() < best.iter().min());
            match classify(graph, &regions, &part, owed) {
                Verdict::Fair if is_lower => best = Some(part),
                Verdict::Fair | Verdict::Unfair => {}
                Verdict::Outside(states) => left.push(states),
            }
        }
    }
    best
}

/// The verdict on a strongly connected component.
enum Verdict {
    /// A cycle through all of it is fair.
    Fair,
    /// No run that stays in it is fair.
    Unfair,
    /// A fair run that stays in it stays within these states.
    Outside(Vec<StateIndex>),
}

/// Classifies a component that is a region of its own.
fn classify(graph: &Graph, regions: &Regions<'_>, part: &[StateIndex], owed: Owed<'_>) -> Verdict {
    let (mut all, mut any, mut taken) = (u64::MAX, 0, 0u64);
    for state in part {
        let enabled = labels(graph, *state);
        (all, any) = (all & enabled, any | enabled);
        let steps = graph.successors(*state).iter().zip(graph.labels(*state));
        let inner = steps.filter(|(target, _)| regions.is_together(*state, **target));
        inner.for_each(|(_, label)| taken |= 1 << label);
    }
    if owed.of(Fairness::Weak) & all & !taken != 0 {
        return Verdict::Unfair;
    }
    match owed.of(Fairness::Strong) & any & !taken {
        0 => Verdict::Fair,
        never => {
            let is_left = |state: &StateIndex| labels(graph, *state) & never == 0;
            Verdict::Outside(part.iter().copied().filter(is_left).collect())
        }
    }
}

/// A closed walk in a fair component on which no class is starved.
struct Round<'a> {
    graph: &'a Graph,
    inside: &'a [bool],
    first: StateIndex,
    steps: Vec<Step>,
}

impl Round<'_> {
    fn walked(mut self, fairness: &[Fairness]) -> Vec<Step> {
        for (class, owed) in fairness.iter().enumerate() {
            match owed {
                Fairness::Free => {}
                Fairness::Weak => self.serve(class, |round, state| !round.is_enabled(class, state)),
                Fairness::Strong => self.serve(class, |_, _| false),
            }
        }
        if self.steps.is_empty() || self.at() != self.first {
            let is_home = |round: &Self, step: Step| round.target(step) == round.first;
            self.go(|round, state| round.step(state, is_home).is_some());
            self.steps.extend(self.step(self.at(), is_home));
        }
        self.steps
    }

    /// Takes a transition of a class, or reaches a state that excuses from it, unless the walk
    /// already has one. In a fair component a class without either is enabled nowhere.
    fn serve(&mut self, class: usize, excuses: impl Fn(&Self, StateIndex) -> bool) {
        let is_of =
            |round: &Self, step: Step| usize::from(round.graph.labels(step.0)[step.1]) == class;
        let is_taken = self.steps.iter().any(|step| is_of(self, *step));
        let states = self.steps.iter().map(|(state, _)| *state).chain([self.first]);
        let is_excused = states.into_iter().any(|state| excuses(self, state));
        if is_taken || is_excused {
            return;
        }
        if self.go(|round, state| excuses(round, state) || round.step(state, is_of).is_some()) {
            let step = self.step(self.at(), is_of);
            self.steps.extend(step.filter(|(state, _)| !excuses(self, *state)));
        }
    }

    fn is_enabled(&self, class: usize, state: StateIndex) -> bool {
        labels(self.graph, state) >> class & 1 == 1
    }

    /// Returns the state where the walk is.
    fn at(&self) -> StateIndex {
        self.steps.last().map_or(self.first, |step| self.target(*step))
    }

    fn target(&self, (state, place): Step) -> StateIndex {
        self.graph.successors(state)[place]
    }

    /// Returns a transition of a state that stays in the component.
    fn step(&self, state: StateIndex, is_wanted: impl Fn(&Self, Step) -> bool) -> Option<Step> {
        let steps = (0..self.graph.successors(state).len()).map(|place| (state, place));
        let mut inner = steps.filter(|step| self.inside[self.target(*step) as usize]);
        inner.find(|step| is_wanted(self, *step))
    }

    /// Extends the walk to the nearest wanted state; returns false if there is none.
    fn go(&mut self, is_wanted: impl Fn(&Self, StateIndex) -> bool) -> bool {
        let may = |state: StateIndex| self.inside[state as usize];
        let path = walk(self.graph, &[self.at()], may, |state| is_wanted(self, state));
        let is_there = path.is_some();
        self.steps.extend(path.into_iter().flatten());
        is_there
    }
}

/// Returns a shortest walk from one of some states to a `wanted` one, through states for which
/// `may` is true.
fn walk(
    graph: &Graph,
    from: &[StateIndex],
    may: impl Fn(StateIndex) -> bool,
    wanted: impl Fn(StateIndex) -> bool,
) -> Option<Vec<Step>> {
    let mut before: Vec<Option<Step>> = vec![None; graph.states() as usize];
    let mut known = vec![false; before.len()];
    for state in from {
        known[*state as usize] = true;
    }
    let mut queue: VecDeque<_> = from.iter().copied().collect();
    while let Some(state) = queue.pop_front() {
        if wanted(state) {
            let back = |step: &Step| before[step.0 as usize];
            let mut path: Vec<_> = std::iter::successors(before[state as usize], back).collect();
            path.reverse();
            return Some(path);
        }
        for (place, target) in graph.successors(state).iter().enumerate() {
            if may(*target) && !std::mem::replace(&mut known[*target as usize], true) {
                before[*target as usize] = Some((state, place));
                queue.push_back(*target);
            }
        }
    }
    None
}
