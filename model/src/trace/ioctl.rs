//! Ioctls in traces: argument structures as hex, through the codec of [`crate::uapi`].
//!
//! A foreign program may fill a structure in ways that [`Call`] has no form for: shorter or longer
//! than ours, reserved fields set, optional parts in use. A recorded structure counts as one of
//! ours only when encoding the decoded call gives the same bytes again, but for those that the
//! kernel ignores or writes ([`free`]). What is left over is not modelled, never guessed.
//!
//! One form is taken as another: a mapping whose IOVA the kernel chose is, once it has succeeded,
//! the mapping at that IOVA. Like descriptor numbers and addresses, it is bound by the answer.

use super::record::{Memory, Record};
use crate::call::{Answer, Call, Reply};
use crate::errno::Errno;
use crate::ids::Fd;
use crate::uapi;
use iommufd_bindings as io;
use std::mem::{offset_of, size_of};
use std::ops::Range;
use vfio_bindings::bindings::vfio;

/// The name of a request, its number where it has none.
pub(super) fn name(request: u32) -> String {
    uapi::name(request).map_or_else(|| format!("{request:#x}"), str::to_owned)
}

/// The record of an ioctl that was made; `None` when the call is not an ioctl.
pub(super) fn record(call: &Call, answer: &Answer) -> Option<Record> {
    let (fd, ioctl) = uapi::encode(call)?;
    let (output, buffer) = match answer {
        Ok(reply) => uapi::written(call, &ioctl, reply),
        Err(_) => (ioctl.argument.clone(), Vec::new()),
    };
    let memory = ioctl.buffer.map(|before| Memory {
        field: before.field.to_owned(),
        input: before.bytes,
        output: buffer,
    });
    Some(Record::Ioctl {
        fd,
        path: None,
        req: ioctl.request,
        name: uapi::name(ioctl.request).map(str::to_owned),
        arg: ioctl.argument.is_empty().then_some(0),
        input: ioctl.argument,
        output,
        memory: memory.into_iter().collect(),
    })
}

/// A recorded ioctl.
pub(super) struct Recorded<'a> {
    pub(super) fd: Fd,
    pub(super) request: u32,
    pub(super) input: &'a [u8],
    pub(super) output: &'a [u8],
    pub(super) memory: &'a [Memory],
    pub(super) errno: Option<Errno>,
}

impl Recorded<'_> {
    /// The call that it was; `None` where [`Call`] has no such form.
    pub(super) fn call(&self) -> Option<Call> {
        let input = self.with_iova_bound();
        let call = uapi::decode(self.fd, self.request, &input)?;
        let (_, ours) = uapi::encode(&call)?;
        let lacks_room = matches!(call, Call::IoasIovaRanges { .. })
            && self.errno == Some(Errno::EMSGSIZE)
            && input != ours.argument;
        (!lacks_room && is_same(&input, &ours.argument, &free(&call))).then_some(call)
    }

    /// What the kernel wrote.
    pub(super) fn reply(&self, call: &Call) -> Reply {
        let buffer = self.memory.first().map_or(&[][..], |memory| &memory.output);
        uapi::reply(call, self.output, buffer)
    }

    /// The structure as it went in, with the IOVA that the kernel chose, where it chose one.
    fn with_iova_bound(&self) -> Vec<u8> {
        const FIXED: u8 = 1;
        let mut input = self.input.to_vec();
        let Some((flags, iova)) = placed(self.request).filter(|_| self.errno.is_none()) else {
            return input;
        };
        let iova = iova..iova + size_of::<u64>();
        if let (Some(chosen), true) = (self.output.get(iova.clone()), input.len() >= iova.end) {
            input[flags] |= FIXED;
            input[iova].copy_from_slice(chosen);
        }
        input
    }
}

/// Where the flags and the IOVA stand in the structure of a request that maps.
fn placed(request: u32) -> Option<(usize, usize)> {
    match uapi::name(request)? {
        "IOMMU_IOAS_MAP" => {
            Some((offset_of!(io::iommu_ioas_map, flags), offset_of!(io::iommu_ioas_map, iova)))
        }
        "IOMMU_IOAS_MAP_FILE" => Some((
            offset_of!(io::iommu_ioas_map_file, flags),
            offset_of!(io::iommu_ioas_map_file, iova),
        )),
        "IOMMU_IOAS_COPY" => Some((
            offset_of!(io::iommu_ioas_copy, flags),
            offset_of!(io::iommu_ioas_copy, dst_iova),
        )),
        _ => None,
    }
}

/// Whether two structures ask the same: at least as long as ours, zero beyond it, and equal but
/// for the leading size and what is free.
fn is_same(theirs: &[u8], ours: &[u8], free: &[Range<usize>]) -> bool {
    const SIZE: usize = size_of::<u32>();
    let Some(size) = theirs.first_chunk().map(|size| u32::from_ne_bytes(*size) as usize) else {
        return ours.is_empty();
    };
    let is_free = |at: usize| at < SIZE || free.iter().any(|range| range.contains(&at));
    let our_byte = |at: usize| ours.get(at).copied().unwrap_or(0);
    let is_equal = |(at, byte): (usize, &u8)| is_free(at) || *byte == our_byte(at);
    size >= ours.len() && theirs.len() >= ours.len() && theirs.iter().enumerate().all(is_equal)
}

/// The bytes of a call's structure that do not matter going in: results, pointers to where results
/// go, and what the kernel ignores unless a flag is set that our forms do not have.
fn free(call: &Call) -> Vec<Range<usize>> {
    let word = |at: usize| at..at + size_of::<u32>();
    let long = |at: usize| at..at + size_of::<u64>();
    let rest = |at: usize| at..usize::MAX;
    match call {
        Call::IoasAlloc { .. } => vec![word(offset_of!(io::iommu_ioas_alloc, out_ioas_id))],
        Call::IoasIovaRanges { .. } => vec![
            word(offset_of!(io::iommu_ioas_iova_ranges, num_iovas)),
            long(offset_of!(io::iommu_ioas_iova_ranges, allowed_iovas)),
            long(offset_of!(io::iommu_ioas_iova_ranges, out_iova_alignment)),
        ],
        Call::GetRlimitMode { .. } => vec![long(offset_of!(io::iommu_option, val64))],
        Call::HwptAlloc { .. } => vec![
            word(offset_of!(io::iommu_hwpt_alloc, out_hwpt_id)),
            long(offset_of!(io::iommu_hwpt_alloc, data_uptr)),
            word(offset_of!(io::iommu_hwpt_alloc, fault_id)),
            word(offset_of!(io::iommu_hwpt_alloc, __reserved2)),
        ],
        Call::ProbeHwpt { .. } => vec![
            long(offset_of!(io::iommu_hwpt_get_dirty_bitmap, iova)),
            long(offset_of!(io::iommu_hwpt_get_dirty_bitmap, page_size)),
            long(offset_of!(io::iommu_hwpt_get_dirty_bitmap, data)),
        ],
        Call::GetHwInfo { .. } => vec![
            word(offset_of!(io::iommu_hw_info, data_len)),
            long(offset_of!(io::iommu_hw_info, data_uptr)),
            word(offset_of!(io::iommu_hw_info, __bindgen_anon_1)),
            long(offset_of!(io::iommu_hw_info, out_capabilities)),
        ],
        Call::Bind { .. } => vec![rest(offset_of!(vfio::vfio_device_bind_iommufd, out_devid))],
        Call::DeviceInfo { .. } => vec![rest(offset_of!(vfio::vfio_device_info, flags))],
        Call::RegionInfo { .. } => vec![
            word(offset_of!(vfio::vfio_region_info, flags)),
            rest(offset_of!(vfio::vfio_region_info, cap_offset)),
        ],
        Call::IrqInfo { .. } => vec![
            word(offset_of!(vfio::vfio_irq_info, flags)),
            rest(offset_of!(vfio::vfio_irq_info, count)),
        ],
        _ => Vec::new(),
    }
}
