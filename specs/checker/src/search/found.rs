//! The successors that the expansion of a piece has found, and the counts over all pieces.

use super::PROPERTIES_MAX;
use super::place::{Candidate, Place, SHARDS, shard_of};
use super::shard::Key;
use serde::{Deserialize, Serialize};

/// Number of candidates remembered to detect duplicates early: as many as fit a core's nearest
/// caches.
const RECENT: usize = 1 << 13;

/// The result of expanding a piece.
pub(super) struct Found<S> {
    /// Successors by shard.
    pub(super) near: Vec<Vec<Candidate<S>>>,
    /// Some bits of a candidate's hash, and its index among those of its shard.
    recent: Vec<(u32, u32)>,
    /// Number of states beyond the boundary.
    pub(super) beyond: u64,
    /// True if a state at the depth limit has actions.
    pub(super) too_deep: bool,
    pub(super) good: [u64; PROPERTIES_MAX],
    pub(super) taken: [u64; PROPERTIES_MAX],
    /// Properties that are violated, as bits; `firsts` has the first place for each.
    bad: u64,
    pub(super) firsts: Vec<(usize, Place)>,
    pub(super) panic: Option<(Place, Option<u16>, String)>,
}

impl<S> Found<S> {
    /// Creates an empty result for a piece of so many states.
    pub(super) fn new(states: usize) -> Self {
        // A small piece finds too few successors to amortise a large table.
        let recent = (states * 16).next_power_of_two().min(RECENT);
        Self {
            near: std::iter::repeat_with(Vec::new).take(SHARDS).collect(),
            recent: vec![(0, u32::MAX); recent],
            beyond: 0,
            too_deep: false,
            good: [0; PROPERTIES_MAX],
            taken: [0; PROPERTIES_MAX],
            bad: 0,
            firsts: Vec::new(),
            panic: None,
        }
    }

    /// Keeps a candidate, unless this piece is seen to have found that state before, with no more
    /// faults.
    #[inline]
    pub(super) fn keep<K: Key<S>>(&mut self, hash: u64, candidate: Candidate<S>) {
        let near = &mut self.near[shard_of(hash)];
        let (low, bits) = (low_half(hash), low_half(hash >> 24));
        let last = self.recent.len() - 1;
        let recent = &mut self.recent[low as usize & last];
        if recent.0 == bits
            && let Some(known) = near.get(recent.1 as usize)
            && known.faults <= candidate.faults
            && K::is_same(&known.state, &candidate.state, hash)
        {
            return;
        }
        *recent = (bits, u32::try_from(near.len()).expect("a piece is small"));
        near.push(candidate);
    }

    pub(super) fn transitions(&self) -> u64 {
        self.taken.iter().sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.near.iter().map(Vec::capacity).sum::<usize>() * size_of::<Candidate<S>>()
    }

    pub(super) fn note_bad(&mut self, bad: u64, place: Place) {
        let mut new = bad & !self.bad;
        self.bad |= new;
        while new != 0 {
            self.firsts.push((new.trailing_zeros() as usize, place));
            new &= new - 1;
        }
    }

    pub(super) fn note_good(&mut self, mut good: u64) {
        while good != 0 {
            self.good[good.trailing_zeros() as usize] += 1;
            good &= good - 1;
        }
    }
}

fn low_half(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).expect("half of it")
}

/// The counts of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) transitions: u64,
    pub(super) beyond: u64,
    pub(super) too_deep: bool,
    /// Number of witnesses of each property.
    pub(super) good: Vec<u64>,
    /// Number of transitions of each kind of action.
    pub(super) taken: Vec<u64>,
}

impl Counts {
    /// Creates zero counts for so many properties.
    pub(super) fn new(properties: usize) -> Self {
        let (good, taken) = (vec![0; properties], vec![0; PROPERTIES_MAX]);
        Self { transitions: 0, beyond: 0, too_deep: false, good, taken }
    }

    pub(super) fn add<S>(&mut self, found: &Found<S>) {
        self.transitions += found.transitions();
        self.beyond += found.beyond;
        self.too_deep |= found.too_deep;
        for (all, more) in self.good.iter_mut().zip(found.good) {
            *all += more;
        }
        for (all, more) in self.taken.iter_mut().zip(found.taken) {
            *all += more;
        }
    }
}
