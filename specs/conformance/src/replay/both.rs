//! Effects of a call that succeeded on both kernels, by subsystem.

use super::Replay;
use super::effects::is_cloexec;
use super::files::{FileId, Kind};
use super::ioctls::Asked;
use handoff_model::abi::call::{
    Call, CompletedCall, FileCall, GuestCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use handoff_model::abi::ids::{Fd, Pid, Va};
use handoff_model::trace::Event;

impl Replay {
    /// Records the effects of a call that succeeded on both kernels.
    pub(super) fn both(&mut self, event: &Event, made: &CompletedCall, recorded: &Reply) {
        let pid = made.pid;
        match &made.call {
            Call::File(call) => self.both_file(event, pid, call, recorded),
            Call::Memory(call) => self.both_memory(event, pid, call, recorded),
            Call::Process(call) => match call {
                ProcessCall::Exec { .. } => self.forget_program(pid),
                ProcessCall::GetMemlock
                | ProcessCall::SetMemlock { .. }
                | ProcessCall::GetUid
                | ProcessCall::SetUid { .. }
                | ProcessCall::GetCapIpcLock
                | ProcessCall::DropCapIpcLock
                | ProcessCall::Exit { .. }
                | ProcessCall::Kill { .. }
                | ProcessCall::AwaitExit { .. } => {}
            },
            Call::Socket(call) => match (call, recorded) {
                (SocketCall::Send { fd, fds, .. }, _) => self.send(pid, *fd, fds),
                (
                    SocketCall::Receive { fd, .. } | SocketCall::ReceiveFew { fd, .. },
                    Reply::Message { fds, .. },
                ) => {
                    self.receive(pid, *fd, fds, is_cloexec(event));
                }
                (
                    SocketCall::Receive { .. }
                    | SocketCall::ReceiveFew { .. }
                    | SocketCall::ShutdownReceive { .. },
                    _,
                ) => {}
            },
            Call::Guest(
                GuestCall::Stop
                | GuestCall::Save { .. }
                | GuestCall::Load { .. }
                | GuestCall::Start,
            ) => {}
            Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => self.both_ioctl(pid, &made.call, recorded),
        }
    }

    fn both_file(&mut self, event: &Event, pid: Pid, call: &FileCall, recorded: &Reply) {
        match call {
            FileCall::Open { .. } | FileCall::Eventfd => self.opened(event, pid, recorded),
            FileCall::Close { fd } => self.closed(pid, *fd),
            FileCall::Dup { fd } => {
                let Reply::Fd(new) = recorded else { return };
                let file = self.files.at(pid, *fd).expect("the simulator has the same");
                self.files.install(pid, *new, file, true);
                self.set_cloexec(pid, *new, is_cloexec(event));
            }
            FileCall::SetCloexec { fd, on } => self.files.set_cloexec(pid, *fd, *on),
            FileCall::WriteAt { fd, .. } => self.sized(pid, *fd),
            FileCall::SetNonblock { .. }
            | FileCall::Stat { .. }
            | FileCall::ReadAt { .. }
            | FileCall::ReadEvent { .. }
            | FileCall::WriteEvent { .. }
            | FileCall::Read { .. }
            | FileCall::Write { .. } => {}
        }
    }

    fn both_memory(&mut self, event: &Event, pid: Pid, call: &MemoryCall, recorded: &Reply) {
        match call {
            MemoryCall::Memfd { .. } | MemoryCall::ReopenReadOnly { .. } => {
                self.opened(event, pid, recorded);
            }
            MemoryCall::Mmap { length_bytes, .. } => {
                let Reply::Va(va) = recorded else { return };
                self.memory.entry(pid).or_default().insert(va.0, *length_bytes);
            }
            MemoryCall::Munmap { va, length_bytes } => self.unmapped(pid, *va, *length_bytes),
            MemoryCall::Truncate { fd, .. } => self.sized(pid, *fd),
            MemoryCall::SealSize { .. }
            | MemoryCall::AddSeals { .. }
            | MemoryCall::PunchHole { .. } => {}
        }
    }

    /// Records the effects of a typed ioctl, which has a reply instead of bytes.
    fn both_ioctl(&mut self, pid: Pid, call: &Call, recorded: &Reply) {
        let asked = Asked::of(call).expect("an ioctl");
        if let Reply::Fd(fd) = recorded {
            let simulated = self.meet(pid);
            let kind = self.machine.kind_of(simulated, *fd).expect("just opened");
            self.opened_by(pid, asked.fd, *fd, kind);
        }
        self.tie(pid, &asked);
    }

    /// Records a file that a call has opened.
    fn opened(&mut self, event: &Event, pid: Pid, recorded: &Reply) {
        let Reply::Fd(fd) = recorded else { return };
        let simulated = self.meet(pid);
        let kind = self.machine.kind_of(simulated, *fd).expect("just opened");
        self.files.open(pid, *fd, Kind::Simulated(kind), true);
        self.set_cloexec(pid, *fd, is_cloexec(event));
    }

    /// Records that a call has closed a descriptor.
    pub(super) fn closed(&mut self, pid: Pid, fd: Fd) {
        let closed = self.files.close(pid, fd);
        self.hang_up(&closed.into_iter().collect::<Vec<FileId>>());
    }

    /// Records that a call has set the length of a file.
    fn sized(&mut self, pid: Pid, fd: Fd) {
        let file = self.files.at(pid, fd).expect("the simulator has the same");
        self.files.set_sized(file);
    }

    /// Records that a call has unmapped memory.
    pub(super) fn unmapped(&mut self, pid: Pid, va: Va, length_bytes: u64) {
        self.memory.entry(pid).or_default().remove(va.0, length_bytes);
    }

    /// Records which files a packet carries. The simulator has the socket and transfers the files
    /// themselves.
    fn send(&mut self, pid: Pid, fd: Fd, fds: &[Fd]) {
        let Some(Kind::Packets { wire, end }) = self.files.kind_at(pid, fd) else { return };
        let parcel = |fd: &Fd| Some((self.files.at(pid, *fd)?, *fd));
        self.wires.send(*wire, *end, fds.iter().map(parcel).collect());
    }

    fn receive(&mut self, pid: Pid, fd: Fd, fds: &[Fd], cloexec: bool) {
        let Some(Kind::Packets { wire, end }) = self.files.kind_at(pid, fd) else { return };
        for (parcel, fd) in self.wires.receive(*wire, *end).into_iter().zip(fds) {
            if let Some((file, _)) = parcel {
                self.files.install(pid, *fd, file, true);
                self.set_cloexec(pid, *fd, cloexec);
            }
        }
    }
}
