//! The ioctls as bytes: one codec for the real kernel, for traces and for replay.
//!
//! [`encode`] lays a [`Call`] out as the kernel's argument structure, [`decode`] reads one back, and
//! [`answer`] takes the answer out of the structure that the kernel wrote. Layouts come from the
//! bindings of the kernel's own headers (`offset_of!` and `size_of`), so that no offset is typed in,
//! and because the real backend sends exactly these bytes, an error here shows on a real kernel.
//!
//! Only the forms that [`Call`] has are known: fixed IOVAs, no PASID, MSI triggers from vector 0.
//! Anything else is `None`, never a guess, and is made as [`Call::Ioctl`].

mod kvm;
pub mod rfc_v1;
mod type1;

// The path from before the rooms.
pub use rfc_v1 as moves;

use crate::abi::argument::{Argument, Ioctl, Outcome, Pointee};
use crate::abi::call::{Answer, Call, ContainerCall, DeviceCall, IommufdCall, Reply, Rights};
use crate::abi::ids::{Fd, Iova, IovaRange, ObjectId, Va};
use crate::abi::request::{
    IOMMU_DESTROY, IOMMU_GET_HW_INFO, IOMMU_HWPT_ALLOC, IOMMU_HWPT_GET_DIRTY_BITMAP,
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY, IOMMU_IOAS_IOVA_RANGES,
    IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IOMMU_OPTION,
    VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_DETACH_IOMMUFD_PT,
    VFIO_DEVICE_FEATURE, VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_IRQ_INFO,
    VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_RESET, VFIO_DEVICE_SET_IRQS,
};
use iommufd_bindings as io;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// `VFIO_DEVICE_FEATURE` that exports the beginning of a region as a dma-buf, whose descriptor it returns.
pub fn export_bar(region: u32, length_bytes: u64) -> Ioctl {
    const DATA: usize = offset_of!(vfio::vfio_device_feature, data);
    const RANGE: usize = DATA + size_of::<vfio::vfio_device_feature_dma_buf>();
    const SIZE: usize = RANGE + size_of::<vfio::vfio_region_dma_range>();
    let at = |field: usize| DATA + field;
    let size = u32::try_from(SIZE).expect("a small structure");
    let flags = vfio::VFIO_DEVICE_FEATURE_GET | vfio::VFIO_DEVICE_FEATURE_DMA_BUF;
    let bytes = Bytes(vec![0; SIZE])
        .u32(offset_of!(vfio::vfio_device_feature, argsz), size)
        .u32(offset_of!(vfio::vfio_device_feature, flags), flags)
        .u32(at(offset_of!(vfio::vfio_device_feature_dma_buf, region_index)), region)
        .u32(at(offset_of!(vfio::vfio_device_feature_dma_buf, open_flags)), O_CLOEXEC)
        .u32(at(offset_of!(vfio::vfio_device_feature_dma_buf, nr_ranges)), 1)
        .u64(RANGE + offset_of!(vfio::vfio_region_dma_range, length), length_bytes);
    Ioctl::of(VFIO_DEVICE_FEATURE, bytes.0)
}

/// Of `open`.
const O_CLOEXEC: u32 = 0o2_000_000;

/// How many IOVA ranges [`IommufdCall::IoasIovaRanges`] has room for.
const RANGES_MAX: usize = 64;

/// `IOMMU_IOAS_MAP_FIXED_IOVA`, `_WRITEABLE`, `_READABLE`.
const MAP_FIXED: u32 = 1;
const MAP_WRITE: u32 = 2;
const MAP_READ: u32 = 4;

fn map_flags(rights: Rights) -> u32 {
    match rights {
        Rights::Read => MAP_FIXED | MAP_READ,
        Rights::ReadWrite => MAP_FIXED | MAP_READ | MAP_WRITE,
    }
}

fn rights(flags: u32) -> Option<Rights> {
    [Rights::Read, Rights::ReadWrite].into_iter().find(|rights| map_flags(*rights) == flags)
}

/// SET_IRQS: eventfds (or none of them) as triggers.
const IRQS_EVENTFD: u32 = vfio::VFIO_IRQ_SET_DATA_EVENTFD | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
const IRQS_NONE: u32 = vfio::VFIO_IRQ_SET_DATA_NONE | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
/// `struct vfio_irq_set` without its flexible array.
const IRQ_SET_BYTES: usize = offset_of!(vfio::vfio_irq_set, data);

/// An argument structure under construction.
struct Bytes(Vec<u8>);

impl Bytes {
    /// Zeroes, with the leading `size` or `argsz` set.
    fn sized(length: usize) -> Self {
        Self(vec![0; length]).u32(0, u32::try_from(length).expect("a structure is small"))
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn fd(self, offset: usize, fd: Fd) -> Self {
        self.u32(offset, fd.0.cast_unsigned())
    }

    fn u64(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }
}

/// An argument structure being read; fields beyond its end read as zero, as the kernel reads them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut field = [0; N];
        for (to, from) in field.iter_mut().zip(self.0.get(offset..).unwrap_or_default()) {
            *to = *from;
        }
        field
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_ne_bytes(self.bytes(offset))
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset))
    }

    fn fd(&self, offset: usize) -> Fd {
        Fd(self.u32(offset).cast_signed())
    }

    fn id(&self, offset: usize) -> ObjectId {
        ObjectId(self.u32(offset))
    }
}

/// The offset of a field of a structure of iommufd.
macro_rules! at {
    ($structure:ident . $field:ident) => {
        offset_of!(io::$structure, $field)
    };
}

/// The offset of a field of a structure of VFIO.
macro_rules! vat {
    ($structure:ident . $field:ident) => {
        offset_of!(vfio::$structure, $field)
    };
}

/// The descriptor to call on and the ioctl to make; `None` when the call is not an ioctl.
pub fn encode(call: &Call) -> Option<(Fd, Ioctl)> {
    if let Call::Ioctl { fd, ioctl } = call {
        return Some((*fd, ioctl.clone()));
    }
    if let Some(other) = kvm::encode(call).or_else(|| type1::encode(call)) {
        return Some(other);
    }
    let (fd, request, Bytes(bytes)) = encode_iommufd(call).or_else(|| encode_vfio(call))?;
    let pointees = match call {
        Call::Iommufd(IommufdCall::IoasIovaRanges { .. }) => vec![Pointee {
            at: at!(iommu_ioas_iova_ranges.allowed_iovas),
            bytes: vec![0; RANGES_MAX * size_of::<io::iommu_iova_range>()],
        }],
        _ => Vec::new(),
    };
    let has_none = bytes.is_empty();
    let argument = if has_none { Argument::Value(0) } else { Argument::of(bytes, pointees) };
    Some((fd, Ioctl { request, argument }))
}

fn encode_iommufd(call: &Call) -> Option<(Fd, u32, Bytes)> {
    use io::{
        iommu_destroy, iommu_hw_info, iommu_hwpt_alloc, iommu_hwpt_get_dirty_bitmap,
        iommu_ioas_alloc, iommu_ioas_change_process, iommu_ioas_iova_ranges, iommu_ioas_unmap,
    };
    Some(match *call {
        Call::Iommufd(IommufdCall::Destroy { iommufd, id }) => (
            iommufd,
            IOMMU_DESTROY,
            Bytes::sized(size_of::<iommu_destroy>()).u32(at!(iommu_destroy.id), id.0),
        ),
        Call::Iommufd(IommufdCall::IoasAlloc { iommufd }) => {
            (iommufd, IOMMU_IOAS_ALLOC, Bytes::sized(size_of::<iommu_ioas_alloc>()))
        }
        Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas }) => (
            iommufd,
            IOMMU_IOAS_IOVA_RANGES,
            Bytes::sized(size_of::<iommu_ioas_iova_ranges>())
                .u32(at!(iommu_ioas_iova_ranges.ioas_id), ioas.0)
                .u32(at!(iommu_ioas_iova_ranges.num_iovas), u32::try_from(RANGES_MAX).ok()?),
        ),
        Call::Iommufd(IommufdCall::IoasUnmap { iommufd, ioas, iova, length_bytes }) => (
            iommufd,
            IOMMU_IOAS_UNMAP,
            Bytes::sized(size_of::<iommu_ioas_unmap>())
                .u32(at!(iommu_ioas_unmap.ioas_id), ioas.0)
                .u64(at!(iommu_ioas_unmap.iova), iova.0)
                .u64(at!(iommu_ioas_unmap.length), length_bytes),
        ),
        Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved }) => (
            iommufd,
            IOMMU_IOAS_CHANGE_PROCESS,
            Bytes::sized(size_of::<iommu_ioas_change_process>())
                .u32(at!(iommu_ioas_change_process.__reserved), reserved),
        ),
        Call::Iommufd(IommufdCall::HwptAlloc { iommufd, device, ioas, nest_parent }) => (
            iommufd,
            IOMMU_HWPT_ALLOC,
            Bytes::sized(size_of::<iommu_hwpt_alloc>())
                .u32(at!(iommu_hwpt_alloc.flags), if nest_parent { NEST_PARENT } else { 0 })
                .u32(at!(iommu_hwpt_alloc.dev_id), device.0)
                .u32(at!(iommu_hwpt_alloc.pt_id), ioas.0),
        ),
        Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt }) => (
            iommufd,
            IOMMU_HWPT_GET_DIRTY_BITMAP,
            Bytes::sized(size_of::<iommu_hwpt_get_dirty_bitmap>())
                .u32(at!(iommu_hwpt_get_dirty_bitmap.hwpt_id), hwpt.0)
                .u64(at!(iommu_hwpt_get_dirty_bitmap.page_size), crate::abi::ids::PAGE_BYTES),
        ),
        Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt }) => (
            iommufd,
            IOMMU_HWPT_ALLOC,
            Bytes::sized(size_of::<iommu_hwpt_alloc>())
                .u32(at!(iommu_hwpt_alloc.dev_id), device.0)
                .u32(at!(iommu_hwpt_alloc.pt_id), hwpt.0)
                .u32(at!(iommu_hwpt_alloc.data_type), NO_DATA_TYPE)
                .u32(at!(iommu_hwpt_alloc.data_len), 1),
        ),
        Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device }) => (
            iommufd,
            IOMMU_GET_HW_INFO,
            Bytes::sized(size_of::<iommu_hw_info>()).u32(at!(iommu_hw_info.dev_id), device.0),
        ),
        _ => return encode_mapping(call).or_else(|| encode_option(call)),
    })
}

fn encode_mapping(call: &Call) -> Option<(Fd, u32, Bytes)> {
    use io::{iommu_ioas_copy, iommu_ioas_map, iommu_ioas_map_file};
    Some(match *call {
        Call::Iommufd(IommufdCall::IoasMap {
            iommufd,
            ioas,
            user_va,
            length_bytes,
            iova,
            rights,
        }) => (
            iommufd,
            IOMMU_IOAS_MAP,
            Bytes::sized(size_of::<iommu_ioas_map>())
                .u32(at!(iommu_ioas_map.flags), map_flags(rights))
                .u32(at!(iommu_ioas_map.ioas_id), ioas.0)
                .u64(at!(iommu_ioas_map.user_va), user_va.0)
                .u64(at!(iommu_ioas_map.length), length_bytes)
                .u64(at!(iommu_ioas_map.iova), iova.0),
        ),
        Call::Iommufd(IommufdCall::IoasMapFile {
            iommufd,
            ioas,
            fd,
            offset_bytes,
            length_bytes,
            iova,
            rights,
        }) => (
            iommufd,
            IOMMU_IOAS_MAP_FILE,
            Bytes::sized(size_of::<iommu_ioas_map_file>())
                .u32(at!(iommu_ioas_map_file.flags), map_flags(rights))
                .u32(at!(iommu_ioas_map_file.ioas_id), ioas.0)
                .fd(at!(iommu_ioas_map_file.fd), fd)
                .u64(at!(iommu_ioas_map_file.start), offset_bytes)
                .u64(at!(iommu_ioas_map_file.length), length_bytes)
                .u64(at!(iommu_ioas_map_file.iova), iova.0),
        ),
        Call::Iommufd(IommufdCall::IoasCopy {
            iommufd,
            source,
            source_iova,
            destination,
            destination_iova,
            length_bytes,
            rights,
        }) => (
            iommufd,
            IOMMU_IOAS_COPY,
            Bytes::sized(size_of::<iommu_ioas_copy>())
                .u32(at!(iommu_ioas_copy.flags), map_flags(rights))
                .u32(at!(iommu_ioas_copy.dst_ioas_id), destination.0)
                .u32(at!(iommu_ioas_copy.src_ioas_id), source.0)
                .u64(at!(iommu_ioas_copy.length), length_bytes)
                .u64(at!(iommu_ioas_copy.dst_iova), destination_iova.0)
                .u64(at!(iommu_ioas_copy.src_iova), source_iova.0),
        ),
        _ => return None,
    })
}

/// `IOMMU_HWPT_ALLOC_NEST_PARENT`.
const NEST_PARENT: u32 = 1;

/// No driver's `enum iommu_hwpt_data_type`.
const NO_DATA_TYPE: u32 = u32::MAX;

/// `enum iommufd_option_ops`.
const OPTION_SET: u16 = 0;
const OPTION_GET: u16 = 1;

fn encode_option(call: &Call) -> Option<(Fd, u32, Bytes)> {
    let (iommufd, operation, value) = match *call {
        Call::Iommufd(IommufdCall::GetRlimitMode { iommufd }) => (iommufd, OPTION_GET, 0),
        Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process }) => {
            (iommufd, OPTION_SET, u64::from(per_process))
        }
        _ => return None,
    };
    let mut option =
        Bytes::sized(size_of::<io::iommu_option>()).u64(at!(iommu_option.val64), value);
    let at = at!(iommu_option.op);
    option.0[at..at + 2].copy_from_slice(&operation.to_ne_bytes());
    Some((iommufd, IOMMU_OPTION, option))
}

fn encode_vfio(call: &Call) -> Option<(Fd, u32, Bytes)> {
    use vfio::{vfio_device_bind_iommufd, vfio_device_info, vfio_irq_info, vfio_region_info};
    Some(match call {
        Call::Device(DeviceCall::Bind { device, iommufd }) => (
            *device,
            VFIO_DEVICE_BIND_IOMMUFD,
            Bytes::sized(size_of::<vfio_device_bind_iommufd>())
                .fd(vat!(vfio_device_bind_iommufd.iommufd), *iommufd),
        ),
        Call::Device(DeviceCall::Attach { device, page_table }) => (
            *device,
            VFIO_DEVICE_ATTACH_IOMMUFD_PT,
            // Without the PASID field: kernels before 6.15 do not know it.
            Bytes::sized(vat!(vfio_device_attach_iommufd_pt.pasid))
                .u32(vat!(vfio_device_attach_iommufd_pt.pt_id), page_table.0),
        ),
        Call::Device(DeviceCall::Detach { device }) => (
            *device,
            VFIO_DEVICE_DETACH_IOMMUFD_PT,
            Bytes::sized(vat!(vfio_device_detach_iommufd_pt.pasid)),
        ),
        Call::Device(DeviceCall::Info { device }) => {
            (*device, VFIO_DEVICE_GET_INFO, Bytes::sized(size_of::<vfio_device_info>()))
        }
        Call::Device(DeviceCall::RegionInfo { device, index }) => (
            *device,
            VFIO_DEVICE_GET_REGION_INFO,
            Bytes::sized(size_of::<vfio_region_info>()).u32(vat!(vfio_region_info.index), *index),
        ),
        Call::Device(DeviceCall::IrqInfo { device, index }) => (
            *device,
            VFIO_DEVICE_GET_IRQ_INFO,
            Bytes::sized(size_of::<vfio_irq_info>()).u32(vat!(vfio_irq_info.index), *index),
        ),
        Call::Device(DeviceCall::SetIrqs { device, index, eventfds }) => {
            (*device, VFIO_DEVICE_SET_IRQS, irq_set(*index, eventfds))
        }
        Call::Device(DeviceCall::Reset { device }) => {
            (*device, VFIO_DEVICE_RESET, Bytes(Vec::new()))
        }
        _ => return None,
    })
}

fn irq_set(index: u32, eventfds: &[Fd]) -> Bytes {
    let flags = if eventfds.is_empty() { IRQS_NONE } else { IRQS_EVENTFD };
    let count = u32::try_from(eventfds.len()).expect("vectors are few");
    let set = Bytes::sized(IRQ_SET_BYTES + 4 * eventfds.len())
        .u32(vat!(vfio_irq_set.flags), flags)
        .u32(vat!(vfio_irq_set.index), index)
        .u32(vat!(vfio_irq_set.count), count);
    (eventfds.iter().enumerate())
        .fold(set, |set, (vector, eventfd)| set.fd(IRQ_SET_BYTES + 4 * vector, *eventfd))
}

/// What came of the ioctl that `call` is, as its answer.
pub fn answer(call: &Call, outcome: Outcome) -> Answer {
    match call {
        Call::Ioctl { .. } => Ok(Reply::Ioctl(outcome)),
        _ => outcome.result.map(|result| {
            kvm::reply(call, result)
                .or_else(|| type1::reply(call, result))
                .unwrap_or_else(|| reply(call, &outcome))
        }),
    }
}

/// What the kernel wrote, as the reply of an ioctl that has a form of its own and succeeded.
fn reply(call: &Call, outcome: &Outcome) -> Reply {
    let buffer = outcome.pointees.first().map_or(&[][..], |pointee| &pointee.0);
    let out = Fields(&outcome.bytes);
    match call {
        Call::Iommufd(IommufdCall::IoasAlloc { .. }) => {
            Reply::Object(out.id(at!(iommu_ioas_alloc.out_ioas_id)))
        }
        Call::Iommufd(IommufdCall::HwptAlloc { .. }) => {
            Reply::Object(out.id(at!(iommu_hwpt_alloc.out_hwpt_id)))
        }
        Call::Device(DeviceCall::Bind { .. }) => {
            Reply::Object(out.id(vat!(vfio_device_bind_iommufd.out_devid)))
        }
        Call::Device(DeviceCall::Attach { .. }) => {
            Reply::Object(out.id(vat!(vfio_device_attach_iommufd_pt.pt_id)))
        }
        Call::Iommufd(IommufdCall::IoasUnmap { .. }) => {
            Reply::Length(out.u64(at!(iommu_ioas_unmap.length)))
        }
        Call::Container(ContainerCall::ForgetVaddrs { .. }) => {
            Reply::Length(out.u64(type1::UNMAPPED))
        }
        Call::Iommufd(IommufdCall::GetRlimitMode { .. }) => {
            Reply::Flag(out.u64(at!(iommu_option.val64)) != 0)
        }
        Call::Iommufd(IommufdCall::IoasIovaRanges { .. }) => Reply::IovaRanges {
            ranges: ranges(buffer, out.u32(at!(iommu_ioas_iova_ranges.num_iovas))),
            alignment_bytes: out.u64(at!(iommu_ioas_iova_ranges.out_iova_alignment)),
        },
        Call::Iommufd(IommufdCall::GetHwInfo { .. }) => Reply::HwInfo {
            data_type: out.u32(offset_of!(io::iommu_hw_info, __bindgen_anon_1)),
            capabilities: out.u64(at!(iommu_hw_info.out_capabilities)),
        },
        Call::Device(DeviceCall::Info { .. }) => Reply::DeviceInfo {
            flags: out.u32(vat!(vfio_device_info.flags)),
            regions: out.u32(vat!(vfio_device_info.num_regions)),
            irqs: out.u32(vat!(vfio_device_info.num_irqs)),
        },
        Call::Device(DeviceCall::RegionInfo { .. }) => Reply::RegionInfo {
            flags: out.u32(vat!(vfio_region_info.flags)),
            length_bytes: out.u64(vat!(vfio_region_info.size)),
            offset_bytes: out.u64(vat!(vfio_region_info.offset)),
        },
        Call::Device(DeviceCall::IrqInfo { .. }) => Reply::IrqInfo {
            flags: out.u32(vat!(vfio_irq_info.flags)),
            count: out.u32(vat!(vfio_irq_info.count)),
        },
        _ => Reply::Done,
    }
}

fn ranges(buffer: &[u8], count: u32) -> Vec<IovaRange> {
    (buffer.chunks_exact(size_of::<io::iommu_iova_range>()).take(count as usize).map(Fields))
        .map(|range| IovaRange {
            first: Iova(range.u64(at!(iommu_iova_range.start))),
            last: Iova(range.u64(at!(iommu_iova_range.last))),
        })
        .collect()
}

/// What came of an ioctl with this answer: the inverse of [`answer`], by which a simulated run
/// becomes a trace.
pub fn outcome(call: &Call, ioctl: &Ioctl, answer: &Answer) -> Outcome {
    match answer {
        Ok(Reply::Ioctl(outcome)) => outcome.clone(),
        Ok(reply) => written(call, ioctl, reply),
        Err(errno) => ioctl.argument.untouched(Err(*errno)),
    }
}

fn written(call: &Call, ioctl: &Ioctl, reply: &Reply) -> Outcome {
    let result = kvm::result(call, reply).or_else(|| type1::result(call, reply));
    let mut outcome = ioctl.argument.untouched(Ok(result.unwrap_or(0)));
    let out = Bytes(std::mem::take(&mut outcome.bytes));
    let written = match (call, reply) {
        (Call::Iommufd(IommufdCall::IoasAlloc { .. }), Reply::Object(id)) => {
            out.u32(at!(iommu_ioas_alloc.out_ioas_id), id.0)
        }
        (Call::Iommufd(IommufdCall::HwptAlloc { .. }), Reply::Object(id)) => {
            out.u32(at!(iommu_hwpt_alloc.out_hwpt_id), id.0)
        }
        (Call::Device(DeviceCall::Bind { .. }), Reply::Object(id)) => {
            out.u32(vat!(vfio_device_bind_iommufd.out_devid), id.0)
        }
        (Call::Device(DeviceCall::Attach { .. }), Reply::Object(id)) => {
            out.u32(vat!(vfio_device_attach_iommufd_pt.pt_id), id.0)
        }
        (Call::Iommufd(IommufdCall::IoasUnmap { .. }), Reply::Length(length)) => {
            out.u64(at!(iommu_ioas_unmap.length), *length)
        }
        (Call::Container(ContainerCall::ForgetVaddrs { .. }), Reply::Length(length)) => {
            out.u64(type1::UNMAPPED, *length)
        }
        (Call::Iommufd(IommufdCall::GetRlimitMode { .. }), Reply::Flag(on)) => {
            out.u64(at!(iommu_option.val64), u64::from(*on))
        }
        (
            Call::Iommufd(IommufdCall::IoasIovaRanges { .. }),
            Reply::IovaRanges { ranges, alignment_bytes },
        ) => {
            let count = u32::try_from(ranges.len()).expect("ranges are few");
            let argument = out
                .u32(at!(iommu_ioas_iova_ranges.num_iovas), count)
                .u64(at!(iommu_ioas_iova_ranges.out_iova_alignment), *alignment_bytes);
            if let Some(pointee) = outcome.pointees.first_mut() {
                write_ranges(&mut pointee.0, ranges);
            }
            argument
        }
        (
            Call::Iommufd(IommufdCall::GetHwInfo { .. }),
            Reply::HwInfo { data_type, capabilities },
        ) => out
            .u32(offset_of!(io::iommu_hw_info, __bindgen_anon_1), *data_type)
            .u64(at!(iommu_hw_info.out_capabilities), *capabilities),
        (Call::Device(DeviceCall::Info { .. }), Reply::DeviceInfo { flags, regions, irqs }) => out
            .u32(vat!(vfio_device_info.flags), *flags)
            .u32(vat!(vfio_device_info.num_regions), *regions)
            .u32(vat!(vfio_device_info.num_irqs), *irqs),
        (
            Call::Device(DeviceCall::RegionInfo { .. }),
            Reply::RegionInfo { flags, length_bytes, offset_bytes },
        ) => out
            .u32(vat!(vfio_region_info.flags), *flags)
            .u64(vat!(vfio_region_info.size), *length_bytes)
            .u64(vat!(vfio_region_info.offset), *offset_bytes),
        (Call::Device(DeviceCall::IrqInfo { .. }), Reply::IrqInfo { flags, count }) => {
            out.u32(vat!(vfio_irq_info.flags), *flags).u32(vat!(vfio_irq_info.count), *count)
        }
        _ => out,
    };
    outcome.bytes = written.0;
    outcome
}

fn write_ranges(buffer: &mut Vec<u8>, ranges: &[IovaRange]) {
    let size = size_of::<io::iommu_iova_range>();
    let before = Bytes(std::mem::take(buffer));
    let written = ranges.iter().enumerate().fold(before, |bytes, (row, range)| {
        bytes
            .u64(row * size + at!(iommu_iova_range.start), range.first.0)
            .u64(row * size + at!(iommu_iova_range.last), range.last.0)
    });
    *buffer = written.0;
}

/// The call that an ioctl on `fd` is; `None` where [`Call`] has no such form.
pub fn decode(fd: Fd, request: u32, argument: &Argument) -> Option<Call> {
    let bytes = argument.bytes();
    decode_iommufd(fd, request, &Fields(bytes))
        .or_else(|| decode_vfio(fd, request, bytes))
        .or_else(|| kvm::decode(fd, request, bytes))
        .or_else(|| type1::decode(fd, request, argument))
}

fn decode_iommufd(fd: Fd, request: u32, arg: &Fields<'_>) -> Option<Call> {
    Some(match request {
        IOMMU_DESTROY => {
            Call::Iommufd(IommufdCall::Destroy { iommufd: fd, id: arg.id(at!(iommu_destroy.id)) })
        }
        IOMMU_IOAS_ALLOC if arg.u32(at!(iommu_ioas_alloc.flags)) == 0 => {
            Call::Iommufd(IommufdCall::IoasAlloc { iommufd: fd })
        }
        IOMMU_IOAS_IOVA_RANGES => Call::Iommufd(IommufdCall::IoasIovaRanges {
            iommufd: fd,
            ioas: arg.id(at!(iommu_ioas_iova_ranges.ioas_id)),
        }),
        IOMMU_IOAS_MAP => Call::Iommufd(IommufdCall::IoasMap {
            iommufd: fd,
            ioas: arg.id(at!(iommu_ioas_map.ioas_id)),
            user_va: Va(arg.u64(at!(iommu_ioas_map.user_va))),
            length_bytes: arg.u64(at!(iommu_ioas_map.length)),
            iova: Iova(arg.u64(at!(iommu_ioas_map.iova))),
            rights: rights(arg.u32(at!(iommu_ioas_map.flags)))?,
        }),
        IOMMU_IOAS_MAP_FILE => Call::Iommufd(IommufdCall::IoasMapFile {
            iommufd: fd,
            ioas: arg.id(at!(iommu_ioas_map_file.ioas_id)),
            fd: arg.fd(at!(iommu_ioas_map_file.fd)),
            offset_bytes: arg.u64(at!(iommu_ioas_map_file.start)),
            length_bytes: arg.u64(at!(iommu_ioas_map_file.length)),
            iova: Iova(arg.u64(at!(iommu_ioas_map_file.iova))),
            rights: rights(arg.u32(at!(iommu_ioas_map_file.flags)))?,
        }),
        IOMMU_IOAS_COPY => Call::Iommufd(IommufdCall::IoasCopy {
            iommufd: fd,
            source: arg.id(at!(iommu_ioas_copy.src_ioas_id)),
            source_iova: Iova(arg.u64(at!(iommu_ioas_copy.src_iova))),
            destination: arg.id(at!(iommu_ioas_copy.dst_ioas_id)),
            destination_iova: Iova(arg.u64(at!(iommu_ioas_copy.dst_iova))),
            length_bytes: arg.u64(at!(iommu_ioas_copy.length)),
            rights: rights(arg.u32(at!(iommu_ioas_copy.flags)))?,
        }),
        IOMMU_IOAS_UNMAP => Call::Iommufd(IommufdCall::IoasUnmap {
            iommufd: fd,
            ioas: arg.id(at!(iommu_ioas_unmap.ioas_id)),
            iova: Iova(arg.u64(at!(iommu_ioas_unmap.iova))),
            length_bytes: arg.u64(at!(iommu_ioas_unmap.length)),
        }),
        IOMMU_IOAS_CHANGE_PROCESS => Call::Iommufd(IommufdCall::ChangeProcess {
            iommufd: fd,
            reserved: arg.u32(at!(iommu_ioas_change_process.__reserved)),
        }),
        IOMMU_OPTION => return decode_option(fd, arg),
        IOMMU_HWPT_ALLOC => return decode_hwpt_alloc(fd, arg),
        IOMMU_HWPT_GET_DIRTY_BITMAP if arg.u64(at!(iommu_hwpt_get_dirty_bitmap.length)) == 0 => {
            Call::Iommufd(IommufdCall::ProbeHwpt {
                iommufd: fd,
                hwpt: arg.id(at!(iommu_hwpt_get_dirty_bitmap.hwpt_id)),
            })
        }
        IOMMU_GET_HW_INFO if arg.u32(at!(iommu_hw_info.flags)) == 0 => {
            Call::Iommufd(IommufdCall::GetHwInfo {
                iommufd: fd,
                device: arg.id(at!(iommu_hw_info.dev_id)),
            })
        }
        _ => return None,
    })
}

/// An HWPT over an IOAS, without user data, or the probe that none can be of.
fn decode_hwpt_alloc(iommufd: Fd, arg: &Fields<'_>) -> Option<Call> {
    let device = arg.id(at!(iommu_hwpt_alloc.dev_id));
    let under = arg.id(at!(iommu_hwpt_alloc.pt_id));
    let words = [
        arg.u32(at!(iommu_hwpt_alloc.flags)),
        arg.u32(at!(iommu_hwpt_alloc.__reserved)),
        arg.u32(at!(iommu_hwpt_alloc.data_type)),
        arg.u32(at!(iommu_hwpt_alloc.data_len)),
    ];
    match words {
        [flags @ (0 | NEST_PARENT), 0, 0, 0] => {
            let nest_parent = flags == NEST_PARENT;
            Some(Call::Iommufd(IommufdCall::HwptAlloc {
                iommufd,
                device,
                ioas: under,
                nest_parent,
            }))
        }
        [0, 0, NO_DATA_TYPE, 1] => {
            Some(Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt: under }))
        }
        _ => None,
    }
}

fn decode_option(iommufd: Fd, arg: &Fields<'_>) -> Option<Call> {
    let is_rlimit_mode =
        arg.u32(at!(iommu_option.option_id)) == 0 && arg.u32(at!(iommu_option.object_id)) == 0;
    match (is_rlimit_mode, arg.u16(at!(iommu_option.op)), arg.u64(at!(iommu_option.val64))) {
        (true, OPTION_GET, _) => Some(Call::Iommufd(IommufdCall::GetRlimitMode { iommufd })),
        (true, OPTION_SET, 0) => {
            Some(Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: false }))
        }
        (true, OPTION_SET, 1) => {
            Some(Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }))
        }
        _ => None,
    }
}

fn decode_vfio(device: Fd, request: u32, argument: &[u8]) -> Option<Call> {
    let arg = Fields(argument);
    Some(match request {
        VFIO_DEVICE_BIND_IOMMUFD if arg.u32(vat!(vfio_device_bind_iommufd.flags)) == 0 => {
            Call::Device(DeviceCall::Bind {
                device,
                iommufd: arg.fd(vat!(vfio_device_bind_iommufd.iommufd)),
            })
        }
        VFIO_DEVICE_ATTACH_IOMMUFD_PT
            if arg.u32(vat!(vfio_device_attach_iommufd_pt.flags)) == 0 =>
        {
            Call::Device(DeviceCall::Attach {
                device,
                page_table: arg.id(vat!(vfio_device_attach_iommufd_pt.pt_id)),
            })
        }
        VFIO_DEVICE_DETACH_IOMMUFD_PT
            if arg.u32(vat!(vfio_device_detach_iommufd_pt.flags)) == 0 =>
        {
            Call::Device(DeviceCall::Detach { device })
        }
        VFIO_DEVICE_GET_INFO => Call::Device(DeviceCall::Info { device }),
        VFIO_DEVICE_GET_REGION_INFO => Call::Device(DeviceCall::RegionInfo {
            device,
            index: arg.u32(vat!(vfio_region_info.index)),
        }),
        VFIO_DEVICE_GET_IRQ_INFO => {
            Call::Device(DeviceCall::IrqInfo { device, index: arg.u32(vat!(vfio_irq_info.index)) })
        }
        VFIO_DEVICE_SET_IRQS => return decode_irqs(device, &arg),
        VFIO_DEVICE_RESET => Call::Device(DeviceCall::Reset { device }),
        _ => return None,
    })
}

fn decode_irqs(device: Fd, arg: &Fields<'_>) -> Option<Call> {
    let count = arg.u32(vat!(vfio_irq_set.count));
    let vectors = match arg.u32(vat!(vfio_irq_set.flags)) {
        IRQS_EVENTFD => count,
        IRQS_NONE if count == 0 => 0,
        _ => return None,
    };
    if arg.u32(vat!(vfio_irq_set.start)) != 0 || vectors > 2048 {
        return None;
    }
    let eventfds = (0..vectors as usize).map(|at| arg.fd(IRQ_SET_BYTES + 4 * at)).collect();
    Some(Call::Device(DeviceCall::SetIrqs {
        device,
        index: arg.u32(vat!(vfio_irq_set.index)),
        eventfds,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::call::KvmCall;

    const IOMMUFD: Fd = Fd(3);
    const DEVICE: Fd = Fd(4);
    const ID: ObjectId = ObjectId(7);

    const fn hwpt(nest_parent: bool) -> Call {
        Call::Iommufd(IommufdCall::HwptAlloc {
            iommufd: IOMMUFD,
            device: ID,
            ioas: ObjectId(1),
            nest_parent,
        })
    }

    /// One of each ioctl.
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_ioctl() -> Vec<Call> {
        let rights = Rights::ReadWrite;
        vec![
            Call::Iommufd(IommufdCall::Destroy { iommufd: IOMMUFD, id: ID }),
            Call::Iommufd(IommufdCall::IoasAlloc { iommufd: IOMMUFD }),
            Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd: IOMMUFD, ioas: ID }),
            Call::Iommufd(IommufdCall::IoasMap {
                iommufd: IOMMUFD,
                ioas: ID,
                user_va: Va(0x7000_0000),
                length_bytes: 0x2000,
                iova: Iova(0x10_0000),
                rights,
            }),
            Call::Iommufd(IommufdCall::IoasMapFile {
                iommufd: IOMMUFD,
                ioas: ID,
                fd: Fd(9),
                offset_bytes: 0x1000,
                length_bytes: 0x2000,
                iova: Iova(0x10_0000),
                rights: Rights::Read,
            }),
            Call::Iommufd(IommufdCall::IoasCopy {
                iommufd: IOMMUFD,
                source: ID,
                source_iova: Iova(0x1000),
                destination: ObjectId(8),
                destination_iova: Iova(0x2000),
                length_bytes: 0x3000,
                rights,
            }),
            Call::Iommufd(IommufdCall::IoasUnmap {
                iommufd: IOMMUFD,
                ioas: ID,
                iova: Iova(1),
                length_bytes: 2,
            }),
            Call::Iommufd(IommufdCall::ChangeProcess { iommufd: IOMMUFD, reserved: 1 }),
            Call::Iommufd(IommufdCall::GetRlimitMode { iommufd: IOMMUFD }),
            Call::Iommufd(IommufdCall::SetRlimitMode { iommufd: IOMMUFD, per_process: true }),
            hwpt(false),
            Call::Iommufd(IommufdCall::ProbeHwpt { iommufd: IOMMUFD, hwpt: ID }),
            Call::Iommufd(IommufdCall::GetHwInfo { iommufd: IOMMUFD, device: ID }),
            Call::Device(DeviceCall::Bind { device: DEVICE, iommufd: IOMMUFD }),
            Call::Device(DeviceCall::Attach { device: DEVICE, page_table: ID }),
            Call::Device(DeviceCall::Detach { device: DEVICE }),
            Call::Device(DeviceCall::Info { device: DEVICE }),
            Call::Device(DeviceCall::RegionInfo { device: DEVICE, index: 2 }),
            Call::Device(DeviceCall::IrqInfo { device: DEVICE, index: 1 }),
            Call::Device(DeviceCall::SetIrqs {
                device: DEVICE,
                index: 1,
                eventfds: vec![Fd(10), Fd(11)],
            }),
            Call::Device(DeviceCall::SetIrqs { device: DEVICE, index: 1, eventfds: vec![] }),
            Call::Device(DeviceCall::Reset { device: DEVICE }),
            Call::Container(ContainerCall::SetContainer { group: DEVICE, container: IOMMUFD }),
            Call::Container(ContainerCall::SetIommu { container: IOMMUFD }),
            Call::Container(ContainerCall::GroupDevice {
                group: DEVICE,
                address: "0000:00:05.0".into(),
            }),
            Call::Container(ContainerCall::CanUpdateVaddr { container: IOMMUFD }),
            Call::Container(ContainerCall::MapDma {
                container: IOMMUFD,
                user_va: Va(0x7000_0000),
                length_bytes: 0x2000,
                iova: Iova(0x10_0000),
                rights: Rights::Read,
            }),
            Call::Container(ContainerCall::GiveVaddr {
                container: IOMMUFD,
                user_va: Va(0x7000_0000),
                length_bytes: 0x2000,
                iova: Iova(0x10_0000),
            }),
            Call::Container(ContainerCall::ForgetVaddrs { container: IOMMUFD }),
            Call::Kvm(KvmCall::CreateVm { kvm: DEVICE }),
            Call::Kvm(KvmCall::CreateIrqchip { vm: DEVICE }),
            Call::Kvm(KvmCall::Irqfd { vm: DEVICE, eventfd: Fd(10), gsi: 24, assign: true }),
            Call::Kvm(KvmCall::Irqfd { vm: DEVICE, eventfd: Fd(10), gsi: 24, assign: false }),
            hwpt(true),
            Call::Iommufd(IommufdCall::ProbeNesting {
                iommufd: IOMMUFD,
                device: ID,
                hwpt: ObjectId(8),
            }),
        ]
    }

    #[test]
    fn every_ioctl_decodes_to_itself_and_has_a_name() {
        for call in every_ioctl() {
            let (fd, ioctl) = encode(&call).expect("an ioctl");
            assert_eq!(decode(fd, ioctl.request, &ioctl.argument), Some(call.clone()));
            assert!(crate::abi::request::name(ioctl.request).is_some(), "{call:?}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_kernel() {
        let size = |call: &Call| encode(call).expect("an ioctl").1.argument.bytes().len();
        let sizes: Vec<usize> = every_ioctl().iter().map(size).collect();
        assert_eq!(
            sizes,
            [
                8, 12, 32, 40, 40, 40, 24, 8, 24, 24, 48, 48, 40, 24, 12, 8, 24, 32, 16, 28, 20, 0,
                4, 0, 13, 0, 32, 32, 24, 0, 0, 32, 32, 48, 48
            ]
        );
    }

    #[test]
    fn what_the_kernel_writes_is_read_back() {
        let range = IovaRange { first: Iova(0), last: Iova(0xfedf_ffff) };
        let replies = [
            (3, Reply::Done),
            (1, Reply::Object(ID)),
            (2, Reply::IovaRanges { ranges: vec![range, range], alignment_bytes: 4096 }),
            (6, Reply::Length(9)),
            (8, Reply::Flag(true)),
            (12, Reply::HwInfo { data_type: 1, capabilities: 8 }),
            (13, Reply::Object(ID)),
            (16, Reply::DeviceInfo { flags: 2, regions: 9, irqs: 5 }),
            (17, Reply::RegionInfo { flags: 7, length_bytes: 1, offset_bytes: 1 << 40 }),
            (18, Reply::IrqInfo { flags: 9, count: 1 }),
            (24, Reply::Fd(Fd(12))),
            (25, Reply::Flag(true)),
            (28, Reply::Length(9)),
            (29, Reply::Fd(Fd(12))),
        ];
        for (row, expected) in replies {
            let call = &every_ioctl()[row];
            let (_, ioctl) = encode(call).expect("an ioctl");
            let answer_of = |outcome| answer(call, outcome);
            let came = outcome(call, &ioctl, &Ok(expected.clone()));
            assert_eq!(answer_of(came), Ok(expected), "{call:?}");
        }
    }

    #[test]
    fn forms_that_are_not_known_are_not_guessed() {
        let with = |call: &Call, offset: usize, value: u32| {
            let (fd, ioctl) = encode(call).expect("an ioctl");
            let bytes = Bytes(ioctl.argument.bytes().to_vec()).u32(offset, value).0;
            decode(fd, ioctl.request, &Argument::of(bytes, Vec::new()))
        };
        let calls = every_ioctl();
        assert_eq!(with(&calls[3], at!(iommu_ioas_map.flags), MAP_READ), None, "no fixed IOVA");
        assert_eq!(with(&calls[10], at!(iommu_hwpt_alloc.flags), 2), None, "dirty tracking");
        assert_eq!(with(&calls[10], at!(iommu_hwpt_alloc.data_type), 1), None, "a driver's data");
        assert_eq!(with(&calls[34], at!(iommu_hwpt_alloc.flags), 1), None, "a nested parent");
        assert_eq!(with(&calls[19], vat!(vfio_irq_set.start), 1), None, "vectors from 1");
        assert_eq!(with(&calls[13], vat!(vfio_device_bind_iommufd.flags), 1), None, "a token");
        assert_eq!(with(&calls[26], 4, 7), None, "rights, and a new address");
        assert_eq!(with(&calls[28], 4, 4), None, "not all of them");
        let value = |request, value| decode(IOMMUFD, request, &Argument::Value(value));
        assert_eq!(value(0x3b_ff, 0), None, "unknown request");
        assert_eq!(value(IOMMU_IOAS_MAP, 0), None, "no argument at all");
        assert_eq!(value(crate::abi::request::VFIO_SET_IOMMU, 1), None, "version 1");
        assert_eq!(value(crate::abi::request::VFIO_CHECK_EXTENSION, 9), None, "another extension");
    }
}
