//! What a VMM owns that a handoff carries: RAM, iommufd contexts with their address spaces, and
//! devices; and the descriptors through which it owns them.
//!
//! The inventory names kernel objects by the ids that the kernel gave. The new process adopts those
//! ids; it allocates, binds, attaches and maps nothing. Descriptors are kept apart, under names
//! ([`Key`]), because their numbers differ from process to process.
//!
//! This is also the record that crosses in the stream ([`crate::stream`]): once released, fields
//! are only added, with a default that means "absent".
//!
//! Mirrors: `struct CprState` of QEMU 10.1 (`include/migration/cpr.h`), which carries descriptors
//! by name and id, and of each device its id, its IOAS and its HWPT.

pub mod blocker;
pub mod launch;

use crate::abi::call::Rights;
use crate::abi::ids::{Fd, Iova, IovaRange, ObjectId, Va, pages};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The inventory of one virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vm {
    /// What the operator calls it.
    pub name: String,
    /// Guest memory.
    pub ram: Vec<RamBlock>,
    /// What translates the devices' DMA.
    #[serde(default, skip_serializing_if = "Dma::is_iommufd")]
    pub dma: Dma,
    /// The open iommufds, or containers.
    pub contexts: Vec<Context>,
    /// The passed-through devices.
    pub devices: Vec<Device>,
    /// The guest runs in KVM, which takes the devices' interrupts by irqfds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irqfds: bool,
}

/// A stretch of guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RamBlock {
    /// Its name: the key of its descriptor.
    pub name: String,
    /// Whether a new process can map it too.
    pub backing: Backing,
    /// Its length.
    pub length_bytes: u64,
    /// The inode of its file, where it has one.
    #[serde(default)]
    pub inode: u64,
    /// Where the old process has it mapped.
    pub va: Va,
}

/// What is behind guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// A memfd, mapped shared: it outlives the process.
    File,
    /// Anonymous memory: it dies with the process.
    Anonymous,
}

/// What translates the devices' DMA.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Dma {
    /// iommufds. Devices are had by their own files.
    #[default]
    Iommufd,
    /// Containers with a type1 IOMMU: mappings are by address. Devices are had through their
    /// groups, each in one of its own.
    Type1,
}

impl Dma {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_iommufd(&self) -> bool {
        *self == Self::Iommufd
    }

    /// What its files are.
    pub fn kind(self) -> Kind {
        match self {
            Self::Iommufd => Kind::Iommufd,
            Self::Type1 => Kind::Container,
        }
    }
}

/// An iommufd context, or a container, which has one address space and no ids: of its devices and
/// its space they are 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// Its name: the key of its descriptor.
    pub name: String,
    /// Its address spaces.
    pub spaces: Vec<AddressSpace>,
}

/// An IOAS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressSpace {
    /// Its id.
    pub ioas: ObjectId,
    /// What is mapped, sorted by address, without overlap.
    pub mappings: Vec<Mapping>,
}

/// One mapping: one MAP or MAP_FILE.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// Where a device sees it.
    pub iova: Iova,
    /// Its length.
    pub length_bytes: u64,
    /// What is there.
    pub memory: Memory,
    /// What a device may do.
    pub rights: Rights,
    /// Whom its pages are charged to.
    pub charged_to: ChargedTo,
}

impl Mapping {
    /// The addresses; `None` where they run over the top.
    pub fn range(&self) -> Option<IovaRange> {
        IovaRange::of(self.iova, self.length_bytes)
    }
}

/// What a mapping maps, and how the kernel was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// RAM by file and offset (MAP_FILE): the only kind that can change its process.
    RamFile {
        /// Which of [`Vm::ram`].
        block: u16,
        /// Where in it.
        offset_bytes: u64,
    },
    /// RAM by the address in the mapping process (MAP, MAP_DMA).
    RamAddress {
        /// Which of [`Vm::ram`].
        block: u16,
        /// Where in it.
        offset_bytes: u64,
    },
    /// A BAR of a device, for peer-to-peer DMA.
    Bar {
        /// Which of [`Vm::devices`].
        device: u16,
        /// Which region.
        region: u32,
    },
}

/// Accounting of pinned pages (`enum iopt_pages account_mode`), fixed when the mapping was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargedTo {
    /// No account: the mapper had CAP_IPC_LOCK (`IOPT_PAGES_ACCOUNT_NONE`).
    #[serde(rename = "nobody")]
    None,
    /// As the mapping that it is a copy of (`IOMMU_IOAS_COPY`), or the dma-buf behind it: by itself
    /// to nobody.
    Original,
    /// The user of the owner, against the owner's RLIMIT_MEMLOCK.
    User,
    /// The memory map of the owner (`IOMMU_OPTION_RLIMIT_MODE` 1, and always by a container).
    Process,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Its name: the key of its descriptors.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Which of [`Vm::contexts`] it is bound to.
    pub context: u16,
    /// The id that BIND gave.
    pub id: ObjectId,
    /// The address space that it is attached to.
    pub ioas: ObjectId,
    /// The HWPT between the two; none for a mediated device.
    pub hwpt: Option<ObjectId>,
    /// That HWPT is a nesting parent (`IOMMU_HWPT_ALLOC_NEST_PARENT`): a guest's page tables can
    /// lie over it. Those themselves do not cross.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nest_parent: bool,
    /// The inode of its node in `/dev`: which device the file is.
    #[serde(default)]
    pub inode: u64,
    /// What GET_INFO said: flags, regions, interrupt indexes.
    pub info: (u32, u32, u32),
    /// Its armed interrupts.
    pub interrupts: Vec<Interrupts>,
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A PCI function behind an IOMMU.
    Pci,
    /// A mediated device: DMA goes through kernel accesses.
    Mdev {
        /// Its driver keeps the KVM of the process that opened it first, and cannot take another.
        needs_kvm: bool,
    },
}

/// Armed vectors of one interrupt index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interrupts {
    /// `VFIO_PCI_MSI_IRQ_INDEX` and so on.
    pub index: u32,
    /// How many, from vector 0; each has an eventfd.
    pub vectors: u16,
}

/// The lowest interrupt of KVM's that is free for an MSI: below are the pins of its I/O APIC
/// (`KVM_IOAPIC_NUM_PINS`).
const GSI_FIRST: u32 = 24;

impl Vm {
    /// Every address space with the place of its context.
    pub fn spaces(&self) -> impl Iterator<Item = (u16, &AddressSpace)> {
        (0..=u16::MAX)
            .zip(&self.contexts)
            .flat_map(|(at, context)| context.spaces.iter().map(move |s| (at, s)))
    }

    /// Every mapping with the place of its context and the id of its address space.
    pub fn mappings(&self) -> impl Iterator<Item = (u16, ObjectId, &Mapping)> {
        self.spaces()
            .flat_map(|(at, space)| space.mappings.iter().map(move |m| (at, space.ioas, m)))
    }

    /// How many pages are charged to `account`, as far as mappings say.
    pub fn charged_pages(&self, account: ChargedTo) -> u64 {
        (self.mappings().filter(|(_, _, mapping)| mapping.charged_to == account))
            .map(|(_, _, mapping)| pages(mapping.length_bytes))
            .fold(0, u64::saturating_add)
    }

    /// The eventfds that have an irqfd, each with its interrupt of KVM's.
    pub fn irqfds(&self) -> impl Iterator<Item = (u32, Key)> + '_ {
        let keys = self.devices.iter().filter(|_| self.irqfds).flat_map(Device::interrupt_keys);
        (GSI_FIRST..).zip(keys.map(|(_, key)| key))
    }

    /// The names of every descriptor that must cross, in the order of the stream.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = vec![Key::new(Kind::Stream, "", 0), Key::new(Kind::Guest, "", 0)];
        keys.extend(self.contexts.iter().map(|of| Key::new(self.dma.kind(), &of.name, 0)));
        let files = self.ram.iter().filter(|block| block.backing == Backing::File);
        keys.extend(files.map(|block| Key::new(Kind::Ram, &block.name, 0)));
        for device in &self.devices {
            if self.dma == Dma::Type1 {
                keys.push(Key::new(Kind::Group, &device.name, 0));
            }
            keys.push(Key::new(Kind::Device, &device.name, 0));
            keys.extend(device.interrupt_keys().map(|(_, key)| key));
        }
        keys
    }
}

impl Device {
    /// The names of its eventfds, each with the interrupt index it belongs to.
    pub fn interrupt_keys(&self) -> impl Iterator<Item = (u32, Key)> + '_ {
        self.interrupts.iter().flat_map(|armed| {
            let name = format!("{}/{}", self.name, armed.index);
            (0..armed.vectors)
                .map(move |vector| (armed.index, Key::new(Kind::Interrupt, &name, vector)))
        })
    }
}

/// The name of a descriptor: what it is, whose, and which of several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// Whose.
    #[serde(default)]
    pub name: String,
    /// Which of several.
    #[serde(default)]
    pub index: u16,
}

impl Key {
    /// A name.
    pub fn new(kind: Kind, name: &str, index: u16) -> Self {
        Self { kind, name: name.to_owned(), index }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Stream => "stream",
            Kind::Guest => "guest",
            Kind::Iommufd => "iommufd",
            Kind::Container => "container",
            Kind::Group => "group",
            Kind::Ram => "ram",
            Kind::Device => "device",
            Kind::Interrupt => "interrupt",
            Kind::Kvm => "kvm",
        };
        write!(f, "{kind}:{}:{}", self.name, self.index)
    }
}

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A memfd for the stream itself.
    Stream,
    /// A memfd for the saved vCPUs and emulated devices.
    Guest,
    /// `/dev/iommu`.
    Iommufd,
    /// `/dev/vfio/vfio`.
    Container,
    /// A group, by the name of its device.
    Group,
    /// A memfd of guest RAM.
    Ram,
    /// A bound VFIO device file.
    Device,
    /// An eventfd that an interrupt vector triggers.
    Interrupt,
    /// KVM's virtual machine. It is its process's alone and never crosses.
    Kvm,
}

/// A VMM's descriptors by name, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descriptors(Vec<(Key, Fd)>);

impl Descriptors {
    /// Adds one. The last of a name counts.
    pub fn insert(&mut self, key: Key, fd: Fd) {
        match self.0.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => self.0[at].1 = fd,
            Err(at) => self.0.insert(at, (key, fd)),
        }
    }

    /// The descriptor of that name.
    pub fn get(&self, key: &Key) -> Option<Fd> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(self.0[at].1)
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Fd)> {
        self.0.iter().map(|(key, fd)| (key, *fd))
    }
}

impl FromIterator<(Key, Fd)> for Descriptors {
    fn from_iter<I: IntoIterator<Item = (Key, Fd)>>(pairs: I) -> Self {
        let mut all = Self::default();
        pairs.into_iter().for_each(|(key, fd)| all.insert(key, fd));
        all
    }
}
