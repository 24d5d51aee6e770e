//! What cannot be seen in a single state: cycles, the longest run, and where no way leads on.
//!
//! Judged on the graph of all states that a complete search has kept, not by an engine's
//! `eventually`. States without a cycle are peeled off in topological order (Kahn); what is left
//! has one, and only that part goes to petgraph, whose `kosaraju_scc` is iterative. Which of the
//! cycles a fair scheduler can follow is asked of [`crate::fairness`].

use crate::pool::in_parallel;
use crate::search::{Exploration, StateIndex};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;
use stateright::Model;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::num::NonZeroUsize;

/// So many states are followed at once.
const CHUNK: StateIndex = 4096;

/// The states that an exploration has found, with every transition between them.
#[derive(Debug)]
pub struct Graph {
    /// Where each state's successors begin in `targets`; one more at the end.
    offsets: Vec<usize>,
    targets: Vec<StateIndex>,
    /// Of each transition.
    labels: Vec<u8>,
}

impl Graph {
    /// Follows every action once more, on so many threads. Successors that a cut left unknown are
    /// left out. The label of a transition says what sort of action made it.
    pub fn of<M>(
        model: &M,
        exploration: &Exploration<M::State>,
        threads: NonZeroUsize,
        label: impl Fn(&M::Action) -> u8 + Sync,
    ) -> Self
    where
        M: Model + Sync,
        M::State: Clone + Eq + Hash + Send + Sync,
    {
        let starts = (0..exploration.states()).step_by(CHUNK as usize).collect();
        let parts = in_parallel(threads, starts, |first: StateIndex| {
            let states = first..exploration.states().min(first + CHUNK);
            let mut part = Self { offsets: Vec::new(), targets: Vec::new(), labels: Vec::new() };
            states.for_each(|state| part.add(model, exploration, state, &label));
            part
        });
        let mut graph = Self { offsets: vec![0], targets: Vec::new(), labels: Vec::new() };
        for part in parts {
            let before = graph.targets.len();
            graph.offsets.extend(part.offsets.into_iter().map(|end| before + end));
            graph.targets.extend(part.targets);
            graph.labels.extend(part.labels);
        }
        graph
    }

    fn add<M: Model>(
        &mut self,
        model: &M,
        exploration: &Exploration<M::State>,
        state: StateIndex,
        label: impl Fn(&M::Action) -> u8,
    ) where
        M::State: Clone + Eq + Hash + Send + Sync,
    {
        let (state, mut actions) = (exploration.state(state), Vec::new());
        if model.within_boundary(state) {
            model.actions(state, &mut actions);
        }
        for action in actions {
            let label = label(&action);
            let next = model.next_state(state, action);
            if let Some(target) = next.and_then(|next| exploration.find(&next)) {
                self.targets.push(target);
                self.labels.push(label);
            }
        }
        self.offsets.push(self.targets.len());
    }

    /// How many states there are.
    pub fn states(&self) -> u32 {
        StateIndex::try_from(self.offsets.len() - 1).expect("states are numbered by u32")
    }

    /// The states that a state leads to.
    pub fn successors(&self, state: StateIndex) -> &[StateIndex] {
        &self.targets[self.offsets[state as usize]..self.offsets[state as usize + 1]]
    }

    /// The labels of the transitions to them, in the same order.
    pub fn labels(&self, state: StateIndex) -> &[u8] {
        &self.labels[self.offsets[state as usize]..self.offsets[state as usize + 1]]
    }

    /// Every transition: from where, at which place there, and to where.
    fn transitions(&self) -> impl Iterator<Item = (StateIndex, usize, StateIndex)> {
        (0..self.states()).flat_map(|state| {
            let targets = self.successors(state).iter().enumerate();
            targets.map(move |(place, target)| (state, place, *target))
        })
    }

    /// The transitions that are `open`, each the other way round, without labels.
    fn reversed(&self, open: impl Fn(StateIndex, usize) -> bool) -> Self {
        let open = |(state, place, _): &(StateIndex, usize, StateIndex)| open(*state, *place);
        let mut offsets = vec![0; self.offsets.len()];
        self.transitions().filter(open).for_each(|(.., target)| offsets[target as usize + 1] += 1);
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut free = offsets.clone();
        let mut targets = vec![0; offsets[offsets.len() - 1]];
        for (state, _, target) in self.transitions().filter(open) {
            targets[free[target as usize]] = state;
            free[target as usize] += 1;
        }
        Self { offsets, targets, labels: Vec::new() }
    }
}

/// What the graph says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cycles {
    /// No run goes on for ever; the longest has so many steps.
    Acyclic {
        /// Steps of the longest run.
        longest_run: u32,
    },
    /// A run can go round for ever: the states of a shortest real cycle through its first one,
    /// which is the cyclic state that is reached soonest.
    Cyclic(Vec<StateIndex>),
}

/// Looks for cycles. A complete exploration is needed for the answer to mean anything.
pub fn cycles(graph: &Graph) -> Cycles {
    match in_order(graph) {
        Ok(order) => {
            let longest = longest_path(graph, &order, |_, _| Some(1));
            Cycles::Acyclic { longest_run: longest.weight }
        }
        Err(incoming) => Cycles::Cyclic(cycle(graph, &incoming)),
    }
}

/// The states, each before those that it leads to; where there are cycles, how many transitions
/// lead to each state from one that is on a cycle or behind one.
pub fn in_order(graph: &Graph) -> Result<Vec<StateIndex>, Vec<u32>> {
    let mut incoming = vec![0u32; graph.states() as usize];
    for target in &graph.targets {
        incoming[*target as usize] += 1;
    }
    let mut order: Vec<StateIndex> =
        (0..graph.states()).filter(|state| incoming[*state as usize] == 0).collect();
    let mut at = 0;
    while let Some(state) = order.get(at) {
        for target in graph.successors(*state) {
            incoming[*target as usize] -= 1;
            if incoming[*target as usize] == 0 {
                order.push(*target);
            }
        }
        at += 1;
    }
    if order.len() == incoming.len() { Ok(order) } else { Err(incoming) }
}

/// From which states every run comes to a bad one: the bad ones, and those of which every
/// transition leads to such a state. Of transitions, by a state and the place, only those count
/// that are `open`.
pub fn inevitable(
    graph: &Graph,
    bad: Vec<bool>,
    open: impl Fn(StateIndex, usize) -> bool,
) -> Vec<bool> {
    let mut inevitable = bad;
    let before = graph.reversed(&open);
    let mut ways_out = vec![0u32; inevitable.len()];
    for state in &before.targets {
        ways_out[*state as usize] += 1;
    }
    let mut found: Vec<StateIndex> =
        (0..graph.states()).filter(|state| inevitable[*state as usize]).collect();
    while let Some(state) = found.pop() {
        for earlier in before.successors(state).iter().copied() {
            ways_out[earlier as usize] -= 1;
            if ways_out[earlier as usize] == 0 && !inevitable[earlier as usize] {
                inevitable[earlier as usize] = true;
                found.push(earlier);
            }
        }
    }
    inevitable
}

/// The first state from which no way leads to a goal: `AG EF goal` fails there, and it holds where
/// there is none. Only transitions that are `open` lead anywhere. An end that is no goal is such a
/// state, too.
pub fn first_trapped(
    graph: &Graph,
    goals: Vec<bool>,
    open: impl Fn(StateIndex, usize) -> bool,
) -> Option<StateIndex> {
    let reaches = can_reach(graph, goals, open);
    (0..graph.states()).find(|state| !reaches[*state as usize])
}

/// Of each state whether some way leads from it to a goal.
pub fn can_reach(
    graph: &Graph,
    goals: Vec<bool>,
    open: impl Fn(StateIndex, usize) -> bool,
) -> Vec<bool> {
    let mut reaches = goals;
    let before = graph.reversed(open);
    let mut found: Vec<StateIndex> =
        (0..graph.states()).filter(|state| reaches[*state as usize]).collect();
    while let Some(state) = found.pop() {
        for earlier in before.successors(state) {
            if !std::mem::replace(&mut reaches[*earlier as usize], true) {
                found.push(*earlier);
            }
        }
    }
    reaches
}

/// A heaviest stretch of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LongestPath {
    /// The sum over its transitions.
    pub weight: u32,
    /// Where it begins.
    pub first: StateIndex,
    /// The place of each transition among those of its state.
    pub places: Vec<u16>,
}

/// The heaviest of all stretches, by the weight of the transition at a place of a state; one
/// without a weight is part of no stretch. `order` is [`in_order`].
pub fn longest_path(
    graph: &Graph,
    order: &[StateIndex],
    weight: impl Fn(StateIndex, usize) -> Option<u32>,
) -> LongestPath {
    let mut best = vec![(0u32, None); graph.states() as usize];
    for state in order {
        for (place, target) in graph.successors(*state).iter().enumerate() {
            let Some(weight) = weight(*state, place) else { continue };
            let whole = best[*state as usize].0 + weight;
            let known = &mut best[*target as usize];
            if whole > known.0 {
                *known = (whole, Some((*state, u16::try_from(place).expect("few actions"))));
            }
        }
    }
    let weight = best.iter().map(|(weight, _)| *weight).max().unwrap_or(0);
    let end = best.iter().position(|(other, _)| *other == weight).unwrap_or(0);
    let mut first = StateIndex::try_from(end).expect("states are numbered by u32");
    let mut places = Vec::new();
    while let Some((before, place)) = best[first as usize].1 {
        places.push(place);
        first = before;
    }
    places.reverse();
    LongestPath { weight, first, places }
}

/// A shortest cycle through the lowest state that is on one, within what could not be peeled off.
fn cycle(graph: &Graph, incoming: &[u32]) -> Vec<StateIndex> {
    let left: Vec<StateIndex> =
        (0..graph.states()).filter(|state| incoming[*state as usize] > 0).collect();
    let lowest = cyclic_components(graph, &left).into_iter().flatten().min();
    let first = lowest.expect("what cannot be peeled off has a cycle");
    round_trip(graph, first)
}

/// Returns the strongly connected components that some states have among themselves and that have a
/// cycle.
pub(crate) fn cyclic_components(graph: &Graph, states: &[StateIndex]) -> Vec<Vec<StateIndex>> {
    let mut part = DiGraph::<StateIndex, (), u32>::with_capacity(states.len(), states.len());
    let nodes: FxHashMap<_, _> =
        states.iter().map(|state| (*state, part.add_node(*state))).collect();
    for state in states {
        for target in graph.successors(*state) {
            if let Some(target) = nodes.get(target) {
                part.add_edge(nodes[state], *target, ());
            }
        }
    }
    let has_cycle = |component: &Vec<NodeIndex>| {
        component.len() > 1 || part.contains_edge(component[0], component[0])
    };
    let components = kosaraju_scc(&part).into_iter().filter(has_cycle);
    components.map(|component| component.into_iter().map(|node| part[node]).collect()).collect()
}

/// A shortest way from a state back to itself.
fn round_trip(graph: &Graph, first: StateIndex) -> Vec<StateIndex> {
    let mut from = BTreeMap::new();
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        for target in graph.successors(state) {
            if *target == first {
                let mut way = vec![state];
                while let Some(before) = from.get(way.last().unwrap_or(&first)) {
                    way.push(*before);
                }
                way.reverse();
                return way;
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = from.entry(*target) {
                entry.insert(state);
                queue.push_back(*target);
            }
        }
    }
    vec![first]
}
