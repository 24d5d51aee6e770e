//! How a VMM comes to own what it later hands over: the calls of a start, in their order.
//!
//! The rules that make a later handoff possible are kept here: guest RAM is a memfd sealed against
//! resizing and mapped by file; memory that several address spaces of one context see is mapped
//! once and copied (`IOMMU_IOAS_COPY` shares the pins and the charge); a BAR is mapped only where
//! it is asked for, for no such mapping can change its process; every descriptor is CLOEXEC from
//! its first moment.
//!
//! A container has no mapping by file, and no copies: each maps everything by address (`type1`).
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

/// A call of a start that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {call} failed: {errno} ({})", errno.text())]
pub struct LaunchError {
    /// For what.
    pub what: String,
    /// Which call.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

/// Makes the calls of a start: everything is set up, armed and mapped, and the guest does not run
/// yet.
///
/// After an error the process holds whatever was made so far; its end undoes all of it.
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

/// Where KVM is.
pub(crate) const KVM: &str = "/dev/kvm";

/// The calls that give every armed vector an irqfd in a virtual machine of KVM, or take it away.
pub(crate) fn irqfds(vm: &Vm, descriptors: &Descriptors, kvm_vm: Fd, assign: bool) -> Vec<Call> {
    let call = |(gsi, key)| Some(KvmCall::irqfd(kvm_vm, descriptors.get(&key)?, gsi, assign));
    vm.irqfds().filter_map(call).collect()
}

/// A start under way.
struct Start<'a, K> {
    kernel: &'a mut K,
    descriptors: Descriptors,
    /// What the present calls are for.
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

    /// A reply of another kind than the call's own is the kernel's mistake, told as EIO.
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

    /// A virtual machine of KVM, with an irqfd for every armed vector.
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
