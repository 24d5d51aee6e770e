//! The ioctls of an iommufd context.
//!
//! Mirrors: `include/uapi/linux/iommufd.h` of Linux 7.3. Errnos are listed if they matter to a
//! handoff; the simulated kernel also reproduces the order of the kernel's checks.

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
        /// Any object except a device or an access.
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
        /// The length in bytes.
        length_bytes: u64,
        /// The first device address.
        iova: Iova,
        /// The access that devices have.
        rights: Rights,
    },
    /// `IOMMU_IOAS_MAP_FILE` (6.13) at a fixed IOVA. Errnos as for MAP, and EBADF, ENOTTY (older
    /// kernels).
    IoasMapFile {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// A memfd.
        fd: Fd,
        /// Offset in the file.
        offset_bytes: u64,
        /// The length in bytes.
        length_bytes: u64,
        /// The first device address.
        iova: Iova,
        /// The access that devices have.
        rights: Rights,
    },
    /// `IOMMU_IOAS_COPY` at a fixed IOVA: one more area over the same pages. ENOENT if the source
    /// is not completely mapped, EEXIST if the destination is in use.
    IoasCopy {
        /// The context.
        iommufd: Fd,
        /// The address space of the source.
        source: ObjectId,
        /// The first device address of the source.
        source_iova: Iova,
        /// The address space of the destination; may be that of the source.
        destination: ObjectId,
        /// The first device address of the destination.
        destination_iova: Iova,
        /// The length in bytes.
        length_bytes: u64,
        /// The access that devices have.
        rights: Rights,
    },
    /// `IOMMU_IOAS_UNMAP` of complete areas → [`super::Reply::Length`]. ENOENT, EBUSY. Not atomic.
    IoasUnmap {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// The first device address.
        iova: Iova,
        /// The length in bytes; IOVA 0 with `u64::MAX` unmaps everything.
        length_bytes: u64,
    },
    /// `IOMMU_IOAS_CHANGE_PROCESS` (6.13): the caller becomes the owner of every page set of the
    /// context. EINVAL (an area that is not file-backed), EBUSY (an area that another thread is
    /// changing), ENOMEM (limit). With `reserved` other than 0 it fails with EOPNOTSUPP before any
    /// other check: a read-only probe. ENOTTY on an older kernel, in either case.
    ChangeProcess {
        /// The context.
        iommufd: Fd,
        /// The field `__reserved`.
        reserved: u32,
    },
    /// `IOMMU_OPTION`, `RLIMIT_MODE`, GET → [`super::Reply::Flag`]: true if the context charges the
    /// memory map of the process, false if it charges the user.
    GetRlimitMode {
        /// The context.
        iommufd: Fd,
    },
    /// `IOMMU_OPTION`, `RLIMIT_MODE`, SET. EPERM without CAP_SYS_RESOURCE, EBUSY once an object
    /// exists.
    SetRlimitMode {
        /// The context.
        iommufd: Fd,
        /// True to charge the memory map of the process.
        per_process: bool,
    },
    /// `IOMMU_HWPT_ALLOC` over an IOAS → [`super::Reply::Object`]; pins at once. ENOENT, EINVAL,
    /// EADDRINUSE, ENOMEM; EOPNOTSUPP for a nesting parent if the IOMMU cannot nest.
    HwptAlloc {
        /// The context.
        iommufd: Fd,
        /// The device whose IOMMU the HWPT is for.
        device: ObjectId,
        /// The address space.
        ioas: ObjectId,
        /// True for a nesting parent (`IOMMU_HWPT_ALLOC_NEST_PARENT`), over which a guest's page
        /// tables can be nested.
        nest_parent: bool,
    },
    /// A read-only probe for an HWPT: `IOMMU_HWPT_GET_DIRTY_BITMAP` of length 0. ENOENT if the HWPT
    /// does not exist, otherwise EOPNOTSUPP (no dirty tracking) or EINVAL.
    ProbeHwpt {
        /// The context.
        iommufd: Fd,
        /// The HWPT.
        hwpt: ObjectId,
    },
    /// A read-only probe for a nesting parent: `IOMMU_HWPT_ALLOC` over an HWPT, with data of a type
    /// that no driver has. EINVAL if the HWPT is not a nesting parent (or not an HWPT), ENOENT if
    /// the device is not bound to this context, otherwise EOPNOTSUPP. A driver that makes all
    /// nested HWPTs through a viommu (Arm's, AMD's) returns EOPNOTSUPP for every HWPT, so the probe
    /// is inconclusive there.
    ProbeNesting {
        /// The context.
        iommufd: Fd,
        /// A device behind the IOMMU of the HWPT.
        device: ObjectId,
        /// The HWPT.
        hwpt: ObjectId,
    },
    /// `IOMMU_GET_HW_INFO` → [`super::Reply::HwInfo`]. ENOENT if the device is not bound to this
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

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    ///
    /// Three mutating ioctls have variants that cannot succeed and therefore only read:
    /// CHANGE_PROCESS with a reserved field set, COPY of a range onto itself, and HWPT_ALLOC with
    /// data that no driver accepts.
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

/// Constructors of calls with many fields, so that a new field with a default affects no caller.
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

    /// Returns a MAP_FILE of a file from an offset.
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

    /// Returns the CHANGE_PROCESS that only probes whether the kernel supports it.
    pub fn probe_change_process(iommufd: Fd) -> Call {
        Call::Iommufd(Self::ChangeProcess { iommufd, reserved: 1 })
    }

    /// Returns an HWPT_ALLOC of an HWPT that is not a nesting parent.
    pub fn hwpt_alloc(iommufd: Fd, device: ObjectId, ioas: ObjectId) -> Call {
        Call::Iommufd(Self::HwptAlloc { iommufd, device, ioas, nest_parent: false })
    }

    /// Returns an HWPT_ALLOC of a nesting parent.
    pub fn hwpt_alloc_nest_parent(iommufd: Fd, device: ObjectId, ioas: ObjectId) -> Call {
        Call::Iommufd(Self::HwptAlloc { iommufd, device, ioas, nest_parent: true })
    }
}
