//! A device that is driven by VFIO: its registers, its binding, and what its user has armed.
//!
//! Of its registers only configuration space is modelled: the command register here, because bus
//! mastering is in it, and the rest in `pci::config`.
//!
//! Mirrors `struct vfio_device` and `struct vfio_pci_core_device`.

use crate::hardware::{DeviceKind, DeviceSpec};
use crate::machine::Machine;
use crate::value::{ContextId, DeviceId, FileId, Shared, SmallId, VmId};
use crate::vfio::migration::Migration;
use handoff_model::abi::ids::ObjectId;
use std::collections::BTreeMap;

/// The bit of the command register that lets a device do DMA.
pub const BUS_MASTER: u16 = 4;

/// What firmware leaves in the command register.
pub(super) const COMMAND_AT_BOOT: u16 = 0x0103;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    pub(crate) spec: Shared<DeviceSpec>,
    pub(crate) binding: Option<Binding>,
    /// How many of its files its group gave.
    pub(crate) group_files: u8,
    /// The PCI command register.
    pub(super) command: u16,
    /// Other bytes of configuration space that are not as firmware left them.
    pub(super) config: BTreeMap<u8, u8>,
    /// The interrupt index whose vectors trigger eventfds, where there is one.
    pub(super) armed: Option<Armed>,
    /// Triggers of the error and the request index. Each holds a reference.
    pub(super) notifiers: [Option<FileId>; 2],
    /// Sorted.
    pub(super) ioeventfds: Vec<Ioeventfd>,
    /// Let go to sleep, with what wakes its user.
    pub(super) asleep: Option<Wakeup>,
    /// Of an emulated device.
    pub(crate) migration: Migration,
    /// By vector; no zeroes at the end.
    counters: Vec<Counter>,
    /// How many vectors were armed when the machine was settled.
    settled_vectors: u16,
    pub(crate) disruptions: u8,
}

/// `LOW_POWER_ENTRY`: the eventfd that is signalled when the device wakes. Holds a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wakeup(pub(crate) Option<FileId>);

/// The bound open file of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    /// `None`: whichever its group gave.
    pub(super) file: Option<FileId>,
    /// The context's file; holds a reference.
    pub(crate) iommufd: FileId,
    pub(super) context: ContextId,
    /// The device's or access's object there.
    pub(super) object: ObjectId,
    /// The VM that the file was associated with. Keeps it.
    pub(crate) kvm: Option<VmId>,
}

/// Vectors that are enabled. Each trigger holds a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Armed {
    pub(super) index: u32,
    pub(super) triggers: Vec<Option<FileId>>,
    pub(super) intx: Intx,
}

/// What INTx has beside its trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Intx {
    /// By its user, or because it was signalled.
    pub(super) masked: bool,
    /// Raised while masked.
    pub(super) asserted: bool,
    /// The eventfd that unmasks it. Holds a reference.
    pub(super) unmask: Option<FileId>,
}

/// What became of a vector's interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Counter {
    pub(crate) raised: u32,
    pub(crate) delivered: u32,
}

/// An ioeventfd. Holds a reference to the eventfd, until nobody else has it; its place stays taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ioeventfd {
    pub(super) write: Write,
    pub(super) event: Option<FileId>,
}

/// What is written where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Write {
    pub(super) bar: u64,
    pub(super) at: u64,
    pub(super) data: u64,
    pub(super) bytes: u32,
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
            disruptions: 0,
        }
    }

    pub(crate) fn is_emulated(&self) -> bool {
        matches!(self.spec.kind, DeviceKind::Mdev { .. })
    }

    pub(crate) fn is_bus_master(&self) -> bool {
        self.command & BUS_MASTER != 0
    }

    pub(super) fn clear_bus_master(&mut self) {
        self.command &= !BUS_MASTER;
    }

    pub(super) fn disrupt(&mut self) {
        self.disruptions = self.disruptions.saturating_add(1);
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

    /// Returns true if a vector's interrupts count: it is armed, or was when the machine was
    /// settled.
    pub(crate) fn counts(&self, vector: usize) -> bool {
        self.trigger(vector).is_some() || vector < self.settled_vectors.into()
    }

    /// How many vectors there is something to tell of.
    pub(crate) fn vectors(&self) -> usize {
        let armed = self.armed.as_ref().map_or(0, |armed| armed.triggers.len());
        armed.max(self.counters.len()).max(self.settled_vectors.into())
    }

    /// Ends the set-up: interrupts count from 0 for the vectors that are armed now.
    pub(crate) fn settle(&mut self) {
        self.disruptions = 0;
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
}
