//! Names for the things that a kernel numbers.
//!
//! Every id and address is a type of its own, so that none can be passed where another is meant.
//! A range of addresses is inclusive (`first..=last`), as in the kernel's IOVA ranges: it cannot
//! be empty and does not overflow at the top of the address space.

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
    /// A process (thread group).
    Pid(u32) "{}";
    /// A user.
    Uid(u32) "{}";
    /// A slot of a process's descriptor table.
    Fd(i32) "{}";
    /// An object of an iommufd context: IOAS, HWPT, device or access. One number space for all.
    ObjectId(u32) "{}";
    /// An address that a device uses.
    Iova(u64) "{:#x}";
    /// An address that a process uses.
    Va(u64) "{:#x}";
}

/// The page size of every host that this project knows, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// How many pages `bytes` touch when they start on a page boundary.
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
    /// The range of `length_bytes` that begins at `first`; `None` where it is empty or runs over
    /// the top.
    pub fn of(first: Iova, length_bytes: u64) -> Option<Self> {
        let last = first.0.checked_add(length_bytes.checked_sub(1)?)?;
        Some(Self { first, last: Iova(last) })
    }

    /// Bytes in the range. The whole address space counts one byte short.
    pub fn length_bytes(&self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Whether `other` lies within.
    pub fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}
