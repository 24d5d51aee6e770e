//! A finished search: every state, numbered, with a cheapest run to each.
//!
//! States are numbered as they were found: generation by generation, each of one cost, and within
//! a generation by their places. So a state comes after the one that it was reached from.

use super::place::{Cost, Place, SHARDS, shard_of};
use super::shard::{Exact, Key, Shard};
use super::{Panic, StopReason};
use std::fmt;
use std::ops::Range;

/// The number of a state; the initial states come first.
pub type StateIndex = u32;

/// Numbers of states: their order in which they were found, and where they are kept.
#[derive(Debug)]
pub(super) struct Numbers {
    /// What the states from this one on cost.
    generations: Vec<(StateIndex, Cost)>,
    /// Stretches of states with successive numbers that are kept side by side: the first of them,
    /// and its place.
    stretches: Vec<(StateIndex, Place)>,
    /// For each shard the same: the index of the first, and its number.
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
    /// The next states have this cost.
    pub(super) fn begin(&mut self, cost: Cost) {
        self.generations.push((self.count, cost));
    }

    /// The states of a shard with these indices are numbered next.
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

    /// What the states from each of these on cost.
    pub(super) fn generations(&self) -> &[(StateIndex, Cost)] {
        &self.generations
    }

    /// How many states have one.
    pub(super) fn count(&self) -> StateIndex {
        self.count
    }

    fn cost(&self, state: StateIndex) -> Cost {
        self.generations[self.generations.partition_point(|(first, _)| *first <= state) - 1].1
    }

    /// Where a state is; `state` must be below [`Self::count`].
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
    /// How many transitions were followed.
    pub transitions: u64,
    /// The greatest number of steps of a cheapest run.
    pub depth: u32,
    /// For each question the first state of which, or of an edge from which, a judge said bad.
    pub bad: Vec<Option<StateIndex>>,
    /// For each question in how many states a judge said good.
    pub good: Vec<u64>,
    /// For each kind of action how many transitions it made.
    pub taken: Vec<u64>,
    /// What cut the search short; `None`: it is complete.
    pub cut: Option<StopReason>,
    /// The model's panic, where it panicked.
    pub panic: Option<Panic>,
    /// The most memory that it took at a time, without what is behind pointers of states.
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
    /// How many states there are.
    pub fn states(&self) -> u32 {
        self.numbers.count
    }

    /// How likely it is that two different states were taken for one, if they are known by 64 bits:
    /// n² / 2⁶⁵.
    pub fn collision_estimate(&self) -> f64 {
        let n = f64::from(self.states());
        n * n / 2f64.powi(65)
    }

    /// The faults and the steps of a cheapest run to a state.
    pub fn cost_of(&self, state: StateIndex) -> (u32, u32) {
        self.numbers.cost(state)
    }

    /// The state from which a state is reached by a cheapest run, and the place of the action among
    /// that state's; `None` for an initial one.
    pub fn parent(&self, state: StateIndex) -> Option<(StateIndex, u16)> {
        let place = self.numbers.place(state);
        let shard = &self.shards[place.shard()];
        let parent = shard.parents[place.index()];
        (parent != Place::NONE).then(|| (self.numbers.of(parent), shard.actions[place.index()]))
    }

    /// A cheapest run to a state: the first state of it, and the place of each action among those
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
    /// The number of a state; `None`: it was not reached.
    pub fn find(&self, state: &S) -> Option<StateIndex> {
        let hash = K::hash(state);
        let index = self.shards[shard_of(hash)].find(hash, state)?;
        Some(self.numbers.of(Place::new(shard_of(hash), index)))
    }
}

impl<S> Exploration<S> {
    /// A state by its number.
    pub fn state(&self, state: StateIndex) -> &S {
        let place = self.numbers.place(state);
        &self.shards[place.shard()].keys[place.index()].0
    }
}
