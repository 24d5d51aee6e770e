//! The configuration of a virtual machine that is to be started.

use super::HwptPlan;
use crate::abi::ids::Iova;
use crate::vm::{Backing, DeviceKind, Dma, Interrupts};

/// The configuration of a virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The name.
    pub name: String,
    /// Guest memory.
    pub ram: Vec<RamPlan>,
    /// The interface through which devices' DMA is mapped.
    pub dma: Dma,
    /// The iommufds to open, or containers, which have one address space each.
    pub contexts: Vec<ContextPlan>,
    /// The address spaces to make; each maps all of the RAM.
    pub spaces: Vec<SpacePlan>,
    /// The devices.
    pub devices: Vec<DevicePlan>,
    /// True to run the guest in KVM and deliver interrupts by irqfds.
    pub kvm: bool,
}

/// A block of guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RamPlan {
    /// The name.
    pub name: String,
    /// The length in bytes.
    pub length_bytes: u64,
    /// The first address as devices see it.
    pub iova: Iova,
    /// The backing.
    pub backing: Backing,
    /// True to map by address (MAP) even if there is a file (MAP_FILE).
    pub map_by_address: bool,
}

/// An iommufd or a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContextPlan {
    /// The name.
    pub name: String,
    /// True to charge processes instead of users (`IOMMU_OPTION_RLIMIT_MODE` 1).
    pub per_process_accounting: bool,
}

/// An address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpacePlan {
    /// Index in [`Plan::contexts`].
    pub context: u16,
}

/// A passed-through device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DevicePlan {
    /// The name.
    pub name: String,
    /// The path of the device file, `/dev/vfio/devices/vfioN`.
    pub path: String,
    /// The group's path, `/dev/vfio/N`, and the name of the device in that group; used with a
    /// container.
    pub group: (String, String),
    /// The kind of device.
    pub kind: DeviceKind,
    /// Index in [`Plan::spaces`] of the address space to attach it to.
    pub space: u16,
    /// The HWPT through which it is attached.
    pub hwpt: HwptPlan,
    /// The address at which the devices of its address space reach its BAR 0; `None` to leave it
    /// unmapped. Such a mapping prevents a handoff.
    pub bar: Option<Iova>,
    /// The interrupts to arm.
    pub interrupts: Vec<Interrupts>,
    /// The interrupts that the guest's driver arms when it is loaded: [`arm`](super::arm).
    pub later: Vec<Interrupts>,
}
