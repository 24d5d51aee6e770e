//! The hardware: devices, their interrupts and their DMA.
//!
//! A device raises interrupts and accesses memory on its own, without a call. It reaches the memory
//! that its domain maps to pinned pages, and none while bus mastering is off.
//!
//! Of a device's registers only configuration space is modelled, because it contains bus mastering:
//! BIND and the last close clear it, and the driver sets it by a write.
//!
//! INTx is a level: raised while masked, it stays asserted and is signalled when it is unmasked. A
//! message that finds no trigger is lost.
//!
//! All devices are behind [`Iommu::QEMU_VTD`](crate::Iommu::QEMU_VTD) or, if their specs select it,
//! [`Iommu::NESTING_VTD`](crate::Iommu::NESTING_VTD). The specs also define the IOMMU groups.
//!
//! Other folders use the data about devices and IOMMUs; the driver of the machine (a checker or a
//! test) makes devices act.
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
    /// Its name in views.
    pub name: String,
    /// Its device file: `/dev/vfio/devices/vfioN`.
    pub path: String,
    /// The driver, and the kind of device.
    pub kind: DeviceKind,
    /// Its name within its group: the address of a PCI device, the UUID of a mediated one.
    pub address: String,
    /// Its IOMMU group: the devices that the IOMMU cannot distinguish by their DMA.
    pub group: u32,
    /// Number of regions.
    pub regions: u32,
    /// True if other devices can reach its BARs, so that they can be exported as dma-bufs.
    pub exports_bars: bool,
    /// True if the IOMMU in front of it translates in two stages, so that nesting parents can be
    /// made for it.
    pub nests: bool,
    /// Vectors by interrupt index: INTx, MSI, MSI-X, error, request. An `edu` has 1, 1, 0, 0 and 1.
    pub irqs: Vec<u32>,
}

impl DeviceSpec {
    /// Creates an `edu`, or a mediated device that looks like one, in a group of its own whose
    /// number is that of its device file.
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

/// The driver of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// vfio-pci: a device with DMA of its own.
    Pci {
        /// True if it has a function reset.
        can_reset: bool,
    },
    /// A mediated device, emulated by the kernel: its accesses go through an IOAS without an HWPT.
    Mdev {
        /// True if it needs KVM: it cannot be bound (`ESRCH`) while its file has no VM.
        needs_kvm: bool,
    },
}

/// The reason why a device reaches no memory at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DmaFault {
    /// The device is not attached to an address space.
    Blocked,
    /// Its bus mastering is off.
    NoBusMaster,
    /// No memory is mapped there.
    Unmapped,
}

impl Machine {
    /// Returns the spec of a device by its name.
    ///
    /// # Panics
    ///
    /// Panics if no device has this name.
    pub fn device_spec(&self, device: &str) -> &DeviceSpec {
        &self.device(self.device_named(device)).spec
    }

    /// Returns a device by the name of its spec. Panics if no device has it.
    pub(crate) fn device_named(&self, name: &str) -> DeviceId {
        let index = self.devices.iter().position(|device| device.spec.name == name);
        DeviceId::of(index.unwrap_or_else(|| panic!("no device {name:?} was plugged in")))
    }

    /// Returns the page that a DMA access of a device to an address would touch now.
    ///
    /// # Panics
    ///
    /// Panics if no device has this name.
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

    /// Raises a vector of a device's armed interrupt index. Returns true if an eventfd received it.
    ///
    /// Without a trigger the interrupt is lost; it still counts as raised if the vector was armed
    /// when the machine was [settled](Self::settle).
    ///
    /// # Panics
    ///
    /// Panics if no device has this name.
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

    /// Ends the set-up: disruptions and interrupt counters start at 0, and signals pending in
    /// eventfds count as raised.
    pub fn settle(&mut self) {
        for device in &mut self.devices {
            device.settle();
        }
        for signal in self.waiting_signals().collect::<Vec<_>>() {
            self.device_mut(signal.device).counter_mut(signal.vector.into()).raised += signal.count;
        }
    }
}
