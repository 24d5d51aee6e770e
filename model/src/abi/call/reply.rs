//! Replies of calls, and constants of their arguments.

use crate::abi::argument::IoctlOutcome;
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, IovaRange, ObjectId, Uid, Va};
use serde::{Deserialize, Serialize};

/// The reply of a successful call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Success without further data.
    Done,
    /// A new descriptor.
    Fd(Fd),
    /// The id of an object: new (alloc, bind) or the one in use (attach).
    Object(ObjectId),
    /// The address of a new mapping.
    Va(Va),
    /// The value of a counter.
    Count(u64),
    /// Number of bytes transferred or unmapped.
    Length(u64),
    /// The bytes that were read.
    Bytes(#[serde(with = "crate::abi::hex")] Vec<u8>),
    /// A boolean.
    Flag(bool),
    /// A user.
    Uid(Uid),
    /// The soft RLIMIT_MEMLOCK in bytes; [`UNLIMITED`] for none.
    Memlock(u64),
    /// The status of a file.
    Stat {
        /// The inode, which identifies the file (within the file system of memfds).
        inode: u64,
        /// The length in bytes.
        length_bytes: u64,
    },
    /// A packet; empty if the peer has closed the socket.
    Message {
        /// The bytes of the packet.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
        /// The descriptors that came with it, all CLOEXEC.
        fds: Vec<Fd>,
        /// True if descriptors were lost (MSG_CTRUNC).
        truncated: bool,
    },
    /// The addresses at which fixed mappings are allowed.
    IovaRanges {
        /// The ranges, sorted and disjoint.
        ranges: Vec<IovaRange>,
        /// The required alignment in bytes; 1 while no HWPT constrains it.
        alignment_bytes: u64,
    },
    /// Information about the IOMMU of a device.
    HwInfo {
        /// The `enum iommu_hw_info_type`.
        data_type: u32,
        /// The `enum iommufd_hw_capabilities`.
        capabilities: u64,
    },
    /// Information about a device.
    DeviceInfo {
        /// The `VFIO_DEVICE_FLAGS_*`.
        flags: u32,
        /// Number of regions.
        regions: u32,
        /// Number of interrupt indexes.
        irqs: u32,
    },
    /// Information about a region of a device.
    RegionInfo {
        /// The `VFIO_REGION_INFO_FLAG_*`.
        flags: u32,
        /// The size in bytes.
        length_bytes: u64,
        /// Offset in the device file.
        offset_bytes: u64,
    },
    /// Information about an interrupt index of a device.
    IrqInfo {
        /// The `VFIO_IRQ_INFO_*`.
        flags: u32,
        /// Number of vectors.
        count: u32,
    },
    /// The outcome of a [`Call::Ioctl`](super::Call::Ioctl), even if it failed.
    Ioctl(IoctlOutcome),
}

/// The answer of a call.
pub type CallResult = Result<Reply, Errno>;

/// `RLIM_INFINITY`: no limit.
pub const UNLIMITED: u64 = u64::MAX;

/// Maximum number of descriptors in one message (`SCM_MAX_FD`).
pub const FDS_PER_MESSAGE_MAX: usize = 253;

/// Maximum length of a packet in bytes: well below the default of `net.core.wmem_max`.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The access of devices to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// `READABLE`.
    Read,
    /// `READABLE` and `WRITEABLE`.
    ReadWrite,
}
