//! The hardware: devices, their interrupts and their DMA.
//!
//! A device does what a device does without asking: it raises interrupts and reaches memory. What it
//! reaches is what its domain maps to pinned pages, and nothing without bus mastering.
//!
//! Of a device's registers only the command register of PCI is modelled, because bus mastering is in
//! it: BIND and the last close clear it, the driver sets it by writing to configuration space. Other
//! registers and regions say EIO.
//!
//! All devices are behind [`Iommu::QEMU_VTD`](crate::Iommu::QEMU_VTD). Which of them share an IOMMU group,
//! their specs say.
//!
//! Absent: the content of BARs, peer-to-peer DMA, ATS, IOMMU faults as events, interrupt remapping.

use crate::file::File;
use crate::ioas::Area;
use crate::iommufd::Object;
use crate::machine::Machine;
use crate::pages::Pin;
use crate::refusal::{Answered, Refusal, refuse};
use crate::shared::Shared;
use crate::slots::{ContextId, DeviceId, FileId, SmallId};
use handoff_model::call::Reply;
use handoff_model::errno::Errno;
use handoff_model::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use handoff_model::view::PageRef;

/// A device to plug in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceSpec {
    /// What views call it.
    pub name: String,
    /// Its device file: `/dev/vfio/devices/vfioN`.
    pub path: String,
    /// What drives it.
    pub kind: DeviceKind,
    /// Its IOMMU group: the devices that cannot be told apart by their DMA.
    pub group: u32,
    /// How many regions it has.
    pub regions: u32,
    /// Vectors by interrupt index: INTx, MSI, MSI-X, error, request. An `edu` has 1, 1, 0, 0 and 1.
    pub irqs: Vec<u32>,
}

impl DeviceSpec {
    /// An `edu`, or a mediated device that looks like one, in a group of its own with the number of its
    /// device file.
    pub fn new(name: &str, path: &str, kind: DeviceKind) -> Self {
        let digits = path.rfind(|c: char| !c.is_ascii_digit()).map_or(path, |at| &path[at + 1..]);
        let group = digits.parse().unwrap_or(0);
        let (name, path) = (name.to_owned(), path.to_owned());
        Self { name, path, kind, group, regions: 9, irqs: vec![1, 1, 0, 0, 1] }
    }
}

/// What drives a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// vfio-pci: a device with DMA of its own.
    Pci {
        /// Whether it has a function reset.
        can_reset: bool,
    },
    /// A mediated device, emulated by the kernel: its accesses go through an IOAS without an HWPT.
    Mdev {
        /// Whether it can be opened only with KVM. KVM is absent, so such a device cannot be bound.
        needs_kvm: bool,
    },
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    pub(crate) spec: Shared<DeviceSpec>,
    pub(crate) binding: Option<Binding>,
    /// The PCI command register.
    command: u16,
    /// The interrupt index whose vectors trigger eventfds, where there is one.
    pub(crate) armed: Option<Armed>,
    /// Triggers of the error and the request index. Each holds a reference.
    pub(crate) notifiers: [Option<FileId>; 2],
    /// By vector; no zeroes at the end.
    counters: Vec<Counter>,
    /// How many vectors were armed when the machine was settled.
    settled_vectors: u16,
    pub(crate) upsets: u8,
}

/// The bound open file of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) file: FileId,
    /// The context's file; holds a reference.
    pub(crate) iommufd: FileId,
    pub(crate) context: ContextId,
    /// The device's or access's object there.
    pub(crate) object: ObjectId,
}

/// Vectors that are enabled. Each trigger holds a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Armed {
    pub(crate) index: u32,
    pub(crate) triggers: Vec<Option<FileId>>,
}

/// What became of a vector's interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Counter {
    pub(crate) raised: u32,
    pub(crate) delivered: u32,
}

/// Why a device reaches nothing at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DmaFault {
    /// It is not attached to an address space.
    Blocked,
    /// Its bus mastering is off.
    NoBusMaster,
    /// Nothing is mapped there.
    Unmapped,
}

/// `VFIO_PCI_CONFIG_REGION_INDEX` and where a region begins in the device file.
pub(crate) const CONFIG_REGION: u32 = 7;
pub(crate) const CONFIG_BYTES: u64 = 256;

/// The offset of the PCI command register in a device file.
pub const COMMAND_OFFSET: u64 = region_offset(CONFIG_REGION) + 4;

/// The bit of the command register that lets a device do DMA.
pub const BUS_MASTER: u16 = 4;

/// Bits of the command register that can be written, and what firmware leaves in it.
const COMMAND_WRITABLE: u16 = 0x0547;
const COMMAND_AT_BOOT: u16 = 0x0103;

/// Where a region begins in the device file (`VFIO_PCI_INDEX_TO_OFFSET`).
pub(crate) const fn region_offset(index: u32) -> u64 {
    (index as u64) << 40
}

impl Device {
    pub(crate) fn new(spec: DeviceSpec) -> Self {
        Self {
            spec: Shared::new(spec),
            binding: None,
            command: COMMAND_AT_BOOT,
            armed: None,
            notifiers: [None; 2],
            counters: Vec::new(),
            settled_vectors: 0,
            upsets: 0,
        }
    }

    pub(crate) fn is_emulated(&self) -> bool {
        matches!(self.spec.kind, DeviceKind::Mdev { .. })
    }

    pub(crate) fn is_bus_master(&self) -> bool {
        self.command & BUS_MASTER != 0
    }

    pub(crate) fn clear_bus_master(&mut self) {
        self.command &= !BUS_MASTER;
    }

    pub(crate) fn upset(&mut self) {
        self.upsets = self.upsets.saturating_add(1);
    }

    pub(crate) fn trigger(&self, vector: usize) -> Option<FileId> {
        self.armed.as_ref()?.triggers.get(vector).copied().flatten()
    }

    pub(crate) fn counter(&self, vector: usize) -> Counter {
        self.counters.get(vector).copied().unwrap_or_default()
    }

    pub(crate) fn counter_mut(&mut self, vector: usize) -> &mut Counter {
        if self.counters.len() <= vector {
            self.counters.resize(vector + 1, Counter::default());
        }
        &mut self.counters[vector]
    }

    /// How many vectors there is something to tell of.
    pub(crate) fn vectors(&self) -> usize {
        let armed = self.armed.as_ref().map_or(0, |armed| armed.triggers.len());
        armed.max(self.counters.len()).max(self.settled_vectors.into())
    }

    fn settle(&mut self) {
        self.upsets = 0;
        self.counters.clear();
        let armed = self.armed.as_ref().map_or(0, |armed| armed.triggers.len());
        self.settled_vectors = u16::try_from(armed).expect("vectors are few");
    }
}

impl Machine {
    pub(crate) fn device(&self, id: DeviceId) -> &Device {
        &self.devices[id.index()]
    }

    pub(crate) fn device_mut(&mut self, id: DeviceId) -> &mut Device {
        &mut self.devices[id.index()]
    }

    /// By the name that it was plugged in with. Panics when there is none.
    pub(crate) fn device_named(&self, name: &str) -> DeviceId {
        let index = self.devices.iter().position(|device| device.spec.name == name);
        DeviceId::of(index.unwrap_or_else(|| panic!("no device {name:?} was plugged in")))
    }

    /// Where its accesses go: context and IOAS.
    pub(crate) fn attachment(&self, id: DeviceId) -> Option<(ContextId, ObjectId)> {
        let Binding { context, object, .. } = self.device(id).binding?;
        let table = self.contexts.get(context);
        let ioas = match table.objects.get(&object)? {
            Object::Device { hwpt, .. } => table.hwpt((*hwpt)?)?.ioas,
            Object::Access(access) => access.ioas?,
            Object::Ioas(_) | Object::Hwpt(_) | Object::Stdev { .. } => return None,
        };
        Some((context, ioas))
    }

    /// The pages that an area leads to: those pinned, and those that an access would find.
    pub(crate) fn behind(&self, context: ContextId, area: &Area) -> (Vec<Pin>, Vec<Pin>) {
        self.slice(self.set(context, area.set), area.indices())
    }

    /// What a DMA access of a device to an address would touch now. Panics for an unknown device.
    pub fn dma(&self, device: &str, iova: Iova) -> Result<PageRef, DmaFault> {
        let id = self.device_named(device);
        if !self.device(id).is_emulated() && !self.device(id).is_bus_master() {
            return Err(DmaFault::NoBusMaster);
        }
        let (context, ioas) = self.attachment(id).ok_or(DmaFault::Blocked)?;
        let ioas = self.ioas(context, ioas).map_err(|_| DmaFault::Blocked)?;
        let here = IovaRange { first: iova, last: iova };
        let area = ioas.areas.iter().find(|area| area.range.overlaps(&here));
        let area = area.ok_or(DmaFault::Unmapped)?;
        let index = (area.start_bytes + (iova.0 - area.range.first.0)) / PAGE_BYTES;
        let (pinned, unpinned) = self.slice(self.set(context, area.set), index..index + 1);
        let reached = if self.device(id).is_emulated() { unpinned } else { Vec::new() };
        let pin = pinned.into_iter().chain(reached).next();
        pin.map(|pin| pin.run().first).ok_or(DmaFault::Unmapped)
    }

    /// A device raises a vector of its armed interrupt index; → whether an eventfd took it. Without a
    /// trigger the interrupt is lost, and counted as raised where the vector was armed when the
    /// machine was settled. Panics for an unknown device.
    pub fn raise(&mut self, device: &str, vector: usize) -> bool {
        let id = self.device_named(device);
        let trigger = self.device(id).trigger(vector);
        if trigger.is_some() || vector < self.device(id).settled_vectors.into() {
            self.device_mut(id).counter_mut(vector).raised += 1;
        }
        let Some(trigger) = trigger else { return false };
        let File::Eventfd(event) = self.file_mut(trigger) else {
            unreachable!("only eventfds become triggers")
        };
        event.add(id, u16::try_from(vector).expect("vectors are few"));
        true
    }

    /// The set-up is over: upsets and interrupt counters begin at 0, and what waits in eventfds counts
    /// as raised.
    pub fn settle(&mut self) {
        for device in &mut self.devices {
            device.settle();
        }
        let events = self.files.iter().filter_map(|(_, open)| match &open.file {
            File::Eventfd(event) => Some(event.0.iter().copied()),
            _ => None,
        });
        for signal in events.flatten().collect::<Vec<_>>() {
            self.device_mut(signal.device).counter_mut(signal.vector.into()).raised += signal.count;
        }
    }

    /// `vfio_pci_config_rw`, the command register only. EINVAL before BIND and beyond the region, EIO.
    pub(crate) fn read_config(
        &self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Answered {
        let bytes = self.device(id).command.to_le_bytes();
        let at = self.config_at(file, id, offset_bytes, length_bytes)?;
        let count = usize::try_from(length_bytes).expect("within the register");
        Ok(Reply::Bytes(bytes[at..at + count].to_vec()))
    }

    pub(crate) fn write_config(
        &mut self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> Answered {
        let length_bytes = bytes.len() as u64;
        let at = self.config_at(file, id, offset_bytes, length_bytes)?;
        let device = self.device_mut(id);
        let mut command = device.command.to_le_bytes();
        command[at..at + bytes.len()].copy_from_slice(bytes);
        let written = u16::from_le_bytes(command) & COMMAND_WRITABLE;
        device.command = written | device.command & !COMMAND_WRITABLE;
        Ok(Reply::Length(length_bytes))
    }

    /// Where in the command register an access begins.
    fn config_at(
        &self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<usize, Refusal> {
        if !self.is_bound_file(id, file) {
            return Err(refuse(Errno::EINVAL));
        }
        if offset_bytes >= region_offset(self.device(id).spec.regions) {
            return Err(refuse(Errno::EINVAL));
        }
        match offset_bytes.checked_sub(COMMAND_OFFSET) {
            Some(at @ 0..2) if length_bytes <= 2 - at => Ok(usize::from(at == 1)),
            _ => Err(refuse(Errno::EIO)),
        }
    }
}
