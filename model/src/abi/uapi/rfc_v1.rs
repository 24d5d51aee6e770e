//! `IOMMU_IOAS_CHANGE_PROCESS` as it was proposed first, in no kernel that was released.
//!
//! Mirrors "Live update: iommufd", RFC V1 (2024-07-20), patch 7: after the size and flags a count,
//! and a pointer to a list of where each stretch of memory was and is.

use super::structure::Bytes;
use crate::abi::argument::{Argument, Ioctl, Pointee};
use crate::abi::ids::Va;
use crate::abi::request::IOMMU_IOAS_CHANGE_PROCESS;

/// Where it stands how many rows the list has.
pub const COUNT: usize = 8;
/// Where the pointer to the list stands.
pub const LIST: usize = 16;
/// The length of a row: old address, new address, length in bytes.
pub const ROW: usize = 24;
const SIZE: usize = 24;

/// A stretch of memory of a process that is gone, and where its successor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// Where it was.
    pub old: Va,
    /// Where it is.
    pub new: Va,
    /// How long it is.
    pub length_bytes: u64,
}

/// The call that makes its caller the owner of every page set, at these addresses.
pub fn change_addresses(moves: &[Move]) -> Ioctl {
    let count = u32::try_from(moves.len()).expect("blocks of RAM are few");
    let rows = moves.iter().flat_map(|row| [row.old.0, row.new.0, row.length_bytes]);
    let bytes = rows.flat_map(u64::to_ne_bytes).collect();
    let structure = Bytes::sized(SIZE).u32(COUNT, count);
    let argument = Argument::of(structure.0, vec![Pointee { at: LIST, bytes }]);
    Ioctl { request: IOMMU_IOAS_CHANGE_PROCESS, argument }
}
