//! The results that the ioctls of an iommufd context write into their arguments, read and written.

use crate::abi::argument::IoctlOutcome;
use crate::abi::call::{IommufdCall, Reply};
use crate::abi::ids::{Iova, IovaRange};
use crate::abi::uapi::structure::{Bytes, Fields};
use iommufd_bindings::{
    iommu_hw_info, iommu_hwpt_alloc, iommu_ioas_alloc, iommu_ioas_iova_ranges, iommu_ioas_unmap,
    iommu_iova_range, iommu_option,
};
use std::mem::{offset_of, size_of};

/// Offset of `iommu_hw_info.out_data_type`, which is a member of a union.
const HW_DATA_TYPE: usize = offset_of!(iommu_hw_info, __bindgen_anon_1);

/// Returns the reply of a call that succeeded, from the bytes that the kernel wrote.
pub(in super::super) fn reply(call: &IommufdCall, outcome: &IoctlOutcome) -> Reply {
    let out = Fields(&outcome.bytes);
    match call {
        IommufdCall::IoasAlloc { .. } => {
            Reply::Object(out.id(offset_of!(iommu_ioas_alloc, out_ioas_id)))
        }
        IommufdCall::IoasIovaRanges { .. } => {
            let buffer = outcome.pointees.first().map_or(&[][..], |pointee| &pointee.0);
            Reply::IovaRanges {
                ranges: ranges(buffer, out.u32(offset_of!(iommu_ioas_iova_ranges, num_iovas))),
                alignment_bytes: out.u64(offset_of!(iommu_ioas_iova_ranges, out_iova_alignment)),
            }
        }
        IommufdCall::IoasUnmap { .. } => {
            Reply::Length(out.u64(offset_of!(iommu_ioas_unmap, length)))
        }
        IommufdCall::GetRlimitMode { .. } => {
            Reply::Flag(out.u64(offset_of!(iommu_option, val64)) != 0)
        }
        IommufdCall::HwptAlloc { .. } => {
            Reply::Object(out.id(offset_of!(iommu_hwpt_alloc, out_hwpt_id)))
        }
        IommufdCall::GetHwInfo { .. } => Reply::HwInfo {
            data_type: out.u32(HW_DATA_TYPE),
            capabilities: out.u64(offset_of!(iommu_hw_info, out_capabilities)),
        },
        IommufdCall::Destroy { .. }
        | IommufdCall::IoasMap { .. }
        | IommufdCall::IoasMapFile { .. }
        | IommufdCall::IoasCopy { .. }
        | IommufdCall::ChangeProcess { .. }
        | IommufdCall::SetRlimitMode { .. }
        | IommufdCall::ProbeHwpt { .. }
        | IommufdCall::ProbeNesting { .. } => Reply::Done,
    }
}

fn ranges(buffer: &[u8], count: u32) -> Vec<IovaRange> {
    (buffer.chunks_exact(size_of::<iommu_iova_range>()).take(count as usize).map(Fields))
        .map(|range| IovaRange {
            first: Iova(range.u64(offset_of!(iommu_iova_range, start))),
            last: Iova(range.u64(offset_of!(iommu_iova_range, last))),
        })
        .collect()
}

/// Returns the outcome of a call with this reply: the inverse of [`reply`].
pub(in super::super) fn written(
    call: &IommufdCall,
    reply: &Reply,
    mut outcome: IoctlOutcome,
) -> IoctlOutcome {
    let out = Bytes(std::mem::take(&mut outcome.bytes));
    let written = match (call, reply) {
        (IommufdCall::IoasAlloc { .. }, Reply::Object(id)) => {
            out.u32(offset_of!(iommu_ioas_alloc, out_ioas_id), id.0)
        }
        (
            IommufdCall::IoasIovaRanges { .. },
            Reply::IovaRanges { ranges, alignment_bytes: alignment },
        ) => {
            if let Some(pointee) = outcome.pointees.first_mut() {
                write_ranges(&mut pointee.0, ranges);
            }
            let count = u32::try_from(ranges.len()).expect("ranges are few");
            out.u32(offset_of!(iommu_ioas_iova_ranges, num_iovas), count)
                .u64(offset_of!(iommu_ioas_iova_ranges, out_iova_alignment), *alignment)
        }
        (IommufdCall::IoasUnmap { .. }, Reply::Length(length)) => {
            out.u64(offset_of!(iommu_ioas_unmap, length), *length)
        }
        (IommufdCall::GetRlimitMode { .. }, Reply::Flag(on)) => {
            out.u64(offset_of!(iommu_option, val64), u64::from(*on))
        }
        (IommufdCall::HwptAlloc { .. }, Reply::Object(id)) => {
            out.u32(offset_of!(iommu_hwpt_alloc, out_hwpt_id), id.0)
        }
        (IommufdCall::GetHwInfo { .. }, Reply::HwInfo { data_type, capabilities }) => out
            .u32(HW_DATA_TYPE, *data_type)
            .u64(offset_of!(iommu_hw_info, out_capabilities), *capabilities),
        (
            IommufdCall::Destroy { .. }
            | IommufdCall::IoasAlloc { .. }
            | IommufdCall::IoasIovaRanges { .. }
            | IommufdCall::IoasMap { .. }
            | IommufdCall::IoasMapFile { .. }
            | IommufdCall::IoasCopy { .. }
            | IommufdCall::IoasUnmap { .. }
            | IommufdCall::ChangeProcess { .. }
            | IommufdCall::GetRlimitMode { .. }
            | IommufdCall::SetRlimitMode { .. }
            | IommufdCall::HwptAlloc { .. }
            | IommufdCall::ProbeHwpt { .. }
            | IommufdCall::ProbeNesting { .. }
            | IommufdCall::GetHwInfo { .. },
            _,
        ) => out,
    };
    IoctlOutcome { bytes: written.0, ..outcome }
}

fn write_ranges(buffer: &mut Vec<u8>, ranges: &[IovaRange]) {
    let size = size_of::<iommu_iova_range>();
    let before = Bytes(std::mem::take(buffer));
    let written = ranges.iter().enumerate().fold(before, |bytes, (row, range)| {
        bytes
            .u64(row * size + offset_of!(iommu_iova_range, start), range.first.0)
            .u64(row * size + offset_of!(iommu_iova_range, last), range.last.0)
    });
    *buffer = written.0;
}
