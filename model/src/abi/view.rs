//! What can be seen of a system from outside: the only thing that a property may look at.
//!
//! The simulated kernel gives a [`View`] exactly. A real host gives one from `/proc`, sysfs and the
//! devices themselves; what cannot be observed there is `None`, and a property that needs it says
//! "not observable" instead of passing.
//!
//! A view is canonical: lists are sorted, and names of files are whatever identifies them within
//! one view.

use crate::abi::ids::{Fd, IovaRange, ObjectId, Pid, Uid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Identity of an open file description: two descriptors with the same one share all of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileRef(pub u32);

/// One page of guest memory: a page of one generation of one file, or of anonymous memory.
///
/// Punching a hole puts a page of a new generation in the place of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PageRef {
    /// The inode of the file (anonymous memory has one of its own).
    pub inode: u64,
    /// Its index in pages.
    pub index: u64,
    /// How often it was replaced.
    pub generation: u32,
}

/// Pages next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PageRun {
    /// The lowest.
    pub first: PageRef,
    /// How many; not zero.
    pub pages: u64,
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Every process that has ever been there; the dead ones keep their place.
    pub processes: BTreeMap<Pid, ProcessView>,
    /// Descriptors in flight: sent and not yet received.
    pub in_flight: Vec<FileRef>,
    /// One for each page set, whoever maps it.
    pub page_sets: Vec<PageSetView>,
    /// One for each area of each address space.
    pub mappings: Vec<MappingView>,
    /// Locked pages that the kernel has on its books, by account; zeroes are left out.
    #[serde(with = "pairs")]
    pub books: BTreeMap<Account, i64>,
    /// By name.
    pub devices: BTreeMap<String, DeviceView>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessView {
    /// Whether it lives.
    pub alive: bool,
    /// Its user; `None` where that cannot be observed.
    pub uid: Option<Uid>,
    /// Its descriptor table.
    pub descriptors: BTreeMap<Fd, DescriptorView>,
    /// Its guest, where it has one.
    pub guest: Option<GuestView>,
    /// VmPin of its memory map, below zero where the kernel's counter has wrapped; `None` once it
    /// is dead.
    #[serde(default)]
    pub vm_pin_pages: Option<i64>,
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DescriptorView {
    /// What it is open on.
    pub file: FileRef,
    /// What that is.
    pub kind: FileKind,
    /// Closed at `execve`.
    pub cloexec: bool,
}

/// Kinds of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// `/dev/iommu`.
    Iommufd,
    /// `/dev/vfio/devices/vfioN`.
    Device,
    /// `/dev/vfio/N`: a group of devices.
    Group,
    /// `/dev/vfio/vfio`: a container of groups.
    Container,
    /// A memfd.
    Memfd,
    /// An eventfd.
    Eventfd,
    /// A unix socket.
    Socket,
    /// A process.
    Pidfd,
    /// A program that can be executed.
    Image,
    /// `/dev/kvm`.
    Kvm,
    /// A virtual machine of KVM.
    Vm,
    /// A vCPU of KVM.
    Vcpu,
    /// KVM's knowledge of VFIO files (`KVM_DEV_TYPE_VFIO`).
    KvmVfio,
    /// The state of a device on its way (`data_fd` of a migration state).
    MigrationData,
    /// Anything else.
    Other,
}

/// A guest and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GuestView {
    /// Its vCPUs run.
    pub running: bool,
    /// How far its vCPUs have come; grows while it runs, carried by its saved state.
    pub progress: Option<u64>,
    /// Its RAM, as its process maps it now.
    pub ram: Vec<PageRun>,
    /// What KVM has for it and it has not taken.
    #[serde(default)]
    pub injected: Vec<InjectedView>,
}

/// Interrupts that a device's vector has raised and that KVM has for a guest which stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InjectedView {
    /// Its name.
    pub device: String,
    /// Its vector.
    pub vector: u16,
    /// How many.
    pub count: u64,
}

/// Who is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// `user_struct::locked_vm`: all processes of a user together.
    User(Uid),
    /// `mm_struct::locked_vm` of a process (VmLck). A dead memory map's is gone with it.
    Process(Pid),
}

/// Memory that was mapped by one MAP or MAP_FILE (`struct iopt_pages`), or MAP_DMA (`struct
/// vfio_dma`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageSetView {
    /// Which memory, as its pages were when they were pinned.
    pub memory: PageRun,
    /// How many of its pages are pinned.
    pub pinned_pages: u64,
    /// How many the kernel has charged for it.
    pub charged_pages: u64,
    /// The process that owns it (`source_task`), or `None` where that cannot be observed.
    pub owner: Option<Pid>,
    /// Whether the owner's memory map still lives: not after its exit, and not after its `execve`.
    pub owner_alive: Option<bool>,
    /// Whom it is charged to; `None`: to nobody, for its mapper had CAP_IPC_LOCK.
    pub account: Option<Account>,
    /// Of a mapping of a container: whether its owner's addresses are gone and new ones awaited.
    /// `None` where mappings keep none, and pages count in VmPin: an iommufd's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_address: Option<bool>,
}

/// An area of an address space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MappingView {
    /// Which context, counted from 0 in the order of their making; containers come behind them.
    pub context: u32,
    /// Which address space.
    pub ioas: ObjectId,
    /// Where.
    pub range: IovaRange,
    /// To which pages.
    pub memory: PageRun,
    /// Which of [`View::page_sets`].
    pub page_set: u32,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceView {
    /// The address space that its DMA goes through: context and IOAS; `None`: blocked.
    pub attached: Option<(u32, ObjectId)>,
    /// Its open file is bound to a context.
    pub bound: bool,
    /// It may do DMA (bus master enable).
    pub bus_master: Option<bool>,
    /// How often it was reset, disabled or detached since the machine was set up.
    #[serde(rename = "upsets")]
    pub disruptions: u32,
    /// What its DMA reaches now. `None` where that cannot be observed.
    pub reach: Option<Vec<Reach>>,
    /// Its interrupt vectors.
    pub interrupts: Vec<InterruptView>,
    /// The processes that hold its bound file.
    pub holders: BTreeSet<Pid>,
}

/// Addresses through which a device reaches pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reach {
    /// Where the device looks.
    pub range: IovaRange,
    /// What it finds.
    pub memory: PageRun,
    /// Whether the pages are pinned.
    pub pinned: bool,
}

/// An interrupt vector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InterruptView {
    /// The eventfd that it triggers.
    pub trigger: Option<FileRef>,
    /// How often the device raised it.
    pub raised: u64,
    /// How often a running guest took it.
    pub delivered: u64,
    /// What waits in the eventfd.
    pub pending: u64,
    /// The process whose virtual machine takes its signals by an irqfd.
    #[serde(default)]
    pub irqfd: Option<Pid>,
}

/// A map whose keys are no strings, as a list of pairs: JSON has no other keys.
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
