//! The ioctls of VFIO groups and of containers with a type1 IOMMU.
//!
//! Mirrors: `include/uapi/linux/vfio.h` of Linux 7.3. Errnos are listed if they matter to a
//! handoff; the simulated kernel also reproduces the order of the kernel's checks.

use super::{Access, Rights};
use crate::abi::ids::{Fd, Iova, Va};
use serde::{Deserialize, Serialize};

/// An ioctl of a VFIO group or container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerCall {
    /// `VFIO_GROUP_SET_CONTAINER`. EBADF, EBADFD (not a container), EINVAL (the group has a
    /// container), EPERM; EBUSY while a mapping of the container awaits an address.
    SetContainer {
        /// `/dev/vfio/N`.
        group: Fd,
        /// `/dev/vfio/vfio`.
        container: Fd,
    },
    /// `VFIO_SET_IOMMU` to type1, version 2. EINVAL (no group, or already set), ENODEV.
    SetIommu {
        /// The container.
        container: Fd,
    },
    /// `VFIO_GROUP_GET_DEVICE_FD` → [`super::Reply::Fd`]. ENODEV, EINVAL (no IOMMU is set), EMFILE.
    GroupDevice {
        /// The group.
        group: Fd,
        /// The name of the device in the group.
        address: String,
    },
    /// `VFIO_CHECK_EXTENSION` of `VFIO_UPDATE_VADDR` → [`super::Reply::Flag`]: true if mappings can
    /// change their addresses. False before Linux 5.12, and with a mediated device in the
    /// container.
    CanUpdateVaddr {
        /// The container.
        container: Fd,
    },
    /// `VFIO_IOMMU_MAP_DMA` of memory of the calling process. EEXIST, EINVAL, ENOSPC, ENOMEM
    /// (limit), EFAULT.
    MapDma {
        /// The container.
        container: Fd,
        /// Memory of the calling process.
        user_va: Va,
        /// The length in bytes.
        length_bytes: u64,
        /// The first device address.
        iova: Iova,
        /// The access that devices have.
        rights: Rights,
    },
    /// `VFIO_IOMMU_MAP_DMA` with `VADDR`: gives a mapping that awaits an address its address in the
    /// calling process, which becomes its owner. ENOENT, EINVAL (it awaits none, or the range
    /// differs), ENOMEM (limit).
    GiveVaddr {
        /// The container.
        container: Fd,
        /// Memory of the calling process.
        user_va: Va,
        /// The length in bytes.
        length_bytes: u64,
        /// The first device address.
        iova: Iova,
    },
    /// `VFIO_IOMMU_UNMAP_DMA` with `VADDR` and `ALL` → [`super::Reply::Length`]: invalidates the
    /// address of every mapping, which then awaits a new one and stays mapped and pinned. EINVAL
    /// (one awaits an address already), EBUSY (a mediated device). All or nothing.
    ForgetVaddrs {
        /// The container.
        container: Fd,
    },
}

impl ContainerCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SetContainer { .. } => "VFIO_GROUP_SET_CONTAINER",
            Self::SetIommu { .. } => "VFIO_SET_IOMMU",
            Self::GroupDevice { .. } => "VFIO_GROUP_GET_DEVICE_FD",
            Self::CanUpdateVaddr { .. } => "VFIO_CHECK_EXTENSION",
            Self::MapDma { .. } => "VFIO_IOMMU_MAP_DMA",
            Self::GiveVaddr { .. } => "VFIO_IOMMU_MAP_DMA VADDR",
            Self::ForgetVaddrs { .. } => "VFIO_IOMMU_UNMAP_DMA VADDR",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::CanUpdateVaddr { .. } => Access::Reads,
            Self::SetContainer { .. }
            | Self::SetIommu { .. }
            | Self::GroupDevice { .. }
            | Self::MapDma { .. }
            | Self::GiveVaddr { .. }
            | Self::ForgetVaddrs { .. } => Access::Mutates,
        }
    }
}
