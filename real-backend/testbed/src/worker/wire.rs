//! The socket between a controller and a worker: each packet is one value in postcard's encoding,
//! with at most one descriptor.

use crate::sys;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Maximum size of a packet in bytes; the default of `net.core.wmem_default` admits it.
const PACKET_BYTES_MAX: usize = 200 << 10;

/// One end of the socket. Does not own the descriptor.
pub(super) struct Link {
    socket: Fd,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The result of a receive.
#[derive(Debug)]
pub(super) enum Received<T> {
    /// A value, and the descriptor that the packet carried.
    Value(T, Option<OwnedFd>),
    /// The other end is closed.
    End,
}

impl Link {
    pub(super) fn new(socket: Fd) -> Self {
        Self { socket, outgoing: Vec::new(), incoming: vec![0; PACKET_BYTES_MAX] }
    }

    /// Fails with `EMSGSIZE`, or with `EPIPE` if the other end is closed.
    pub(super) fn send(
        &mut self,
        value: &impl Serialize,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        self.outgoing.clear();
        postcard::to_io(value, &mut self.outgoing).map_err(|_| Errno::EINVAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let rights = fd.map(|fd| [fd]);
        if let Some(rights) = &rights {
            control.push(SendAncillaryMessage::ScmRights(rights));
        }
        let packet = [IoSlice::new(&self.outgoing)];
        rustix::net::sendmsg(sys::borrow(self.socket), &packet, &mut control, SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(sys::errno)
    }

    /// Fails with `EAGAIN` after the socket's timeout, with `EIO` if the packet does not decode,
    /// and with `EMFILE` if its descriptor was lost.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> Result<Received<T>, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let packet = &mut [IoSliceMut::new(&mut self.incoming)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = rustix::net::recvmsg(sys::borrow(self.socket), packet, &mut control, flags);
        let got = match got.map_err(sys::errno) {
            Ok(got) if got.bytes == 0 => return Ok(Received::End),
            Err(Errno::ECONNRESET) => return Ok(Received::End),
            got => got?,
        };
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::EMFILE);
        }
        let value = postcard::from_bytes(&self.incoming[..got.bytes]).map_err(|_| Errno::EIO)?;
        Ok(Received::Value(value, fd))
    }
}
