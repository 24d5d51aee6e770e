//! The guest of a process: whether its vCPUs run, and its progress.
//!
//! A guest is a number, its progress, that grows while it runs; its RAM is the memory that its
//! process maps. Its saved state is bytes in a memfd, which can be copied, truncated or overwritten
//! like any others. Interrupts that were injected into its virtual machine and not yet delivered
//! are part of that state; loading it into a process without a VM drops them. The guest dies with
//! the memory map of its process, and with a KVM virtual machine that its process has created.
//!
//! An interrupt is delivered when a process whose guest runs takes it from an eventfd, by itself or
//! through KVM's irqfd ([`Machine::deliver`]). An interrupt that any other process reads is lost.

use crate::fs::Signal;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::{DeviceId, FileId, SmallId};
use handoff_model::abi::call::{GuestCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid};

/// The guest of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guest {
    pub(crate) running: bool,
    pub(crate) progress: u64,
}

/// The magic at the start of saved state; the progress follows, then a record for each pending
/// signal.
const MAGIC: &[u8; 8] = b"vmstate\0";

/// Size of a record in bytes: device, vector and count.
const SIGNAL_BYTES: usize = 8;

/// Maximum length of saved state in bytes.
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
    /// Gives a process a running guest whose RAM is the memory that the process maps.
    ///
    /// # Panics
    ///
    /// Panics if the process is dead.
    pub fn boot_guest(&mut self, pid: Pid) {
        assert!(self.alive(pid), "a dead process has no guest");
        self.process_mut(pid).guest = Some(Guest { running: true, progress: 0 });
    }

    /// Advances the running guest of a process by one step. Returns false if no guest runs.
    pub fn guest_work(&mut self, pid: Pid) -> bool {
        if !self.guest_runs(pid) {
            return false;
        }
        let guest = self.process_mut(pid).guest.as_mut();
        guest.expect("it runs").progress += 1;
        true
    }

    /// Returns true if a process's guest runs.
    pub fn guest_runs(&self, pid: Pid) -> bool {
        self.process(pid).guest.is_some_and(|guest| guest.running)
    }

    /// Returns true if a process's running guest could take a signal of a vector now.
    pub fn can_deliver(&self, pid: Pid, device: &str, vector: usize) -> bool {
        self.guest_runs(pid) && self.signalled(pid, device, vector).is_some()
    }

    /// Delivers the pending signals of a vector to the running guest of a process, from the lowest
    /// descriptor of an eventfd that has some. Returns true if there were any.
    ///
    /// # Panics
    ///
    /// Panics if no device has this name.
    pub fn deliver(&mut self, pid: Pid, device: &str, vector: usize) -> bool {
        match self.signalled(pid, device, vector) {
            Some(file) if self.guest_runs(pid) => {
                self.take_signals(pid, file);
                true
            }
            _ => false,
        }
    }

    /// Returns an eventfd of a process in which a signal of a vector is pending.
    fn signalled(&self, pid: Pid, device: &str, vector: usize) -> Option<FileId> {
        let id = self.device_named(device);
        let mut held = self.process(pid).descriptors.values().map(|descriptor| descriptor.file);
        held.find(|file| self.waits_in(*file, id, vector) > 0)
    }

    /// Empties an eventfd on behalf of a process, and delivers its signals if the process's guest
    /// runs.
    pub(crate) fn take_signals(&mut self, pid: Pid, file: FileId) {
        let taken = std::mem::take(self.event_mut(file));
        if self.guest_runs(pid) {
            self.deliver_signals(&taken.signals);
        }
    }

    /// Counts interrupts as delivered to a running guest.
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

    /// Stops the guest. Succeeds also if none runs.
    fn stop_guest(&mut self, pid: Pid) -> Reply {
        if self.guest_runs(pid) {
            self.process_mut(pid).guest.as_mut().expect("it runs").running = false;
        }
        Reply::Done
    }

    /// Starts the guest. Fails with `EINVAL` without a guest; succeeds if it already runs.
    fn start_guest(&mut self, pid: Pid) -> SyscallResult {
        let guest = self.process_mut(pid).guest.as_mut().ok_or(fail(Errno::EINVAL))?;
        guest.running = true;
        self.take_pending(pid);
        Ok(Reply::Done)
    }

    /// Writes the current progress and the pending signals. Fails with `EINVAL` without a guest or
    /// a memfd, and with `EPERM` if the memfd may not grow.
    fn save_guest(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        let memory = self.memfd_of(pid, fd, fail(Errno::EINVAL))?;
        let guest = self.process(pid).guest.ok_or(fail(Errno::EINVAL))?;
        let mut state = [*MAGIC, guest.progress.to_le_bytes()].concat();
        state.extend(self.vms_of(pid).flat_map(|(_, vm)| &vm.pending).copied().flat_map(saved));
        self.write_memory(memory, 0, &state)?;
        Ok(Reply::Done)
    }

    /// Creates a stopped guest from saved state. Fails with `EINVAL` if the process already has a
    /// guest, or if the memfd does not begin with saved state or is too long.
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
