//! Connected `SOCK_SEQPACKET` unix sockets, and descriptors in flight.
//!
//! A packet holds a reference to each file that it carries. The references are released when the
//! packet is received, or when its queue is dropped with the last reference to the receiving
//! socket.
//!
//! The end of a connection:
//! * Closing a socket ends its peer's stream: packets sent before stay readable, then receives
//!   return the end of the stream (empty bytes). The peer's sends fail with EPIPE.
//! * Closing a socket with unread packets also resets its peer: the peer's next send or receive
//!   fails with ECONNRESET, once, before any queued packet.
//! * After `SHUT_RD` the peer's sends fail with EPIPE; queued packets stay readable.
//!
//! Absent: byte streams, listening, credentials, a full queue, and the garbage collection of
//! sockets that were sent over each other in a cycle.
//!
//! Mirrors `net/unix/af_unix.c`, `net/core/scm.c`, `net/core/datagram.c`.

use crate::fs::File;
use crate::fs::eventfd::Eventfd;
use crate::machine::{Machine, Placement};
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::{FileId, Shared};
use handoff_model::abi::call::{FDS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX, Reply, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Socket {
    /// The other end, while it is open. Not a reference.
    peer: Option<FileId>,
    /// Packets sent to this end, oldest first.
    queue: Vec<Packet>,
    /// `RCV_SHUTDOWN`, set by this end.
    shut: bool,
    /// True if `sk_err` is ECONNRESET.
    reset: bool,
}

/// A packet in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Packet {
    bytes: Shared<Vec<u8>>,
    /// The files that it carries; holds a reference to each.
    files: Vec<FileId>,
}

impl Machine {
    /// Creates a connected pair of sockets, one end in each process, both CLOEXEC.
    pub fn socketpair(&mut self, a: Pid, b: Pid) -> (Fd, Fd) {
        let [a, b] = [a, b]
            .map(|pid| self.install_file(pid, File::Socket, None).expect("a free descriptor"));
        for (end, peer) in [(a.1, b.1), (b.1, a.1)] {
            self.files.sockets.insert(end, Socket { peer: Some(peer), ..Socket::default() });
        }
        (a.0, b.0)
    }

    pub(crate) fn socket_call(
        &mut self,
        pid: Pid,
        call: &SocketCall,
        place: &Placement,
    ) -> SyscallResult {
        match call {
            SocketCall::Send { fd, bytes, fds } => self.send(pid, *fd, bytes, fds),
            SocketCall::Receive { fd, wait } => {
                self.receive(pid, *fd, *wait, FDS_PER_MESSAGE_MAX, place)
            }
            SocketCall::ReceiveFew { fd, fds_max } => {
                self.receive(pid, *fd, false, *fds_max, place)
            }
            SocketCall::ShutdownReceive { fd } => self.shutdown(pid, *fd),
        }
    }

    /// Returns true if the call would wait: a receive with `wait`, for a packet.
    pub(crate) fn socket_call_waits(&self, pid: Pid, call: &SocketCall) -> bool {
        match *call {
            SocketCall::Receive { fd, wait } => wait && self.receive_waits(pid, fd),
            SocketCall::Send { .. }
            | SocketCall::ReceiveFew { .. }
            | SocketCall::ShutdownReceive { .. } => false,
        }
    }

    /// Returns true if a receive that may wait would: the queue is empty, the peer may still send,
    /// and O_NONBLOCK is off.
    fn receive_waits(&self, pid: Pid, fd: Fd) -> bool {
        let Ok(file) = self.usable(pid, fd) else { return false };
        let Some(socket) = self.files.sockets.get(&file) else { return false };
        let is_empty = socket.queue.is_empty() && !socket.reset && !socket.shut;
        is_empty && socket.peer.is_some() && self.not_now(file) == Errno::EINTR
    }

    /// Counts pending input: packets and resets of sockets, and the counts of eventfds.
    pub fn unread(&self) -> u64 {
        let of_socket = |socket: &Socket| socket.queue.len() as u64 + u64::from(socket.reset);
        let in_sockets: u64 = self.files.sockets.values().map(of_socket).sum();
        in_sockets + self.files.eventfds.values().map(Eventfd::count).sum::<u64>()
    }

    /// Iterates over the files that packets carry.
    pub(crate) fn files_in_flight(&self) -> impl Iterator<Item = FileId> {
        let packets = self.files.sockets.values().flat_map(|socket| &socket.queue);
        packets.flat_map(|packet| packet.files.iter().copied())
    }

    /// Returns the socket of a descriptor. Fails with `EBADF`, `ENOTSOCK`.
    fn socket_of(&self, pid: Pid, fd: Fd) -> Result<FileId, Failure> {
        let file = self.usable(pid, fd)?;
        if self.files.sockets.contains_key(&file) { Ok(file) } else { Err(fail(Errno::ENOTSOCK)) }
    }

    fn socket(&self, id: FileId) -> &Socket {
        self.files.sockets.get(&id).expect("a socket stays one")
    }

    fn socket_mut(&mut self, id: FileId) -> &mut Socket {
        self.files.sockets.get_mut(&id).expect("a socket stays one")
    }

    /// Sends a packet (`unix_seqpacket_sendmsg`). Checks, in this order: the socket's pending
    /// error, the descriptors, the length, the peer.
    fn send(&mut self, pid: Pid, fd: Fd, bytes: &[u8], fds: &[Fd]) -> SyscallResult {
        let socket = self.socket_of(pid, fd)?;
        self.take_reset(socket)?;
        if fds.len() > FDS_PER_MESSAGE_MAX {
            return Err(fail(Errno::EINVAL));
        }
        let slots = fds.iter().map(|fd| self.descriptor(pid, *fd).map(|slot| slot.file));
        let files = slots.collect::<Result<Vec<FileId>, Failure>>()?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(fail(Errno::EMSGSIZE));
        }
        let peer = self.socket(socket).peer.ok_or(fail(Errno::EPIPE))?;
        if self.socket(peer).shut {
            return Err(fail(Errno::EPIPE));
        }
        for file in &files {
            self.get_file(*file);
        }
        let packet = Packet { bytes: Shared::new(bytes.to_vec()), files };
        self.socket_mut(peer).queue.push(packet);
        Ok(Reply::Done)
    }

    /// Fails with a pending `ECONNRESET`, once (`sock_error`).
    fn take_reset(&mut self, socket: FileId) -> Result<(), Failure> {
        if !self.socket(socket).reset {
            return Ok(());
        }
        self.socket_mut(socket).reset = false;
        Err(fail(Errno::ECONNRESET))
    }

    /// Receives a packet (`unix_dgram_recvmsg`) with `MSG_CMSG_CLOEXEC` and room for `room`
    /// descriptors.
    fn receive(
        &mut self,
        pid: Pid,
        fd: Fd,
        wait: bool,
        room: usize,
        place: &Placement,
    ) -> SyscallResult {
        let id = self.socket_of(pid, fd)?;
        self.take_reset(id)?;
        let socket = self.socket(id);
        if !socket.queue.is_empty() {
            let packet = self.socket_mut(id).queue.remove(0);
            return Ok(self.unpack(pid, &packet, room, place));
        }
        match (socket.shut || socket.peer.is_none(), wait) {
            (true, _) => Ok(Reply::Message { bytes: vec![], fds: vec![], truncated: false }),
            (false, false) => Err(fail(Errno::EAGAIN)),
            (false, true) => Err(fail(self.not_now(id))),
        }
    }

    /// Installs a packet's descriptors (`scm_detach_fds`). Those that do not fit are lost, which
    /// `MSG_CTRUNC` reports.
    fn unpack(&mut self, pid: Pid, packet: &Packet, room: usize, place: &Placement) -> Reply {
        let mut fds = Vec::new();
        for (at, file) in packet.files.iter().enumerate().take(room) {
            match self.install(pid, *file, place.fds.get(at).copied()) {
                Ok(fd) => fds.push(fd),
                Err(_) => break,
            }
        }
        for file in &packet.files {
            self.put_file(*file);
        }
        self.reclaim();
        let truncated = fds.len() < packet.files.len();
        Reply::Message { bytes: packet.bytes.to_vec(), fds, truncated }
    }

    fn shutdown(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        let socket = self.socket_of(pid, fd)?;
        self.socket_mut(socket).shut = true;
        Ok(Reply::Done)
    }

    /// Closes one end (`unix_release_sock`).
    pub(super) fn release_socket(&mut self, id: FileId) {
        let socket = self.files.sockets.remove(&id).expect("a socket stays one");
        if let Some(peer) = socket.peer {
            let peer = self.socket_mut(peer);
            peer.peer = None;
            peer.reset |= !socket.queue.is_empty();
        }
        for file in socket.queue.into_iter().flat_map(|packet| packet.files) {
            self.put_file(file);
        }
    }
}
