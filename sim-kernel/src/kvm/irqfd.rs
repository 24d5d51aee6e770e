//! irqfds: eventfds whose signals are interrupts of a VM.
//!
//! An eventfd has at most one irqfd. While it has one, each signal goes to the VM and does not
//! accumulate. A count that was pending before is injected when the irqfd is created, and also
//! remains in the eventfd until the next signal or the end of the irqfd clears it. Afterwards,
//! signals accumulate again.
//!
//! An interrupt is delivered while the VM's guest runs, immediately or when it starts; pending ones
//! are lost with the VM.
//!
//! Absent: resampling beyond its descriptor, routes.
//!
//! Mirrors `virt/kvm/eventfd.c`.

use crate::fs::{Eventfd, Signal};
use crate::machine::Machine;
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::{FileId, VmId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;

/// An irqfd. Holds a reference to each eventfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Irqfd {
    pub(crate) event: FileId,
    gsi: u32,
    /// The eventfd that is signalled when the guest acknowledges.
    resample: Option<FileId>,
}

impl Irqfd {
    pub(crate) fn files(self) -> impl Iterator<Item = FileId> {
        std::iter::once(self.event).chain(self.resample)
    }
}

/// `struct kvm_irqfd`.
const FD: usize = 0;
const GSI: usize = 4;
const FLAGS: usize = 8;
const RESAMPLE_FD: usize = 12;
const SIZE: usize = 32;

/// `KVM_IRQFD_FLAG_DEASSIGN`, `KVM_IRQFD_FLAG_RESAMPLE`.
const DEASSIGN: u32 = 1;
const RESAMPLE: u32 = 2;

impl Machine {
    /// Assigns or deassigns an irqfd (`kvm_irqfd`). Fails with `EFAULT`, `EINVAL` (flags, or no
    /// interrupt controller), and with the errnos of [`Machine::eventfd_of`].
    pub(super) fn irqfd(&mut self, vm: VmId, request: &Request<'_>) -> SyscallResult<()> {
        let irqfd = request.user.copy(SIZE)?;
        let (flags, gsi) = (irqfd.u32(FLAGS), irqfd.u32(GSI));
        if flags & !(DEASSIGN | RESAMPLE) != 0 {
            return Err(fail(Errno::EINVAL));
        }
        if flags & DEASSIGN != 0 {
            let event = self.eventfd_of(request.pid, irqfd.fd(FD))?;
            self.deassign(vm, |known| known.event == event && known.gsi == gsi);
            return Ok(());
        }
        if !self.vms.get(vm).irqchip {
            return Err(fail(Errno::EINVAL));
        }
        let event = self.eventfd_of(request.pid, irqfd.fd(FD))?;
        let resample = match flags & RESAMPLE {
            0 => None,
            _ => Some(self.eventfd_of(request.pid, irqfd.fd(RESAMPLE_FD))?),
        };
        self.assign(vm, Irqfd { event, gsi, resample })
    }

    /// Assigns an irqfd (`kvm_irqfd_assign`). Fails with `EBUSY` if the eventfd has one; before
    /// 6.17 only if in the same VM.
    fn assign(&mut self, vm: VmId, irqfd: Irqfd) -> SyscallResult<()> {
        let everywhere = self.profile.has_exclusive_irqfds();
        let counts = |id: VmId| everywhere || id == vm;
        if self.vms.iter().any(|(id, vm)| counts(id) && vm.has_irqfd(irqfd.event)) {
            return Err(fail(Errno::EBUSY));
        }
        for file in irqfd.files() {
            self.get_file(file);
        }
        self.vms.get_mut(vm).irqfds.push(irqfd);
        let event = self.event_mut(irqfd.event);
        event.others = event.count();
        let signals = std::mem::take(&mut event.signals);
        self.inject(vm, &signals);
        Ok(())
    }

    /// Returns the VM that an eventfd's signals go to.
    pub(crate) fn irqfd_vm(&self, event: FileId) -> Option<VmId> {
        self.vms.iter().find(|(_, vm)| vm.has_irqfd(event)).map(|(id, _)| id)
    }

    /// Injects interrupts into the VM's guest, now or when it runs.
    pub(crate) fn inject(&mut self, vm: VmId, signals: &[Signal]) {
        let mm = self.vms.get(vm).mm;
        if self.is_mm_alive(mm) && self.guest_runs(mm.pid) {
            self.deliver_signals(signals);
        } else {
            let pending = &mut self.vms.get_mut(vm).pending;
            let mut sum = Eventfd { signals: std::mem::take(pending), others: 0 };
            for signal in signals {
                (0..signal.count).for_each(|_| sum.add(signal.device, signal.vector));
            }
            *pending = sum.signals;
        }
    }

    /// Delivers the pending interrupts of a process's VMs to its guest, which starts.
    pub(crate) fn take_pending(&mut self, pid: Pid) {
        for vm in self.vms_of(pid).map(|(id, _)| id).collect::<Vec<_>>() {
            let pending = std::mem::take(&mut self.vms.get_mut(vm).pending);
            self.deliver_signals(&pending);
        }
    }

    /// Removes the irqfds that `which` selects and clears the counts of their eventfds
    /// (`irqfd_shutdown`).
    fn deassign(&mut self, vm: VmId, which: impl Fn(&Irqfd) -> bool) {
        let irqfds = &mut self.vms.get_mut(vm).irqfds;
        let gone: Vec<Irqfd> = irqfds.extract_if(.., |irqfd| which(irqfd)).collect();
        for irqfd in gone {
            std::mem::take(self.event_mut(irqfd.event));
            irqfd.files().for_each(|file| self.put_file(file));
        }
    }

    pub(super) fn drop_irqfds_of(&mut self, vm: VmId) {
        self.deassign(vm, |_| true);
    }

    /// Removes the irqfds that `which` selects in every VM.
    pub(crate) fn drop_irqfds(&mut self, which: impl Fn(&Irqfd) -> bool) {
        for vm in self.vms.ids() {
            self.deassign(vm, &which);
        }
    }
}
