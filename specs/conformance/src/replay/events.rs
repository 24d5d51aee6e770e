//! Events that are applied as recorded: changes of processes, and events for which the simulator
//! has no call but another means.
//!
//! * processes: first appearance, fork, exec of a foreign program, exit, credentials, limits,
//!   guests;
//! * descriptors: `close_range`, and the descriptors that a process of our own runs starts with;
//! * unix sockets that the simulator does not have (`sockets`);
//! * files and mappings that do not belong to the handoff (`other`);
//! * external input: the value of an eventfd, and the fact that a queue was empty at that time.

use super::files::Kind;
use super::{Known, Replay};
use handoff_model::abi::call::{Call, FileCall, ProcessCall, UNLIMITED};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid, Uid};
use handoff_model::abi::view::FileKind;
use handoff_model::trace::{Event, PassedFd, Record};
use handoff_sim_kernel::ProcessSpec;

/// A process for which the trace has no `start` event.
pub(super) const UNSEEN: ProcessSpec =
    ProcessSpec { uid: Uid(0), cap_ipc_lock: true, memlock_bytes: UNLIMITED };

/// `CLOSE_RANGE_CLOEXEC`.
const RANGE_CLOEXEC: u32 = 4;

/// Path prefix with which [`Record::Exec`] names an image that is open in the process itself.
const SELF_FD: &str = "/proc/self/fd/";

impl Replay {
    /// Applies an event as recorded. Returns true if it is of such a kind.
    pub(super) fn replay_event(&mut self, event: &Event) -> bool {
        self.replay_process(event)
            || self.replay_change(event)
            || self.replay_connection(event)
            || self.replay_descriptor(event)
            || self.replay_message(event)
            || self.replay_other(event)
            || self.is_from_outside(event)
    }

    /// Applies the start or exit of a process, or a new program.
    fn replay_process(&mut self, event: &Event) -> bool {
        let pid = event.pid;
        match &event.record {
            Record::Start { uid, cap_ipc_lock, memlock_cur, parent, .. } => {
                self.beget(*parent, pid);
                self.become_user(pid, Some(*uid), Some(*cap_ipc_lock));
                self.limit(pid, *memlock_cur);
            }
            Record::Clone { child, thread: false, .. } if event.succeeded() => {
                self.beget(pid, *child);
            }
            Record::Clone { .. } => {}
            Record::Exit { .. } => self.end(pid),
            Record::Exec { path, uid, cap_ipc_lock, .. }
                if event.succeeded() && !self.is_open_image(pid, path) =>
            {
                self.exec(pid);
                self.become_user(pid, *uid, *cap_ipc_lock);
            }
            Record::Given { fd, what, cloexec } => self.give(pid, *fd, what, *cloexec),
            _ => return false,
        }
        true
    }

    /// Applies a change of a process.
    fn replay_change(&mut self, event: &Event) -> bool {
        let pid = event.pid;
        if !event.succeeded() {
            return false;
        }
        match &event.record {
            Record::Cred { call: None, uid, cap_ipc_lock, .. } => {
                self.become_user(pid, *uid, *cap_ipc_lock);
            }
            Record::Rlimit { cur, max, target: None, .. } if cur == max => return false,
            Record::Rlimit { resource, cur, target, .. } if resource == "MEMLOCK" => {
                self.limit(target.unwrap_or(pid), *cur);
            }
            Record::CloseRange { first, last, flags } => {
                self.close_range(pid, (*first, *last), flags & RANGE_CLOEXEC != 0);
            }
            Record::Guest { what, .. } if what == "boot" => {
                let simulated = self.meet(pid);
                self.machine.boot_guest(simulated);
            }
            Record::Rlimit { .. } => {}
            _ => return false,
        }
        true
    }

    /// Returns true if an exec is of an image that the simulated process has open, too.
    fn is_open_image(&self, pid: Pid, path: &str) -> bool {
        let number = path.strip_prefix(SELF_FD).and_then(|number| number.parse().ok());
        number.is_some_and(|fd| {
            self.files.kind_at(pid, Fd(fd)) == Some(&Kind::Simulated(FileKind::Image))
        })
    }

    /// Creates a child with its parent's resources, unless an earlier `start` or `clone` already
    /// did.
    fn beget(&mut self, parent: Pid, child: Pid) {
        let is_alive = |pid: &Pid| self.machine.alive(*pid);
        if self.processes.get(&child).is_some_and(is_alive) {
            return;
        }
        self.processes.remove(&child);
        let Some(simulated) = self.processes.get(&parent).copied().filter(is_alive) else {
            self.meet(child);
            return;
        };
        self.processes.insert(child, self.machine.fork(simulated));
        self.files.fork(parent, child);
        let memory = self.memory.get(&parent).cloned().unwrap_or_default();
        self.memory.insert(child, memory);
    }

    pub(super) fn become_user(&mut self, pid: Pid, uid: Option<Uid>, cap_ipc_lock: Option<bool>) {
        if let (Some(uid), Some(cap_ipc_lock)) = (uid, cap_ipc_lock) {
            let pid = self.meet(pid);
            self.machine.set_credentials(pid, uid, cap_ipc_lock);
        }
    }

    pub(super) fn limit(&mut self, pid: Pid, limit_bytes: u64) {
        let pid = self.meet(pid);
        self.machine.set_limit(pid, limit_bytes);
    }

    fn end(&mut self, pid: Pid) {
        let simulated = self.meet(pid);
        self.machine.kill(simulated);
        let gone = self.files.drop_all(pid, false);
        self.hang_up(&gone);
        self.memory.remove(&pid);
    }

    pub(super) fn exec(&mut self, pid: Pid) {
        let simulated = self.meet(pid);
        let image = self.machine.image(simulated, 0);
        let _ = self.machine.call(simulated, &Call::Process(ProcessCall::Exec { image }));
        self.forget_program(pid);
    }

    /// Drops the resources that a new program does not inherit.
    pub(super) fn forget_program(&mut self, pid: Pid) {
        let gone = self.files.drop_all(pid, true);
        self.hang_up(&gone);
        self.memory.insert(pid, Known::default());
    }

    fn close_range(&mut self, pid: Pid, (first, last): (u32, u32), cloexec: bool) {
        let fd = |number: u32| Fd(i32::try_from(number).unwrap_or(i32::MAX));
        for fd in self.files.within(pid, fd(first), fd(last)) {
            if cloexec {
                self.set_cloexec(pid, fd, true);
            } else {
                self.vacate(pid, fd);
            }
        }
    }

    fn give(&mut self, pid: Pid, fd: Fd, what: &PassedFd, cloexec: bool) {
        let broker = self.broker;
        match what {
            PassedFd::Socket { peer, peer_fd } => {
                let wire = self.wires.open();
                let (ours, theirs) = self.machine.socketpair(broker, broker);
                self.hand((ours, Kind::Packets { wire, end: 0 }), (pid, fd), cloexec);
                self.hand((theirs, Kind::Packets { wire, end: 1 }), (*peer, *peer_fd), cloexec);
            }
            PassedFd::Pidfd { target } => {
                let target = self.meet(*target);
                if self.machine.alive(target) {
                    let pidfd = self.machine.pidfd(broker, target);
                    self.hand((pidfd, Kind::Simulated(FileKind::Pidfd)), (pid, fd), cloexec);
                }
            }
            PassedFd::Image { .. } => {
                let image = self.machine.image(broker, 1);
                self.hand((image, Kind::Simulated(FileKind::Image)), (pid, fd), cloexec);
            }
        }
    }

    /// Moves a descriptor from the broker to a process.
    fn hand(&mut self, (held, kind): (Fd, Kind), (pid, fd): (Pid, Fd), cloexec: bool) {
        let simulated = self.meet(pid);
        if self.machine.alive(simulated) {
            self.vacate(pid, fd);
            self.machine.share(self.broker, held, simulated, fd, cloexec);
            self.files.open(pid, fd, kind, cloexec);
        }
        let _ = self.machine.call(self.broker, &Call::File(FileCall::Close { fd: held }));
    }

    /// Handles external input: devices, not calls, signal eventfds for interrupts; and whether a
    /// message has already arrived is a race.
    fn is_from_outside(&mut self, event: &Event) -> bool {
        let is_empty = event.errno() == Some(Errno::EAGAIN);
        match &event.record {
            Record::Read { fd, offset: None, .. }
                if self.files.kind_at(event.pid, *fd)
                    == Some(&Kind::Simulated(FileKind::Eventfd)) =>
            {
                let simulated = self.meet(event.pid);
                let _ = self.machine.call(simulated, &Call::File(FileCall::ReadEvent { fd: *fd }));
                is_empty || event.succeeded()
            }
            Record::Recvmsg { .. } => is_empty,
            _ => false,
        }
    }
}
