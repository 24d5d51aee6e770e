//! The observable state of a system, which is the only input of a property.
//!
//! The simulated kernel produces a complete [`View`]. On a real host it is collected from `/proc`,
//! sysfs and the devices themselves; a fact that cannot be observed there is `None`, and a property
//! that needs it reports "not observable" instead of passing.
//!
//! A view is canonical: lists are sorted, and files are named by identifiers that are unique within
//! one view.

use crate::abi::ids::{Fd, IovaRange, ObjectId, Pid, Uid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The identity of an open file description: descriptors with the same one share all of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileRef(pub u32);

/// One page of guest memory: a page of one generation of one file, or of anonymous memory.
///
/// Punching a hole replaces a page by one of a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PageRef {
    /// The inode of the file; anonymous memory has one of its own.
    pub inode: u64,
    /// The index in pages.
    pub index: u64,
    /// Number of times that it was replaced.
    pub generation: u32,
}

/// A run of consecutive pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PageRun {
    /// The first page.
    pub first: PageRef,
    /// Number of pages; not zero.
    pub pages: u64,
}

/// The observable state of a complete system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Every process that has ever existed; dead ones remain.
    pub processes: BTreeMap<Pid, ProcessView>,
    /// Descriptors in flight: sent and not yet received.
    pub in_flight: Vec<FileRef>,
    /// The page sets, each listed once, regardless of how many areas map it.
    pub page_sets: Vec<PageSetView>,
    /// The mappings, one for each area of each address space.
    pub mappings: Vec<MappingView>,
    /// Number of locked pages charged to each account, without zeroes.
    #[serde(with = "pairs")]
    pub books: BTreeMap<Account, i64>,
    /// The devices, by name.
    pub devices: BTreeMap<String, DeviceView>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessView {
    /// True while it lives.
    pub alive: bool,
    /// The user; `None` if it cannot be observed.
    pub uid: Option<Uid>,
    /// The descriptor table.
    pub descriptors: BTreeMap<Fd, DescriptorView>,
    /// The guest, if it has one.
    pub guest: Option<GuestView>,
    /// VmPin of its memory map in pages, negative if the kernel's counter has wrapped; `None` once
    /// the process is dead.
    #[serde(default)]
    pub vm_pin_pages: Option<i64>,
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DescriptorView {
    /// The open file description.
    pub file: FileRef,
    /// The kind of that file.
    pub kind: FileKind,
    /// True if it is closed on `execve`.
    pub cloexec: bool,
}

/// The kinds of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// An open `/dev/iommu`.
    Iommufd,
    /// An open `/dev/vfio/devices/vfioN`.
    Device,
    /// A group of devices, `/dev/vfio/N`.
    Group,
    /// A container of groups, `/dev/vfio/vfio`.
    Container,
    /// A memfd.
    Memfd,
    /// An eventfd.
    Eventfd,
    /// A unix socket.
    Socket,
    /// A pidfd.
    Pidfd,
    /// A program that can be executed.
    Image,
    /// An open `/dev/kvm`.
    Kvm,
    /// A virtual machine of KVM.
    Vm,
    /// A vCPU of KVM.
    Vcpu,
    /// KVM's list of VFIO files (`KVM_DEV_TYPE_VFIO`).
    KvmVfio,
    /// A device's migration state in transfer (`data_fd` of a migration state).
    MigrationData,
    /// Any other file.
    Other,
}

/// A guest and its memory and interrupts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GuestView {
    /// True while its vCPUs run.
    pub running: bool,
    /// The progress of its vCPUs; increases while they run, and is part of the saved state.
    pub progress: Option<u64>,
    /// The RAM, as its process maps it now.
    pub ram: Vec<PageRun>,
    /// Interrupts that KVM holds for it and that it has not taken.
    #[serde(default)]
    pub injected: Vec<InjectedView>,
}

/// Interrupts that a device's vector has raised and that KVM holds for a stopped guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InjectedView {
    /// The name of the device.
    pub device: String,
    /// The vector.
    pub vector: u16,
    /// Number of interrupts.
    pub count: u64,
}

/// The account to which locked pages are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// A user's `user_struct::locked_vm`, shared by all processes of the user.
    User(Uid),
    /// A process's `mm_struct::locked_vm` (VmLck). It disappears with the memory map.
    Process(Pid),
}

/// Memory mapped by one MAP or MAP_FILE (`struct iopt_pages`), or MAP_DMA (`struct vfio_dma`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageSetView {
    /// The memory, as its pages were when they were pinned.
    pub memory: PageRun,
    /// Number of pages that are pinned.
    pub pinned_pages: u64,
    /// Number of pages that the kernel has charged for it.
    pub charged_pages: u64,
    /// The process that owns it (`source_task`); `None` if it cannot be observed.
    pub owner: Option<Pid>,
    /// True while the owner's memory map exists, that is, until its exit or `execve`; `None` if it
    /// cannot be observed.
    pub owner_alive: Option<bool>,
    /// The account to which it is charged; `None` if it is uncharged because the mapper had
    /// CAP_IPC_LOCK.
    pub account: Option<Account>,
    /// True if a container's mapping has lost its address and awaits a new one. `None` for mappings
    /// of an iommufd, which have no such state and whose pages count in VmPin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_address: Option<bool>,
}

/// An area of an address space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MappingView {
    /// Index of the context, in the order of creation; containers follow the iommufds.
    pub context: u32,
    /// The address space.
    pub ioas: ObjectId,
    /// The device addresses.
    pub range: IovaRange,
    /// The pages to which they are mapped.
    pub memory: PageRun,
    /// Index in [`View::page_sets`].
    pub page_set: u32,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceView {
    /// The address space that translates its DMA, as context and IOAS; `None` if its DMA is
    /// blocked.
    pub attached: Option<(u32, ObjectId)>,
    /// True if its open file is bound to a context.
    pub bound: bool,
    /// True if it may do DMA (bus master enable); `None` if it cannot be observed.
    pub bus_master: Option<bool>,
    /// Number of times that it was reset, disabled or detached since the machine was set up.
    #[serde(rename = "upsets")]
    pub disruptions: u32,
    /// The pages that its DMA reaches now; `None` if they cannot be observed.
    pub reach: Option<Vec<Reach>>,
    /// The interrupt vectors.
    pub interrupts: Vec<InterruptView>,
    /// The processes that hold its bound file.
    pub holders: BTreeSet<Pid>,
}

/// A range of device addresses and the pages that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reach {
    /// The device addresses.
    pub range: IovaRange,
    /// The pages they reach.
    pub memory: PageRun,
    /// True if the pages are pinned.
    pub pinned: bool,
}

/// An interrupt vector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InterruptView {
    /// The eventfd that it triggers.
    pub trigger: Option<FileRef>,
    /// Number of interrupts that the device raised.
    pub raised: u64,
    /// Number of interrupts that a running guest took.
    pub delivered: u64,
    /// The count in the eventfd.
    pub pending: u64,
    /// The process whose virtual machine takes its signals by an irqfd.
    #[serde(default)]
    pub irqfd: Option<Pid>,
}

/// Serialises a map as a list of pairs, because the keys are not strings as JSON requires.
mod pairs {
    use super::{Account, BTreeMap};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Account, i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Account, i64>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}
