//! Questions that no single state answers: cycles, the longest run, and states that cannot reach a
//! goal.
//!
//! They are answered on the graph of all states of a complete search, not by an engine's
//! `eventually`. States that are on no cycle and behind none are removed in topological order
//! (Kahn); only the rest goes to petgraph, whose `kosaraju_scc` is iterative. [`crate::fairness`]
//! decides which of the cycles a fair scheduler can follow.

use crate::pool::in_parallel;
use crate::search::{Exploration, StateIndex};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;
use stateright::Model;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::num::NonZeroUsize;

/// Number of states that a thread expands at a time.
const CHUNK: StateIndex = 4096;

/// The states of an exploration, with every transition between them.
#[derive(Debug)]
pub struct Graph {
    /// Index in `targets` of each state's first successor; one more entry at the end.
    offsets: Vec<usize>,
    targets: Vec<StateIndex>,
    /// Label of each transition, parallel to `targets`.
    labels: Vec<u8>,
}

impl Graph {
    /// Builds the graph by executing every action again, on `threads` threads. `label` maps an
    /// action to its class. Successors that an incomplete search did not reach are omitted.
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

    /// Returns the number of states.
    pub fn states(&self) -> u32 {
        StateIndex::try_from(self.offsets.len() - 1).expect("states are numbered by u32")
    }

    /// Returns the successors of a state.
    pub fn successors(&self, state: StateIndex) -> &[StateIndex] {
        &self.targets[self.offsets[state as usize]..self.offsets[state as usize + 1]]
    }

    /// Returns the labels of the transitions to [`Self::successors`], in the same order.
    pub fn labels(&self, state: StateIndex) -> &[u8] {
        &self.labels[self.offsets[state as usize]..self.offsets[state as usize + 1]]
    }

    /// Iterates over all transitions: source, index among those of the source, target.
    fn transitions(&self) -> impl Iterator<Item = (StateIndex, usize, StateIndex)> {
        (0..self.states()).flat_map(|state| {
            let targets = self.successors(state).iter().enumerate();
            targets.map(move |(place, target)| (state, place, *target))
        })
    }

    /// Returns the graph of the `open` transitions, reversed and without labels.
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

/// The result of a search for cycles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cycles {
    /// Every run ends.
    Acyclic {
        /// Number of steps of the longest run.
        longest_run: u32,
    },
    /// Some run is infinite. The states of a shortest cycle through the cyclic state that was found
    /// first.
    Cyclic(Vec<StateIndex>),
}

/// Searches for a cycle. The result is meaningful only if the exploration is complete.
pub fn cycles(graph: &Graph) -> Cycles {
    match in_order(graph) {
        Ok(order) => {
            let longest = longest_path(graph, &order, |_, _| Some(1));
            Cycles::Acyclic { longest_run: longest.weight }
        }
        Err(incoming) => Cycles::Cyclic(cycle(graph, &incoming)),
    }
}

/// Returns the states in topological order.
///
/// # Errors
/// If there are cycles, the number of transitions to each state from states that are on a cycle or
/// behind one.
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

/// Returns true for each state from which every run reaches a bad one: the bad states, and those of
/// which every transition leads to such a state. Only `open` transitions (state, index) count; a
/// state without any is inevitable only if it is bad.
pub fn inevitable(
    graph: &Graph,
    bad: Vec<bool>,
    open: impl Fn(StateIndex, usize) -> bool,
) -> Vec<bool> {
    let mut inevitable = bad;
    let before = graph.reversed(&open);
    let mut exits = vec![0u32; inevitable.len()];
    for state in &before.targets {
        exits[*state as usize] += 1;
    }
    let mut found: Vec<StateIndex> =
        (0..graph.states()).filter(|state| inevitable[*state as usize]).collect();
    while let Some(state) = found.pop() {
        for earlier in before.successors(state).iter().copied() {
            exits[earlier as usize] -= 1;
            if exits[earlier as usize] == 0 && !inevitable[earlier as usize] {
                inevitable[earlier as usize] = true;
                found.push(earlier);
            }
        }
    }
    inevitable
}

/// Returns the first state that cannot reach a goal by `open` transitions; `None` if `AG EF goal`
/// holds. A terminal state that is no goal is such a state, too.
pub fn first_trapped(
    graph: &Graph,
    goals: Vec<bool>,
    open: impl Fn(StateIndex, usize) -> bool,
) -> Option<StateIndex> {
    let reaches = can_reach(graph, goals, open);
    (0..graph.states()).find(|state| !reaches[*state as usize])
}

/// Returns true for each state that can reach a goal by `open` transitions.
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

/// A heaviest path in the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LongestPath {
    /// The sum of its transitions' weights.
    pub weight: u32,
    /// The state where it begins.
    pub first: StateIndex,
    /// The index of each transition among those of its state.
    pub places: Vec<u16>,
}

/// Returns the heaviest path. `weight` is that of a transition (state, index); a transition without
/// a weight is part of no path. `order` is that of [`in_order`].
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

/// Returns a shortest cycle through the lowest cyclic state. `incoming` is the error of
/// [`in_order`].
fn cycle(graph: &Graph, incoming: &[u32]) -> Vec<StateIndex> {
    let left: Vec<StateIndex> =
        (0..graph.states()).filter(|state| incoming[*state as usize] > 0).collect();
    let lowest = cyclic_components(graph, &left).into_iter().flatten().min();
    let first = lowest.expect("the remaining states have a cycle");
    round_trip(graph, first)
}

/// Returns the strongly connected components of the subgraph of these states, without those that
/// have no cycle.
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

/// Returns a shortest cycle through a state.
fn round_trip(graph: &Graph, first: StateIndex) -> Vec<StateIndex> {
    let mut from = BTreeMap::new();
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        for target in graph.successors(state) {
            if *target == first {
                let mut path = vec![state];
                while let Some(before) = from.get(path.last().unwrap_or(&first)) {
                    path.push(*before);
                }
                path.reverse();
                return path;
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = from.entry(*target) {
                entry.insert(state);
                queue.push_back(*target);
            }
        }
    }
    vec![first]
}
