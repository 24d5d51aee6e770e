//! The inventory of a virtual machine, which a handoff transfers: RAM, iommufd contexts with their
//! address spaces, and devices; and the descriptors through which a VMM owns them.
//!
//! The inventory names kernel objects by the ids that the kernel assigned. The new process adopts
//! these ids and makes no alloc, bind, attach or map call. Descriptors are kept separately, under
//! names ([`Key`]), because their numbers differ between processes.
//!
//! The inventory is also part of the record in the stream ([`crate::stream`]): once released,
//! fields are only added, with a default that means "absent".
//!
//! Mirrors: `struct CprState` of QEMU 10.1 (`include/migration/cpr.h`), which holds descriptors by
//! name and id, and for each device its id, its IOAS and its HWPT.

pub mod blocker;
pub mod launch;

use crate::abi::call::Rights;
use crate::abi::ids::{Fd, Iova, IovaRange, ObjectId, Va, pages};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The inventory of one virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vm {
    /// The operator's name for it.
    pub name: String,
    /// Guest memory.
    pub ram: Vec<RamBlock>,
    /// The interface through which devices' DMA is mapped.
    #[serde(default, skip_serializing_if = "Dma::is_iommufd")]
    pub dma: Dma,
    /// The open iommufds or containers.
    pub contexts: Vec<Context>,
    /// The passed-through devices.
    pub devices: Vec<Device>,
    /// True if the guest runs in KVM, which takes the devices' interrupts by irqfds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irqfds: bool,
}

/// A block of guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RamBlock {
    /// The name, which is also the key of its descriptor.
    pub name: String,
    /// The backing, which decides whether another process can map it.
    pub backing: Backing,
    /// The length in bytes.
    pub length_bytes: u64,
    /// The inode of its file; 0 for anonymous memory.
    #[serde(default)]
    pub inode: u64,
    /// The address at which the old process maps it.
    pub va: Va,
}

/// The backing of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// A memfd, mapped shared: it outlives the process.
    File,
    /// Anonymous memory: it is freed when the process exits.
    Anonymous,
}

/// The interface through which devices' DMA is mapped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Dma {
    /// iommufds. Devices are opened by their own files.
    #[default]
    Iommufd,
    /// Containers with a type1 IOMMU, which map memory by address. Devices are opened through their
    /// groups, one device per group.
    Type1,
}

impl Dma {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_iommufd(&self) -> bool {
        *self == Self::Iommufd
    }

    /// Returns the kind of the files that represent the contexts.
    pub fn kind(self) -> Kind {
        match self {
            Self::Iommufd => Kind::Iommufd,
            Self::Type1 => Kind::Container,
        }
    }
}

/// An iommufd context or a container. A container has one address space and no object ids: the ids
/// of its address space and devices are 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// The name, which is also the key of its descriptor.
    pub name: String,
    /// The address spaces.
    pub spaces: Vec<AddressSpace>,
}

/// An IOAS, or the address space of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressSpace {
    /// The object id.
    pub ioas: ObjectId,
    /// The mappings, sorted by address, without overlap.
    pub mappings: Vec<Mapping>,
}

/// A mapping made by one MAP, MAP_FILE, COPY or MAP_DMA.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// The first address as devices see it.
    pub iova: Iova,
    /// The length in bytes.
    pub length_bytes: u64,
    /// The mapped memory.
    pub memory: Memory,
    /// The access that devices have.
    pub rights: Rights,
    /// The account to which its pages are charged.
    pub charged_to: ChargedTo,
}

impl Mapping {
    /// Returns the range of addresses; `None` if it is empty or overflows.
    pub fn range(&self) -> Option<IovaRange> {
        IovaRange::of(self.iova, self.length_bytes)
    }
}

/// The memory of a mapping, and how it was named to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// RAM by file and offset (MAP_FILE): the only kind that can change its process.
    RamFile {
        /// Index in [`Vm::ram`].
        block: u16,
        /// Offset in the block.
        offset_bytes: u64,
    },
    /// RAM by its address in the mapping process (MAP, MAP_DMA).
    RamAddress {
        /// Index in [`Vm::ram`].
        block: u16,
        /// Offset in the block.
        offset_bytes: u64,
    },
    /// A BAR of a device, for peer-to-peer DMA.
    Bar {
        /// Index in [`Vm::devices`].
        device: u16,
        /// Index of the region.
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
    /// Not charged itself: a copy (`IOMMU_IOAS_COPY`) shares the charge of its original, and a
    /// dma-buf's pages are not charged.
    Original,
    /// The user of the owner, limited by the owner's RLIMIT_MEMLOCK.
    User,
    /// The memory map of the owner (`IOMMU_OPTION_RLIMIT_MODE` 1, and always for a container).
    Process,
}

/// A passed-through device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// The name, which is also the key of its descriptors.
    pub name: String,
    /// The kind of device.
    pub kind: DeviceKind,
    /// Index in [`Vm::contexts`] of the context to which it is bound.
    pub context: u16,
    /// The id that BIND returned.
    pub id: ObjectId,
    /// The address space to which it is attached.
    pub ioas: ObjectId,
    /// The HWPT through which it is attached; `None` for a mediated device.
    pub hwpt: Option<ObjectId>,
    /// True if the HWPT is a nesting parent (`IOMMU_HWPT_ALLOC_NEST_PARENT`), over which a guest's
    /// page tables can be nested. Nested HWPTs are not handed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nest_parent: bool,
    /// The inode of its node in `/dev`, which identifies the device.
    #[serde(default)]
    pub inode: u64,
    /// The reply of GET_INFO: flags, number of regions, number of interrupt indexes.
    pub info: (u32, u32, u32),
    /// The armed interrupts.
    pub interrupts: Vec<Interrupts>,
}

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A PCI function behind an IOMMU.
    Pci,
    /// A mediated device: its DMA goes through kernel accesses.
    Mdev {
        /// True if its driver keeps the KVM of the process that first opened it, and cannot switch
        /// to another.
        needs_kvm: bool,
    },
}

/// The armed vectors of one interrupt index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interrupts {
    /// The interrupt index, such as `VFIO_PCI_MSI_IRQ_INDEX`.
    pub index: u32,
    /// Number of vectors, from vector 0; each has an eventfd.
    pub vectors: u16,
}

/// The lowest GSI that is free for an MSI: those below are the pins of KVM's I/O APIC
/// (`KVM_IOAPIC_NUM_PINS`).
const GSI_FIRST: u32 = 24;

impl Vm {
    /// Returns every address space with the index of its context.
    pub fn spaces(&self) -> impl Iterator<Item = (u16, &AddressSpace)> {
        (0..=u16::MAX)
            .zip(&self.contexts)
            .flat_map(|(at, context)| context.spaces.iter().map(move |s| (at, s)))
    }

    /// Returns every mapping with the index of its context and the id of its address space.
    pub fn mappings(&self) -> impl Iterator<Item = (u16, ObjectId, &Mapping)> {
        self.spaces()
            .flat_map(|(at, space)| space.mappings.iter().map(move |m| (at, space.ioas, m)))
    }

    /// Returns the number of pages that the mappings charge to `account`.
    pub fn charged_pages(&self, account: ChargedTo) -> u64 {
        (self.mappings().filter(|(_, _, mapping)| mapping.charged_to == account))
            .map(|(_, _, mapping)| pages(mapping.length_bytes))
            .fold(0, u64::saturating_add)
    }

    /// Returns the eventfds that have an irqfd, each with its GSI.
    pub fn irqfds(&self) -> impl Iterator<Item = (u32, Key)> + '_ {
        let keys = self.devices.iter().filter(|_| self.irqfds).flat_map(Device::interrupt_keys);
        (GSI_FIRST..).zip(keys.map(|(_, key)| key))
    }

    /// Returns the name of every descriptor that is handed over, in the order of the stream.
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
    /// Returns the names of its eventfds, each with its interrupt index.
    pub fn interrupt_keys(&self) -> impl Iterator<Item = (u32, Key)> + '_ {
        self.interrupts.iter().flat_map(|armed| {
            let name = format!("{}/{}", self.name, armed.index);
            (0..armed.vectors)
                .map(move |vector| (armed.index, Key::new(Kind::Interrupt, &name, vector)))
        })
    }
}

/// The name of a descriptor: its kind, the object it belongs to, and its index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The purpose of the descriptor.
    pub kind: Kind,
    /// The name of the object it belongs to.
    #[serde(default)]
    pub name: String,
    /// The index among the descriptors of that object.
    #[serde(default)]
    pub index: u16,
}

impl Key {
    /// Creates a key.
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

/// The purpose of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The memfd of the stream itself.
    Stream,
    /// The memfd of the saved vCPUs and emulated devices.
    Guest,
    /// An open `/dev/iommu`.
    Iommufd,
    /// An open `/dev/vfio/vfio`.
    Container,
    /// A group, named after its device.
    Group,
    /// A memfd of guest RAM.
    Ram,
    /// A bound VFIO device file.
    Device,
    /// An eventfd that an interrupt vector triggers.
    Interrupt,
    /// KVM's virtual machine. It belongs to its process alone and is never handed over.
    Kvm,
}

/// A VMM's descriptors by name, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descriptors(Vec<(Key, Fd)>);

impl Descriptors {
    /// Adds a descriptor, replacing one of the same name.
    pub fn insert(&mut self, key: Key, fd: Fd) {
        match self.0.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => self.0[at].1 = fd,
            Err(at) => self.0.insert(at, (key, fd)),
        }
    }

    /// Returns the descriptor of that name.
    pub fn get(&self, key: &Key) -> Option<Fd> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(self.0[at].1)
    }

    /// Returns all descriptors, sorted by name.
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
