//! Runs that go on for ever although the scheduler is fair.
//!
//! The question is whether a run can go on for ever without ever coming to a goal. On a finite
//! graph such a run goes round: from some point on it visits some states and takes some transitions
//! again and again, and no others. What a scheduler owes is said for each class of actions
//! ([`Fairness`]); a class is *enabled* in a state that has a transition of it, wherever that
//! leads. The run is fair when
//! * of each weakly fair class it takes a transition again and again, or is again and again where
//!   the class is disabled;
//! * of each strongly fair class it takes a transition again and again, or is from some point on
//!   never where it is enabled.
//!
//! Exact, for weak and strong classes together (Emerson and Lei 1987; Streett automata): such a run
//! stays in a strongly connected part. A part in which a weakly fair class is enabled everywhere
//! and never taken has none, and neither have its subsets. One in which a strongly fair class is
//! enabled somewhere and never taken can only be gone round outside of those states: they are taken
//! out, and what is left is asked again. If neither is so, a walk through all of the part is fair.
//!
//! What goes round is a transition, also one from a state to itself, which counts as taken. A run
//! that *ends* does not go round: no stuttering is added to it. An end that is no goal is found by
//! [`crate::graph::first_trapped`], as is a state that leads only there.
//!
//! Graphs are as large as searches, so the parts are found on the compressed graph itself: by
//! Tarjan's algorithm, with a stack of its own, in 12 bytes a state and what the stack takes.

mod scc;

use crate::graph::Graph;
use crate::search::StateIndex;
use scc::Regions;
use std::collections::VecDeque;

/// What a scheduler owes a class of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fairness {
    /// Nothing.
    Free,
    /// What stays enabled is taken some time.
    Weak,
    /// What is enabled again and again is taken some time.
    Strong,
}

/// A transition: a state, and a place among those of it.
pub type Step = (StateIndex, usize);

/// A run that goes round for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasso {
    /// From where the run begins to where it goes round.
    pub prefix: Vec<Step>,
    /// What repeats: each transition leads to the state of the next one, and the last to that of
    /// the first.
    pub cycle: Vec<Step>,
}

/// The classes of fairness, by label: at most 64.
#[derive(Clone, Copy, Debug)]
struct Owed<'a>(&'a [Fairness]);

impl Owed<'_> {
    fn of(self, owed: Fairness) -> u64 {
        let classes = self.0.iter().enumerate().filter(|(_, fairness)| **fairness == owed);
        classes.fold(0, |set, (class, _)| set | 1 << class)
    }
}

/// A fair run from one of the states `from` that goes on for ever and never comes to a goal;
/// `None`: there is none. `fairness` is by the labels of transitions. The run goes round where that
/// is reached soonest.
pub fn fair_run(
    graph: &Graph,
    from: &[StateIndex],
    goals: &[bool],
    fairness: &[Fairness],
) -> Option<Lasso> {
    assert!(fairness.len() <= 64, "{} classes of actions", fairness.len());
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
        || from.iter().copied().find(|state| is_inside(*state)).expect("it is there at once"),
        |(state, place)| graph.successors(*state)[*place],
    );
    let cycle = Round { graph, inside: &inside, first, steps: Vec::new() }.walked(fairness);
    debug_assert!(starved(graph, &cycle, fairness).is_empty(), "the cycle is fair");
    Some(Lasso { prefix, cycle })
}

/// The classes to which a scheduler that repeats a cycle for ever is not fair.
pub fn starved(graph: &Graph, cycle: &[Step], fairness: &[Fairness]) -> Vec<usize> {
    let enabled = cycle.iter().map(|(state, _)| labels(graph, *state));
    let (all, any) = enabled.fold((u64::MAX, 0), |(all, any), here| (all & here, any | here));
    let taken = cycle.iter().fold(0, |set, (state, place)| set | 1 << graph.labels(*state)[*place]);
    let owed = Owed(fairness);
    let starved = (owed.of(Fairness::Weak) & all | owed.of(Fairness::Strong) & any) & !taken;
    (0..fairness.len()).filter(|class| starved >> class & 1 == 1).collect()
}

/// The classes that are enabled in a state.
fn labels(graph: &Graph, state: StateIndex) -> u64 {
    graph.labels(state).iter().fold(0, |set, label| set | 1 << label)
}

/// The states that are reached from some by ways on which each state `may` be.
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

/// Of all parts of a region that have a fair cycle through all of them, the one with the lowest
/// state.
fn fair_part(graph: &Graph, region: Vec<StateIndex>, owed: Owed<'_>) -> Option<Vec<StateIndex>> {
    let mut regions = Regions::new(graph);
    let mut best: Option<Vec<StateIndex>> = None;
    let mut left = vec![region];
    while let Some(region) = left.pop() {
        for part in regions.components(&region) {
            regions.set_apart(&part);
            let is_lower = best.as_ref().is_none_or(|best| part.iter().min() < best.iter().min());
            match judge(graph, &regions, &part, owed) {
                Judged::Fair if is_lower => best = Some(part),
                Judged::Fair | Judged::Unfair => {}
                Judged::Outside(states) => left.push(states),
            }
        }
    }
    best
}

/// What a strongly connected part has.
enum Judged {
    /// A walk through all of it is fair.
    Fair,
    /// No run that stays in it is fair.
    Unfair,
    /// A fair run that stays in it stays within these states.
    Outside(Vec<StateIndex>),
}

/// Asks a part that is a region of its own.
fn judge(graph: &Graph, regions: &Regions<'_>, part: &[StateIndex], owed: Owed<'_>) -> Judged {
    let (mut all, mut any, mut taken) = (u64::MAX, 0, 0u64);
    for state in part {
        let enabled = labels(graph, *state);
        (all, any) = (all & enabled, any | enabled);
        let steps = graph.successors(*state).iter().zip(graph.labels(*state));
        let inner = steps.filter(|(target, _)| regions.is_together(*state, **target));
        inner.for_each(|(_, label)| taken |= 1 << label);
    }
    if owed.of(Fairness::Weak) & all & !taken != 0 {
        return Judged::Unfair;
    }
    match owed.of(Fairness::Strong) & any & !taken {
        0 => Judged::Fair,
        never => {
            let is_left = |state: &StateIndex| labels(graph, *state) & never == 0;
            Judged::Outside(part.iter().copied().filter(is_left).collect())
        }
    }
}

/// A walk in a fair part, from a state of it and back, on which no class is starved.
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

    /// Takes a transition of a class or comes to a state that excuses from it, unless it did. A
    /// part that is fair to a class without either is one in which that class is never enabled.
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

    /// Where the walk is.
    fn at(&self) -> StateIndex {
        self.steps.last().map_or(self.first, |step| self.target(*step))
    }

    fn target(&self, (state, place): Step) -> StateIndex {
        self.graph.successors(state)[place]
    }

    /// A transition of a state within the part.
    fn step(&self, state: StateIndex, is_wanted: impl Fn(&Self, Step) -> bool) -> Option<Step> {
        let steps = (0..self.graph.successors(state).len()).map(|place| (state, place));
        let mut inner = steps.filter(|step| self.inside[self.target(*step) as usize]);
        inner.find(|step| is_wanted(self, *step))
    }

    /// Walks on to the nearest state that is wanted; → whether there is one.
    fn go(&mut self, is_wanted: impl Fn(&Self, StateIndex) -> bool) -> bool {
        let may = |state: StateIndex| self.inside[state as usize];
        let way = walk(self.graph, &[self.at()], may, |state| is_wanted(self, state));
        let is_there = way.is_some();
        self.steps.extend(way.into_iter().flatten());
        is_there
    }
}

/// A shortest walk from one of some states to one that is `wanted`, through states in which it
/// `may` be.
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
            let mut way: Vec<_> = std::iter::successors(before[state as usize], back).collect();
            way.reverse();
            return Some(way);
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
