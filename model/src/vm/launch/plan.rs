//! A virtual machine as its operator describes it, before it exists.

use super::HwptPlan;
use crate::abi::ids::Iova;
use crate::vm::{Backing, DeviceKind, Dma, Interrupts};

/// A virtual machine as its operator describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// Guest memory.
    pub ram: Vec<RamPlan>,
    /// What translates the devices' DMA.
    pub dma: Dma,
    /// The iommufds to open, or containers, which have one address space each.
    pub contexts: Vec<ContextPlan>,
    /// The address spaces to make; each maps all of the RAM.
    pub spaces: Vec<SpacePlan>,
    /// The devices.
    pub devices: Vec<DevicePlan>,
    /// Run the guest in KVM, and have it take interrupts by irqfds.
    pub kvm: bool,
}

/// A block of guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RamPlan {
    /// Its name.
    pub name: String,
    /// Its length.
    pub length_bytes: u64,
    /// Where devices see it.
    pub iova: Iova,
    /// What is behind it.
    pub backing: Backing,
    /// Tell the kernel an address (MAP) even where there is a file (MAP_FILE).
    pub map_by_address: bool,
}

/// An iommufd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContextPlan {
    /// Its name.
    pub name: String,
    /// Charge processes instead of users (`IOMMU_OPTION_RLIMIT_MODE` 1).
    pub per_process_accounting: bool,
}

/// An address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpacePlan {
    /// Which of [`Plan::contexts`] it is in.
    pub context: u16,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DevicePlan {
    /// Its name.
    pub name: String,
    /// `/dev/vfio/devices/vfioN`.
    pub path: String,
    /// How it is had otherwise: `/dev/vfio/N`, and what that group calls it.
    pub group: (String, String),
    /// What it is.
    pub kind: DeviceKind,
    /// Which of [`Plan::spaces`] it is attached to.
    pub space: u16,
    /// Over which HWPT of that.
    pub hwpt: HwptPlan,
    /// Where the other devices of its address space reach its BAR 0, if they shall: a mapping that
    /// no handoff can move.
    pub bar: Option<Iova>,
    /// The interrupts to arm.
    pub interrupts: Vec<Interrupts>,
    /// Those that its guest's driver arms when it is loaded: [`arm`](super::arm).
    pub later: Vec<Interrupts>,
}
