//! The ioctls of a VFIO device file.
//!
//! Mirrors: `include/uapi/linux/vfio.h` of Linux 7.3. Errnos are listed if they matter to a
//! handoff; the simulated kernel also reproduces the order of the kernel's checks.

use super::{Access, Call};
use crate::abi::ids::{Fd, ObjectId};
use serde::{Deserialize, Serialize};

/// An ioctl of a VFIO device file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceCall {
    /// `VFIO_DEVICE_BIND_IOMMUFD` → [`super::Reply::Object`]. EINVAL (bound already), EBUSY, EBADF,
    /// EBADFD.
    Bind {
        /// The device file.
        device: Fd,
        /// The context.
        iommufd: Fd,
    },
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` → [`super::Reply::Object`], the HWPT. ENOENT, EINVAL,
    /// EADDRINUSE, ENOMEM.
    Attach {
        /// The device file.
        device: Fd,
        /// An IOAS (the kernel makes or shares an HWPT) or an HWPT.
        page_table: ObjectId,
    },
    /// `VFIO_DEVICE_DETACH_IOMMUFD_PT`. Succeeds even if the device is not attached.
    Detach {
        /// The device file.
        device: Fd,
    },
    /// `VFIO_DEVICE_GET_INFO` → [`super::Reply::DeviceInfo`]. EINVAL before BIND.
    Info {
        /// The device file.
        device: Fd,
    },
    /// `VFIO_DEVICE_GET_REGION_INFO` → [`super::Reply::RegionInfo`]. EINVAL.
    RegionInfo {
        /// The device file.
        device: Fd,
        /// The index of the region.
        index: u32,
    },
    /// `VFIO_DEVICE_GET_IRQ_INFO` → [`super::Reply::IrqInfo`]. EINVAL.
    IrqInfo {
        /// The device file.
        device: Fd,
        /// The interrupt index.
        index: u32,
    },
    /// `VFIO_DEVICE_SET_IRQS`, with eventfds as triggers of vectors from 0; without eventfds it
    /// disables the index. EINVAL, EBADF.
    SetIrqs {
        /// The device file.
        device: Fd,
        /// The interrupt index, such as `VFIO_PCI_MSI_IRQ_INDEX`.
        index: u32,
        /// The eventfds, one for each vector.
        eventfds: Vec<Fd>,
    },
    /// `VFIO_DEVICE_RESET`. EINVAL if the device does not support it.
    Reset {
        /// The device file.
        device: Fd,
    },
}

impl DeviceCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "VFIO_DEVICE_BIND_IOMMUFD",
            Self::Attach { .. } => "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
            Self::Detach { .. } => "VFIO_DEVICE_DETACH_IOMMUFD_PT",
            Self::Info { .. } => "VFIO_DEVICE_GET_INFO",
            Self::RegionInfo { .. } => "VFIO_DEVICE_GET_REGION_INFO",
            Self::IrqInfo { .. } => "VFIO_DEVICE_GET_IRQ_INFO",
            Self::SetIrqs { .. } => "VFIO_DEVICE_SET_IRQS",
            Self::Reset { .. } => "VFIO_DEVICE_RESET",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::Info { .. } | Self::RegionInfo { .. } | Self::IrqInfo { .. } => Access::Reads,
            Self::Bind { .. }
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::SetIrqs { .. }
            | Self::Reset { .. } => Access::Mutates,
        }
    }
}

impl DeviceCall {
    /// Returns a SET_IRQS; without eventfds it disables the index.
    pub fn set_irqs(device: Fd, index: u32, eventfds: Vec<Fd>) -> Call {
        Call::Device(Self::SetIrqs { device, index, eventfds })
    }
}
