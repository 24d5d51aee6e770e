//! The ioctls of VFIO groups and of containers with a type1 IOMMU.
//!
//! Mirrors: `include/uapi/linux/vfio.h` of Linux 7.3. Errnos are listed where they matter to a
//! handoff; the order in which a kernel checks is kept in the simulated kernel.

use super::{Access, Rights};
use crate::abi::ids::{Fd, Iova, Va};
use serde::{Deserialize, Serialize};

/// An ioctl of a VFIO group or container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerCall {
    /// `VFIO_GROUP_SET_CONTAINER`. EBADF, EBADFD (no container), EINVAL (it has one), EPERM; EBUSY
    /// while a mapping of the container waits for an address.
    SetContainer {
        /// `/dev/vfio/N`.
        group: Fd,
        /// `/dev/vfio/vfio`.
        container: Fd,
    },
    /// `VFIO_SET_IOMMU` to type1, version 2. EINVAL (no group, or it is set), ENODEV.
    SetIommu {
        /// The container.
        container: Fd,
    },
    /// `VFIO_GROUP_GET_DEVICE_FD` → [`super::Reply::Fd`]. ENODEV, EINVAL (nothing translates its
    /// DMA), EMFILE.
    GroupDevice {
        /// The group.
        group: Fd,
        /// What it calls the device.
        address: String,
    },
    /// `VFIO_CHECK_EXTENSION` of `VFIO_UPDATE_VADDR` → [`super::Reply::Flag`]: whether mappings can
    /// be given new addresses. Not before Linux 5.12, and not with a mediated device in the
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
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
        /// What a device may do there.
        rights: Rights,
    },
    /// `VFIO_IOMMU_MAP_DMA` with `VADDR`: gives a mapping that waits for one its address in the
    /// calling process, which becomes its owner. ENOENT, EINVAL (it does not wait, or is another
    /// range), ENOMEM (limit).
    GiveVaddr {
        /// The container.
        container: Fd,
        /// Memory of the calling process.
        user_va: Va,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
    },
    /// `VFIO_IOMMU_UNMAP_DMA` with `VADDR` and `ALL` → [`super::Reply::Length`]: every mapping
    /// waits for an address from here on; it stays mapped and pinned. EINVAL (one waits already),
    /// EBUSY (a mediated device). All or nothing.
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

    /// What the call touches, judged by its arguments, however it ends.
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
