//! What cannot be seen in a single state: cycles and the longest run.
//!
//! Judged on the graph of all states that a complete search has kept, not by an engine's `eventually`.
//! States without a cycle are peeled off in topological order (Kahn); what is left has one, and only
//! that part goes to petgraph, whose `kosaraju_scc` is iterative.

use crate::search::{Exploration, StateIndex};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use std::collections::{BTreeMap, VecDeque};

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
pub fn shape(exploration: &Exploration) -> Shape {
    let count = exploration.states() as usize;
    let mut incoming = vec![0u32; count];
    for state in 0..exploration.states() {
        for target in exploration.successors(state) {
            incoming[*target as usize] += 1;
        }
    }
    let mut depth = vec![0u32; count];
    let mut ready: Vec<StateIndex> =
        (0..exploration.states()).filter(|state| incoming[*state as usize] == 0).collect();
    let mut peeled = 0;
    while let Some(state) = ready.pop() {
        peeled += 1;
        for target in exploration.successors(state) {
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
    Shape::Cyclic(cycle(exploration, &incoming))
}

/// A shortest cycle through the lowest state that is on one, within what could not be peeled off.
fn cycle(exploration: &Exploration, incoming: &[u32]) -> Vec<StateIndex> {
    let left: Vec<StateIndex> =
        (0..exploration.states()).filter(|state| incoming[*state as usize] > 0).collect();
    let mut graph = DiGraph::<StateIndex, (), u32>::new();
    let nodes: BTreeMap<_, _> = left.iter().map(|state| (*state, graph.add_node(*state))).collect();
    for state in &left {
        for target in exploration.successors(*state) {
            if let Some(target) = nodes.get(target) {
                graph.add_edge(nodes[state], *target, ());
            }
        }
    }
    let cyclic = kosaraju_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1 || graph.contains_edge(component[0], component[0]));
    let lowest = cyclic.flatten().map(|node| graph[node]).min();
    let first = lowest.expect("what cannot be peeled off has a cycle");
    round_trip(exploration, first)
}

/// A shortest way from a state back to itself.
fn round_trip(exploration: &Exploration, first: StateIndex) -> Vec<StateIndex> {
    let mut from = BTreeMap::new();
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        for target in exploration.successors(state) {
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
