//! Changes of a running virtual machine: hotplug between handoffs, and interrupts that a guest's
//! driver arms, also during one.
//!
//! Only the last device changes, because GSIs are numbered in the order of devices; only iommufds
//! are supported. After an error the process holds the objects that were made or not yet closed,
//! and the inventory is unchanged.

use super::{DevicePlan, LaunchError, Start, irqfds};
use crate::abi::call::{Call, FileCall, IommufdCall, KvmCall};
use crate::abi::ids::Fd;
use crate::abi::kernel::Kernel;
use crate::vm::{Descriptors, Device, Interrupts, Key, Kind, Vm};

/// Arms interrupts of the last device, which had none armed, on behalf of its guest.
///
/// Mirrors `vfio_msi_enable` of QEMU 10.2.
///
/// # Errors
/// The first call that failed.
pub fn arm(
    interrupts: &[Interrupts],
    vm: &mut Vm,
    descriptors: &mut Descriptors,
    kernel: &mut impl Kernel,
) -> Result<(), LaunchError> {
    changed(vm, descriptors, kernel, |start, vm| {
        let Some(device) = vm.devices.last_mut() else { return Ok(()) };
        start.for_what(&format!("interrupts of device {:?}", device.name));
        device.interrupts = interrupts.to_vec();
        let (device, fd) = (device.clone(), start.of_device(&device.name));
        start.arm(&device, fd)?;
        start.take_interrupts(vm, &device, true)
    })
}

/// Plugs a device into an address space of an iommufd, selected by the plan.
///
/// Mirrors `vfio_pci_realize` of QEMU 10.2.
///
/// # Errors
/// The first call that failed.
pub fn plug(
    plan: &DevicePlan,
    vm: &mut Vm,
    descriptors: &mut Descriptors,
    kernel: &mut impl Kernel,
) -> Result<(), LaunchError> {
    changed(vm, descriptors, kernel, |start, vm| {
        let place = vm.spaces().nth(usize::from(plan.space));
        let (context, ioas) = place.map(|(at, space)| (at, space.ioas)).expect("a space of the VM");
        let key = Key::new(Kind::Iommufd, &vm.contexts[usize::from(context)].name, 0);
        let iommufd = start.descriptors.get(&key).expect("contexts are open");
        let mut there = vm.devices.iter().filter(|of| (of.context, of.ioas) == (context, ioas));
        let parent = there.find(|of| of.nest_parent).and_then(|of| of.hwpt);
        start.parents.extend(parent.map(|parent| ((iommufd, ioas), parent)));
        let device = start.device(plan, context, iommufd, ioas)?;
        vm.devices.push(device.clone());
        start.take_interrupts(vm, &device, true)
    })
}

/// Unplugs the last device: the last close of its file detaches it, and an HWPT that no other
/// device uses is destroyed.
///
/// Mirrors `vfio_exitfn` of QEMU 10.2.
///
/// # Errors
/// The first call that failed.
pub fn unplug(
    vm: &mut Vm,
    descriptors: &mut Descriptors,
    kernel: &mut impl Kernel,
) -> Result<(), LaunchError> {
    changed(vm, descriptors, kernel, |start, vm| {
        let Some(device) = vm.devices.last().cloned() else { return Ok(()) };
        start.for_what(&format!("device {:?}", device.name));
        start.take_interrupts(vm, &device, false)?;
        let own = device.interrupt_keys().map(|(_, key)| key);
        let own: Vec<_> = own.chain([Key::new(Kind::Device, &device.name, 0)]).collect();
        for (_, fd) in start.descriptors.iter().filter(|(key, _)| own.contains(key)) {
            start
                .kernel
                .call(&Call::File(FileCall::Close { fd }))
                .map_err(|errno| LaunchError { what: start.what.clone(), call: "close", errno })?;
        }
        let is_same = |other: &Device| (other.context, other.hwpt) == (device.context, device.hwpt);
        let is_shared = vm.devices.iter().rev().skip(1).any(is_same);
        if let Some(id) = device.hwpt.filter(|_| !is_shared) {
            let key = Key::new(Kind::Iommufd, &vm.contexts[usize::from(device.context)].name, 0);
            let iommufd = start.descriptors.get(&key).expect("contexts are open");
            // An HWPT that the kernel made on its own was destroyed with its last device.
            let _ = start.kernel.call(&Call::Iommufd(IommufdCall::Destroy { iommufd, id }));
        }
        let kept = start.descriptors.iter().filter(|(key, _)| !own.contains(key));
        start.descriptors = kept.map(|(key, fd)| (key.clone(), fd)).collect();
        vm.devices.pop();
        Ok(())
    })
}

/// Applies a change to the inventory and descriptors completely, or not at all.
fn changed<K: Kernel>(
    vm: &mut Vm,
    descriptors: &mut Descriptors,
    kernel: &mut K,
    change: impl FnOnce(&mut Start<'_, K>, &mut Vm) -> Result<(), LaunchError>,
) -> Result<(), LaunchError> {
    let mut next = vm.clone();
    let mut start = Start::of(kernel, descriptors.clone());
    change(&mut start, &mut next)?;
    (*vm, *descriptors) = (next, start.descriptors);
    Ok(())
}

impl<K: Kernel> Start<'_, K> {
    fn of_device(&self, name: &str) -> Fd {
        let key = Key::new(Kind::Device, name, 0);
        self.descriptors.get(&key).expect("a device of a virtual machine is open")
    }

    /// Assigns or deassigns the irqfds of a device's interrupts; has no effect without KVM.
    fn take_interrupts(
        &mut self,
        vm: &Vm,
        device: &Device,
        assign: bool,
    ) -> Result<(), LaunchError> {
        let kvm_vm = self.descriptors.get(&Key::new(Kind::Kvm, "", 0));
        let Some(kvm_vm) = kvm_vm.filter(|_| vm.irqfds) else { return Ok(()) };
        let keys = device.interrupt_keys().map(|(_, key)| key);
        let own: Vec<_> = keys.filter_map(|key| self.descriptors.get(&key)).collect();
        let calls = irqfds(vm, &self.descriptors, kvm_vm, assign).into_iter();
        let is_own = |call: &Call| match call {
            Call::Kvm(KvmCall::Irqfd { eventfd, .. }) => own.contains(eventfd),
            _ => false,
        };
        calls.filter(is_own).try_for_each(|call| self.call(&call).map(drop))
    }
}
