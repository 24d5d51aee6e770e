//! The ioctls of an iommufd context.
//!
//! Mirrors: `include/uapi/linux/iommufd.h` of Linux 7.3. Errnos are listed where they matter to a
//! handoff; the order in which a kernel checks is kept in the simulated kernel.

use super::{Access, Call, Rights};
use crate::abi::ids::{Fd, Iova, ObjectId, Va};
use serde::{Deserialize, Serialize};

/// An ioctl of iommufd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IommufdCall {
    /// `IOMMU_DESTROY`. ENOENT, EBUSY.
    Destroy {
        /// The context.
        iommufd: Fd,
        /// Any object but a device or an access.
        id: ObjectId,
    },
    /// `IOMMU_IOAS_ALLOC` → [`super::Reply::Object`]. ENOMEM.
    IoasAlloc {
        /// The context.
        iommufd: Fd,
    },
    /// `IOMMU_IOAS_IOVA_RANGES` → [`super::Reply::IovaRanges`]. ENOENT.
    IoasIovaRanges {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
    },
    /// `IOMMU_IOAS_MAP` at a fixed IOVA. ENOENT, EEXIST, EINVAL, EFAULT, ENOMEM.
    IoasMap {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// Memory of the calling process.
        user_va: Va,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
        /// What a device may do there.
        rights: Rights,
    },
    /// `IOMMU_IOAS_MAP_FILE` (6.13) at a fixed IOVA. As MAP, and EBADF, ENOTTY (older kernels).
    IoasMapFile {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// A memfd.
        fd: Fd,
        /// Where in the file.
        offset_bytes: u64,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
        /// What a device may do there.
        rights: Rights,
    },
    /// `IOMMU_IOAS_COPY` at a fixed IOVA: one more area over the same pages. ENOENT when the source
    /// is not fully mapped, EEXIST when the destination is taken.
    IoasCopy {
        /// The context.
        iommufd: Fd,
        /// Whose pages.
        source: ObjectId,
        /// Where they are.
        source_iova: Iova,
        /// The other address space; may be the same.
        destination: ObjectId,
        /// Where to.
        destination_iova: Iova,
        /// How much.
        length_bytes: u64,
        /// What a device may do there.
        rights: Rights,
    },
    /// `IOMMU_IOAS_UNMAP` of whole areas → [`super::Reply::Length`]. ENOENT, EBUSY. Not atomic.
    IoasUnmap {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// Where.
        iova: Iova,
        /// How much; `(0, u64::MAX)` is everything.
        length_bytes: u64,
    },
    /// `IOMMU_IOAS_CHANGE_PROCESS` (6.13): the caller becomes the owner of every page set of the
    /// context. EINVAL (an area that is not file-backed), EBUSY (an area in transition), ENOMEM
    /// (limit). With `reserved` other than 0 it is EOPNOTSUPP before anything else: a probe that
    /// touches nothing; ENOTTY there and always on an older kernel.
    ChangeProcess {
        /// The context.
        iommufd: Fd,
        /// The field `__reserved`.
        reserved: u32,
    },
    /// `IOMMU_OPTION`, `RLIMIT_MODE`, GET → [`super::Reply::Flag`]: whether this context charges
    /// the memory map of the process (`true`) or its user (`false`).
    GetRlimitMode {
        /// The context.
        iommufd: Fd,
    },
    /// `IOMMU_OPTION`, `RLIMIT_MODE`, SET. EPERM without CAP_SYS_RESOURCE, EBUSY once an object
    /// exists.
    SetRlimitMode {
        /// The context.
        iommufd: Fd,
        /// Charge the memory map of the process.
        per_process: bool,
    },
    /// `IOMMU_HWPT_ALLOC` over an IOAS → [`super::Reply::Object`]; pins at once. ENOENT, EINVAL,
    /// EADDRINUSE, ENOMEM; EOPNOTSUPP for a nesting parent of an IOMMU that cannot nest.
    HwptAlloc {
        /// The context.
        iommufd: Fd,
        /// For the IOMMU of this device.
        device: ObjectId,
        /// The address space.
        ioas: ObjectId,
        /// `IOMMU_HWPT_ALLOC_NEST_PARENT`: a guest's page tables can lie over it.
        nest_parent: bool,
    },
    /// `IOMMU_HWPT_GET_DIRTY_BITMAP` of length 0: ENOENT when there is no such HWPT, and otherwise
    /// EOPNOTSUPP (no dirty tracking) or EINVAL. Changes nothing: a probe for an HWPT.
    ProbeHwpt {
        /// The context.
        iommufd: Fd,
        /// The HWPT.
        hwpt: ObjectId,
    },
    /// `IOMMU_HWPT_ALLOC` over an HWPT, with data of a type that no driver has: EINVAL when that is
    /// no nesting parent (or no HWPT), ENOENT when the device is not bound to this context, and
    /// otherwise EOPNOTSUPP. Changes nothing: a probe for a nesting parent. A driver whose nested
    /// HWPTs are all made through a viommu (Arm's, AMD's) answers EOPNOTSUPP for every HWPT, so
    /// that there it tells nothing.
    ProbeNesting {
        /// The context.
        iommufd: Fd,
        /// A device behind its IOMMU.
        device: ObjectId,
        /// The HWPT.
        hwpt: ObjectId,
    },
    /// `IOMMU_GET_HW_INFO` → [`super::Reply::HwInfo`]. ENOENT when the device is not bound to this
    /// context.
    GetHwInfo {
        /// The context.
        iommufd: Fd,
        /// The device.
        device: ObjectId,
    },
}

impl IommufdCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Destroy { .. } => "IOMMU_DESTROY",
            Self::IoasAlloc { .. } => "IOMMU_IOAS_ALLOC",
            Self::IoasIovaRanges { .. } => "IOMMU_IOAS_IOVA_RANGES",
            Self::IoasMap { .. } => "IOMMU_IOAS_MAP",
            Self::IoasMapFile { .. } => "IOMMU_IOAS_MAP_FILE",
            Self::IoasCopy { .. } => "IOMMU_IOAS_COPY",
            Self::IoasUnmap { .. } => "IOMMU_IOAS_UNMAP",
            Self::ChangeProcess { .. } => "IOMMU_IOAS_CHANGE_PROCESS",
            Self::GetRlimitMode { .. } => "IOMMU_OPTION get",
            Self::SetRlimitMode { .. } => "IOMMU_OPTION set",
            Self::HwptAlloc { .. } | Self::ProbeNesting { .. } => "IOMMU_HWPT_ALLOC",
            Self::ProbeHwpt { .. } => "IOMMU_HWPT_GET_DIRTY_BITMAP",
            Self::GetHwInfo { .. } => "IOMMU_GET_HW_INFO",
        }
    }

    /// What the call touches, judged by its arguments, however it ends.
    ///
    /// Three mutating ioctls have forms that cannot succeed and so only read: CHANGE_PROCESS with a
    /// reserved field set, COPY of a range onto itself, and HWPT_ALLOC with data that no driver
    /// takes.
    pub fn access(&self) -> Access {
        match self {
            Self::ChangeProcess { reserved, .. } if *reserved != 0 => Access::Reads,
            Self::IoasCopy { source, source_iova, destination, destination_iova, .. }
                if source == destination && source_iova == destination_iova =>
            {
                Access::Reads
            }
            Self::IoasIovaRanges { .. }
            | Self::GetRlimitMode { .. }
            | Self::ProbeHwpt { .. }
            | Self::ProbeNesting { .. }
            | Self::GetHwInfo { .. } => Access::Reads,
            Self::Destroy { .. }
            | Self::IoasAlloc { .. }
            | Self::IoasMap { .. }
            | Self::IoasMapFile { .. }
            | Self::IoasCopy { .. }
            | Self::IoasUnmap { .. }
            | Self::ChangeProcess { .. }
            | Self::SetRlimitMode { .. }
            | Self::HwptAlloc { .. } => Access::Mutates,
        }
    }
}

/// Constructors for calls with many fields, so that a new field with a default touches no caller.
impl IommufdCall {
    /// Returns a MAP of memory of the calling process.
    pub fn map(
        iommufd: Fd,
        ioas: ObjectId,
        user_va: Va,
        iova: Iova,
        length_bytes: u64,
        rights: Rights,
    ) -> Call {
        Call::Iommufd(Self::IoasMap { iommufd, ioas, user_va, length_bytes, iova, rights })
    }

    /// Returns a MAP_FILE of a file from an offset on.
    pub fn map_file(
        iommufd: Fd,
        ioas: ObjectId,
        (fd, offset_bytes): (Fd, u64),
        iova: Iova,
        length_bytes: u64,
        rights: Rights,
    ) -> Call {
        Call::Iommufd(Self::IoasMapFile {
            iommufd,
            ioas,
            fd,
            offset_bytes,
            length_bytes,
            iova,
            rights,
        })
    }

    /// Returns a COPY of a range of one address space to another one.
    pub fn copy(
        iommufd: Fd,
        (source, source_iova): (ObjectId, Iova),
        (destination, destination_iova): (ObjectId, Iova),
        length_bytes: u64,
        rights: Rights,
    ) -> Call {
        Call::Iommufd(Self::IoasCopy {
            iommufd,
            source,
            source_iova,
            destination,
            destination_iova,
            length_bytes,
            rights,
        })
    }

    /// Returns an UNMAP.
    pub fn unmap(iommufd: Fd, ioas: ObjectId, iova: Iova, length_bytes: u64) -> Call {
        Call::Iommufd(Self::IoasUnmap { iommufd, ioas, iova, length_bytes })
    }

    /// Returns the CHANGE_PROCESS that makes the caller the owner.
    pub fn change_process(iommufd: Fd) -> Call {
        Call::Iommufd(Self::ChangeProcess { iommufd, reserved: 0 })
    }

    /// Returns the CHANGE_PROCESS that only shows whether the kernel has it.
    pub fn probe_change_process(iommufd: Fd) -> Call {
        Call::Iommufd(Self::ChangeProcess { iommufd, reserved: 1 })
    }

    /// Returns a HWPT_ALLOC of an HWPT that is no nesting parent.
    pub fn hwpt_alloc(iommufd: Fd, device: ObjectId, ioas: ObjectId) -> Call {
        Call::Iommufd(Self::HwptAlloc { iommufd, device, ioas, nest_parent: false })
    }

    /// Returns a HWPT_ALLOC of a nesting parent.
    pub fn hwpt_alloc_nest_parent(iommufd: Fd, device: ObjectId, ioas: ObjectId) -> Call {
        Call::Iommufd(Self::HwptAlloc { iommufd, device, ioas, nest_parent: true })
    }
}
