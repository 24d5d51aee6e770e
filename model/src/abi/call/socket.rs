//! Messages to the peer, with descriptors, over a SOCK_SEQPACKET socket.
//!
//! Mirrors: unix(7), sendmsg(2), recvmsg(2), shutdown(2). Errnos are listed if they matter to a
//! handoff; the simulated kernel also reproduces the order of the kernel's checks.

use super::{Access, Call};
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// A call on a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketCall {
    /// `sendmsg(fd, bytes, SCM_RIGHTS fds)` on a SOCK_SEQPACKET socket, with MSG_NOSIGNAL. EPIPE if
    /// the peer has closed the socket or shut down its receiving side, EBADF, EMSGSIZE, EINVAL
    /// (more than 253 descriptors).
    Send {
        /// A socket.
        fd: Fd,
        /// The bytes of the packet.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
        /// The descriptors to send with it.
        fds: Vec<Fd>,
    },
    /// `recvmsg(fd, MSG_CMSG_CLOEXEC)` → [`super::Reply::Message`]; empty bytes are the end of the
    /// stream. EAGAIN if the queue is empty and `wait` is off or O_NONBLOCK is on; EBADF,
    /// ECONNRESET.
    Receive {
        /// A socket.
        fd: Fd,
        /// True to block until a packet arrives (no MSG_DONTWAIT).
        wait: bool,
    },
    /// [`Self::Receive`] without waiting, with room for `fds_max` descriptors: the others are
    /// closed, and MSG_CTRUNC is set.
    ReceiveFew {
        /// A socket.
        fd: Fd,
        /// Number of descriptors that the control buffer has room for.
        fds_max: usize,
    },
    /// `shutdown(fd, SHUT_RD)`: from now on the peer's sends fail with EPIPE, and packets sent
    /// before remain readable. The boundary is atomic (`unix_shutdown`, under the state locks of
    /// both ends).
    ShutdownReceive {
        /// A socket.
        fd: Fd,
    },
}

impl SocketCall {
    /// Returns the name of the system call or ioctl.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "sendmsg",
            Self::Receive { .. } | Self::ReceiveFew { .. } => "recvmsg",
            Self::ShutdownReceive { .. } => "shutdown",
        }
    }

    /// Returns the effect of the call, as determined by its arguments, regardless of its result.
    pub fn access(&self) -> Access {
        match self {
            Self::Send { .. }
            | Self::Receive { .. }
            | Self::ReceiveFew { .. }
            | Self::ShutdownReceive { .. } => Access::Own,
        }
    }
}

impl SocketCall {
    /// Returns a `sendmsg`.
    pub fn send(fd: Fd, bytes: Vec<u8>, fds: Vec<Fd>) -> Call {
        Call::Socket(Self::Send { fd, bytes, fds })
    }
}
