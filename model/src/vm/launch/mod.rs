//! The startup of a VMM: the calls, in order, that set up the objects that it later hands over.
//!
//! The setup meets the preconditions of a later handoff. Guest RAM is a memfd, sealed against
//! resizing and mapped by file. Memory that several address spaces of one context map is mapped
//! once and copied (`IOMMU_IOAS_COPY` shares the pins and the charge). A BAR is mapped only on
//! request, because such a mapping cannot change its process. Every descriptor is created with
//! CLOEXEC.
//!
//! A container has no mappings by file and no copies: each container maps everything by address
//! (`type1`).
//!
//! Mirrors: `iommufd_cdev_attach` and `vfio_pci_realize` of QEMU 10.2 without the incoming
//! branches.

mod hotplug;
mod hwpt;
mod iommufd;
mod plan;
mod type1;

use crate::abi::call::{Call, DeviceCall, FileCall, KvmCall, MemoryCall, Reply};
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, ObjectId, Va};
use crate::abi::kernel::Kernel;
use crate::vm::{Backing, Descriptors, Device, Dma, Key, Kind, RamBlock, Vm};
pub use hotplug::{arm, plug, unplug};
pub use hwpt::HwptPlan;
pub use plan::{ContextPlan, DevicePlan, Plan, RamPlan, SpacePlan};
use std::collections::BTreeMap;
pub(crate) use type1::containers;

/// A call that failed during startup or hotplug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {call} failed: {errno} ({})", errno.text())]
pub struct LaunchError {
    /// The object that was being set up.
    pub what: String,
    /// The name of the call.
    pub call: &'static str,
    /// The errno.
    pub errno: Errno,
}

/// Sets everything up, arms and maps it; the guest does not run yet.
///
/// # Errors
/// The first call that failed. The process then holds the objects made so far; its exit releases
/// them.
pub fn launch(plan: &Plan, kernel: &mut impl Kernel) -> Result<(Vm, Descriptors), LaunchError> {
    let mut start = Start::of(kernel, Descriptors::default());
    let mut vm = Vm { name: plan.name.clone(), dma: plan.dma, ..Vm::default() };
    for kind in [Kind::Stream, Kind::Guest] {
        start.for_what("handoff memfds");
        let fd = start.fd(Call::Memory(MemoryCall::Memfd { name: "handoff".to_owned() }))?;
        start.descriptors.insert(Key::new(kind, "", 0), fd);
    }
    vm.ram = plan.ram.iter().map(|ram| start.ram(ram)).collect::<Result<_, _>>()?;
    match plan.dma {
        Dma::Iommufd => start.by_iommufd(plan, &mut vm)?,
        Dma::Type1 => start.by_type1(plan, &mut vm)?,
    }
    if plan.kvm {
        start.kvm(&mut vm)?;
    }
    Ok((vm, start.descriptors))
}

/// The path of KVM.
pub(crate) const KVM: &str = "/dev/kvm";

/// Returns the calls that assign an irqfd to every armed vector, or deassign it.
pub(crate) fn irqfds(vm: &Vm, descriptors: &Descriptors, kvm_vm: Fd, assign: bool) -> Vec<Call> {
    let call = |(gsi, key)| Some(KvmCall::irqfd(kvm_vm, descriptors.get(&key)?, gsi, assign));
    vm.irqfds().filter_map(call).collect()
}

/// The state of a startup in progress.
struct Start<'a, K> {
    kernel: &'a mut K,
    descriptors: Descriptors,
    /// The object that the present calls set up.
    what: String,
    /// The nesting parents, by iommufd and address space.
    parents: BTreeMap<(Fd, ObjectId), ObjectId>,
}

impl<'a, K: Kernel> Start<'a, K> {
    fn of(kernel: &'a mut K, descriptors: Descriptors) -> Self {
        Self { kernel, descriptors, what: String::new(), parents: BTreeMap::new() }
    }

    fn for_what(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }

    fn call(&mut self, call: &Call) -> Result<Reply, LaunchError> {
        self.kernel.call(call).map_err(|errno| self.failed(call, errno))
    }

    fn failed(&self, call: &Call, errno: Errno) -> LaunchError {
        LaunchError { what: self.what.clone(), call: call.name(), errno }
    }

    /// Returns EIO for a reply of an unexpected kind, which is a bug of the kernel.
    fn odd<T>(&self, call: &Call) -> Result<T, LaunchError> {
        Err(LaunchError { what: self.what.clone(), call: call.name(), errno: Errno::EIO })
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls are built in place")]
    fn fd(&mut self, call: Call) -> Result<Fd, LaunchError> {
        match self.call(&call)? {
            Reply::Fd(fd) => Ok(fd),
            _ => self.odd(&call),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls are built in place")]
    fn object(&mut self, call: Call) -> Result<ObjectId, LaunchError> {
        match self.call(&call)? {
            Reply::Object(id) => Ok(id),
            _ => self.odd(&call),
        }
    }

    fn map(&mut self, fd: Option<Fd>, length_bytes: u64) -> Result<Va, LaunchError> {
        let call = MemoryCall::mmap(fd, 0, length_bytes);
        match self.call(&call)? {
            Reply::Va(va) => Ok(va),
            _ => self.odd(&call),
        }
    }

    fn inode(&mut self, fd: Fd) -> Result<u64, LaunchError> {
        match self.call(&Call::File(FileCall::Stat { fd }))? {
            Reply::Stat { inode, .. } => Ok(inode),
            _ => self.odd(&Call::File(FileCall::Stat { fd })),
        }
    }

    fn ram(&mut self, plan: &RamPlan) -> Result<RamBlock, LaunchError> {
        self.for_what(&format!("RAM block {:?}", plan.name));
        let RamPlan { backing, length_bytes, .. } = *plan;
        let (mut inode, mut file) = (0, None);
        if backing == Backing::File {
            let fd = self.fd(Call::Memory(MemoryCall::Memfd { name: plan.name.clone() }))?;
            self.call(&Call::Memory(MemoryCall::Truncate { fd, length_bytes }))?;
            self.call(&Call::Memory(MemoryCall::SealSize { fd }))?;
            inode = self.inode(fd)?;
            self.descriptors.insert(Key::new(Kind::Ram, &plan.name, 0), fd);
            file = Some(fd);
        }
        let va = self.map(file, length_bytes)?;
        Ok(RamBlock { name: plan.name.clone(), backing, length_bytes, inode, va })
    }

    fn info(&mut self, device: Fd) -> Result<(u32, u32, u32), LaunchError> {
        let call = Call::Device(DeviceCall::Info { device });
        match self.call(&call)? {
            Reply::DeviceInfo { flags, regions, irqs } => Ok((flags, regions, irqs)),
            _ => self.odd(&call),
        }
    }

    fn arm(&mut self, device: &Device, fd: Fd) -> Result<(), LaunchError> {
        for armed in &device.interrupts {
            let mut eventfds = Vec::new();
            let keys = device.interrupt_keys().filter(|(index, _)| *index == armed.index);
            for (_, key) in keys.collect::<Vec<_>>() {
                let eventfd = self.fd(Call::File(FileCall::Eventfd))?;
                self.descriptors.insert(key, eventfd);
                eventfds.push(eventfd);
            }
            self.call(&DeviceCall::set_irqs(fd, armed.index, eventfds))?;
        }
        Ok(())
    }

    /// Creates KVM's virtual machine, with an irqfd for every armed vector.
    fn kvm(&mut self, vm: &mut Vm) -> Result<(), LaunchError> {
        self.for_what("KVM");
        vm.irqfds = true;
        let kvm = self.fd(Call::File(FileCall::Open { path: KVM.to_owned() }))?;
        let fd = self.fd(Call::Kvm(KvmCall::CreateVm { kvm }))?;
        self.descriptors.insert(Key::new(Kind::Kvm, "", 0), fd);
        self.call(&Call::Kvm(KvmCall::CreateIrqchip { vm: fd }))?;
        self.call(&Call::File(FileCall::Close { fd: kvm }))?;
        irqfds(vm, &self.descriptors, fd, true)
            .iter()
            .try_for_each(|call| self.call(call).map(drop))
    }
}
