//! The ioctls of an iommufd context that a handoff makes.
//!
//! MAP, MAP_FILE and COPY are supported only with a fixed IOVA, OPTION only for `RLIMIT_MODE`, and
//! HWPT_ALLOC only for an HWPT over an IOAS without user data and for the probe for a nesting
//! parent.

mod results;

use super::structure::{Bytes, Fields};
use crate::abi::argument::{Argument, Ioctl, Pointee};
use crate::abi::call::{IommufdCall, Rights};
use crate::abi::ids::{Fd, Iova, PAGE_BYTES, Va};
use crate::abi::request::{
    IOMMU_DESTROY, IOMMU_GET_HW_INFO, IOMMU_HWPT_ALLOC, IOMMU_HWPT_GET_DIRTY_BITMAP,
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY, IOMMU_IOAS_IOVA_RANGES,
    IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IOMMU_OPTION,
};
use iommufd_bindings::{
    iommu_destroy, iommu_hw_info, iommu_hwpt_alloc, iommu_hwpt_get_dirty_bitmap, iommu_ioas_alloc,
    iommu_ioas_change_process, iommu_ioas_copy, iommu_ioas_iova_ranges, iommu_ioas_map,
    iommu_ioas_map_file, iommu_ioas_unmap, iommu_iova_range, iommu_option,
};
pub(super) use results::{reply, written};
use std::mem::{offset_of, size_of};

/// Number of IOVA ranges that [`IommufdCall::IoasIovaRanges`] has room for.
const RANGES_MAX: u32 = 64;

/// `IOMMU_IOAS_MAP_FIXED_IOVA`, `_WRITEABLE`, `_READABLE`.
const MAP_FIXED: u32 = 1;
const MAP_WRITE: u32 = 2;
const MAP_READ: u32 = 4;

/// `IOMMU_HWPT_ALLOC_NEST_PARENT`.
const NEST_PARENT: u32 = 1;

/// A data type that is not in `enum iommu_hwpt_data_type`, so no driver accepts it.
const NO_DATA_TYPE: u32 = u32::MAX;

/// `enum iommufd_option_ops`.
const OPTION_SET: u16 = 0;
const OPTION_GET: u16 = 1;

fn map_flags(rights: Rights) -> u32 {
    match rights {
        Rights::Read => MAP_FIXED | MAP_READ,
        Rights::ReadWrite => MAP_FIXED | MAP_READ | MAP_WRITE,
    }
}

fn rights(flags: u32) -> Option<Rights> {
    [Rights::Read, Rights::ReadWrite].into_iter().find(|rights| map_flags(*rights) == flags)
}

fn option(operation: u16, value: u64) -> Ioctl {
    let bytes = Bytes::sized(size_of::<iommu_option>())
        .u16(offset_of!(iommu_option, op), operation)
        .u64(offset_of!(iommu_option, val64), value);
    Ioctl::of(IOMMU_OPTION, bytes.0)
}

/// Returns the context to call on and the ioctl to make.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn encode(call: &IommufdCall) -> (Fd, Ioctl) {
    match *call {
        IommufdCall::Destroy { iommufd, id } => {
            let bytes = Bytes::sized(size_of::<iommu_destroy>());
            (iommufd, bytes.u32(offset_of!(iommu_destroy, id), id.0).ioctl(IOMMU_DESTROY))
        }
        IommufdCall::IoasAlloc { iommufd } => {
            (iommufd, Bytes::sized(size_of::<iommu_ioas_alloc>()).ioctl(IOMMU_IOAS_ALLOC))
        }
        IommufdCall::IoasIovaRanges { iommufd, ioas } => {
            let bytes = Bytes::sized(size_of::<iommu_ioas_iova_ranges>())
                .u32(offset_of!(iommu_ioas_iova_ranges, ioas_id), ioas.0)
                .u32(offset_of!(iommu_ioas_iova_ranges, num_iovas), RANGES_MAX);
            let room = Pointee {
                at: offset_of!(iommu_ioas_iova_ranges, allowed_iovas),
                bytes: vec![0; RANGES_MAX as usize * size_of::<iommu_iova_range>()],
            };
            let argument = Argument::of(bytes.0, vec![room]);
            (iommufd, Ioctl { request: IOMMU_IOAS_IOVA_RANGES, argument })
        }
        IommufdCall::IoasMap { iommufd, ioas, user_va, length_bytes, iova, rights } => (
            iommufd,
            Bytes::sized(size_of::<iommu_ioas_map>())
                .u32(offset_of!(iommu_ioas_map, flags), map_flags(rights))
                .u32(offset_of!(iommu_ioas_map, ioas_id), ioas.0)
                .u64(offset_of!(iommu_ioas_map, user_va), user_va.0)
                .u64(offset_of!(iommu_ioas_map, length), length_bytes)
                .u64(offset_of!(iommu_ioas_map, iova), iova.0)
                .ioctl(IOMMU_IOAS_MAP),
        ),
        IommufdCall::IoasMapFile {
            iommufd,
            ioas,
            fd,
            offset_bytes,
            length_bytes,
            iova,
            rights,
        } => (
            iommufd,
            Bytes::sized(size_of::<iommu_ioas_map_file>())
                .u32(offset_of!(iommu_ioas_map_file, flags), map_flags(rights))
                .u32(offset_of!(iommu_ioas_map_file, ioas_id), ioas.0)
                .fd(offset_of!(iommu_ioas_map_file, fd), fd)
                .u64(offset_of!(iommu_ioas_map_file, start), offset_bytes)
                .u64(offset_of!(iommu_ioas_map_file, length), length_bytes)
                .u64(offset_of!(iommu_ioas_map_file, iova), iova.0)
                .ioctl(IOMMU_IOAS_MAP_FILE),
        ),
        IommufdCall::IoasCopy {
            iommufd,
            source,
            source_iova,
            destination,
            destination_iova,
            length_bytes,
            rights,
        } => (
            iommufd,
            Bytes::sized(size_of::<iommu_ioas_copy>())
                .u32(offset_of!(iommu_ioas_copy, flags), map_flags(rights))
                .u32(offset_of!(iommu_ioas_copy, dst_ioas_id), destination.0)
                .u32(offset_of!(iommu_ioas_copy, src_ioas_id), source.0)
                .u64(offset_of!(iommu_ioas_copy, length), length_bytes)
                .u64(offset_of!(iommu_ioas_copy, dst_iova), destination_iova.0)
                .u64(offset_of!(iommu_ioas_copy, src_iova), source_iova.0)
                .ioctl(IOMMU_IOAS_COPY),
        ),
        IommufdCall::IoasUnmap { iommufd, ioas, iova, length_bytes } => (
            iommufd,
            Bytes::sized(size_of::<iommu_ioas_unmap>())
                .u32(offset_of!(iommu_ioas_unmap, ioas_id), ioas.0)
                .u64(offset_of!(iommu_ioas_unmap, iova), iova.0)
                .u64(offset_of!(iommu_ioas_unmap, length), length_bytes)
                .ioctl(IOMMU_IOAS_UNMAP),
        ),
        IommufdCall::ChangeProcess { iommufd, reserved } => (
            iommufd,
            Bytes::sized(size_of::<iommu_ioas_change_process>())
                .u32(offset_of!(iommu_ioas_change_process, __reserved), reserved)
                .ioctl(IOMMU_IOAS_CHANGE_PROCESS),
        ),
        IommufdCall::GetRlimitMode { iommufd } => (iommufd, option(OPTION_GET, 0)),
        IommufdCall::SetRlimitMode { iommufd, per_process } => {
            (iommufd, option(OPTION_SET, u64::from(per_process)))
        }
        IommufdCall::HwptAlloc { iommufd, device, ioas, nest_parent } => (
            iommufd,
            Bytes::sized(size_of::<iommu_hwpt_alloc>())
                .u32(offset_of!(iommu_hwpt_alloc, flags), if nest_parent { NEST_PARENT } else { 0 })
                .u32(offset_of!(iommu_hwpt_alloc, dev_id), device.0)
                .u32(offset_of!(iommu_hwpt_alloc, pt_id), ioas.0)
                .ioctl(IOMMU_HWPT_ALLOC),
        ),
        IommufdCall::ProbeHwpt { iommufd, hwpt } => (
            iommufd,
            Bytes::sized(size_of::<iommu_hwpt_get_dirty_bitmap>())
                .u32(offset_of!(iommu_hwpt_get_dirty_bitmap, hwpt_id), hwpt.0)
                .u64(offset_of!(iommu_hwpt_get_dirty_bitmap, page_size), PAGE_BYTES)
                .ioctl(IOMMU_HWPT_GET_DIRTY_BITMAP),
        ),
        IommufdCall::ProbeNesting { iommufd, device, hwpt } => (
            iommufd,
            Bytes::sized(size_of::<iommu_hwpt_alloc>())
                .u32(offset_of!(iommu_hwpt_alloc, dev_id), device.0)
                .u32(offset_of!(iommu_hwpt_alloc, pt_id), hwpt.0)
                .u32(offset_of!(iommu_hwpt_alloc, data_type), NO_DATA_TYPE)
                .u32(offset_of!(iommu_hwpt_alloc, data_len), 1)
                .ioctl(IOMMU_HWPT_ALLOC),
        ),
        IommufdCall::GetHwInfo { iommufd, device } => {
            let bytes = Bytes::sized(size_of::<iommu_hw_info>());
            let bytes = bytes.u32(offset_of!(iommu_hw_info, dev_id), device.0);
            (iommufd, bytes.ioctl(IOMMU_GET_HW_INFO))
        }
    }
}

/// Returns the call of an ioctl on a context.
pub(super) fn decode(iommufd: Fd, request: u32, argument: &Argument) -> Option<IommufdCall> {
    let arg = Fields(argument.bytes());
    Some(match request {
        IOMMU_DESTROY => {
            IommufdCall::Destroy { iommufd, id: arg.id(offset_of!(iommu_destroy, id)) }
        }
        IOMMU_IOAS_ALLOC if arg.u32(offset_of!(iommu_ioas_alloc, flags)) == 0 => {
            IommufdCall::IoasAlloc { iommufd }
        }
        IOMMU_IOAS_IOVA_RANGES => IommufdCall::IoasIovaRanges {
            iommufd,
            ioas: arg.id(offset_of!(iommu_ioas_iova_ranges, ioas_id)),
        },
        IOMMU_IOAS_MAP => IommufdCall::IoasMap {
            iommufd,
            ioas: arg.id(offset_of!(iommu_ioas_map, ioas_id)),
            user_va: Va(arg.u64(offset_of!(iommu_ioas_map, user_va))),
            length_bytes: arg.u64(offset_of!(iommu_ioas_map, length)),
            iova: Iova(arg.u64(offset_of!(iommu_ioas_map, iova))),
            rights: rights(arg.u32(offset_of!(iommu_ioas_map, flags)))?,
        },
        IOMMU_IOAS_MAP_FILE => IommufdCall::IoasMapFile {
            iommufd,
            ioas: arg.id(offset_of!(iommu_ioas_map_file, ioas_id)),
            fd: arg.fd(offset_of!(iommu_ioas_map_file, fd)),
            offset_bytes: arg.u64(offset_of!(iommu_ioas_map_file, start)),
            length_bytes: arg.u64(offset_of!(iommu_ioas_map_file, length)),
            iova: Iova(arg.u64(offset_of!(iommu_ioas_map_file, iova))),
            rights: rights(arg.u32(offset_of!(iommu_ioas_map_file, flags)))?,
        },
        IOMMU_IOAS_COPY => IommufdCall::IoasCopy {
            iommufd,
            source: arg.id(offset_of!(iommu_ioas_copy, src_ioas_id)),
            source_iova: Iova(arg.u64(offset_of!(iommu_ioas_copy, src_iova))),
            destination: arg.id(offset_of!(iommu_ioas_copy, dst_ioas_id)),
            destination_iova: Iova(arg.u64(offset_of!(iommu_ioas_copy, dst_iova))),
            length_bytes: arg.u64(offset_of!(iommu_ioas_copy, length)),
            rights: rights(arg.u32(offset_of!(iommu_ioas_copy, flags)))?,
        },
        IOMMU_IOAS_UNMAP => IommufdCall::IoasUnmap {
            iommufd,
            ioas: arg.id(offset_of!(iommu_ioas_unmap, ioas_id)),
            iova: Iova(arg.u64(offset_of!(iommu_ioas_unmap, iova))),
            length_bytes: arg.u64(offset_of!(iommu_ioas_unmap, length)),
        },
        IOMMU_IOAS_CHANGE_PROCESS => IommufdCall::ChangeProcess {
            iommufd,
            reserved: arg.u32(offset_of!(iommu_ioas_change_process, __reserved)),
        },
        IOMMU_OPTION => return decode_option(iommufd, &arg),
        IOMMU_HWPT_ALLOC => return decode_hwpt_alloc(iommufd, &arg),
        IOMMU_HWPT_GET_DIRTY_BITMAP
            if arg.u64(offset_of!(iommu_hwpt_get_dirty_bitmap, length)) == 0 =>
        {
            let hwpt = arg.id(offset_of!(iommu_hwpt_get_dirty_bitmap, hwpt_id));
            IommufdCall::ProbeHwpt { iommufd, hwpt }
        }
        IOMMU_GET_HW_INFO if arg.u32(offset_of!(iommu_hw_info, flags)) == 0 => {
            IommufdCall::GetHwInfo { iommufd, device: arg.id(offset_of!(iommu_hw_info, dev_id)) }
        }
        _ => return None,
    })
}

/// Decodes an HWPT over an IOAS without user data, or the probe for a nesting parent.
fn decode_hwpt_alloc(iommufd: Fd, arg: &Fields<'_>) -> Option<IommufdCall> {
    let device = arg.id(offset_of!(iommu_hwpt_alloc, dev_id));
    let under = arg.id(offset_of!(iommu_hwpt_alloc, pt_id));
    let words = [
        arg.u32(offset_of!(iommu_hwpt_alloc, flags)),
        arg.u32(offset_of!(iommu_hwpt_alloc, __reserved)),
        arg.u32(offset_of!(iommu_hwpt_alloc, data_type)),
        arg.u32(offset_of!(iommu_hwpt_alloc, data_len)),
    ];
    match words {
        [flags @ (0 | NEST_PARENT), 0, 0, 0] => {
            let nest_parent = flags == NEST_PARENT;
            Some(IommufdCall::HwptAlloc { iommufd, device, ioas: under, nest_parent })
        }
        [0, 0, NO_DATA_TYPE, 1] => Some(IommufdCall::ProbeNesting { iommufd, device, hwpt: under }),
        _ => None,
    }
}

fn decode_option(iommufd: Fd, arg: &Fields<'_>) -> Option<IommufdCall> {
    let is_rlimit_mode = arg.u32(offset_of!(iommu_option, option_id)) == 0
        && arg.u32(offset_of!(iommu_option, object_id)) == 0;
    let operation = arg.u16(offset_of!(iommu_option, op));
    match (is_rlimit_mode, operation, arg.u64(offset_of!(iommu_option, val64))) {
        (true, OPTION_GET, _) => Some(IommufdCall::GetRlimitMode { iommufd }),
        (true, OPTION_SET, value @ (0 | 1)) => {
            Some(IommufdCall::SetRlimitMode { iommufd, per_process: value == 1 })
        }
        _ => None,
    }
}
