//! Eventfds: their pending counts, and the waiters in the kernel.
//!
//! A count is stored by its source: vectors of devices, and all others (a write, a trigger by
//! software). A waiter in the kernel consumes a signal before a reader sees it: first KVM's irqfd,
//! which is exclusive on its eventfd and delivers to its VM; otherwise the waiters of a device (the
//! unmask trigger of INTx, ioeventfds).
//!
//! The kernel's references to an eventfd do not keep its file open. When the last descriptor,
//! message and page set that refer to it are gone, waiters stop waiting; triggers stay.
//!
//! Absent: semaphores.
//!
//! Mirrors `fs/eventfd.c` and `drivers/vfio/virqfd.c`.

use crate::fs::File;
use crate::machine::{Machine, Placement};
use crate::syscall::{SyscallResult, fail};
use crate::value::{DeviceId, FileId, SmallId};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};

/// The state of an eventfd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Eventfd {
    /// Counts by the vector of the device that raised them. Sorted; no zeroes.
    pub(crate) signals: Vec<Signal>,
    /// The count that no vector contributed.
    pub(crate) others: u64,
}

/// The count that a vector of a device has added to an eventfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Signal {
    pub(crate) device: DeviceId,
    pub(crate) vector: u16,
    pub(crate) count: u32,
}

impl Eventfd {
    /// Returns the count that a read would return.
    pub(crate) fn count(&self) -> u64 {
        let signals = self.signals.iter().map(|signal| u64::from(signal.count));
        signals.fold(self.others, u64::saturating_add)
    }

    /// Adds one signal of a vector.
    pub(crate) fn add(&mut self, device: DeviceId, vector: u16) {
        let place = self.signals.binary_search_by_key(&(device, vector), |s| (s.device, s.vector));
        match place {
            Ok(at) => self.signals[at].count += 1,
            Err(at) => self.signals.insert(at, Signal { device, vector, count: 1 }),
        }
    }

    /// Returns the count that a vector contributed.
    pub(crate) fn of(&self, device: DeviceId, vector: usize) -> u64 {
        let of = |s: &&Signal| s.device == device && usize::from(s.vector) == vector;
        self.signals.iter().filter(of).map(|signal| u64::from(signal.count)).sum()
    }
}

impl Machine {
    pub(crate) fn event(&self, file: FileId) -> &Eventfd {
        self.files.eventfds.get(&file).expect("an eventfd stays one")
    }

    pub(crate) fn event_mut(&mut self, file: FileId) -> &mut Eventfd {
        self.files.eventfds.get_mut(&file).expect("an eventfd stays one")
    }

    /// Counts the signals of a vector in a file; 0 if the file is no eventfd.
    pub(crate) fn waits_in(&self, file: FileId, device: DeviceId, vector: usize) -> u64 {
        self.files.eventfds.get(&file).map_or(0, |event| event.of(device, vector))
    }

    /// Iterates over the signals in all eventfds.
    pub(crate) fn waiting_signals(&self) -> impl Iterator<Item = Signal> {
        self.files.eventfds.values().flat_map(|event| event.signals.iter().copied())
    }

    /// Returns the eventfd of a descriptor (`eventfd_ctx_fdget`). Fails with `EBADF`, `EINVAL`.
    pub(crate) fn eventfd_of(&self, pid: Pid, fd: Fd) -> SyscallResult<FileId> {
        let file = self.usable(pid, fd)?;
        if self.files.eventfds.contains_key(&file) { Ok(file) } else { Err(fail(Errno::EINVAL)) }
    }

    /// Signals an eventfd by a vector of a device (`eventfd_signal`).
    pub(crate) fn signal_vector(&mut self, event: FileId, device: DeviceId, vector: u16) {
        self.event_mut(event).add(device, vector);
        self.wake(event);
    }

    /// Signals an eventfd by software (`eventfd_signal`).
    pub(crate) fn signal(&mut self, event: FileId) {
        let others = &mut self.event_mut(event).others;
        *others = others.saturating_add(1);
        self.wake(event);
    }

    /// Lets the waiters in the kernel consume the count.
    fn wake(&mut self, event: FileId) {
        if let Some(vm) = self.irqfd_vm(event) {
            let Eventfd { signals, .. } = std::mem::take(self.event_mut(event));
            return self.inject(vm, &signals);
        }
        for device in (0..self.devices.len()).map(DeviceId::of) {
            if self.device(device).waits_for(event) {
                std::mem::take(self.event_mut(event));
                if self.device(device).unmask_trigger() == Some(event) {
                    self.unmask_intx(device);
                }
            }
        }
    }

    /// Notifies the waiters (`eventfd_release`) if only the kernel still refers to the eventfd.
    pub(super) fn hang_up(&mut self, event: FileId) {
        let is_awaited = self.irqfd_vm(event).is_some()
            || self.devices.iter().any(|device| device.waits_for(event));
        if is_awaited && !self.open_files().any(|file| file == event) {
            self.drop_irqfds(|irqfd| irqfd.event == event);
            for device in (0..self.devices.len()).map(DeviceId::of) {
                self.stop_waiting(device, event);
            }
        }
    }

    /// Creates an eventfd (`eventfd2`). Fails with `EMFILE`.
    pub(super) fn new_eventfd(&mut self, pid: Pid, place: &Placement) -> SyscallResult {
        self.install_file(pid, File::Eventfd, place.fd).map(|(fd, file)| {
            self.files.eventfds.insert(file, Eventfd::default());
            Reply::Fd(fd)
        })
    }

    /// Returns true if a read would wait.
    pub(super) fn read_event_waits(&self, pid: Pid, fd: Fd) -> bool {
        self.event_waits(pid, fd, |event| event.count() == 0)
    }

    /// Returns true if a write would wait.
    pub(super) fn write_event_waits(&self, pid: Pid, fd: Fd, count: u64) -> bool {
        let is_full = |event: &Eventfd| count < u64::MAX && u64::MAX - event.count() <= count;
        self.event_waits(pid, fd, is_full)
    }

    fn event_waits(&self, pid: Pid, fd: Fd, waits: impl Fn(&Eventfd) -> bool) -> bool {
        let Ok(file) = self.usable(pid, fd) else { return false };
        let is_short = self.files.eventfds.get(&file).is_some_and(waits);
        is_short && self.not_now(file) == Errno::EINTR
    }

    /// Reads the complete count (`eventfd_read`).
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the count is zero (`EINTR` if the call may wait), `EINVAL` if it is no eventfd.
    pub(super) fn read_event(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        let file = self.eventfd_of(pid, fd)?;
        let count = self.event(file).count();
        if count == 0 {
            return Err(fail(self.not_now(file)));
        }
        self.take_signals(pid, file);
        Ok(Reply::Count(count))
    }

    /// Adds to the count (`eventfd_write`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for all ones or if it is no eventfd; `EAGAIN` if the sum does not fit (`EINTR` if
    /// the call may wait).
    pub(super) fn write_event(&mut self, pid: Pid, fd: Fd, count: u64) -> SyscallResult {
        let file = self.eventfd_of(pid, fd)?;
        if count == u64::MAX {
            return Err(fail(Errno::EINVAL));
        }
        if u64::MAX - self.event(file).count() <= count {
            return Err(fail(self.not_now(file)));
        }
        self.event_mut(file).others += count;
        self.wake(file);
        Ok(Reply::Done)
    }
}
