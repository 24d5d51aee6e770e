//! A device driven by VFIO: its registers, its binding, and the interrupts that its user armed.
//!
//! Only configuration space is modelled: the command register here, because it contains the bus
//! master bit; the rest in `pci::config`.
//!
//! Mirrors `struct vfio_device` and `struct vfio_pci_core_device`.

use crate::hardware::{DeviceKind, DeviceSpec};
use crate::machine::Machine;
use crate::value::{ContextId, DeviceId, FileId, Shared, SmallId, VmId};
use crate::vfio::migration::Migration;
use handoff_model::abi::ids::ObjectId;
use std::collections::BTreeMap;

/// The bit of the command register that enables DMA by the device.
pub const BUS_MASTER: u16 = 4;

/// Value of the command register as firmware leaves it.
pub(super) const COMMAND_AT_BOOT: u16 = 0x0103;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    pub(crate) spec: Shared<DeviceSpec>,
    pub(crate) binding: Option<Binding>,
    /// Number of its open files that were obtained from its group.
    pub(crate) group_files: u8,
    /// The PCI command register.
    pub(super) command: u16,
    /// Other bytes of configuration space, where they differ from the values that firmware leaves.
    pub(super) config: BTreeMap<u8, u8>,
    /// The enabled interrupt index, with the eventfds that its vectors trigger.
    pub(super) armed: Option<Armed>,
    /// Triggers of the error index and the request index. Each holds a reference.
    pub(super) notifiers: [Option<FileId>; 2],
    /// Registered ioeventfds, sorted.
    pub(super) ioeventfds: Vec<Ioeventfd>,
    /// The wake-up of its user, if the device is in low power.
    pub(super) asleep: Option<Wakeup>,
    /// Migration state of an emulated device.
    pub(crate) migration: Migration,
    /// Interrupt counters by vector, without trailing zeroes.
    counters: Vec<Counter>,
    /// Number of vectors that were armed when the set-up ended.
    settled_vectors: u16,
    pub(crate) disruptions: u8,
}

/// The eventfd to signal when a device in low power wakes; `None` if its user requested no wake-up.
/// Holds a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wakeup(pub(crate) Option<FileId>);

/// The binding of a device to a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    /// The open file that bound the device; `None` if it was opened through its group.
    pub(super) file: Option<FileId>,
    /// The file of the context. Holds a reference.
    pub(crate) iommufd: FileId,
    pub(super) context: ContextId,
    /// The object of the device or access in the context.
    pub(super) object: ObjectId,
    /// The VM that the file was associated with. Holds a reference.
    pub(crate) kvm: Option<VmId>,
}

/// An enabled interrupt index. Each trigger holds a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Armed {
    pub(super) index: u32,
    pub(super) triggers: Vec<Option<FileId>>,
    pub(super) intx: Intx,
}

/// State of INTx beside its trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Intx {
    /// True if masked, by the user or by the delivery of an interrupt.
    pub(super) masked: bool,
    /// True if an interrupt was raised while masked.
    pub(super) asserted: bool,
    /// The eventfd that unmasks INTx when signalled. Holds a reference.
    pub(super) unmask: Option<FileId>,
}

/// Interrupt counts of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Counter {
    pub(crate) raised: u32,
    pub(crate) delivered: u32,
}

/// An ioeventfd. Holds a reference to the eventfd until no other reference remains; then its slot
/// stays occupied without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ioeventfd {
    pub(super) write: Write,
    pub(super) event: Option<FileId>,
}

/// A value, and the place in a BAR that it is written to.
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

    /// Returns the eventfds that the device holds references to.
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

    /// Returns true if signalling this eventfd makes the device act.
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

    /// Returns true if a vector's interrupts are counted: it is armed, or was when the set-up
    /// ended.
    pub(crate) fn counts(&self, vector: usize) -> bool {
        self.trigger(vector).is_some() || vector < self.settled_vectors.into()
    }

    /// Returns the number of vectors that a view reports.
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
