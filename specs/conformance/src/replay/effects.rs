//! Effects of a call: updates the replay's own records, and keeps the simulator in step.

use super::Replay;
use super::files::{FileId, Kind};
use super::ioctls::Asked;
use handoff_model::abi::argument::{Ioctl, IoctlOutcome};
use handoff_model::abi::call::{
    Call, CallResult, CompletedCall, FileCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use handoff_model::abi::ids::{Fd, Pid, Va};
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use handoff_model::trace::{Event, Record, made_as_bytes};

/// `O_CLOEXEC`, which is also `EFD_CLOEXEC`.
const O_CLOEXEC: u32 = 0x8_0000;
/// `MFD_CLOEXEC`.
const MFD_CLOEXEC: u32 = 1;

/// Ioctls that change no state, as bytes or typed.
const READING: &[u32] = &[
    nr::IOMMU_GET_HW_INFO,
    nr::IOMMU_IOAS_IOVA_RANGES,
    nr::VFIO_CHECK_EXTENSION,
    nr::VFIO_DEVICE_GET_INFO,
    nr::VFIO_DEVICE_GET_IRQ_INFO,
    nr::VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
    nr::VFIO_DEVICE_GET_REGION_INFO,
    nr::VFIO_GET_API_VERSION,
    nr::VFIO_IOMMU_GET_INFO,
];

impl Replay {
    /// Records the effects of a call that the simulator has made.
    pub(super) fn effects(&mut self, event: &Event, made: &CompletedCall, simulated: &CallResult) {
        match (&made.answer, simulated) {
            (Ok(Reply::Ioctl(recorded)), Ok(Reply::Ioctl(_))) => self.of_ioctl(made, recorded),
            (Ok(recorded), Ok(_)) => self.both(event, made, recorded),
            (Ok(_), Err(_)) => self.only_recorded(made),
            (Err(_), Ok(simulated)) => self.undo(made, simulated),
            (Err(_), Err(_)) => {}
        }
    }

    /// Ties files that an ioctl connects, and records the file that it opens.
    fn of_ioctl(&mut self, made: &CompletedCall, recorded: &IoctlOutcome) {
        let asked = Asked::of(&made.call).expect("its answer is one of an ioctl");
        if recorded.result.is_err() {
            return;
        }
        self.tie(made.pid, &asked);
        self.note_file_map(made.pid, &asked, recorded);
        let simulated = self.meet(made.pid);
        if let Some(fd) = asked.opened(recorded)
            && let Some(kind) = self.machine.kind_of(simulated, fd)
        {
            self.opened_by(made.pid, asked.fd, fd, kind);
        }
    }

    /// Records a file that an ioctl on another file has opened.
    pub(super) fn opened_by(&mut self, pid: Pid, asked: Fd, fd: Fd, kind: FileKind) {
        let opened = self.files.open(pid, fd, Kind::Simulated(kind), true);
        let file = self.files.at(pid, asked).expect("the simulator has the same");
        if is_tied(self.files.kind(file)) && is_tied(self.files.kind(opened)) {
            self.files.tie(file, opened);
        }
    }

    pub(super) fn tie(&mut self, pid: Pid, asked: &Asked) {
        let files = asked.descriptors().into_iter().filter_map(|fd| self.files.at(pid, fd));
        let is_tied = |file: &FileId| is_tied(self.files.kind(*file));
        let files: Vec<FileId> = files.filter(is_tied).collect();
        for pair in files.windows(2) {
            self.files.tie(pair[0], pair[1]);
        }
    }

    /// Handles a call that succeeded only on the recorded kernel. Its effects are unknown, except
    /// for those that the simulator can reproduce without the call.
    fn only_recorded(&mut self, made: &CompletedCall) {
        let pid = made.pid;
        match &made.call {
            Call::File(call) => match call {
                FileCall::Close { fd } => self.closed(pid, *fd),
                FileCall::Open { .. }
                | FileCall::Dup { .. }
                | FileCall::SetCloexec { .. }
                | FileCall::SetNonblock { .. }
                | FileCall::Stat { .. }
                | FileCall::WriteAt { .. }
                | FileCall::ReadAt { .. }
                | FileCall::Eventfd
                | FileCall::ReadEvent { .. }
                | FileCall::WriteEvent { .. }
                | FileCall::Read { .. }
                | FileCall::Write { .. } => {}
            },
            Call::Memory(call) => match call {
                MemoryCall::Munmap { va, length_bytes } => self.unmapped(pid, *va, *length_bytes),
                MemoryCall::Memfd { .. }
                | MemoryCall::Truncate { .. }
                | MemoryCall::SealSize { .. }
                | MemoryCall::AddSeals { .. }
                | MemoryCall::ReopenReadOnly { .. }
                | MemoryCall::PunchHole { .. }
                | MemoryCall::Mmap { .. } => {}
            },
            Call::Process(call) => match call {
                ProcessCall::SetMemlock { limit_bytes } => self.limit(pid, *limit_bytes),
                ProcessCall::SetUid { uid } => self.become_user(pid, Some(*uid), Some(false)),
                ProcessCall::Exec { .. } => self.exec(pid),
                ProcessCall::GetMemlock
                | ProcessCall::GetUid
                | ProcessCall::GetCapIpcLock
                | ProcessCall::DropCapIpcLock
                | ProcessCall::Exit { .. }
                | ProcessCall::Kill { .. }
                | ProcessCall::AwaitExit { .. } => {}
            },
            Call::Socket(call) => match (call, &made.answer) {
                (
                    SocketCall::Receive { .. } | SocketCall::ReceiveFew { .. },
                    Ok(Reply::Message { fds, .. }),
                ) => fds.iter().for_each(|fd| self.vacate(pid, *fd)),
                (
                    SocketCall::Receive { .. }
                    | SocketCall::ReceiveFew { .. }
                    | SocketCall::Send { .. }
                    | SocketCall::ShutdownReceive { .. },
                    _,
                ) => {}
            },
            // Their files are doubtful from then on.
            Call::Guest(_)
            | Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => {}
        }
    }

    /// Handles a call that succeeded only on the simulator, by undoing its effects as far as
    /// possible.
    fn undo(&mut self, made: &CompletedCall, simulated: &Reply) {
        let pid = self.meet(made.pid);
        let mut close =
            |fd: Fd| self.machine.call(pid, &Call::File(FileCall::Close { fd })).is_ok();
        match (simulated, &made.call) {
            (Reply::Fd(fd), _) => {
                close(*fd);
            }
            (Reply::Message { fds, .. }, _) => fds.iter().for_each(|fd| {
                close(*fd);
            }),
            (Reply::Va(va), Call::Memory(MemoryCall::Mmap { length_bytes, .. })) => {
                self.unmap(made.pid, va.0, *length_bytes);
            }
            // No other reply names a new resource.
            _ => {}
        }
    }

    /// Handles an event that the simulator did not execute.
    pub(super) fn effects_unmodelled(&mut self, event: &Event) {
        let pid = event.pid;
        let made = event.ret.filter(|_| event.succeeded());
        let Some(ret) = made else { return };
        match &event.record {
            Record::Open { .. }
            | Record::Memfd { .. }
            | Record::Eventfd { .. }
            | Record::Dup { .. } => {
                if let Ok(fd) = i32::try_from(ret) {
                    self.vacate(pid, Fd(fd));
                }
            }
            Record::Mmap { length, .. } => self.unmap(pid, ret.cast_unsigned(), *length),
            Record::Mremap { addr, old_length, new_length, .. } => {
                self.unmap(pid, *addr, *old_length);
                self.unmap(pid, ret.cast_unsigned(), *new_length);
            }
            Record::Ioctl { fd, .. } if is_changing(event) => self.doubt(pid, *fd),
            Record::Write { fd, .. } | Record::Fallocate { fd, .. } | Record::Seal { fd, .. } => {
                if let Some(file) = self.files.at(pid, *fd) {
                    self.files.doubt(file);
                }
            }
            _ => {}
        }
    }

    /// Marks the file of an ioctl as doubtful, and with it the devices that may have been bound to
    /// it unobserved.
    fn doubt(&mut self, pid: Pid, fd: Fd) {
        if let Some(file) = self.files.at(pid, fd) {
            self.files.doubt(file);
        }
    }

    /// Closes a descriptor in the replay's records and in the simulator.
    pub(super) fn vacate(&mut self, pid: Pid, fd: Fd) {
        let Some(file) = self.files.close(pid, fd) else { return };
        if self.files.kind(file).is_simulated() {
            let simulated = self.meet(pid);
            let _ = self.machine.call(simulated, &Call::File(FileCall::Close { fd }));
        }
        self.hang_up(&[file]);
    }

    pub(super) fn unmap(&mut self, pid: Pid, va: u64, length_bytes: u64) {
        self.memory.entry(pid).or_default().remove(va, length_bytes);
        let simulated = self.meet(pid);
        let _ = self
            .machine
            .call(simulated, &Call::Memory(MemoryCall::Munmap { va: Va(va), length_bytes }));
    }

    /// Extends a memfd whose length no recorded call has set: recorders lose some calls, but the
    /// mapped length is a lower bound.
    pub(super) fn stretch(&mut self, pid: Pid, fd: Fd, length_bytes: u64) {
        let Some(file) = self.files.at(pid, fd) else { return };
        if *self.files.kind(file) != Kind::Simulated(FileKind::Memfd) || self.files.is_sized(file) {
            return;
        }
        let simulated = self.meet(pid);
        let stat = self.machine.call(simulated, &Call::File(FileCall::Stat { fd }));
        if matches!(stat, Ok(Reply::Stat { length_bytes: now, .. }) if now < length_bytes) {
            let _ = self
                .machine
                .call(simulated, &Call::Memory(MemoryCall::Truncate { fd, length_bytes }));
        }
    }

    pub(super) fn set_cloexec(&mut self, pid: Pid, fd: Fd, on: bool) {
        self.files.set_cloexec(pid, fd, on);
        let simulated = self.meet(pid);
        let _ = self.machine.call(simulated, &Call::File(FileCall::SetCloexec { fd, on }));
    }
}

/// Returns true if a file shares its doubts with other files that an ioctl names. Memory and
/// eventfds do not, and no answer of iommufd or VFIO depends on KVM calls.
fn is_tied(kind: &Kind) -> bool {
    use FileKind::{Eventfd, Kvm, KvmVfio, Memfd, Vcpu, Vm};
    match kind {
        Kind::Simulated(kind) => ![Eventfd, Kvm, KvmVfio, Memfd, Vcpu, Vm].contains(kind),
        _ => false,
    }
}

/// Returns true if the descriptors that a call created are closed at exec.
pub(super) fn is_cloexec(event: &Event) -> bool {
    match event.record {
        Record::Open { flags, .. } | Record::Eventfd { flags, .. } => flags & O_CLOEXEC != 0,
        Record::Memfd { flags, .. } => flags & MFD_CLOEXEC != 0,
        Record::Dup { cloexec, .. } | Record::Recvmsg { cloexec, .. } => cloexec,
        _ => false,
    }
}

/// Returns true if an ioctl changes no state that another answer depends on: it only reads, or it
/// masks interrupts.
pub(super) fn is_reading(ioctl: &Ioctl) -> bool {
    const MASK_UNMASK: u8 = 0x18;
    const FLAGS: usize = 4;
    if ioctl.request == nr::VFIO_DEVICE_SET_IRQS {
        return ioctl.argument.bytes().get(FLAGS).is_some_and(|flags| flags & MASK_UNMASK != 0);
    }
    READING.contains(&ioctl.request)
}

/// Returns true if the event's ioctl may have changed state that other answers depend on. KVM's
/// ioctls do not.
fn is_changing(event: &Event) -> bool {
    match made_as_bytes(event) {
        Ok(CompletedCall { call: Call::Ioctl { ioctl, .. }, .. }) => {
            !is_reading(&ioctl) && ioctl.request >> 8 & 0xff != nr::KVM_CREATE_VM >> 8
        }
        _ => true,
    }
}
