//! Ioctls as bytes: variants that no [`Call`] has, and structures with one mutation.

use handoff_model::abi::argument::{Argument, Ioctl, Pointee, Structure};
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;
use handoff_model::abi::uapi;
use proptest::prelude::*;
use proptest::sample::select;

/// Returns an ioctl of 32-bit words.
pub(super) fn raw(fd: Fd, request: u32, words: &[u32], pointees: Vec<Pointee>) -> Call {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let argument = Argument::Structure(Structure { bytes, read_only: false, pointees });
    Call::Ioctl { fd, ioctl: Ioctl { request, argument } }
}

/// Encodes a call as bytes.
fn as_bytes(call: &Call) -> Option<(Fd, u32, Structure)> {
    let (fd, Ioctl { request, argument }) = uapi::encode(call)?;
    match argument {
        Argument::Structure(structure) => Some((fd, request, structure)),
        Argument::Value(_) => None,
    }
}

/// Returns a map or copy with an IOVA that the kernel chooses.
pub(super) fn automatic(call: &Call) -> Call {
    const FLAGS: usize = 4;
    const FIXED: u8 = 1;
    let (fd, request, mut structure) = as_bytes(call).expect("a map is an ioctl");
    structure.bytes[FLAGS] &= !FIXED;
    Call::Ioctl { fd, ioctl: Ioctl { request, argument: Argument::Structure(structure) } }
}

/// A mutation of a structure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mutation {
    /// Replaces a word.
    Word(u32),
    /// Appends this byte, and increases the size.
    Longer(u8),
    /// Decreases the size without removing bytes.
    Shorter(usize),
    /// Removes bytes without decreasing the size.
    CutOff(usize),
    /// Makes the structure read-only.
    ReadOnly,
}

pub(super) fn mutations() -> impl Strategy<Value = Mutation> {
    one_of![
        6 => select(vec![0, 1, 2, 3, 7, 8, 0x1000, 0x8000_0000, u32::MAX]).prop_map(Mutation::Word),
        1 => select(vec![0, 1]).prop_map(Mutation::Longer),
        1 => (1..9usize).prop_map(Mutation::Shorter),
        1 => (1..9usize).prop_map(Mutation::CutOff),
        1 => Just(Mutation::ReadOnly),
    ]
}

/// Mutates the structure of a call; `None` for a call without one.
pub(super) fn spoil(call: &Call, at: prop::sample::Index, how: Mutation) -> Option<Call> {
    let (fd, request, mut structure) = as_bytes(call)?;
    let bytes = &mut structure.bytes;
    let say = |bytes: &mut Vec<u8>, size: usize| {
        bytes[..4].copy_from_slice(&u32::try_from(size).expect("small").to_ne_bytes());
    };
    match how {
        Mutation::Word(word) => {
            let place = at.index(bytes.len() / 4) * 4;
            // Small numbers are standard descriptors, which refer to different files on the two
            // kernels.
            let is_fd = matches!(request, nr::IOMMU_IOAS_MAP_FILE | nr::VFIO_DEVICE_SET_IRQS)
                || request == nr::VFIO_DEVICE_BIND_IOMMUFD;
            if is_fd && word < 3 {
                return None;
            }
            let is_pointer = structure.pointees.iter().any(|p| (p.at..p.at + 8).contains(&place));
            if !is_pointer {
                bytes[place..place + 4].copy_from_slice(&word.to_ne_bytes());
            }
        }
        Mutation::Longer(byte) => {
            bytes.push(byte);
            say(bytes, bytes.len());
        }
        Mutation::Shorter(less) => say(bytes, bytes.len().saturating_sub(less)),
        Mutation::CutOff(less) => {
            bytes.truncate(bytes.len().saturating_sub(less).max(4));
            structure.pointees.retain(|pointee| pointee.at + 8 <= bytes.len());
        }
        Mutation::ReadOnly => structure.read_only = true,
    }
    Some(Call::Ioctl { fd, ioctl: Ioctl { request, argument: Argument::Structure(structure) } })
}
