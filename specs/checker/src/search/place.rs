//! Places of known states, and successors that may become one.

/// Number of parts that the set of known states is split into.
pub(super) const SHARDS: usize = 64;
pub(super) const SHARD_BITS: u32 = SHARDS.trailing_zeros();

/// The location of a known state: a shard and an index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// The parent of an initial state.
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

/// Returns the shard for states with this hash.
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

/// Cost of a run to a state: number of faults, then number of steps.
pub(super) type Cost = (u32, u32);
