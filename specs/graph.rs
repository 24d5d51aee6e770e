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
    let count = graph.states() as usize;
    let mut incoming = vec![0u32; count];
    for state in 0..graph.states() {
        for target in graph.successors(state) {
            incoming[*target as usize] += 1;
        }
    }
    let mut depth = vec![0u32; count];
    let mut ready: Vec<StateIndex> =
        (0..graph.states()).filter(|state| incoming[*state as usize] == 0).collect();
    let mut peeled = 0;
    while let Some(state) = ready.pop() {
        peeled += 1;
        for target in graph.successors(state) {
            let at = *target as usize;
            depth[at] = depth[at].max(depth[state as usize] + 1);
            incoming[at] -= 1;
            if incoming[at] == 0 {
                ready.push(*target);
            }
        }
    }
    if peeled == count {
        return Shape::Acyclic { longest_run: depth.into_iter().max().unwrap_or(0) };
    }
    Shape::Cyclic(cycle(graph, &incoming))
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
