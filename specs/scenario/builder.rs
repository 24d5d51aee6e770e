//! Builds a scenario in code.
//!
//! The builder fills the structs that the parser reads, so every built scenario can be written to a
//! file and read again.

pub use super::file::{DeviceEntry, Iommufd, Ram, Space};

use super::faults::FaultBudget;
use super::file::{Accounting, File, KindEntry, MapBy, ProcessEntry};
use super::parse::ParseError;
use super::resolved::Scenario;
use handoff_model::protocol::Mode;
use handoff_model::vm::launch::HwptPlan;
use handoff_model::vm::{Backing, Dma};

/// A scenario under construction, initially the smallest VM: one page of RAM and one device.
#[derive(Clone, Debug)]
#[must_use]
pub struct ScenarioBuilder {
    file: File,
}

impl ScenarioBuilder {
    /// Returns the smallest VM, with every other key at its default.
    pub fn new(mode: Mode) -> Self {
        let file = File {
            name: "vm".to_owned(),
            about: String::new(),
            mode,
            kernel: None,
            kvm: false,
            dma: Dma::default(),
            ram: vec![Ram::new("ram0", 0x10_0000)],
            iommufd: Vec::new(),
            space: Vec::new(),
            device: vec![DeviceEntry::new("nic0")],
            process: ProcessEntry::default(),
            new: ProcessEntry::default(),
            fault_budget: FaultBudget::default(),
            refused: false,
            corruption: None,
            variant: None,
            defects: Vec::new(),
            mutant: None,
        };
        Self { file }
    }

    /// Sets the name.
    pub fn name(mut self, name: &str) -> Self {
        self.file.name = String::from(name);
        self
    }

    /// Sets the simulated kernel; the default is the newest.
    pub fn kernel(mut self, kernel: &str) -> Self {
        self.file.kernel = Some(kernel.to_owned());
        self
    }

    /// Sets the variant of the protocol; the default is `safe`.
    pub fn variant(mut self, variant: &str) -> Self {
        self.file.variant = Some(variant.to_owned());
        self
    }

    /// Plants a defect.
    pub fn defect(mut self, defect: &str) -> Self {
        self.file.defects.push(defect.to_owned());
        self
    }

    /// Corrupts what a process reads.
    pub fn corruption(mut self, corruption: &str) -> Self {
        self.file.corruption = Some(corruption.to_owned());
        self
    }

    /// Expects a refusal before the guest stops.
    pub fn refused(mut self) -> Self {
        self.file.refused = true;
        self
    }

    /// Runs the guest in KVM.
    pub fn kvm(mut self) -> Self {
        self.file.kvm = true;
        self
    }

    /// Uses type1 containers instead of iommufds.
    pub fn type1(mut self) -> Self {
        self.file.dma = Dma::Type1;
        self
    }

    /// Replaces all RAM.
    pub fn ram(mut self, ram: impl IntoIterator<Item = Ram>) -> Self {
        self.file.ram = ram.into_iter().collect();
        self
    }

    /// Replaces all iommufds.
    pub fn iommufds(mut self, iommufds: impl IntoIterator<Item = Iommufd>) -> Self {
        self.file.iommufd = iommufds.into_iter().collect();
        self
    }

    /// Replaces all address spaces.
    pub fn spaces(mut self, spaces: impl IntoIterator<Item = Space>) -> Self {
        self.file.space = spaces.into_iter().collect();
        self
    }

    /// Replaces all devices.
    pub fn devices(mut self, devices: impl IntoIterator<Item = DeviceEntry>) -> Self {
        self.file.device = devices.into_iter().collect();
        self
    }

    /// Sets the user of both processes.
    pub fn uid(mut self, uid: u32) -> Self {
        self.file.process.uid = Some(uid);
        self
    }

    /// Sets the user of the new process.
    pub fn new_uid(mut self, uid: u32) -> Self {
        self.file.new.uid = Some(uid);
        self
    }

    /// Gives both processes CAP_IPC_LOCK.
    pub fn cap_ipc_lock(mut self) -> Self {
        self.file.process.cap_ipc_lock = Some(true);
        self
    }

    /// Sets RLIMIT_MEMLOCK of both processes.
    pub fn memlock_pages(mut self, pages: u64) -> Self {
        self.file.process.memlock_pages = Some(pages);
        self
    }

    /// Sets RLIMIT_MEMLOCK of the new process.
    pub fn new_memlock_pages(mut self, pages: u64) -> Self {
        self.file.new.memlock_pages = Some(pages);
        self
    }

    /// Sets the fault budget.
    pub fn fault_budget(mut self, may: FaultBudget) -> Self {
        self.file.fault_budget = may;
        self
    }

    /// Returns the text of the scenario file, which [`Scenario::parse`] reads.
    ///
    /// # Panics
    /// Panics if a number exceeds the range of TOML's integers.
    pub fn text(&self) -> String {
        toml::to_string(&self.file).expect("a scenario is a TOML file")
    }

    /// Resolves the scenario.
    ///
    /// # Errors
    /// Fails as [`Scenario::parse`] does.
    pub fn build(self) -> Result<Scenario, ParseError> {
        let file = self.file.name.clone();
        self.file.resolve().map_err(|what| ParseError { file, what })
    }
}

impl Ram {
    /// Returns a block of one page with a file, mapped by file.
    pub fn new(name: &str, iova: u64) -> Self {
        Self { name: name.to_owned(), pages: 1, iova, backing: None, map: MapBy::File }
    }

    /// Makes the block anonymous memory.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { backing: Some(Backing::Anonymous), ..self }
    }

    /// Maps the block by address (`IOMMU_IOAS_MAP`).
    #[must_use]
    pub fn by_address(self) -> Self {
        Self { map: MapBy::Address, ..self }
    }
}

impl Iommufd {
    /// Returns an iommufd with per-process accounting (`IOMMU_OPTION_RLIMIT_MODE` 1).
    pub fn charging_processes(name: &str) -> Self {
        Self { name: name.to_owned(), accounting: Accounting::Process }
    }
}

impl Space {
    /// Returns an IOAS of the only iommufd, or a container.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), iommufd: None }
    }
}

impl DeviceEntry {
    /// Returns a PCI device with one interrupt, in the only address space.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            space: None,
            kind: KindEntry::Pci,
            needs_kvm: false,
            hwpt: HwptPlan::Shared,
            bar_iova: None,
            interrupts: None,
            armed_later: false,
        }
    }

    /// Returns a mediated device, which may keep the KVM of the process that opened it.
    pub fn mdev(name: &str, needs_kvm: bool) -> Self {
        Self { kind: KindEntry::Mdev, needs_kvm, ..Self::new(name) }
    }

    /// Attaches the device to this address space.
    #[must_use]
    pub fn in_space(self, space: &str) -> Self {
        Self { space: Some(space.to_owned()), ..self }
    }

    /// Maps BAR 0 of the device at this IOVA of its address space.
    #[must_use]
    pub fn bar_iova(self, iova: u64) -> Self {
        Self { bar_iova: Some(iova), ..self }
    }

    /// Sets the number of interrupts.
    #[must_use]
    pub fn interrupts(self, interrupts: u16) -> Self {
        Self { interrupts: Some(interrupts), ..self }
    }

    /// Arms the device's interrupt only when the guest asks, during the handoff.
    #[must_use]
    pub fn armed_later(self) -> Self {
        Self { armed_later: true, ..self }
    }
}
