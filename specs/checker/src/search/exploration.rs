//! A finished search: all reachable states, numbered, with a cheapest run to each.
//!
//! States are numbered in the order in which they were found: generation by generation (all states
//! of one cost), and within a generation by their places. So a state comes after its parent.

use super::place::{Cost, Place, SHARDS, shard_of};
use super::shard::{Exact, Key, Shard};
use super::{Panic, StopReason};
use std::fmt;
use std::ops::Range;

/// The number of a state; the initial states come first.
pub type StateIndex = u32;

/// The numbering of the states: the order in which they were found, and the place of each.
#[derive(Debug)]
pub(super) struct Numbers {
    /// For each generation, its first state and the cost of its states.
    generations: Vec<(StateIndex, Cost)>,
    /// Ranges of states with consecutive numbers and consecutive places: the first state, and its
    /// place.
    stretches: Vec<(StateIndex, Place)>,
    /// The same ranges by shard: the index of the first state, and its number.
    by_shard: Vec<Vec<(usize, StateIndex)>>,
    count: StateIndex,
}

impl Default for Numbers {
    fn default() -> Self {
        let by_shard = vec![Vec::new(); SHARDS];
        Self { generations: Vec::new(), stretches: Vec::new(), by_shard, count: 0 }
    }
}

impl Numbers {
    /// Begins a generation of this cost.
    pub(super) fn begin(&mut self, cost: Cost) {
        self.generations.push((self.count, cost));
    }

    /// Numbers the states at these indices of a shard.
    pub(super) fn add(&mut self, shard: usize, indices: Range<usize>) {
        if !indices.is_empty() {
            self.stretches.push((self.count, Place::new(shard, indices.start)));
            self.by_shard[shard].push((indices.start, self.count));
            let count = StateIndex::try_from(indices.len());
            self.count += count.expect("states are numbered by u32");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }

    /// Returns each generation's first state and cost.
    pub(super) fn generations(&self) -> &[(StateIndex, Cost)] {
        &self.generations
    }

    /// Returns how many states are numbered.
    pub(super) fn count(&self) -> StateIndex {
        self.count
    }

    fn cost(&self, state: StateIndex) -> Cost {
        self.generations[self.generations.partition_point(|(first, _)| *first <= state) - 1].1
    }

    /// Returns the place of a state; `state` must be below [`Self::count`].
    pub(super) fn place(&self, state: StateIndex) -> Place {
        let after = self.stretches.partition_point(|(first, _)| *first <= state);
        let (first, place) = self.stretches[after - 1];
        Place::new(place.shard(), place.index() + (state - first) as usize)
    }

    pub(super) fn of(&self, place: Place) -> StateIndex {
        let stretches = &self.by_shard[place.shard()];
        let after = stretches.partition_point(|(start, _)| *start <= place.index());
        let (start, first) = stretches[after - 1];
        first + StateIndex::try_from(place.index() - start).expect("within the states")
    }
}

/// A finished search.
pub struct Exploration<S, K = Exact<S>> {
    pub(super) shards: Vec<Shard<S, K>>,
    pub(super) numbers: Numbers,
    /// Number of transitions executed.
    pub transitions: u64,
    /// Length in steps of the longest of the cheapest runs.
    pub depth: u32,
    /// For each property the first state that violates it, or from which a transition violates it.
    pub bad: Vec<Option<StateIndex>>,
    /// For each property the number of states that witness it.
    pub good: Vec<u64>,
    /// For each kind of action the number of its transitions.
    pub taken: Vec<u64>,
    /// The reason why the search is incomplete; `None` if it is exhaustive.
    pub cut: Option<StopReason>,
    /// The model's panic, if it panicked.
    pub panic: Option<Panic>,
    /// Peak memory in bytes, without what states own on the heap.
    pub bytes: u64,
}

impl<S, K> fmt::Debug for Exploration<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration")
            .field("states", &self.states())
            .field("transitions", &self.transitions)
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

impl<S, K> Exploration<S, K> {
    /// Returns the number of states.
    pub fn states(&self) -> u32 {
        self.numbers.count
    }

    /// Estimates the probability that two states collided if they are stored as 64 bits each (hash
    /// compaction): n² / 2⁶⁵.
    pub fn collision_estimate(&self) -> f64 {
        let n = f64::from(self.states());
        n * n / 2f64.powi(65)
    }

    /// Returns the cost of a cheapest run to a state: faults, then steps.
    pub fn cost_of(&self, state: StateIndex) -> (u32, u32) {
        self.numbers.cost(state)
    }

    /// Returns the predecessor of a state on a cheapest run, and the index of the action among the
    /// predecessor's; `None` for an initial state.
    pub fn parent(&self, state: StateIndex) -> Option<(StateIndex, u16)> {
        let place = self.numbers.place(state);
        let shard = &self.shards[place.shard()];
        let parent = shard.parents[place.index()];
        (parent != Place::NONE).then(|| (self.numbers.of(parent), shard.actions[place.index()]))
    }

    /// Returns a cheapest run to a state: its first state, and the index of each action among those
    /// of its state.
    pub fn run_to(&self, state: StateIndex) -> (StateIndex, Vec<u16>) {
        let (mut at, mut actions) = (state, Vec::new());
        while let Some((parent, action)) = self.parent(at) {
            actions.push(action);
            at = parent;
        }
        actions.reverse();
        (at, actions)
    }
}

impl<S, K: Key<S>> Exploration<S, K> {
    /// Returns the number of a state; `None` if it was not reached.
    pub fn find(&self, state: &S) -> Option<StateIndex> {
        let hash = K::hash(state);
        let index = self.shards[shard_of(hash)].find(hash, state)?;
        Some(self.numbers.of(Place::new(shard_of(hash), index)))
    }
}

impl<S> Exploration<S> {
    /// Returns the state with this number.
    pub fn state(&self, state: StateIndex) -> &S {
        let place = self.numbers.place(state);
        &self.shards[place.shard()].keys[place.index()].0
    }
}
