//! What calls come back with, and the constants of their arguments.

use crate::abi::argument::IoctlOutcome;
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, IovaRange, ObjectId, Uid, Va};
use serde::{Deserialize, Serialize};

/// What a successful call gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// A new descriptor.
    Fd(Fd),
    /// The id of an object: new (alloc, bind) or the one in use (attach).
    Object(ObjectId),
    /// Where memory was mapped.
    Va(Va),
    /// A counter's value.
    Count(u64),
    /// Bytes moved or unmapped.
    Length(u64),
    /// What was read.
    Bytes(#[serde(with = "crate::abi::hex")] Vec<u8>),
    /// Yes or no.
    Flag(bool),
    /// A user.
    Uid(Uid),
    /// The soft RLIMIT_MEMLOCK in bytes, [`UNLIMITED`] for none.
    Memlock(u64),
    /// Of a file.
    Stat {
        /// The inode: same inode, same file (within the file system of memfds).
        inode: u64,
        /// Its length.
        length_bytes: u64,
    },
    /// A packet. Empty bytes: the peer is gone.
    Message {
        /// One packet.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
        /// The descriptors that came with it, all CLOEXEC.
        fds: Vec<Fd>,
        /// MSG_CTRUNC: descriptors were lost.
        truncated: bool,
    },
    /// Where fixed mappings may go.
    IovaRanges {
        /// Sorted, disjoint.
        ranges: Vec<IovaRange>,
        /// 1 while no HWPT constrains it.
        alignment_bytes: u64,
    },
    /// Of the IOMMU in front of a device.
    HwInfo {
        /// `enum iommu_hw_info_type`.
        data_type: u32,
        /// `enum iommufd_hw_capabilities`.
        capabilities: u64,
    },
    /// Of a device.
    DeviceInfo {
        /// `VFIO_DEVICE_FLAGS_*`.
        flags: u32,
        /// How many regions.
        regions: u32,
        /// How many interrupt indexes.
        irqs: u32,
    },
    /// Of a region of a device.
    RegionInfo {
        /// `VFIO_REGION_INFO_FLAG_*`.
        flags: u32,
        /// Its size.
        length_bytes: u64,
        /// Where it is in the device file.
        offset_bytes: u64,
    },
    /// Of an interrupt index of a device.
    IrqInfo {
        /// `VFIO_IRQ_INFO_*`.
        flags: u32,
        /// How many vectors.
        count: u32,
    },
    /// What came of [`Call::Ioctl`](super::Call::Ioctl), also where it failed.
    Ioctl(IoctlOutcome),
}

/// What a call comes back with.
pub type CallResult = Result<Reply, Errno>;

/// RLIM_INFINITY.
pub const UNLIMITED: u64 = u64::MAX;

/// How many descriptors one message carries at most (SCM_MAX_FD).
pub const FDS_PER_MESSAGE_MAX: usize = 253;

/// The longest packet, in bytes: well below the default of `net.core.wmem_max`.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What a device may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// READABLE.
    Read,
    /// READABLE and WRITEABLE.
    ReadWrite,
}
