//! The ioctls of a VFIO device file.
//!
//! Mirrors: `include/uapi/linux/vfio.h` of Linux 7.3. Errnos are listed where they matter to a
//! handoff; the order in which a kernel checks is kept in the simulated kernel.

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
    /// `VFIO_DEVICE_DETACH_IOMMUFD_PT`. Succeeds also when nothing is attached.
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
        /// Which.
        index: u32,
    },
    /// `VFIO_DEVICE_GET_IRQ_INFO` → [`super::Reply::IrqInfo`]. EINVAL.
    IrqInfo {
        /// The device file.
        device: Fd,
        /// Which.
        index: u32,
    },
    /// `VFIO_DEVICE_SET_IRQS`, eventfds as triggers of vectors from 0. EINVAL, EBADF. No eventfds:
    /// disable.
    SetIrqs {
        /// The device file.
        device: Fd,
        /// `VFIO_PCI_MSI_IRQ_INDEX` and so on.
        index: u32,
        /// One for each vector.
        eventfds: Vec<Fd>,
    },
    /// `VFIO_DEVICE_RESET`. EINVAL when the device cannot.
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

    /// What the call touches, judged by its arguments, however it ends.
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
