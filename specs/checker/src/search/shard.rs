//! One shard of the set of known states, with the parent of each.
//!
//! The set is split by hash into [`SHARDS`](super::place::SHARDS) parts. Their number is fixed, so
//! the place of a state does not depend on the number of threads. A shard is small enough for a
//! core's cache; one thread at a time works on it.
//!
//! Invariant: `keys`, `parents` and `actions` have the same length; a slot other than zero is an
//! index plus one, with some bits of the state's hash above it; every index has one slot; at most
//! three quarters of the slots are occupied.

use super::deferred::Deferred;
use super::place::{Candidate, Cost, Place, SHARD_BITS};
use rustc_hash::FxHasher;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::ops::Range;

/// Capacity of a shard in states.
pub(super) const SHARD_MAX: usize = (TAG - 1) as usize;

/// The lowest bit of a slot's tag.
const TAG: u32 = 1 << (u32::BITS - SHARD_BITS);

/// Returns a slot's tag: bits of the hash that choose neither the shard nor the slot.
#[inline]
fn tag_of(hash: u64) -> u32 {
    let bits = hash >> (u64::BITS - 2 * SHARD_BITS) << (u32::BITS - SHARD_BITS);
    u32::try_from(bits & u64::from(u32::MAX)).expect("as many as there is room for")
}

/// Returns the index in a slot; for a free slot, an index that no state has.
#[inline]
fn index_of(slot: u32) -> usize {
    ((slot & (TAG - 1)) as usize).wrapping_sub(1)
}

/// Returns true if a slot has this tag; a free slot may match, too.
#[inline]
fn is_tagged(slot: u32, tag: u32) -> bool {
    slot ^ tag < TAG
}

/// The stored form of a state.
pub trait Key<S>: Eq + Send + Sync {
    /// Returns the hash of a state.
    fn hash(state: &S) -> u64;
    /// Returns the key of a state with this hash.
    fn of(state: &S, hash: u64) -> Self;
    /// Returns true if this is the key of `state`, whose hash is `hash`.
    fn is_of(&self, state: &S, hash: u64) -> bool;
    /// Returns true if two states have the same key; `hash` is that of `other`.
    fn is_same(state: &S, other: &S, hash: u64) -> bool;
    /// Returns the hash of the state that has this key.
    fn stored_hash(&self) -> u64;
}

/// The state itself: no two states are confused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact<S>(pub S);

impl<S: Clone + Eq + Hash + Send + Sync> Key<S> for Exact<S> {
    fn hash(state: &S) -> u64 {
        let mut hasher = FxHasher::default();
        state.hash(&mut hasher);
        // A single product maps states with equal differences to hashes with equal differences: the
        // successors of one shard would all go to a few others. So the two halves of a second
        // product are folded.
        let product = u128::from(hasher.finish()) * 0xff51_afd7_ed55_8ccd;
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("half of it");
        half(product >> 64) ^ half(product)
    }

    fn of(state: &S, _: u64) -> Self {
        Self(state.clone())
    }

    fn is_of(&self, state: &S, _: u64) -> bool {
        self.0 == *state
    }

    fn is_same(state: &S, other: &S, _: u64) -> bool {
        state == other
    }

    fn stored_hash(&self) -> u64 {
        Self::hash(&self.0)
    }
}

/// A 64-bit hash of the state, the same in every run (hash compaction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

impl<S: Hash> Key<S> for Fingerprint {
    fn hash(state: &S) -> u64 {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    }

    fn of(_: &S, hash: u64) -> Self {
        Self(hash)
    }

    fn is_of(&self, _: &S, hash: u64) -> bool {
        self.0 == hash
    }

    fn is_same(state: &S, _: &S, hash: u64) -> bool {
        Self::hash(state) == hash
    }

    fn stored_hash(&self) -> u64 {
        self.0
    }
}

/// Returns the bits of a hash that choose its first slot; the table's size decides how many of them
/// count.
#[inline]
fn low_bits(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).expect("half of it")
}

/// Number of candidates that are looked up in one batch.
const TOGETHER: usize = 64;

/// One part of the set of known states.
#[derive(Debug)]
pub(super) struct Shard<S, K> {
    pub(super) keys: Vec<K>,
    pub(super) parents: Vec<Place>,
    pub(super) actions: Vec<u16>,
    slots: Vec<u32>,
    /// The states that were found last, which are expanded next.
    pub(super) next: Vec<S>,
    /// The index of the first state being expanded, and these states.
    open: (usize, Vec<S>),
    /// Candidates that cost more faults, to be inserted later.
    pub(super) deferred: Deferred<S>,
}

impl<S, K> Default for Shard<S, K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            parents: Vec::new(),
            actions: Vec::new(),
            slots: vec![0; 64],
            next: Vec::new(),
            open: (0, Vec::new()),
            deferred: Deferred::default(),
        }
    }
}

impl<S, K> Shard<S, K> {
    /// Returns the indices of the states that were found last.
    pub(super) fn last(&self) -> Range<usize> {
        self.keys.len() - self.next.len()..self.keys.len()
    }

    /// Makes the states that were found last the ones being expanded.
    pub(super) fn open(&mut self) {
        self.open = (self.last().start, std::mem::take(&mut self.next));
    }

    /// Drops the states kept for expansion.
    pub(super) fn close(&mut self) {
        (self.next, self.open) = (Vec::new(), (0, Vec::new()));
    }

    /// Returns a state that is being expanded.
    #[inline]
    pub(super) fn opened(&self, index: usize) -> &S {
        let (first, states) = &self.open;
        &states[index - first]
    }
}

impl<S, K: Key<S>> Shard<S, K> {
    /// Returns the first slot from here on that is free or has the tag: its position and value.
    #[inline]
    fn walk(&self, mut at: usize, tag: u32) -> (usize, u32) {
        let mask = self.slots.len() - 1;
        loop {
            let slot = self.slots[at & mask];
            if slot == 0 || is_tagged(slot, tag) {
                return (at & mask, slot);
            }
            at += 1;
        }
    }

    /// Returns the index of a state.
    ///
    /// # Errors
    /// If the state is unknown, the free slot where it belongs.
    fn look(&self, hash: u64, state: &S) -> Result<usize, usize> {
        let mut from = low_bits(hash);
        loop {
            match self.walk(from, tag_of(hash)) {
                (at, 0) => return Err(at),
                (_, slot) if self.keys[index_of(slot)].is_of(state, hash) => {
                    return Ok(index_of(slot));
                }
                (at, _) => from = at + 1,
            }
        }
    }

    /// Returns the index of a known state.
    pub(super) fn find(&self, hash: u64, state: &S) -> Option<usize> {
        self.look(hash, state).ok()
    }

    /// Reads all slots sequentially if the candidates will read most of them: the processor
    /// prefetches sequential reads, and not random ones.
    pub(super) fn prefetch(&self, candidates: usize) {
        const SLOTS_PER_LINE: usize = 16;
        if candidates * 8 > self.slots.len() / SLOTS_PER_LINE {
            black_box(self.slots.iter().step_by(SLOTS_PER_LINE).fold(0, |all, slot| all ^ slot));
        }
    }

    /// Inserts candidates in their order; `(faults, steps)` is the cost of their parents. Most are
    /// duplicates, so they are looked up in batches, which overlaps the memory accesses, and only
    /// those that seem new are looked up exactly.
    pub(super) fn merge(&mut self, candidates: Vec<Candidate<S>>, (faults, steps): Cost) {
        let mut left = candidates.into_iter();
        while !left.as_slice().is_empty() {
            let (hashes, is_known) = self.look_up(left.as_slice());
            for ((hash, is_known), candidate) in hashes.into_iter().zip(is_known).zip(left.by_ref())
            {
                match candidate.faults {
                    _ if is_known => {}
                    0 => self.insert(hash, candidate),
                    more => self.defer((faults + u32::from(more), steps + 1), hash, candidate),
                }
            }
        }
    }

    /// Returns the hashes of the first candidates, and for each whether one of three slots shows it
    /// to be known. The loops have no branch that a processor could mispredict.
    fn look_up(&self, candidates: &[Candidate<S>]) -> ([u64; TOGETHER], [bool; TOGETHER]) {
        let mask = self.slots.len() - 1;
        let (mut hashes, mut slots) = ([0; TOGETHER], [0; TOGETHER]);
        let mut is_known = [false; TOGETHER];
        for (hash, candidate) in hashes.iter_mut().zip(candidates) {
            *hash = K::hash(&candidate.state);
        }
        for (slot, hash) in slots.iter_mut().zip(hashes) {
            let (at, tag) = (low_bits(hash), tag_of(hash));
            let there = [at + 2, at + 1, at].map(|at| self.slots[at & mask]);
            *slot = there.iter().fold(0, |found, is| if is_tagged(*is, tag) { *is } else { found });
        }
        for (at, candidate) in candidates.iter().take(TOGETHER).enumerate() {
            let key = self.keys.get(index_of(slots[at]));
            is_known[at] = key.is_some_and(|key| key.is_of(&candidate.state, hashes[at]));
        }
        (hashes, is_known)
    }

    /// Inserts a candidate if it is new, to be expanded next.
    pub(super) fn insert(&mut self, hash: u64, candidate: Candidate<S>) {
        let Candidate { state, parent, action, .. } = candidate;
        let Err(slot) = self.look(hash, &state) else { return };
        assert!(self.keys.len() < SHARD_MAX, "more states than can be numbered");
        self.keys.push(K::of(&state, hash));
        self.parents.push(parent);
        self.actions.push(action);
        self.next.push(state);
        self.slots[slot] = tag_of(hash) | u32::try_from(self.keys.len()).expect("within the limit");
        if self.keys.len() * 4 > self.slots.len() * 3 {
            self.grow();
        }
    }

    /// Defers a candidate that costs more faults, unless it is known.
    fn defer(&mut self, cost: Cost, hash: u64, candidate: Candidate<S>) {
        if self.find(hash, &candidate.state).is_none() {
            self.deferred.push(cost, candidate);
        }
    }

    /// Inserts the deferred candidates of a cost.
    pub(super) fn settle(&mut self, cost: Cost) {
        for candidate in self.deferred.take(cost) {
            self.insert(K::hash(&candidate.state), candidate);
        }
    }

    /// Drops deferred candidates that are known by now.
    pub(super) fn forget_known(&mut self) {
        let mut deferred = std::mem::take(&mut self.deferred);
        deferred.retain(|it| self.find(K::hash(&it.state), &it.state).is_none());
        self.deferred = deferred;
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for (index, key) in self.keys.iter().enumerate() {
            let hash = key.stored_hash();
            let mut at = low_bits(hash) & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = tag_of(hash) | u32::try_from(index + 1).expect("within the limit");
        }
    }

    /// Returns the size in bytes, without what states own on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<K>()
            + self.parents.capacity() * size_of::<Place>()
            + self.actions.capacity() * size_of::<u16>()
            + self.slots.capacity() * size_of::<u32>()
            + (self.next.capacity() + self.open.1.capacity()) * size_of::<S>()
            + self.deferred.bytes()
    }
}
