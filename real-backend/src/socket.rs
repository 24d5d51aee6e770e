//! The channel: a pair of Unix SOCK_SEQPACKET sockets that carry packets with descriptors.
//!
//! Packets are delivered whole or not at all, together with their descriptors. A packet that did
//! not fit is reported as truncated, whether bytes (MSG_TRUNC) or descriptors (MSG_CTRUNC, also if
//! the receiver's descriptor table is full) were lost. Received descriptors are CLOEXEC from the
//! start.
//!
//! Mirrors: `unix(7)`, `sendmsg(2)`, `recvmsg(2)`; SCM_MAX_FD = 253 of `include/net/scm.h`.

use crate::sys;
use handoff_model::abi::call::{CallResult, FDS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use rustix::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Creates both ends of a new channel, CLOEXEC. Fails with `EMFILE`.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).map_err(sys::errno)
}

pub(crate) fn send(socket: Fd, bytes: &[u8], fds: &[Fd]) -> Result<(), Errno> {
    let socket = sys::borrow(socket);
    let rights: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| sys::borrow(*fd)).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(rights.len()))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !rights.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(&rights));
        debug_assert!(fits, "the space was made for them");
    }
    let packet = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &packet, &mut control, SendFlags::NOSIGNAL).map_err(sys::errno)?;
    Ok(())
}

/// Length of an empty control message (`CMSG_LEN(0)`).
const HEADER_BYTES: usize = 16;

/// A control buffer for the maximum number of descriptors, aligned so that all of it is usable.
#[repr(align(8))]
struct Control([MaybeUninit<u8>; HEADER_BYTES + FDS_PER_MESSAGE_MAX * size_of::<i32>()]);

pub(crate) fn receive(socket: Fd, wait: bool) -> CallResult {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE_MAX))];
    receive_into(socket, wait, &mut space)
}

/// Receives without waiting, with room for exactly `fds_max` descriptors (at most
/// `FDS_PER_MESSAGE_MAX`).
pub(crate) fn receive_few(socket: Fd, fds_max: usize) -> CallResult {
    let room = match fds_max.min(FDS_PER_MESSAGE_MAX) {
        0 => 0,
        fds => HEADER_BYTES + fds * size_of::<i32>(),
    };
    let mut space = Control([MaybeUninit::uninit(); _]);
    receive_into(socket, false, &mut space.0[..room])
}

fn receive_into(socket: Fd, wait: bool, space: &mut [MaybeUninit<u8>]) -> CallResult {
    let socket = sys::borrow(socket);
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut control = RecvAncillaryBuffer::new(space);
    let dontwait = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let packet = &mut [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | dontwait;
    let got = rustix::net::recvmsg(socket, packet, &mut control, flags).map_err(sys::errno)?;
    let fds = control.drain().flat_map(rights).map(|fd| Fd(fd.into_raw_fd())).collect();
    bytes.truncate(got.bytes);
    let truncated = got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    Ok(Reply::Message { bytes, fds, truncated })
}

fn rights(message: RecvAncillaryMessage<'_>) -> Vec<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn shutdown_receive(socket: Fd) -> Result<(), Errno> {
    rustix::net::shutdown(sys::borrow(socket), Shutdown::Read).map_err(sys::errno)
}
