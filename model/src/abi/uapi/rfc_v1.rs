//! `IOMMU_IOAS_CHANGE_PROCESS` as first proposed; no released kernel has it.
//!
//! Mirrors "Live update: iommufd", RFC V1 (2024-07-20), patch 7: size and flags are followed by a
//! count, and by a pointer to a list with the old and new address of each block of memory.

use super::structure::Bytes;
use crate::abi::argument::{Argument, Ioctl, Pointee};
use crate::abi::ids::Va;
use crate::abi::request::IOMMU_IOAS_CHANGE_PROCESS;

/// Offset of the number of entries.
pub const COUNT: usize = 8;
/// Offset of the pointer to the list.
pub const LIST: usize = 16;
/// Length of an entry in bytes: old address, new address, length in bytes.
pub const ROW: usize = 24;
const SIZE: usize = 24;

/// A block of memory of the old process, and its address in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// The old address.
    pub old: Va,
    /// The new address.
    pub new: Va,
    /// The length in bytes.
    pub length_bytes: u64,
}

/// Returns the ioctl that makes its caller the owner of every page set, with memory at these
/// addresses.
pub fn change_addresses(moves: &[Move]) -> Ioctl {
    let count = u32::try_from(moves.len()).expect("blocks of RAM are few");
    let rows = moves.iter().flat_map(|row| [row.old.0, row.new.0, row.length_bytes]);
    let bytes = rows.flat_map(u64::to_ne_bytes).collect();
    let structure = Bytes::sized(SIZE).u32(COUNT, count);
    let argument = Argument::of(structure.0, vec![Pointee { at: LIST, bytes }]);
    Ioctl { request: IOMMU_IOAS_CHANGE_PROCESS, argument }
}
