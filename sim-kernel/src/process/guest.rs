//! The guest of a process: vCPUs that run or stand, and how far they have come.
//!
//! A guest is a number, its progress, that grows while it runs; its RAM is whatever its process
//! maps. Its saved state is bytes in a memfd: copied, cut off or overwritten like any others. With
//! it goes what was injected into its virtual machine and not taken; in a process without one that
//! is lost. It dies with the memory map of its process, and with a virtual machine of KVM that its
//! process has made.
//!
//! An interrupt is delivered when a process whose guest runs takes it from an eventfd, by itself or
//! through KVM's irqfd ([`Machine::deliver`]). Read by any other process it is gone.

use crate::fs::Signal;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::{DeviceId, FileId, SmallId};
use handoff_model::abi::call::{GuestCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid};

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guest {
    pub(crate) running: bool,
    pub(crate) progress: u64,
}

/// What saved state begins with; the progress follows, and what is pending, a record each.
const MAGIC: &[u8; 8] = b"vmstate\0";

/// Device, vector and count.
const SIGNAL_BYTES: usize = 8;

/// The most that is read of saved state.
const SAVED_BYTES_MAX: u64 = PAGE_BYTES;

fn saved(signal: Signal) -> [u8; SIGNAL_BYTES] {
    let [d0, d1] = u16::try_from(signal.device.index()).expect("devices are few").to_le_bytes();
    let [v0, v1] = signal.vector.to_le_bytes();
    let [c0, c1, c2, c3] = signal.count.to_le_bytes();
    [d0, d1, v0, v1, c0, c1, c2, c3]
}

fn loaded(record: [u8; SIGNAL_BYTES]) -> Signal {
    let [d0, d1, v0, v1, c0, c1, c2, c3] = record;
    let device = DeviceId::of(u16::from_le_bytes([d0, d1]).into());
    let vector = u16::from_le_bytes([v0, v1]);
    Signal { device, vector, count: u32::from_le_bytes([c0, c1, c2, c3]) }
}

impl Machine {
    /// Gives a process a running guest whose RAM is what the process maps.
    pub fn boot_guest(&mut self, pid: Pid) {
        assert!(self.alive(pid), "a dead process has no guest");
        self.process_mut(pid).guest = Some(Guest { running: true, progress: 0 });
    }

    /// The running guest of a process gets one step further; → whether there is one.
    pub fn guest_work(&mut self, pid: Pid) -> bool {
        if !self.guest_runs(pid) {
            return false;
        }
        let guest = self.process_mut(pid).guest.as_mut();
        guest.expect("it runs").progress += 1;
        true
    }

    /// Whether a process's guest runs.
    pub fn guest_runs(&self, pid: Pid) -> bool {
        self.process(pid).guest.is_some_and(|guest| guest.running)
    }

    /// Whether a process's running guest could take something of a vector now.
    pub fn can_deliver(&self, pid: Pid, device: &str, vector: usize) -> bool {
        self.guest_runs(pid) && self.signalled(pid, device, vector).is_some()
    }

    /// The running guest of a process takes what waits of a vector, through an eventfd that the
    /// process holds (the lowest descriptor that has some); → whether there was any. Panics for an
    /// unknown device.
    pub fn deliver(&mut self, pid: Pid, device: &str, vector: usize) -> bool {
        match self.signalled(pid, device, vector) {
            Some(file) if self.guest_runs(pid) => {
                self.take_signals(pid, file);
                true
            }
            _ => false,
        }
    }

    /// The eventfd of a process in which something of a vector waits.
    fn signalled(&self, pid: Pid, device: &str, vector: usize) -> Option<FileId> {
        let id = self.device_named(device);
        let mut held = self.process(pid).descriptors.values().map(|descriptor| descriptor.file);
        held.find(|file| self.waits_in(*file, id, vector) > 0)
    }

    /// A process empties an eventfd.
    pub(crate) fn take_signals(&mut self, pid: Pid, file: FileId) {
        let taken = std::mem::take(self.event_mut(file));
        if self.guest_runs(pid) {
            self.deliver_signals(&taken.signals);
        }
    }

    /// A running guest has these interrupts.
    pub(crate) fn deliver_signals(&mut self, signals: &[Signal]) {
        for signal in signals {
            let device = self.device_mut(signal.device);
            device.counter_mut(signal.vector.into()).delivered += signal.count;
        }
    }

    pub(crate) fn guest_call(&mut self, pid: Pid, call: &GuestCall) -> SyscallResult {
        match call {
            GuestCall::Stop => Ok(self.stop_guest(pid)),
            GuestCall::Save { fd } => self.save_guest(pid, *fd),
            GuestCall::Load { fd } => self.load_guest(pid, *fd),
            GuestCall::Start => self.start_guest(pid),
        }
    }

    /// Succeeds whatever runs: afterwards, nothing does.
    fn stop_guest(&mut self, pid: Pid) -> Reply {
        if self.guest_runs(pid) {
            self.process_mut(pid).guest.as_mut().expect("it runs").running = false;
        }
        Reply::Done
    }

    /// EINVAL without a guest; else as starting.
    fn start_guest(&mut self, pid: Pid) -> SyscallResult {
        let guest = self.process_mut(pid).guest.as_mut().ok_or(fail(Errno::EINVAL))?;
        guest.running = true;
        self.take_pending(pid);
        Ok(Reply::Done)
    }

    /// Writes the progress as it is at this moment. EINVAL without a guest or a memfd, EPERM when
    /// the memfd may not grow.
    fn save_guest(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        let memory = self.memfd_of(pid, fd, fail(Errno::EINVAL))?;
        let guest = self.process(pid).guest.ok_or(fail(Errno::EINVAL))?;
        let mut state = [*MAGIC, guest.progress.to_le_bytes()].concat();
        state.extend(self.vms_of(pid).flat_map(|(_, vm)| &vm.pending).copied().flat_map(saved));
        self.write_memory(memory, 0, &state)?;
        Ok(Reply::Done)
    }

    /// EINVAL when there is a guest already, no saved state, or something after it.
    fn load_guest(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        let memory = self.memfd_of(pid, fd, fail(Errno::EINVAL))?;
        if self.process(pid).guest.is_some() {
            return Err(fail(Errno::EINVAL));
        }
        let state = self.read_memory(memory, 0, SAVED_BYTES_MAX + 1);
        let is_saved = state.len() as u64 <= SAVED_BYTES_MAX;
        let rest = state.strip_prefix(MAGIC).filter(|_| is_saved).ok_or(fail(Errno::EINVAL))?;
        let (progress, pending) = rest.split_first_chunk().ok_or(fail(Errno::EINVAL))?;
        let pending: Vec<_> = pending.as_chunks().0.iter().copied().map(loaded).collect();
        let progress = u64::from_le_bytes(*progress);
        self.process_mut(pid).guest = Some(Guest { running: false, progress });
        let vm = self.vms_of(pid).next().map(|(id, _)| id);
        if let Some(vm) = vm {
            self.inject(vm, &pending);
        }
        Ok(Reply::Done)
    }
}
