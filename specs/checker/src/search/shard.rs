//! States that are known, and where they came from.
//!
//! The known states are split by their hash into [`SHARDS`](super::place::SHARDS) parts, always as
//! many, so that the place of a state does not depend on the number of threads. A part is small
//! enough for a core's cache; whoever works on it is alone with it.
//!
//! Invariant: `keys`, `parents` and `actions` are as long as each other; a slot other than zero is
//! one more than an index, with some bits of the state's hash above it; every index has one slot;
//! at most three slots in four are taken.

use super::deferred::Deferred;
use super::place::{Candidate, Cost, Place, SHARD_BITS};
use rustc_hash::FxHasher;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::ops::Range;

/// The most states that a part has room for.
pub(super) const SHARD_MAX: usize = (TAG - 1) as usize;

/// In a slot the tag begins here.
const TAG: u32 = 1 << (u32::BITS - SHARD_BITS);

/// Some bits of a hash that choose neither the part nor the slot, in their place.
#[inline]
fn tag_of(hash: u64) -> u32 {
    let bits = hash >> (u64::BITS - 2 * SHARD_BITS) << (u32::BITS - SHARD_BITS);
    u32::try_from(bits & u64::from(u32::MAX)).expect("as many as there is room for")
}

/// The index that a slot holds; of a free one an index that no state has.
#[inline]
fn index_of(slot: u32) -> usize {
    ((slot & (TAG - 1)) as usize).wrapping_sub(1)
}

/// Whether a slot has a tag. A free one may seem to.
#[inline]
fn is_tagged(slot: u32, tag: u32) -> bool {
    slot ^ tag < TAG
}

/// What a state is known by.
pub trait Key<S>: Eq + Send + Sync {
    /// The hash of a state.
    fn hash(state: &S) -> u64;
    /// Of a state with that hash.
    fn of(state: &S, hash: u64) -> Self;
    /// Whether it is of that state, which has that hash.
    fn is_of(&self, state: &S, hash: u64) -> bool;
    /// Whether a state is the same as another one, which has that hash.
    fn are_one(state: &S, other: &S, hash: u64) -> bool;
    /// The hash of the state that it is of.
    fn again(&self) -> u64;
}

/// The state itself: nothing is taken for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact<S>(pub S);

impl<S: Clone + Eq + Hash + Send + Sync> Key<S> for Exact<S> {
    fn hash(state: &S) -> u64 {
        let mut hasher = FxHasher::default();
        state.hash(&mut hasher);
        // A product alone takes states that differ alike to hashes that differ alike: the
        // successors of one shard would all go to a few others. So both halves of a second product
        // are folded.
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

    fn are_one(state: &S, other: &S, _: u64) -> bool {
        state == other
    }

    fn again(&self) -> u64 {
        Self::hash(&self.0)
    }
}

/// 64 bits of a state, the same in every run.
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

    fn are_one(state: &S, _: &S, hash: u64) -> bool {
        Self::hash(state) == hash
    }

    fn again(&self) -> u64 {
        self.0
    }
}

/// Where to look for the slot of a hash first; how many of its bits count depends on how many slots
/// there are.
#[inline]
fn low_bits(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).expect("half of it")
}

/// So many candidates are looked up side by side.
const TOGETHER: usize = 64;

/// One part.
#[derive(Debug)]
pub(super) struct Shard<S, K> {
    pub(super) keys: Vec<K>,
    pub(super) parents: Vec<Place>,
    pub(super) actions: Vec<u16>,
    slots: Vec<u32>,
    /// The last of them, which are expanded next.
    pub(super) next: Vec<S>,
    /// Those that are being expanded, and the index of the first of them.
    open: (usize, Vec<S>),
    /// Candidates that cost more faults, for later.
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
    /// The indices of the last ones.
    pub(super) fn last(&self) -> Range<usize> {
        self.keys.len() - self.next.len()..self.keys.len()
    }

    /// Takes the last ones to be expanded.
    pub(super) fn open(&mut self) {
        self.open = (self.last().start, std::mem::take(&mut self.next));
    }

    /// Nothing is expanded any more.
    pub(super) fn close(&mut self) {
        (self.next, self.open) = (Vec::new(), (0, Vec::new()));
    }

    /// One that is being expanded.
    #[inline]
    pub(super) fn opened(&self, index: usize) -> &S {
        let (first, states) = &self.open;
        &states[index - first]
    }
}

impl<S, K: Key<S>> Shard<S, K> {
    /// The first slot from here on that is free or has a tag, and where that is.
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

    /// Where a state is, or the free slot where it would be noted.
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

    /// The index of a known state.
    pub(super) fn find(&self, hash: u64, state: &S) -> Option<usize> {
        self.look(hash, state).ok()
    }

    /// Reads all slots in a row where so many candidates will read most of them one by one: a
    /// processor foresees the former and not the latter.
    pub(super) fn prefetch(&self, candidates: usize) {
        const SLOTS_PER_LINE: usize = 16;
        if candidates * 8 > self.slots.len() / SLOTS_PER_LINE {
            black_box(self.slots.iter().step_by(SLOTS_PER_LINE).fold(0, |all, slot| all ^ slot));
        }
    }

    /// Takes candidates of states with this cost in, in their order. Most are known: so they are
    /// looked up side by side, for the processor to wait for memory once and not for each, and only
    /// what seems new is looked at closely.
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

    /// The hashes of the first candidates, and whether a look at three slots shows them to be
    /// known. There is no branch that a processor could guess wrong.
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

    /// Makes a candidate known where it is new, to be expanded next.
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

    /// Keeps a candidate that costs more faults, unless it is known.
    fn defer(&mut self, cost: Cost, hash: u64, candidate: Candidate<S>) {
        if self.find(hash, &candidate.state).is_none() {
            self.deferred.push(cost, candidate);
        }
    }

    /// Makes the candidates of a cost known.
    pub(super) fn settle(&mut self, cost: Cost) {
        for candidate in self.deferred.take(cost) {
            self.insert(K::hash(&candidate.state), candidate);
        }
    }

    /// Drops what was kept for later and is known by now.
    pub(super) fn forget_known(&mut self) {
        let mut deferred = std::mem::take(&mut self.deferred);
        deferred.retain(|it| self.find(K::hash(&it.state), &it.state).is_none());
        self.deferred = deferred;
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for (index, key) in self.keys.iter().enumerate() {
            let hash = key.again();
            let mut at = low_bits(hash) & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = tag_of(hash) | u32::try_from(index + 1).expect("within the limit");
        }
    }

    /// What it takes, but for what is behind pointers of states.
    pub(super) fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<K>()
            + self.parents.capacity() * size_of::<Place>()
            + self.actions.capacity() * size_of::<u16>()
            + self.slots.capacity() * size_of::<u32>()
            + (self.next.capacity() + self.open.1.capacity()) * size_of::<S>()
            + self.deferred.bytes()
    }
}
