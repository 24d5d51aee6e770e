//! Groups and containers: calls and set-ups that their facts share.

pub(super) mod container;
pub(super) mod device;
pub(super) mod iommufd;
pub(super) mod open;

use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::{sized, value};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, ContainerCall, FileCall, Rights};
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

pub(super) const TYPE1: &[Capability] = &[Capability::Type1, Capability::Has(Device::Edu)];

pub(super) const V1: u64 = 1;
pub(super) const V2: u64 = 3;

/// The extension `VFIO_UPDATE_VADDR`.
pub(super) const UPDATE_VADDR: u64 = 10;

/// A group and its container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Legacy {
    pub(super) group: Fd,
    pub(super) container: Fd,
}

pub(super) fn open_container(b: &mut Fixture<'_>, pid: Pid) -> FactResult<Fd> {
    b.fd(pid, &Call::File(FileCall::Open { path: "/dev/vfio/vfio".to_owned() }))
}

fn open_of(b: &mut Fixture<'_>, device: Device) -> Call {
    Call::File(FileCall::Open { path: b.arm().group(device).0 })
}

pub(super) fn open_group(b: &mut Fixture<'_>, pid: Pid, device: Device) -> FactResult<Fd> {
    let open = open_of(b, device);
    b.fd(pid, &open)
}

/// Returns a SET_CONTAINER.
pub(super) fn join(group: Fd, container: Fd) -> Call {
    Call::Container(ContainerCall::SetContainer { group, container })
}

fn leave(group: Fd) -> Call {
    value(group, nr::VFIO_GROUP_UNSET_CONTAINER, 0)
}

pub(super) fn set_iommu(container: Fd, kind: u64) -> Call {
    value(container, nr::VFIO_SET_IOMMU, kind)
}

/// Creates a container with a group of this device and an IOMMU of this kind.
pub(super) fn ready(
    b: &mut Fixture<'_>,
    pid: Pid,
    device: Device,
    kind: u64,
) -> FactResult<Legacy> {
    let container = open_container(b, pid)?;
    let group = open_group(b, pid, device)?;
    b.ok(pid, &join(group, container))?;
    b.ok(pid, &set_iommu(container, kind))?;
    Ok(Legacy { group, container })
}

fn named(group: Fd, name: &str) -> Call {
    Call::Container(ContainerCall::GroupDevice { group, address: name.to_owned() })
}

fn device_call(b: &mut Fixture<'_>, group: Fd, device: Device) -> Call {
    let name = b.arm().group(device).1;
    named(group, &name)
}

/// Makes a GET_DEVICE_FD.
pub(super) fn device_fd(
    b: &mut Fixture<'_>,
    pid: Pid,
    group: Fd,
    device: Device,
) -> FactResult<Fd> {
    let call = device_call(b, group, device);
    b.fd(pid, &call)
}

fn status(b: &mut Fixture<'_>, pid: Pid, group: Fd, expected: u32) -> FactResult {
    let told = b.ioctl(pid, &sized().u32(0).on(group, nr::VFIO_GROUP_GET_STATUS))?;
    b.same("flags", &told.bytes[4..], &expected.to_ne_bytes()[..])
}

pub(super) fn extension(
    b: &mut Fixture<'_>,
    pid: Pid,
    container: Fd,
    which: u64,
    expected: u32,
) -> FactResult {
    let told = b.ioctl(pid, &value(container, nr::VFIO_CHECK_EXTENSION, which))?;
    b.same(&format!("extension {which}"), &told.result, &Ok(expected))
}

fn info(device: Fd) -> Call {
    sized().u32(0).u32(0).u32(0).on(device, nr::VFIO_DEVICE_GET_INFO)
}

pub(super) fn map_dma(container: Fd, user_va: Va, iova: u64, pages: u64) -> Call {
    let (length_bytes, iova, rights) = (pages * PAGE_BYTES, Iova(iova), Rights::ReadWrite);
    Call::Container(ContainerCall::MapDma { container, user_va, length_bytes, iova, rights })
}

fn map(container: Fd, va: Va, pages: u64) -> Call {
    map_dma(container, va, 0x10000, pages)
}
