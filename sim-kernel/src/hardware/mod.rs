//! The hardware: devices, their interrupts and their DMA.
//!
//! A device does what a device does without asking: it raises interrupts and reaches memory. What
//! it reaches is what its domain maps to pinned pages, and nothing without bus mastering.
//!
//! Of a device's registers only configuration space is modelled, because bus mastering is in it:
//! BIND and the last close clear it, the driver sets it by writing there.
//!
//! INTx is a level: raised while it is masked, it stays asserted and is signalled when it is
//! unmasked. A message that finds no trigger is lost.
//!
//! All devices are behind [`Iommu::QEMU_VTD`](crate::Iommu::QEMU_VTD) or, where their specs say so,
//! [`Iommu::NESTING_VTD`](crate::Iommu::NESTING_VTD). Which of them share an IOMMU group, their
//! specs say, too.
//!
//! Other folders use the data about devices and IOMMUs; whoever drives the machine makes devices
//! act.
//!
//! Absent: the content of BARs, peer-to-peer DMA, ATS, IOMMU faults as events, interrupt remapping.

mod iommu;

pub(crate) use iommu::DIRTY_TRACKING;
pub use iommu::{Iommu, IommuDriver};

use crate::machine::Machine;
use crate::value::{DeviceId, SmallId};
use handoff_model::abi::ids::Iova;
use handoff_model::abi::view::PageRef;

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
    /// Whether the IOMMU in front of it translates in two stages, so that nesting parents can be
    /// made for it.
    pub nests: bool,
    /// Vectors by interrupt index: INTx, MSI, MSI-X, error, request. An `edu` has 1, 1, 0, 0 and 1.
    pub irqs: Vec<u32>,
}

impl DeviceSpec {
    /// An `edu`, or a mediated device that looks like one, in a group of its own with the number of
    /// its device file.
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

impl Machine {
    /// What was plugged in under a name. Panics for an unknown device.
    pub fn device_spec(&self, device: &str) -> &DeviceSpec {
        &self.device(self.device_named(device)).spec
    }

    /// By the name that it was plugged in with. Panics when there is none.
    pub(crate) fn device_named(&self, name: &str) -> DeviceId {
        let index = self.devices.iter().position(|device| device.spec.name == name);
        DeviceId::of(index.unwrap_or_else(|| panic!("no device {name:?} was plugged in")))
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
        let is_emulated = self.device(id).is_emulated();
        self.reach_in_ioas(context, ioas, iova, is_emulated).ok_or(DmaFault::Unmapped)
    }

    /// A device raises a vector of its armed interrupt index; → whether an eventfd took it. Without
    /// a trigger the interrupt is lost, and counted as raised where the vector was armed when the
    /// machine was settled. Panics for an unknown device.
    pub fn raise(&mut self, device: &str, vector: usize) -> bool {
        let id = self.device_named(device);
        if vector == 0 && !self.assert_intx(id) {
            return false;
        }
        let trigger = self.device(id).trigger(vector);
        if self.device(id).counts(vector) {
            self.device_mut(id).counter_mut(vector).raised += 1;
        }
        let Some(trigger) = trigger else { return false };
        self.signal_vector(trigger, id, u16::try_from(vector).expect("vectors are few"));
        true
    }

    /// The set-up is over: upsets and interrupt counters begin at 0, and what waits in eventfds
    /// counts as raised.
    pub fn settle(&mut self) {
        for device in &mut self.devices {
            device.settle();
        }
        for signal in self.waiting_signals().collect::<Vec<_>>() {
            self.device_mut(signal.device).counter_mut(signal.vector.into()).raised += signal.count;
        }
    }
}
