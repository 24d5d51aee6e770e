//! Every check by which a role refuses what it is told, by name.
//!
//! A call that fails is seen by the phase that made it. A check is what a role asks beyond that: of
//! a frame, of the state in it, of descriptors that arrive, of what the kernel answers about what
//! was adopted, of the limits of a process. All of them are asked through one door,
//! [`Mutations::require`](super::mutation::Mutations::require), so that this list is complete.

use super::phase::named;
use serde::{Deserialize, Serialize};
use std::fmt;

named! {
    /// A check of what a role is told.
    Check {
        /// The other process is there.
        PeerThere,
        /// The other process does not refuse.
        NotRefused,
        /// What comes is what is due.
        Due,
        /// What was cut early is what it would be now that the guest is stopped.
        StillSo,
        /// RLIMIT_MEMLOCK of the old process allows the way back.
        OldLimit,
        /// Both processes cut the state at the same time: while the guest runs, or when it is
        /// stopped.
        SameForm,
        /// RLIMIT_MEMLOCK of the new process allows the way there.
        NewLimit,
        /// No descriptor was lost on the way.
        NoneLost,
        /// A message that brings descriptors brings some.
        SomeArrived,
        /// Descriptors arrive in their order.
        InOrder,
        /// No more descriptors arrive than were announced.
        NoneTooMany,
        /// As many descriptors arrived as the stream lists.
        AsListed,
        /// A frame has a whole header.
        WholeHeader,
        /// A frame is one of this protocol.
        Magic,
        /// It is of a version that is known.
        Version,
        /// Its record is there to the end.
        WholeRecord,
        /// Nothing follows its record.
        NothingTrails,
        /// It is as it was written.
        Checksum,
        /// It needs no feature that is not known.
        Features,
        /// Its record is of the kind that is due.
        RecordKind,
        /// No descriptor is listed twice.
        ListedOnce,
        /// The inventory has no two things of one name.
        NamedOnce,
        /// Every descriptor that the inventory needs is listed.
        NoneMissing,
        /// Every descriptor that is listed belongs to something.
        NoneUnclaimed,
        /// A block of RAM is whole pages.
        WholeRam,
        /// A device's address space is in the inventory.
        SpaceKnown,
        /// A mapping is whole pages.
        WholeMapping,
        /// The block of RAM that a mapping maps is in the inventory.
        BlockKnown,
        /// It is mapped from a whole page on.
        WholeOffset,
        /// It is not mapped beyond its end.
        WithinBlock,
        /// One that is mapped by file has one.
        BlockBacking,
        /// The device whose BAR a mapping maps is in the inventory.
        BarKnown,
        /// No two mappings overlap.
        NoOverlap,
        /// The kernel can change the process of mappings.
        CanChangeProcess,
        /// The kernel has the address space.
        SpaceThere,
        /// The kernel has the mapping, all of it.
        Mapped,
        /// A RAM file is the one that it should be.
        RamInode,
        /// A RAM file is as long as it should be.
        RamLength,
        /// A device file is the one that it should be.
        DeviceInode,
        /// A device has the flags that it should.
        DeviceFlags,
        /// A device has as many regions as it should.
        DeviceRegions,
        /// A device has as many interrupt indexes as it should.
        DeviceIrqs,
        /// A device is bound under its id.
        Bound,
        /// The kernel has the HWPT.
        HwptThere,
        /// An HWPT that should be a nesting parent is one, as far as the driver of its IOMMU tells.
        NestParent,
        /// A device has as many vectors as are armed.
        Vectors,
    }
}
