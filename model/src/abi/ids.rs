//! Ids and addresses, each a type of its own so that none can be passed where another is meant.
//!
//! A range of addresses is inclusive (`first..=last`), as in the kernel's IOVA ranges: it cannot be
//! empty and does not overflow at the top of the address space.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! newtype {
    ($($(#[$doc:meta])* $name:ident($inner:ty) $format:literal;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
        )]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    )*};
}

newtype! {
    /// A process id (thread group).
    Pid(u32) "{}";
    /// A user id.
    Uid(u32) "{}";
    /// A descriptor number, an index of a process's descriptor table.
    Fd(i32) "{}";
    /// The id of an object of an iommufd context: IOAS, HWPT, device or access. All share one
    /// number space.
    ObjectId(u32) "{}";
    /// An address as devices use it.
    Iova(u64) "{:#x}";
    /// An address as a process uses it.
    Va(u64) "{:#x}";
}

/// Page size of every supported host, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// Returns the number of pages that `bytes` cover from a page boundary on.
pub const fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES)
}

/// A range of device addresses, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IovaRange {
    /// The lowest address.
    pub first: Iova,
    /// The highest address.
    pub last: Iova,
}

impl IovaRange {
    /// Returns the range of `length_bytes` that begins at `first`; `None` if it is empty or
    /// overflows.
    pub fn of(first: Iova, length_bytes: u64) -> Option<Self> {
        let last = first.0.checked_add(length_bytes.checked_sub(1)?)?;
        Some(Self { first, last: Iova(last) })
    }

    /// Returns the length in bytes; one byte too few for the complete address space.
    pub fn length_bytes(&self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Returns true if `other` lies within this range.
    pub fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Returns true if the ranges share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}
