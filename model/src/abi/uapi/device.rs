//! The ioctls of a VFIO device file that a handoff makes.
//!
//! SET_IRQS supports only eventfds as triggers of vectors from 0. ATTACH and DETACH are used
//! without the PASID, a field that kernels before 6.15 do not know.

use super::structure::{Bytes, Fields};
use crate::abi::argument::{Argument, Ioctl, IoctlOutcome};
use crate::abi::call::{DeviceCall, Reply};
use crate::abi::ids::Fd;
use crate::abi::request::{
    VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_DETACH_IOMMUFD_PT,
    VFIO_DEVICE_FEATURE, VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_IRQ_INFO,
    VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_RESET, VFIO_DEVICE_SET_IRQS,
};
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{
    self, vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_detach_iommufd_pt,
    vfio_device_feature, vfio_device_feature_dma_buf, vfio_device_info, vfio_irq_info,
    vfio_irq_set, vfio_region_dma_range, vfio_region_info,
};

/// Flags of SET_IRQS for eventfds (or none) as triggers.
const IRQS_EVENTFD: u32 = vfio::VFIO_IRQ_SET_DATA_EVENTFD | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
const IRQS_NONE: u32 = vfio::VFIO_IRQ_SET_DATA_NONE | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
/// Length of `struct vfio_irq_set` in bytes, without its flexible array.
const IRQ_SET_BYTES: usize = offset_of!(vfio_irq_set, data);

/// `O_CLOEXEC` of `open`.
const O_CLOEXEC: u32 = 0o2_000_000;

/// Returns the `VFIO_DEVICE_FEATURE` that exports the beginning of a region as a dma-buf; the ioctl
/// returns its descriptor.
pub fn export_bar(region: u32, length_bytes: u64) -> Ioctl {
    const DATA: usize = offset_of!(vfio_device_feature, data);
    const RANGE: usize = DATA + size_of::<vfio_device_feature_dma_buf>();
    let flags = vfio::VFIO_DEVICE_FEATURE_GET | vfio::VFIO_DEVICE_FEATURE_DMA_BUF;
    Bytes::sized(RANGE + size_of::<vfio_region_dma_range>())
        .u32(offset_of!(vfio_device_feature, flags), flags)
        .u32(DATA + offset_of!(vfio_device_feature_dma_buf, region_index), region)
        .u32(DATA + offset_of!(vfio_device_feature_dma_buf, open_flags), O_CLOEXEC)
        .u32(DATA + offset_of!(vfio_device_feature_dma_buf, nr_ranges), 1)
        .u64(RANGE + offset_of!(vfio_region_dma_range, length), length_bytes)
        .ioctl(VFIO_DEVICE_FEATURE)
}

/// Returns the device file to call on and the ioctl to make.
pub(super) fn encode(call: &DeviceCall) -> (Fd, Ioctl) {
    match call {
        DeviceCall::Bind { device, iommufd } => (
            *device,
            Bytes::sized(size_of::<vfio_device_bind_iommufd>())
                .fd(offset_of!(vfio_device_bind_iommufd, iommufd), *iommufd)
                .ioctl(VFIO_DEVICE_BIND_IOMMUFD),
        ),
        DeviceCall::Attach { device, page_table } => (
            *device,
            Bytes::sized(offset_of!(vfio_device_attach_iommufd_pt, pasid))
                .u32(offset_of!(vfio_device_attach_iommufd_pt, pt_id), page_table.0)
                .ioctl(VFIO_DEVICE_ATTACH_IOMMUFD_PT),
        ),
        DeviceCall::Detach { device } => (
            *device,
            Bytes::sized(offset_of!(vfio_device_detach_iommufd_pt, pasid))
                .ioctl(VFIO_DEVICE_DETACH_IOMMUFD_PT),
        ),
        DeviceCall::Info { device } => {
            (*device, Bytes::sized(size_of::<vfio_device_info>()).ioctl(VFIO_DEVICE_GET_INFO))
        }
        DeviceCall::RegionInfo { device, index } => (
            *device,
            Bytes::sized(size_of::<vfio_region_info>())
                .u32(offset_of!(vfio_region_info, index), *index)
                .ioctl(VFIO_DEVICE_GET_REGION_INFO),
        ),
        DeviceCall::IrqInfo { device, index } => (
            *device,
            Bytes::sized(size_of::<vfio_irq_info>())
                .u32(offset_of!(vfio_irq_info, index), *index)
                .ioctl(VFIO_DEVICE_GET_IRQ_INFO),
        ),
        DeviceCall::SetIrqs { device, index, eventfds } => {
            (*device, irq_set(*index, eventfds).ioctl(VFIO_DEVICE_SET_IRQS))
        }
        DeviceCall::Reset { device } => (*device, Ioctl::with_value(VFIO_DEVICE_RESET, 0)),
    }
}

fn irq_set(index: u32, eventfds: &[Fd]) -> Bytes {
    let flags = if eventfds.is_empty() { IRQS_NONE } else { IRQS_EVENTFD };
    let count = u32::try_from(eventfds.len()).expect("vectors are few");
    let set = Bytes::sized(IRQ_SET_BYTES + 4 * eventfds.len())
        .u32(offset_of!(vfio_irq_set, flags), flags)
        .u32(offset_of!(vfio_irq_set, index), index)
        .u32(offset_of!(vfio_irq_set, count), count);
    (eventfds.iter().enumerate())
        .fold(set, |set, (vector, eventfd)| set.fd(IRQ_SET_BYTES + 4 * vector, *eventfd))
}

/// Returns the reply of a call that succeeded, from the bytes that the kernel wrote.
pub(super) fn reply(call: &DeviceCall, outcome: &IoctlOutcome) -> Reply {
    let out = Fields(&outcome.bytes);
    match call {
        DeviceCall::Bind { .. } => {
            Reply::Object(out.id(offset_of!(vfio_device_bind_iommufd, out_devid)))
        }
        DeviceCall::Attach { .. } => {
            Reply::Object(out.id(offset_of!(vfio_device_attach_iommufd_pt, pt_id)))
        }
        DeviceCall::Info { .. } => Reply::DeviceInfo {
            flags: out.u32(offset_of!(vfio_device_info, flags)),
            regions: out.u32(offset_of!(vfio_device_info, num_regions)),
            irqs: out.u32(offset_of!(vfio_device_info, num_irqs)),
        },
        DeviceCall::RegionInfo { .. } => Reply::RegionInfo {
            flags: out.u32(offset_of!(vfio_region_info, flags)),
            length_bytes: out.u64(offset_of!(vfio_region_info, size)),
            offset_bytes: out.u64(offset_of!(vfio_region_info, offset)),
        },
        DeviceCall::IrqInfo { .. } => Reply::IrqInfo {
            flags: out.u32(offset_of!(vfio_irq_info, flags)),
            count: out.u32(offset_of!(vfio_irq_info, count)),
        },
        DeviceCall::Detach { .. } | DeviceCall::SetIrqs { .. } | DeviceCall::Reset { .. } => {
            Reply::Done
        }
    }
}

/// Returns the outcome of a call with this reply: the inverse of [`reply`].
pub(super) fn written(call: &DeviceCall, reply: &Reply, mut outcome: IoctlOutcome) -> IoctlOutcome {
    let out = Bytes(std::mem::take(&mut outcome.bytes));
    let written = match (call, reply) {
        (DeviceCall::Bind { .. }, Reply::Object(id)) => {
            out.u32(offset_of!(vfio_device_bind_iommufd, out_devid), id.0)
        }
        (DeviceCall::Attach { .. }, Reply::Object(id)) => {
            out.u32(offset_of!(vfio_device_attach_iommufd_pt, pt_id), id.0)
        }
        (DeviceCall::Info { .. }, Reply::DeviceInfo { flags, regions, irqs }) => out
            .u32(offset_of!(vfio_device_info, flags), *flags)
            .u32(offset_of!(vfio_device_info, num_regions), *regions)
            .u32(offset_of!(vfio_device_info, num_irqs), *irqs),
        (
            DeviceCall::RegionInfo { .. },
            Reply::RegionInfo { flags, length_bytes, offset_bytes },
        ) => out
            .u32(offset_of!(vfio_region_info, flags), *flags)
            .u64(offset_of!(vfio_region_info, size), *length_bytes)
            .u64(offset_of!(vfio_region_info, offset), *offset_bytes),
        (DeviceCall::IrqInfo { .. }, Reply::IrqInfo { flags, count }) => out
            .u32(offset_of!(vfio_irq_info, flags), *flags)
            .u32(offset_of!(vfio_irq_info, count), *count),
        (
            DeviceCall::Bind { .. }
            | DeviceCall::Attach { .. }
            | DeviceCall::Detach { .. }
            | DeviceCall::Info { .. }
            | DeviceCall::RegionInfo { .. }
            | DeviceCall::IrqInfo { .. }
            | DeviceCall::SetIrqs { .. }
            | DeviceCall::Reset { .. },
            _,
        ) => out,
    };
    IoctlOutcome { bytes: written.0, ..outcome }
}

/// Returns the call of an ioctl on a device file.
pub(super) fn decode(device: Fd, request: u32, argument: &Argument) -> Option<DeviceCall> {
    let arg = Fields(argument.bytes());
    Some(match request {
        VFIO_DEVICE_BIND_IOMMUFD if arg.u32(offset_of!(vfio_device_bind_iommufd, flags)) == 0 => {
            let iommufd = arg.fd(offset_of!(vfio_device_bind_iommufd, iommufd));
            DeviceCall::Bind { device, iommufd }
        }
        VFIO_DEVICE_ATTACH_IOMMUFD_PT
            if arg.u32(offset_of!(vfio_device_attach_iommufd_pt, flags)) == 0 =>
        {
            let page_table = arg.id(offset_of!(vfio_device_attach_iommufd_pt, pt_id));
            DeviceCall::Attach { device, page_table }
        }
        VFIO_DEVICE_DETACH_IOMMUFD_PT
            if arg.u32(offset_of!(vfio_device_detach_iommufd_pt, flags)) == 0 =>
        {
            DeviceCall::Detach { device }
        }
        VFIO_DEVICE_GET_INFO => DeviceCall::Info { device },
        VFIO_DEVICE_GET_REGION_INFO => {
            DeviceCall::RegionInfo { device, index: arg.u32(offset_of!(vfio_region_info, index)) }
        }
        VFIO_DEVICE_GET_IRQ_INFO => {
            DeviceCall::IrqInfo { device, index: arg.u32(offset_of!(vfio_irq_info, index)) }
        }
        VFIO_DEVICE_SET_IRQS => return decode_irqs(device, &arg),
        VFIO_DEVICE_RESET => DeviceCall::Reset { device },
        _ => return None,
    })
}

fn decode_irqs(device: Fd, arg: &Fields<'_>) -> Option<DeviceCall> {
    let count = arg.u32(offset_of!(vfio_irq_set, count));
    let vectors = match arg.u32(offset_of!(vfio_irq_set, flags)) {
        IRQS_EVENTFD => count,
        IRQS_NONE if count == 0 => 0,
        _ => return None,
    };
    if arg.u32(offset_of!(vfio_irq_set, start)) != 0 || vectors > 2048 {
        return None;
    }
    let eventfds = (0..vectors as usize).map(|at| arg.fd(IRQ_SET_BYTES + 4 * at)).collect();
    Some(DeviceCall::SetIrqs { device, index: arg.u32(offset_of!(vfio_irq_set, index)), eventfds })
}
