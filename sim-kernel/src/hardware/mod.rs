//! The hardware: devices, their interrupts and their DMA.
//!
//! A device does what a device does without asking: it raises interrupts and reaches memory. What it
//! reaches is what its domain maps to pinned pages, and nothing without bus mastering.
//!
//! Of a device's registers only configuration space is modelled ([`crate::vfio::pci::config`]), because bus mastering
//! is in it: BIND and the last close clear it, the driver sets it by writing there.
//!
//! INTx is a level: raised while it is masked, it stays asserted and is signalled when it is unmasked. A
//! message that finds no trigger is lost.
//!
//! All devices are behind [`Iommu::QEMU_VTD`](crate::Iommu::QEMU_VTD) or, where their specs say so,
//! [`Iommu::NESTING_VTD`](crate::Iommu::NESTING_VTD). Which of them share an IOMMU group, their specs say, too.
//!
//! Absent: the content of BARs, peer-to-peer DMA, ATS, IOMMU faults as events, interrupt remapping.

pub(crate) mod iommu;

use crate::iommufd::Object;
use crate::iommufd::ioas::Area;
use crate::iommufd::pages::Pin;
use crate::machine::Machine;
use crate::value::shared::Shared;
use crate::value::slots::{ContextId, DeviceId, FileId, SmallId, VmId};
use crate::vfio::mdev::migration::Migration;
use crate::vfio::pci::config::COMMAND_AT_BOOT;
use crate::vfio::pci::ioeventfd::Ioeventfd;
use crate::vfio::pci::irqs::INTX;
use handoff_model::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use handoff_model::view::PageRef;
use std::collections::BTreeMap;

/// A device to plug in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceSpec {
    /// What views call it.
    pub name: String,
    /// Its device file: `/dev/vfio/devices/vfioN`.
    pub path: String,
    /// What drives it.
    pub kind: DeviceKind,
    /// What its group calls it: the address of a PCI device, the UUID of a mediated one.
    pub address: String,
    /// Its IOMMU group: the devices that cannot be told apart by their DMA.
    pub group: u32,
    /// How many regions it has.
    pub regions: u32,
    /// Whether other devices can reach its BARs, so that they can be exported as dma-bufs.
    pub exports_bars: bool,
    /// Whether the IOMMU in front of it translates in two stages, so that nesting parents can be made for it.
    pub nests: bool,
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
        let address = match kind {
            DeviceKind::Pci { .. } => format!("0000:00:{:02x}.0", 5 + group),
            DeviceKind::Mdev { .. } => format!("83b8f4f2-509f-382f-3c1e-{group:012x}"),
        };
        Self {
            name,
            path,
            kind,
            address,
            group,
            regions: 9,
            exports_bars: false,
            nests: false,
            irqs: vec![1, 1, 0, 0, 1],
        }
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
    /// How many of its files its group gave.
    pub(crate) group_files: u8,
    /// The PCI command register.
    pub(crate) command: u16,
    /// Other bytes of configuration space that are not as firmware left them.
    pub(crate) config: BTreeMap<u8, u8>,
    /// The interrupt index whose vectors trigger eventfds, where there is one.
    pub(crate) armed: Option<Armed>,
    /// Triggers of the error and the request index. Each holds a reference.
    pub(crate) notifiers: [Option<FileId>; 2],
    /// Sorted.
    pub(crate) ioeventfds: Vec<Ioeventfd>,
    /// Let go to sleep, with what wakes its user.
    pub(crate) asleep: Option<Wakeup>,
    /// Of an emulated device.
    pub(crate) migration: Migration,
    /// By vector; no zeroes at the end.
    counters: Vec<Counter>,
    /// How many vectors were armed when the machine was settled.
    settled_vectors: u16,
    pub(crate) upsets: u8,
}

/// `LOW_POWER_ENTRY`: the eventfd that is signalled when the device wakes. Holds a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wakeup(pub(crate) Option<FileId>);

/// The bound open file of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    /// `None`: whichever its group gave.
    pub(crate) file: Option<FileId>,
    /// The context's file; holds a reference.
    pub(crate) iommufd: FileId,
    pub(crate) context: ContextId,
    /// The device's or access's object there.
    pub(crate) object: ObjectId,
    /// The VM that the file was associated with. Keeps it.
    pub(crate) kvm: Option<VmId>,
}

/// Vectors that are enabled. Each trigger holds a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Armed {
    pub(crate) index: u32,
    pub(crate) triggers: Vec<Option<FileId>>,
    pub(crate) intx: Intx,
}

/// What INTx has beside its trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Intx {
    /// By its user, or because it was signalled.
    pub(crate) masked: bool,
    /// Raised while masked.
    pub(crate) asserted: bool,
    /// The eventfd that unmasks it. Holds a reference.
    pub(crate) unmask: Option<FileId>,
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

impl Device {
    pub(crate) fn new(spec: DeviceSpec) -> Self {
        Self {
            spec: Shared::new(spec),
            binding: None,
            group_files: 0,
            command: COMMAND_AT_BOOT,
            config: BTreeMap::new(),
            armed: None,
            notifiers: [None; 2],
            ioeventfds: Vec::new(),
            asleep: None,
            migration: Migration::default(),
            counters: Vec::new(),
            settled_vectors: 0,
            upsets: 0,
        }
    }

    pub(crate) fn is_emulated(&self) -> bool {
        matches!(self.spec.kind, DeviceKind::Mdev { .. })
    }

    pub(crate) fn is_bus_master(&self) -> bool {
        self.command & crate::vfio::pci::config::BUS_MASTER != 0
    }

    pub(crate) fn clear_bus_master(&mut self) {
        self.command &= !crate::vfio::pci::config::BUS_MASTER;
    }

    pub(crate) fn upset(&mut self) {
        self.upsets = self.upsets.saturating_add(1);
    }

    pub(crate) fn trigger(&self, vector: usize) -> Option<FileId> {
        self.armed.as_ref()?.triggers.get(vector).copied().flatten()
    }

    /// The eventfds that it holds.
    pub(crate) fn events(&self) -> impl Iterator<Item = FileId> {
        let armed = self.armed.iter();
        let triggers = armed.clone().flat_map(|armed| armed.triggers.iter().copied());
        let unmask = armed.map(|armed| armed.intx.unmask);
        let wakeup = self.asleep.iter().map(|wakeup| wakeup.0);
        let all = triggers.chain(unmask).chain(self.notifiers).chain(wakeup).flatten();
        all.chain(self.ioeventfds.iter().filter_map(|ioeventfd| ioeventfd.event))
    }

    pub(crate) fn unmask_trigger(&self) -> Option<FileId> {
        self.armed.as_ref()?.intx.unmask
    }

    /// Whether it does something when this eventfd is signalled.
    pub(crate) fn waits_for(&self, event: FileId) -> bool {
        self.unmask_trigger() == Some(event)
            || self.ioeventfds.iter().any(|ioeventfd| ioeventfd.event == Some(event))
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

    /// What was plugged in under a name. Panics for an unknown device.
    pub fn device_spec(&self, device: &str) -> &DeviceSpec {
        &self.device(self.device_named(device)).spec
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
            _ => return None,
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
        if let Some(container) = self.container_of(id) {
            return self.reach_in_container(container, id, iova).ok_or(DmaFault::Unmapped);
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
        if vector == 0 && !self.assert_intx(id) {
            return false;
        }
        let trigger = self.device(id).trigger(vector);
        if trigger.is_some() || vector < self.device(id).settled_vectors.into() {
            self.device_mut(id).counter_mut(vector).raised += 1;
        }
        let Some(trigger) = trigger else { return false };
        self.signal_vector(trigger, id, u16::try_from(vector).expect("vectors are few"));
        true
    }

    /// An interrupt of a device that uses INTx masks it; → whether it gets through.
    pub(crate) fn assert_intx(&mut self, id: DeviceId) -> bool {
        let device = self.device(id);
        if device.armed.as_ref().is_none_or(|armed| armed.index != INTX) {
            return true;
        }
        let is_level = !device.is_emulated();
        let armed = self.device_mut(id).armed.as_mut().expect("just seen");
        let passes = !armed.intx.masked;
        armed.intx.masked = true;
        armed.intx.asserted |= !passes && is_level;
        passes
    }

    /// The set-up is over: upsets and interrupt counters begin at 0, and what waits in eventfds counts
    /// as raised.
    pub fn settle(&mut self) {
        for device in &mut self.devices {
            device.settle();
        }
        for signal in self.waiting_signals().collect::<Vec<_>>() {
            self.device_mut(signal.device).counter_mut(signal.vector.into()).raised += signal.count;
        }
    }
}
