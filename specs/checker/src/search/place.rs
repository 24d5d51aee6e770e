//! Where known states are kept, and successors on their way there.

/// In how many parts the known states are split.
pub(super) const SHARDS: usize = 64;
pub(super) const SHARD_BITS: u32 = SHARDS.trailing_zeros();

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
