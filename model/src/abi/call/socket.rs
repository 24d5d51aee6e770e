//! Messages to the peer, with descriptors, over a SOCK_SEQPACKET socket.
//!
//! Mirrors: unix(7), sendmsg(2), recvmsg(2), shutdown(2). Errnos are listed where they matter to a
//! handoff; the order in which a kernel checks is kept in the simulated kernel.

use super::{Access, Call};
use crate::abi::ids::Fd;
use serde::{Deserialize, Serialize};

/// A call on a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketCall {
    /// `sendmsg(fd, bytes, SCM_RIGHTS fds)` on a SOCK_SEQPACKET socket, with MSG_NOSIGNAL. EPIPE
    /// when the peer has gone or has shut down its receiving side, EBADF, EMSGSIZE, EINVAL (over
    /// 253).
    Send {
        /// A socket.
        fd: Fd,
        /// One packet.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
        /// What goes with it.
        fds: Vec<Fd>,
    },
    /// `recvmsg(fd, MSG_CMSG_CLOEXEC)` → [`super::Reply::Message`]; empty bytes are the end of the
    /// stream. EAGAIN with `wait` off, or O_NONBLOCK on, and nothing there; EBADF, ECONNRESET.
    Receive {
        /// A socket.
        fd: Fd,
        /// Block until there is something (no MSG_DONTWAIT).
        wait: bool,
    },
    /// [`Self::Receive`] without waiting, with room for so many descriptors: the others are closed,
    /// and MSG_CTRUNC tells of it.
    ReceiveFew {
        /// A socket.
        fd: Fd,
        /// How many descriptors the control buffer has room for.
        fds_max: usize,
    },
    /// `shutdown(fd, SHUT_RD)`: from now on the peer's sends fail with EPIPE; what was sent before
    /// stays readable. One atomic cut (`unix_shutdown`, under the state locks of both ends).
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

    /// What the call touches, judged by its arguments, however it ends.
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
