//! Unix sockets that the simulator does not have, followed as recorded.
//!
//! Connections are matched by path. They carry files (`connections`): a receiver gets the sender's
//! files under the recorded numbers.

use super::Replay;
use super::connections::InFlightFd;
use super::files::{FileId, Kind};
use handoff_model::abi::call::{Call, FileCall};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::trace::{Event, Record};

impl Replay {
    /// Applies the creation or connection of a socket.
    pub(super) fn replay_connection(&mut self, event: &Event) -> bool {
        let pid = event.pid;
        let made = event.ret.and_then(|fd| i32::try_from(fd).ok()).map(Fd);
        match &event.record {
            Record::Socket { cloexec, .. } => {
                if let Some(fd) = made.filter(|_| event.succeeded()) {
                    self.socket(pid, fd, Kind::Socket { path: None }, *cloexec);
                }
            }
            Record::Socketpair { fds, cloexec, .. } if event.succeeded() => {
                let wire = self.wires.open();
                for (end, fd) in fds.iter().take(2).enumerate() {
                    self.socket(pid, *fd, Kind::Stream { wire, end }, *cloexec);
                }
            }
            Record::Bind { fd, path } if event.succeeded() => {
                self.turn_socket(pid, *fd, Kind::Socket { path: Some(path.clone()) });
            }
            Record::Connect { fd, path } if event.succeeded() => {
                let wire = self.wires.open();
                self.wires.connect(path, wire);
                self.turn_socket(pid, *fd, Kind::Stream { wire, end: 0 });
            }
            Record::Accept { fd, cloexec, .. } if event.succeeded() => {
                if let (Some(made), Some(Kind::Socket { path })) =
                    (made, self.files.kind_at(pid, *fd))
                {
                    let wire = self.wires.answer(path.as_deref());
                    self.socket(pid, made, Kind::Stream { wire, end: 1 }, *cloexec);
                }
            }
            Record::Socketpair { .. }
            | Record::Bind { .. }
            | Record::Connect { .. }
            | Record::Listen { .. }
            | Record::Accept { .. } => {}
            _ => return false,
        }
        true
    }

    fn socket(&mut self, pid: Pid, fd: Fd, kind: Kind, cloexec: bool) {
        self.vacate(pid, fd);
        self.files.open(pid, fd, kind, cloexec);
    }

    fn turn_socket(&mut self, pid: Pid, fd: Fd, kind: Kind) {
        if let Some(file) = self.socket_at(pid, fd) {
            self.files.set_kind(file, kind);
        }
    }

    /// Returns the file of a descriptor, if it is one that the simulator does not have.
    fn socket_at(&self, pid: Pid, fd: Fd) -> Option<FileId> {
        self.files.at(pid, fd).filter(|file| !self.files.kind(*file).is_simulated())
    }

    /// Applies close, dup and similar calls on such sockets.
    pub(super) fn replay_descriptor(&mut self, event: &Event) -> bool {
        let pid = event.pid;
        let (Record::Close { fd }
        | Record::Dup { fd, .. }
        | Record::Setfd { fd, .. }
        | Record::Setfl { fd, .. }
        | Record::Shutdown { fd, .. }) = &event.record
        else {
            return false;
        };
        let Some(file) = self.socket_at(pid, *fd) else { return false };
        let made = event.ret.and_then(|fd| i32::try_from(fd).ok()).map(Fd);
        match (&event.record, made) {
            (Record::Close { fd }, _) => self.vacate(pid, *fd),
            (Record::Setfd { fd, cloexec }, _) => self.files.set_cloexec(pid, *fd, *cloexec),
            (Record::Dup { cloexec, .. }, Some(made)) if event.succeeded() => {
                self.vacate(pid, made);
                self.files.install(pid, made, file, *cloexec);
            }
            _ => {}
        }
        true
    }

    pub(super) fn replay_message(&mut self, event: &Event) -> bool {
        let pid = event.pid;
        let (Record::Sendmsg { fd, .. } | Record::Recvmsg { fd, .. }) = &event.record else {
            return false;
        };
        let Some(file) = self.socket_at(pid, *fd) else { return false };
        let Kind::Stream { wire, end } = *self.files.kind(file) else { return true };
        match &event.record {
            Record::Sendmsg { fds, .. } if !fds.is_empty() && event.succeeded() => {
                let parcels = fds.iter().map(|fd| self.take_up(pid, *fd)).collect();
                self.wires.send(wire, end, parcels);
            }
            Record::Recvmsg { fds, cloexec, truncated, peek: false, .. }
                if !fds.is_empty() || *truncated =>
            {
                let parcels = self.wires.receive(wire, end);
                for (at, parcel) in parcels.into_iter().enumerate() {
                    self.deliver(parcel, fds.get(at).map(|fd| (pid, *fd)), *cloexec);
                }
            }
            _ => {}
        }
        true
    }

    /// Gives the broker a descriptor of a file in flight.
    fn take_up(&mut self, pid: Pid, fd: Fd) -> InFlightFd {
        let file = self.files.at(pid, fd)?;
        self.broker_fds += 1;
        let held = Fd(self.broker_fds);
        let simulated = self.meet(pid);
        (self.machine.share(simulated, fd, self.broker, held, true)).then_some((file, held))
    }

    /// Moves a file from the broker to a process, or drops it.
    fn deliver(&mut self, parcel: InFlightFd, to: Option<(Pid, Fd)>, cloexec: bool) {
        if let Some((pid, fd)) = to {
            self.vacate(pid, fd);
        }
        let Some((file, held)) = parcel else { return };
        if let Some((pid, fd)) = to {
            let simulated = self.meet(pid);
            self.machine.share(self.broker, held, simulated, fd, cloexec);
            self.files.install(pid, fd, file, cloexec);
        }
        let _ = self.machine.call(self.broker, &Call::File(FileCall::Close { fd: held }));
    }

    /// Drops the files in flight to sockets that no process has open any more.
    pub(super) fn hang_up(&mut self, closed: &[FileId]) {
        for file in closed {
            let Kind::Stream { wire, end } = *self.files.kind(*file) else { continue };
            if !self.files.is_held(*file) {
                for parcel in self.wires.cut(wire, end) {
                    self.deliver(parcel, None, true);
                }
            }
        }
    }
}
