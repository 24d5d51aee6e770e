//! Builds a scenario in code: the file that an operator would write, and what it resolves to.
//!
//! The builder fills the structs that the parser reads, so that a built scenario is always one that
//! can be written to a file, and read again.

pub use super::file::{DeviceEntry, Iommufd, Ram, Space};

use super::faults::FaultBudget;
use super::file::{Accounting, File, KindEntry, MapBy, ProcessEntry};
use super::parse::ParseError;
use super::resolved::Scenario;
use handoff_model::protocol::Mode;
use handoff_model::vm::launch::HwptPlan;
use handoff_model::vm::{Backing, Dma};

/// A scenario under construction. It begins as the smallest VM: a page of RAM and a device.
#[derive(Clone, Debug)]
#[must_use]
pub struct ScenarioBuilder {
    file: File,
}

impl ScenarioBuilder {
    /// The smallest VM, with every other key at its default.
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

    /// Runs it on another simulated kernel than the newest.
    pub fn kernel(mut self, kernel: &str) -> Self {
        self.file.kernel = Some(kernel.to_owned());
        self
    }

    /// Runs another variant of the protocol than `safe`.
    pub fn variant(mut self, variant: &str) -> Self {
        self.file.variant = Some(variant.to_owned());
        self
    }

    /// Plants a known bug.
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

    /// Translates the devices' DMA by containers.
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

    /// Sets what may go wrong.
    pub fn fault_budget(mut self, may: FaultBudget) -> Self {
        self.file.fault_budget = may;
        self
    }

    /// Returns the file's text, which [`Scenario::parse`] reads.
    ///
    /// # Panics
    /// If a number is larger than TOML's are.
    pub fn text(&self) -> String {
        toml::to_string(&self.file).expect("a scenario is a TOML file")
    }

    /// Resolves it.
    ///
    /// # Errors
    /// Those of [`Scenario::parse`].
    pub fn build(self) -> Result<Scenario, ParseError> {
        let file = self.file.name.clone();
        self.file.resolve().map_err(|what| ParseError { file, what })
    }
}

impl Ram {
    /// A page in a file, mapped by file.
    pub fn new(name: &str, iova: u64) -> Self {
        Self { name: name.to_owned(), pages: 1, iova, backing: None, map: MapBy::File }
    }

    /// Has no file behind it.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { backing: Some(Backing::Anonymous), ..self }
    }

    /// Is mapped by address.
    #[must_use]
    pub fn by_address(self) -> Self {
        Self { map: MapBy::Address, ..self }
    }
}

impl Iommufd {
    /// An iommufd that charges processes instead of users.
    pub fn charging_processes(name: &str) -> Self {
        Self { name: name.to_owned(), accounting: Accounting::Process }
    }
}

impl Space {
    /// An address space of the only iommufd, or a container.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), iommufd: None }
    }
}

impl DeviceEntry {
    /// A PCI device with an interrupt, on the only address space.
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

    /// A mediated device, which may keep the KVM of the process that opened it.
    pub fn mdev(name: &str, needs_kvm: bool) -> Self {
        Self { kind: KindEntry::Mdev, needs_kvm, ..Self::new(name) }
    }

    /// Is attached to this address space.
    #[must_use]
    pub fn in_space(self, space: &str) -> Self {
        Self { space: Some(space.to_owned()), ..self }
    }

    /// Lets the other devices of its address space reach its BAR 0.
    #[must_use]
    pub fn bar_iova(self, iova: u64) -> Self {
        Self { bar_iova: Some(iova), ..self }
    }

    /// Has this many interrupts.
    #[must_use]
    pub fn interrupts(self, interrupts: u16) -> Self {
        Self { interrupts: Some(interrupts), ..self }
    }

    /// Is armed only when its guest asks.
    #[must_use]
    pub fn armed_later(self) -> Self {
        Self { armed_later: true, ..self }
    }
}
