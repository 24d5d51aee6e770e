//! Tests of the channel: packet boundaries, descriptors, truncation, and a closed end.

use crate::calls::{DONE, check, fd, memfd, no};
use crate::common::{host, succeeds_alone};
use handoff_model::abi::call::{
    Call, FDS_PER_MESSAGE_MAX, FileCall, MESSAGE_BYTES_MAX, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::abi::view::FileKind;
use handoff_real_backend::host::Host;
use handoff_real_backend::{descriptors, socket};
use rustix::fd::IntoRawFd;
use rustix::process::{Resource, Rlimit};

fn pair() -> (Fd, Fd) {
    let (left, right) = socket::pair().expect("room");
    (Fd(left.into_raw_fd()), Fd(right.into_raw_fd()))
}

fn send(fd: Fd, bytes: &[u8], fds: &[Fd]) -> Call {
    SocketCall::send(fd, bytes.to_vec(), fds.to_vec())
}

fn receive(fd: Fd) -> Call {
    Call::Socket(SocketCall::Receive { fd, wait: false })
}

fn packet(bytes: &[u8]) -> Reply {
    Reply::Message { bytes: bytes.to_vec(), fds: vec![], truncated: false }
}

/// The end of the stream, received as an empty packet.
fn end() -> Reply {
    packet(b"")
}

#[track_caller]
fn descriptors_of(host: &mut Host, fd: Fd) -> (Vec<Fd>, bool) {
    match host.call(&receive(fd)) {
        Ok(Reply::Message { fds, truncated, .. }) => (fds, truncated),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packets_keep_their_boundaries_and_their_order() {
    let (left, right) = pair();
    let long = vec![7; MESSAGE_BYTES_MAX];
    check(
        &mut host(),
        &[
            (receive(right), no(Errno::EAGAIN)),
            (send(left, b"one", &[]), DONE),
            (send(left, &long, &[]), DONE),
            (send(right, b"back", &[]), DONE),
            (receive(right), Ok(packet(b"one"))),
            (receive(right), Ok(packet(&long))),
            (Call::Socket(SocketCall::Receive { fd: left, wait: true }), Ok(packet(b"back"))),
            (receive(right), no(Errno::EAGAIN)),
        ],
    );
}

#[test]
fn a_packet_that_is_too_long_is_refused_or_truncated() {
    let (left, right) = pair();
    let cut = Reply::Message { bytes: vec![1; MESSAGE_BYTES_MAX], fds: vec![], truncated: true };
    check(
        &mut host(),
        &[
            (send(left, &vec![1; 64 << 20], &[]), no(Errno::EMSGSIZE)),
            (send(left, &vec![1; MESSAGE_BYTES_MAX + 1], &[]), DONE),
            (receive(right), Ok(cut)),
        ],
    );
}

#[test]
fn descriptors_arrive_cloexec_under_new_numbers() {
    let (left, right) = pair();
    let mut host = host();
    let sent = memfd(&mut host, 4096);
    check(
        &mut host,
        &[
            (Call::File(FileCall::SetCloexec { fd: sent, on: false }), DONE),
            (send(left, b"ram", &[sent, sent]), DONE),
        ],
    );
    let (got, truncated) = descriptors_of(&mut host, right);
    assert!(!truncated && got.len() == 2 && !got.contains(&sent));
    let of = |fd| descriptors::own(fd).expect("open");
    for fd in got {
        assert_eq!((of(fd).identity, of(fd).kind), (of(sent).identity, FileKind::Memfd));
        assert!(of(fd).cloexec && !of(sent).cloexec);
    }
}

#[test]
fn a_packet_carries_at_most_253_descriptors() {
    let (left, right) = pair();
    let mut host = host();
    let fd = memfd(&mut host, 0);
    let most = vec![fd; FDS_PER_MESSAGE_MAX];
    let over = vec![fd; FDS_PER_MESSAGE_MAX + 1];
    check(
        &mut host,
        &[
            (send(left, b"x", &over), no(Errno::EINVAL)),
            (send(left, b"x", &[fd, Fd(1_000_000)]), no(Errno::EBADF)),
            (send(left, b"x", &[fd, Fd(-1)]), no(Errno::EBADF)),
            (send(fd, b"x", &[Fd(-1)]), no(Errno::ENOTSOCK)),
            (receive(right), no(Errno::EAGAIN)),
            (send(left, b"x", &most), DONE),
        ],
    );
    let (got, truncated) = descriptors_of(&mut host, right);
    assert_eq!((got.len(), truncated), (FDS_PER_MESSAGE_MAX, false));
    let closed: Vec<_> =
        got.into_iter().map(|fd| (Call::File(FileCall::Close { fd }), DONE)).collect();
    check(&mut host, &closed);
}

#[test]
fn a_full_table_loses_descriptors_and_reports_truncation() {
    succeeds_alone("sockets::a_full_table_loses_descriptors_and_reports_truncation", || {
        let (left, right) = pair();
        let mut host = host();
        let sent = memfd(&mut host, 0);
        check(&mut host, &[(send(left, b"three", &[sent; 3]), DONE)]);
        leave_room_for_one(&mut host, sent);
        let (got, truncated) = descriptors_of(&mut host, right);
        assert_eq!((got.len(), truncated), (1, true));
        check(
            &mut host,
            &[
                (receive(right), no(Errno::EAGAIN)),
                (Call::File(FileCall::Eventfd), no(Errno::EMFILE)),
            ],
        );
    });
}

/// Fills the gaps of the descriptor table, then limits it to one number above the highest.
fn leave_room_for_one(host: &mut Host, any: Fd) {
    let table = descriptors::table(Pid(std::process::id())).expect("a table");
    let highest = table.last().expect("standard streams").fd;
    let mut top = any;
    while top <= highest {
        top = fd(host, &Call::File(FileCall::Dup { fd: any }));
    }
    let room = Some(u64::from(top.0.cast_unsigned()) + 2);
    let limits = Rlimit { current: room, maximum: room };
    rustix::process::setrlimit(Resource::Nofile, limits).expect("lower is allowed");
}

#[test]
fn a_shut_end_keeps_queued_packets_and_refuses_more() {
    let (left, right) = pair();
    let mut host = host();
    let fd = memfd(&mut host, 0);
    check(
        &mut host,
        &[
            (send(left, b"before", &[fd]), DONE),
            (Call::Socket(SocketCall::ShutdownReceive { fd: right }), DONE),
            (send(left, b"after", &[]), no(Errno::EPIPE)),
            (send(left, b"", &[fd]), no(Errno::EPIPE)),
        ],
    );
    assert_eq!(descriptors_of(&mut host, right).0.len(), 1);
    check(
        &mut host,
        &[
            (receive(right), Ok(end())),
            (Call::Socket(SocketCall::Receive { fd: right, wait: true }), Ok(end())),
            (send(right, b"still", &[]), DONE),
            (receive(left), Ok(packet(b"still"))),
            (Call::Socket(SocketCall::ShutdownReceive { fd: right }), DONE),
        ],
    );
}

#[test]
fn a_closed_peer_is_an_end_after_its_packets() {
    let (left, right) = pair();
    check(
        &mut host(),
        &[
            (send(left, b"last", &[]), DONE),
            (Call::File(FileCall::Close { fd: left }), DONE),
            (send(right, b"x", &[]), no(Errno::EPIPE)),
            (receive(right), Ok(packet(b"last"))),
            (receive(right), Ok(end())),
            (receive(right), Ok(end())),
            (Call::Socket(SocketCall::ShutdownReceive { fd: right }), DONE),
        ],
    );
}

#[test]
fn a_peer_closed_with_unread_packets_is_a_reset_before_its_packets() {
    let (left, right) = pair();
    check(
        &mut host(),
        &[
            (send(left, b"last", &[]), DONE),
            (send(right, b"unread", &[]), DONE),
            (Call::File(FileCall::Close { fd: left }), DONE),
            (receive(right), no(Errno::ECONNRESET)),
            (receive(right), Ok(packet(b"last"))),
            (receive(right), Ok(end())),
        ],
    );
}

#[test]
fn calls_on_a_file_that_is_no_socket_are_enotsock() {
    let mut host = host();
    let fd = memfd(&mut host, 0);
    check(
        &mut host,
        &[
            (send(fd, b"x", &[]), no(Errno::ENOTSOCK)),
            (receive(fd), no(Errno::ENOTSOCK)),
            (Call::Socket(SocketCall::ShutdownReceive { fd }), no(Errno::ENOTSOCK)),
        ],
    );
}
