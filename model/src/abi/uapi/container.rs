//! The ioctls of groups and of containers with a type1 IOMMU that a handoff makes.
//!
//! MAP has two variants, one that maps and one that passes a new address. UNMAP has only the
//! variant that invalidates the address of every mapping, and requests whose argument is a number
//! only the one number.

use super::structure::{Bytes, Fields};
use crate::abi::argument::{Argument, Ioctl, IoctlOutcome};
use crate::abi::call::{ContainerCall, Reply, Rights};
use crate::abi::ids::{Fd, Iova, Va};
use crate::abi::request::{
    VFIO_CHECK_EXTENSION, VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_SET_CONTAINER, VFIO_IOMMU_MAP_DMA,
    VFIO_IOMMU_UNMAP_DMA, VFIO_SET_IOMMU,
};
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{self, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap};

/// The field in which UNMAP returns the unmapped length.
const UNMAPPED: usize = offset_of!(vfio_iommu_type1_dma_unmap, size);

const ALL_VADDRS: u32 = vfio::VFIO_DMA_UNMAP_FLAG_VADDR | vfio::VFIO_DMA_UNMAP_FLAG_ALL;
const VERSION_2: u64 = vfio::VFIO_TYPE1v2_IOMMU as u64;
const UPDATE_VADDR: u64 = vfio::VFIO_UPDATE_VADDR as u64;

fn map_flags(rights: Rights) -> u32 {
    match rights {
        Rights::Read => vfio::VFIO_DMA_MAP_FLAG_READ,
        Rights::ReadWrite => vfio::VFIO_DMA_MAP_FLAG_READ | vfio::VFIO_DMA_MAP_FLAG_WRITE,
    }
}

fn rights(flags: u32) -> Option<Rights> {
    [Rights::Read, Rights::ReadWrite].into_iter().find(|rights| map_flags(*rights) == flags)
}

fn map(flags: u32, user_va: Va, length_bytes: u64, iova: Iova) -> Ioctl {
    let bytes = Bytes::sized(size_of::<vfio_iommu_type1_dma_map>())
        .u32(offset_of!(vfio_iommu_type1_dma_map, flags), flags)
        .u64(offset_of!(vfio_iommu_type1_dma_map, vaddr), user_va.0)
        .u64(offset_of!(vfio_iommu_type1_dma_map, iova), iova.0)
        .u64(offset_of!(vfio_iommu_type1_dma_map, size), length_bytes);
    bytes.ioctl(VFIO_IOMMU_MAP_DMA)
}

/// Returns the group or container to call on and the ioctl to make.
pub(super) fn encode(call: &ContainerCall) -> (Fd, Ioctl) {
    match *call {
        ContainerCall::SetContainer { group, container } => {
            let bytes = Bytes(vec![0; size_of::<i32>()]).fd(0, container);
            (group, bytes.ioctl(VFIO_GROUP_SET_CONTAINER))
        }
        ContainerCall::SetIommu { container } => {
            (container, Ioctl::with_value(VFIO_SET_IOMMU, VERSION_2))
        }
        ContainerCall::GroupDevice { group, ref address } => {
            let text = [address.as_bytes(), &[0]].concat();
            (group, Ioctl::of(VFIO_GROUP_GET_DEVICE_FD, text))
        }
        ContainerCall::CanUpdateVaddr { container } => {
            (container, Ioctl::with_value(VFIO_CHECK_EXTENSION, UPDATE_VADDR))
        }
        ContainerCall::MapDma { container, user_va, length_bytes, iova, rights } => {
            (container, map(map_flags(rights), user_va, length_bytes, iova))
        }
        ContainerCall::GiveVaddr { container, user_va, length_bytes, iova } => {
            (container, map(vfio::VFIO_DMA_MAP_FLAG_VADDR, user_va, length_bytes, iova))
        }
        ContainerCall::ForgetVaddrs { container } => {
            let bytes = Bytes::sized(size_of::<vfio_iommu_type1_dma_unmap>())
                .u32(offset_of!(vfio_iommu_type1_dma_unmap, flags), ALL_VADDRS);
            (container, bytes.ioctl(VFIO_IOMMU_UNMAP_DMA))
        }
    }
}

/// Returns the reply of a call that succeeded, from the bytes that the kernel wrote or the return
/// value.
pub(super) fn reply(call: &ContainerCall, result: u32, outcome: &IoctlOutcome) -> Reply {
    match call {
        ContainerCall::GroupDevice { .. } => Reply::Fd(Fd(result.cast_signed())),
        ContainerCall::CanUpdateVaddr { .. } => Reply::Flag(result != 0),
        ContainerCall::ForgetVaddrs { .. } => Reply::Length(Fields(&outcome.bytes).u64(UNMAPPED)),
        ContainerCall::SetContainer { .. }
        | ContainerCall::SetIommu { .. }
        | ContainerCall::MapDma { .. }
        | ContainerCall::GiveVaddr { .. } => Reply::Done,
    }
}

/// Returns the outcome of a call with this reply: the inverse of [`reply`].
pub(super) fn written(call: &ContainerCall, reply: &Reply, outcome: IoctlOutcome) -> IoctlOutcome {
    match (call, reply) {
        (ContainerCall::GroupDevice { .. }, Reply::Fd(fd)) => {
            IoctlOutcome { result: Ok(fd.0.cast_unsigned()), ..outcome }
        }
        (ContainerCall::CanUpdateVaddr { .. }, Reply::Flag(can)) => {
            IoctlOutcome { result: Ok(u32::from(*can)), ..outcome }
        }
        (ContainerCall::ForgetVaddrs { .. }, Reply::Length(length)) => {
            IoctlOutcome { bytes: Bytes(outcome.bytes).u64(UNMAPPED, *length).0, ..outcome }
        }
        (
            ContainerCall::SetContainer { .. }
            | ContainerCall::SetIommu { .. }
            | ContainerCall::GroupDevice { .. }
            | ContainerCall::CanUpdateVaddr { .. }
            | ContainerCall::MapDma { .. }
            | ContainerCall::GiveVaddr { .. }
            | ContainerCall::ForgetVaddrs { .. },
            _,
        ) => outcome,
    }
}

/// Returns the call of an ioctl on a group or container.
pub(super) fn decode(fd: Fd, request: u32, argument: &Argument) -> Option<ContainerCall> {
    match (request, argument) {
        (VFIO_SET_IOMMU, Argument::Value(VERSION_2)) => {
            Some(ContainerCall::SetIommu { container: fd })
        }
        (VFIO_CHECK_EXTENSION, Argument::Value(UPDATE_VADDR)) => {
            Some(ContainerCall::CanUpdateVaddr { container: fd })
        }
        (_, Argument::Structure(structure)) => decode_structure(fd, request, &structure.bytes),
        _ => None,
    }
}

fn decode_structure(fd: Fd, request: u32, bytes: &[u8]) -> Option<ContainerCall> {
    let arg = Fields(bytes);
    match request {
        VFIO_GROUP_SET_CONTAINER => {
            Some(ContainerCall::SetContainer { group: fd, container: arg.fd(0) })
        }
        VFIO_GROUP_GET_DEVICE_FD => {
            let address = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            let address = str::from_utf8(address).ok()?.to_owned();
            Some(ContainerCall::GroupDevice { group: fd, address })
        }
        VFIO_IOMMU_MAP_DMA => decode_map(fd, &arg),
        VFIO_IOMMU_UNMAP_DMA => {
            let flags = arg.u32(offset_of!(vfio_iommu_type1_dma_unmap, flags));
            (flags == ALL_VADDRS).then_some(ContainerCall::ForgetVaddrs { container: fd })
        }
        _ => None,
    }
}

fn decode_map(container: Fd, arg: &Fields<'_>) -> Option<ContainerCall> {
    let flags = arg.u32(offset_of!(vfio_iommu_type1_dma_map, flags));
    let user_va = Va(arg.u64(offset_of!(vfio_iommu_type1_dma_map, vaddr)));
    let length_bytes = arg.u64(offset_of!(vfio_iommu_type1_dma_map, size));
    let iova = Iova(arg.u64(offset_of!(vfio_iommu_type1_dma_map, iova)));
    if flags == vfio::VFIO_DMA_MAP_FLAG_VADDR {
        return Some(ContainerCall::GiveVaddr { container, user_va, length_bytes, iova });
    }
    let rights = rights(flags)?;
    Some(ContainerCall::MapDma { container, user_va, length_bytes, iova, rights })
}
