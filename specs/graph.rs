//! What cannot be seen in a single state: cycles and the longest run.
//!
//! Judged on the graph of all states that a complete search has kept, not by an engine's `eventually`.
//! States without a cycle are peeled off in topological order (Kahn); what is left has one, and only
//! that part goes to petgraph, whose `kosaraju_scc` is iterative.

use crate::parallel::in_parallel;
use crate::search::{Exploration, StateIndex};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
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
}

impl Graph {
    /// Follows every action once more, on so many threads. Successors that a cut left unknown are left out.
    pub fn of<M>(model: &M, exploration: &Exploration<M::State>, threads: NonZeroUsize) -> Self
    where
        M: Model + Sync,
        M::State: Clone + Eq + Hash + Send + Sync,
    {
        let starts = (0..exploration.states()).step_by(CHUNK as usize).collect();
        let parts = in_parallel(threads, starts, |first: StateIndex| {
            let states = first..exploration.states().min(first + CHUNK);
            let mut part = Self { offsets: Vec::new(), targets: Vec::new() };
            states.for_each(|state| part.add(model, exploration, exploration.state(state)));
            part
        });
        let mut graph = Self { offsets: vec![0], targets: Vec::new() };
        for part in parts {
            let before = graph.targets.len();
            graph.offsets.extend(part.offsets.into_iter().map(|end| before + end));
            graph.targets.extend(part.targets);
        }
        graph
    }

    fn add<M: Model>(&mut self, model: &M, exploration: &Exploration<M::State>, state: &M::State)
    where
        M::State: Clone + Eq + Hash + Send + Sync,
    {
        let mut actions = Vec::new();
        if model.within_boundary(state) {
            model.actions(state, &mut actions);
        }
        let next = actions.into_iter().filter_map(|action| model.next_state(state, action));
        self.targets.extend(next.filter_map(|next| exploration.find(&next)));
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
}

/// What the graph says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// No run goes on for ever; the longest has so many steps.
    Acyclic {
        /// Steps of the longest run.
        longest_run: u32,
    },
    /// A run can go round for ever: the states of a shortest real cycle through its first one, which
    /// is the cyclic state that is reached soonest.
    Cyclic(Vec<StateIndex>),
}

/// Looks for cycles. A complete exploration is needed for the answer to mean anything.
pub fn shape(graph: &Graph) -> Shape {
    match in_order(graph) {
        Ok(order) => {
            let longest = heaviest(graph, &order, |_, _| Some(1));
            Shape::Acyclic { longest_run: longest.weight }
        }
        Err(incoming) => Shape::Cyclic(cycle(graph, &incoming)),
    }
}

/// The states, each before those that it leads to; where there are cycles, how many transitions lead to
/// each state from one that is on a cycle or behind one.
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

/// From which states every run comes to a bad one: the bad ones, and those of which every transition leads to such a state.
/// Of transitions, by a state and the place, only those count that are `open`.
pub fn doomed(
    graph: &Graph,
    bad: Vec<bool>,
    open: impl Fn(StateIndex, usize) -> bool,
) -> Vec<bool> {
    let mut doomed = bad;
    let mut ways_out = vec![0u32; doomed.len()];
    let mut before = vec![Vec::new(); doomed.len()];
    for state in 0..graph.states() {
        for (place, target) in graph.successors(state).iter().enumerate() {
            if open(state, place) {
                ways_out[state as usize] += 1;
                before[*target as usize].push(state);
            }
        }
    }
    let mut found: Vec<StateIndex> =
        (0..graph.states()).filter(|state| doomed[*state as usize]).collect();
    while let Some(state) = found.pop() {
        for earlier in std::mem::take(&mut before[state as usize]) {
            ways_out[earlier as usize] -= 1;
            if ways_out[earlier as usize] == 0 && !doomed[earlier as usize] {
                doomed[earlier as usize] = true;
                found.push(earlier);
            }
        }
    }
    doomed
}

/// A heaviest stretch of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The sum over its transitions.
    pub weight: u32,
    /// Where it begins.
    pub first: StateIndex,
    /// The place of each transition among those of its state.
    pub places: Vec<u16>,
}

/// The heaviest of all stretches, by the weight of the transition at a place of a state; one without a weight is part
/// of no stretch. `order` is [`in_order`].
pub fn heaviest(
    graph: &Graph,
    order: &[StateIndex],
    weight: impl Fn(StateIndex, usize) -> Option<u32>,
) -> Stretch {
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
    Stretch { weight, first, places }
}

/// A shortest cycle through the lowest state that is on one, within what could not be peeled off.
fn cycle(graph: &Graph, incoming: &[u32]) -> Vec<StateIndex> {
    let left: Vec<StateIndex> =
        (0..graph.states()).filter(|state| incoming[*state as usize] > 0).collect();
    let mut part = DiGraph::<StateIndex, (), u32>::new();
    let nodes: BTreeMap<_, _> = left.iter().map(|state| (*state, part.add_node(*state))).collect();
    for state in &left {
        for target in graph.successors(*state) {
            if let Some(target) = nodes.get(target) {
                part.add_edge(nodes[state], *target, ());
            }
        }
    }
    let cyclic = kosaraju_scc(&part)
        .into_iter()
        .filter(|component| component.len() > 1 || part.contains_edge(component[0], component[0]));
    let lowest = cyclic.flatten().map(|node| part[node]).min();
    let first = lowest.expect("what cannot be peeled off has a cycle");
    round_trip(graph, first)
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
