//! States that are known, and where they came from.
//!
//! The known states are split by their hash into [`SHARDS`] parts, always as many, so that the place of a
//! state does not depend on the number of threads. A part is small enough for a core's cache; whoever
//! works on it is alone with it.
//!
//! Invariant: `keys`, `parents` and `actions` are as long as each other, a slot other than zero is one more than an
//! index, every index has one slot, and at most three slots in four are taken.

use rustc_hash::FxHasher;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// In how many parts the known states are split.
pub(super) const SHARDS: usize = 64;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();

/// The most states that a part has room for.
pub(super) const SHARD_MAX: usize = 1 << (u32::BITS - SHARD_BITS);

/// What a state is known by.
pub trait Key<S>: Eq + Send + Sync {
    /// The hash of a state.
    fn hash(state: &S) -> u64;
    /// Of a state with that hash.
    fn of(state: &S, hash: u64) -> Self;
    /// Whether it is of that state, which has that hash.
    fn is_of(&self, state: &S, hash: u64) -> bool;
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
        // A product alone takes states that differ alike to hashes that differ alike: the successors of one shard would all
        // go to a few others. So it is folded and multiplied twice more (MurmurHash3's last steps).
        let fold = |hash: u64| hash ^ (hash >> 33);
        let hash = fold(hasher.finish()).wrapping_mul(0xff51_afd7_ed55_8ccd);
        fold(fold(hash).wrapping_mul(0xc4ce_b9fe_1a85_ec53))
    }

    fn of(state: &S, _: u64) -> Self {
        Self(state.clone())
    }

    fn is_of(&self, state: &S, _: u64) -> bool {
        self.0 == *state
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

    fn again(&self) -> u64 {
        self.0
    }
}

/// Where a known state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// No state: what initial states come from.
    pub(super) const NONE: Self = Self(u32::MAX);

    #[inline]
    pub(super) fn new(shard: usize, index: usize) -> Self {
        let place = (index << SHARD_BITS) | shard;
        Self(u32::try_from(place).expect("the limit on states is lower"))
    }

    #[inline]
    pub(super) fn shard(self) -> usize {
        self.0 as usize & (SHARDS - 1)
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize >> SHARD_BITS
    }
}

/// The part that states with a hash belong to.
#[inline]
pub(super) fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> (u64::BITS - SHARD_BITS)).expect("a few bits")
}

/// A successor that may be known already.
#[derive(Debug)]
pub(super) struct Candidate<S> {
    pub(super) state: S,
    pub(super) parent: Place,
    pub(super) action: u16,
    pub(super) faults: u16,
}

/// What a run to a state costs: how many faults, and then how many steps.
pub(super) type Cost = (u32, u32);

/// One part.
#[derive(Debug)]
pub(super) struct Shard<S, K> {
    pub(super) keys: Vec<K>,
    pub(super) parents: Vec<Place>,
    pub(super) actions: Vec<u16>,
    slots: Vec<u32>,
    /// The last of them, which are expanded next.
    pub(super) next: Vec<S>,
    /// Candidates that cost more faults, for later.
    pub(super) deferred: BTreeMap<Cost, Vec<Candidate<S>>>,
}

impl<S, K> Default for Shard<S, K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            parents: Vec::new(),
            actions: Vec::new(),
            slots: vec![0; 64],
            next: Vec::new(),
            deferred: BTreeMap::new(),
        }
    }
}

impl<S, K: Key<S>> Shard<S, K> {
    /// Where a state is, or the free slot where it would be noted.
    fn look(&self, hash: u64, state: &S) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(hash & mask as u64).expect("within the slots");
        loop {
            match self.slots[at] as usize {
                0 => return Err(at),
                known if self.keys[known - 1].is_of(state, hash) => return Ok(known - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The index of a known state.
    pub(super) fn find(&self, hash: u64, state: &S) -> Option<usize> {
        self.look(hash, state).ok()
    }

    /// Takes out candidates whose first slot shows them to be known: most of all. Their slots, and then their keys, are
    /// read side by side, so that the processor waits for memory once and not for each.
    pub(super) fn drop_known(&self, candidates: &mut Vec<Candidate<S>>) {
        const TOGETHER: usize = 32;
        let mask = self.slots.len() - 1;
        let (mut kept, mut at) = (0, 0);
        while at < candidates.len() {
            let end = candidates.len().min(at + TOGETHER);
            let (mut hashes, mut slots) = ([0; TOGETHER], [0; TOGETHER]);
            for (hash, candidate) in hashes.iter_mut().zip(&candidates[at..end]) {
                *hash = K::hash(&candidate.state);
            }
            for (slot, hash) in slots.iter_mut().zip(hashes) {
                *slot = self.slots[usize::try_from(hash & mask as u64).expect("a slot")];
            }
            let mut is_known = [false; TOGETHER];
            for (at, candidate) in candidates[at..end].iter().enumerate() {
                let key = self.keys.get((slots[at] as usize).wrapping_sub(1));
                is_known[at] = key.is_some_and(|key| key.is_of(&candidate.state, hashes[at]));
            }
            for is_known in &is_known[..end - at] {
                if !is_known {
                    candidates.swap(kept, at);
                    kept += 1;
                }
                at += 1;
            }
        }
        candidates.truncate(kept);
    }

    /// Makes a candidate known where it is new, to be expanded next.
    pub(super) fn insert(&mut self, candidate: Candidate<S>) {
        let Candidate { state, parent, action, .. } = candidate;
        let hash = K::hash(&state);
        let Err(slot) = self.look(hash, &state) else { return };
        assert!(self.keys.len() < SHARD_MAX, "more states than can be numbered");
        self.keys.push(K::of(&state, hash));
        self.parents.push(parent);
        self.actions.push(action);
        self.next.push(state);
        self.slots[slot] = u32::try_from(self.keys.len()).expect("within the limit");
        if self.keys.len() * 4 > self.slots.len() * 3 {
            self.grow();
        }
    }

    /// Keeps a candidate that costs more faults, unless it is known.
    pub(super) fn defer(&mut self, cost: Cost, candidate: Candidate<S>) {
        if self.find(K::hash(&candidate.state), &candidate.state).is_none() {
            self.deferred.entry(cost).or_default().push(candidate);
        }
    }

    /// Makes the candidates of a cost known.
    pub(super) fn settle(&mut self, cost: Cost) {
        for candidate in self.deferred.remove(&cost).unwrap_or_default() {
            self.insert(candidate);
        }
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for (index, key) in self.keys.iter().enumerate() {
            let mut at = usize::try_from(key.again() & mask as u64).expect("within the slots");
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = u32::try_from(index + 1).expect("within the limit");
        }
    }

    /// What it takes, but for what is behind pointers of states.
    pub(super) fn bytes(&self) -> usize {
        let deferred: usize = self.deferred.values().map(Vec::capacity).sum();
        self.keys.capacity() * size_of::<K>()
            + self.parents.capacity() * size_of::<Place>()
            + self.actions.capacity() * size_of::<u16>()
            + self.slots.capacity() * size_of::<u32>()
            + self.next.capacity() * size_of::<S>()
            + deferred * size_of::<Candidate<S>>()
    }
}
