//! Every check by which a role rejects its input, by name.
//!
//! The phase that makes a call handles its failure. A check is an additional condition that a role
//! verifies: on a frame, on the state in it, on descriptors that arrive, on the kernel's replies
//! about adopted objects, on the limits of a process. All checks are evaluated in one function,
//! [`Mutations::require`](super::mutation::Mutations::require), so this list is complete.

use super::phase::named;
use serde::{Deserialize, Serialize};
use std::fmt;

named! {
    /// A check of a role's input.
    Check {
        /// The other process has not closed the channel.
        PeerThere,
        /// The other process has not sent `Refuse`.
        NotRefused,
        /// The message is the expected one.
        Due,
        /// An early snapshot is still up to date when the guest has stopped.
        StillSo,
        /// The old process's RLIMIT_MEMLOCK suffices for a rollback.
        OldLimit,
        /// Both processes take the snapshot at the same point: while the guest runs, or after it
        /// has stopped.
        SameForm,
        /// The new process's RLIMIT_MEMLOCK suffices for taking over.
        NewLimit,
        /// No descriptor of a message was lost in transfer (MSG_CTRUNC).
        NoneLost,
        /// A message of descriptors carries at least one.
        SomeArrived,
        /// Descriptors arrive in order, without a gap.
        InOrder,
        /// No more descriptors arrive than were announced.
        NoneTooMany,
        /// As many descriptors arrived as the stream lists.
        AsListed,
        /// A frame has a complete header.
        WholeHeader,
        /// A frame begins with this protocol's magic.
        Magic,
        /// A frame's version is supported.
        Version,
        /// A frame contains its complete record, which is within the size limit.
        WholeRecord,
        /// A frame ends with its record.
        NothingTrails,
        /// A frame's checksum matches.
        Checksum,
        /// A frame requires no unknown feature.
        Features,
        /// A frame's record is of the expected kind.
        RecordKind,
        /// No descriptor is listed twice.
        ListedOnce,
        /// No two objects of the inventory have the same name.
        NamedOnce,
        /// Every descriptor that the inventory needs is listed.
        NoneMissing,
        /// Every listed descriptor is used by the inventory.
        NoneUnclaimed,
        /// A RAM block's length is a positive multiple of the page size.
        WholeRam,
        /// A device's address space is in the inventory.
        SpaceKnown,
        /// A mapping is non-empty and page-aligned, and does not overflow.
        WholeMapping,
        /// The RAM block of a mapping is in the inventory.
        BlockKnown,
        /// A mapping's offset in its RAM block is page-aligned.
        WholeOffset,
        /// A mapping ends within its RAM block.
        WithinBlock,
        /// A mapping by file is of a file-backed RAM block.
        BlockBacking,
        /// The device of a BAR mapping is in the inventory.
        BarKnown,
        /// No two mappings overlap.
        NoOverlap,
        /// The kernel supports IOMMU_IOAS_CHANGE_PROCESS.
        CanChangeProcess,
        /// The kernel has the address space.
        SpaceThere,
        /// The kernel has the complete mapping.
        Mapped,
        /// A RAM file has the expected inode.
        RamInode,
        /// A RAM file has the expected length.
        RamLength,
        /// A device file has the expected inode.
        DeviceInode,
        /// A device reports the expected flags.
        DeviceFlags,
        /// A device reports the expected number of regions.
        DeviceRegions,
        /// A device reports the expected number of interrupt indexes.
        DeviceIrqs,
        /// A device is bound to its context under its id.
        Bound,
        /// The kernel has the HWPT.
        HwptThere,
        /// The HWPT is a nesting parent if the inventory requires one, as far as the IOMMU driver
        /// can be probed.
        NestParent,
        /// A device has at least as many vectors as are armed.
        Vectors,
    }
}
