//! Messages, and descriptors in flight (`fs/socket`).

use crate::common::{BAD, NEW, OLD, Rig};
use handoff_model::abi::call::{
    Call, FDS_PER_MESSAGE_MAX, FileCall, MESSAGE_BYTES_MAX, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_sim_kernel::Placement;

fn send(fd: Fd, bytes: &[u8], fds: &[Fd]) -> Call {
    SocketCall::send(fd, bytes.to_vec(), fds.to_vec())
}

fn receive(fd: Fd) -> Call {
    Call::Socket(SocketCall::Receive { fd, wait: false })
}

fn message(bytes: &[u8]) -> Reply {
    Reply::Message { bytes: bytes.to_vec(), fds: vec![], truncated: false }
}

#[test]
fn refusals() {
    let mut rig = Rig::default();
    let memfd = rig.memfd(OLD, 1);
    let image = rig.machine.image(OLD, 1);
    let end = rig.old_end;
    let too_many = vec![memfd; FDS_PER_MESSAGE_MAX + 1];
    let too_long = vec![0; MESSAGE_BYTES_MAX + 1];
    let rows = [
        (send(BAD, &[1], &[]), Errno::EBADF),
        (send(image, &[1], &[]), Errno::EBADF),
        (send(memfd, &[1], &[]), Errno::ENOTSOCK),
        (send(end, &[1], &too_many), Errno::EINVAL),
        (send(end, &too_long, &[BAD]), Errno::EBADF),
        (send(end, &too_long, &[]), Errno::EMSGSIZE),
        (receive(BAD), Errno::EBADF),
        (receive(memfd), Errno::ENOTSOCK),
        (receive(end), Errno::EAGAIN),
        (Call::Socket(SocketCall::Receive { fd: end, wait: true }), Errno::EINTR),
        (Call::Socket(SocketCall::ShutdownReceive { fd: BAD }), Errno::EBADF),
        (Call::Socket(SocketCall::ShutdownReceive { fd: memfd }), Errno::ENOTSOCK),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

#[test]
fn packets_keep_their_order_and_their_bounds() {
    let mut rig = Rig::default();
    let (old, new) = (rig.old_end, rig.new_end);
    rig.ok(OLD, send(old, &[1, 2], &[]));
    rig.ok(OLD, send(old, &[3], &[]));
    assert_eq!(rig.ok(NEW, receive(new)), message(&[1, 2]));
    assert_eq!(rig.ok(NEW, receive(new)), message(&[3]));
    rig.ok(NEW, send(new, &[4], &[]));
    assert_eq!(rig.ok(OLD, receive(old)), message(&[4]));
}

#[test]
fn descriptors_arrive_cloexec_at_the_lowest_free_numbers() {
    let mut rig = Rig::default();
    let [a, b] = [(); 2].map(|()| rig.fd(OLD, Call::File(FileCall::Eventfd)));
    rig.ok(OLD, Call::File(FileCall::SetCloexec { fd: a, on: false }));
    let image = rig.machine.image(OLD, 9);
    rig.send(&[b, a, image]);
    assert_eq!(rig.machine.view().in_flight.len(), 3);
    let fds = [4, 5, 6].map(Fd);
    let expected = Reply::Message { bytes: vec![1], fds: fds.to_vec(), truncated: false };
    let new_end = rig.new_end;
    assert_eq!(rig.ok(NEW, receive(new_end)), expected);
    let view = rig.machine.view();
    assert!(view.in_flight.is_empty());
    let (theirs, ours) = (&view.processes[&NEW].descriptors, &view.processes[&OLD].descriptors);
    assert!(fds.iter().all(|fd| theirs[fd].cloexec));
    assert_eq!([b, a, image].map(|fd| ours[&fd].file), fds.map(|fd| theirs[&fd].file));
}

#[test]
fn recorded_numbers_are_reused() {
    let mut rig = Rig::default();
    let fd = rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.send(&[fd, fd]);
    let place = Placement { fds: vec![Fd(30), Fd(20)], ..Placement::default() };
    let new_end = rig.new_end;
    let answer = rig.machine.call_placed(NEW, &receive(new_end), &place);
    let Ok(Reply::Message { fds, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(fds, place.fds);
}

#[test]
fn descriptors_without_room_are_dropped_and_reported() {
    let mut rig = Rig::default();
    let fd = rig.fd(OLD, Call::File(FileCall::Eventfd));
    for _ in 4..1023 {
        rig.machine.call(NEW, &Call::File(FileCall::Eventfd)).expect("room");
    }
    rig.send(&[fd, fd]);
    let expected = Reply::Message { bytes: vec![1], fds: vec![Fd(1023)], truncated: true };
    let new_end = rig.new_end;
    assert_eq!(rig.ok(NEW, receive(new_end)), expected);
}

type End = fn(&mut Rig);

/// Checks how a process's use of its end affects the peer: first when the peer sends, then when it
/// receives.
#[track_caller]
fn check_end(
    end: End,
    queued: usize,
    sends: &Result<Reply, Errno>,
    receives: &[Result<Reply, Errno>],
) {
    let mut rig = Rig::default();
    for _ in 0..queued {
        rig.send(&[]);
    }
    end(&mut rig);
    let new_end = rig.new_end;
    let mut sender = rig.machine.clone();
    assert_eq!(sender.call(NEW, &send(new_end, &[5], &[])), *sends);
    for expected in receives {
        assert_eq!(rig.machine.call(NEW, &receive(new_end)), *expected);
        rig.machine.audit().expect("invariants");
    }
}

#[test]
fn a_stream_ends_in_order_or_by_a_reset() {
    let die: End = |rig| rig.machine.kill(OLD);
    let close: End = |rig| {
        rig.ok(OLD, Call::File(FileCall::Close { fd: rig.old_end }));
    };
    let unread: End = |rig| {
        rig.ok(NEW, send(rig.new_end, &[7], &[]));
        rig.machine.kill(OLD);
    };
    let shut: End = |rig| {
        rig.ok(OLD, Call::Socket(SocketCall::ShutdownReceive { fd: rig.old_end }));
    };
    let (end, one) = (Ok(message(&[])), Ok(message(&[1])));
    let (again, pipe, reset) = (Err(Errno::EAGAIN), Err(Errno::EPIPE), Err(Errno::ECONNRESET));
    check_end(die, 0, &pipe, &[end.clone(), end.clone()]);
    check_end(close, 1, &pipe, &[one.clone(), end.clone()]);
    check_end(unread, 1, &reset, &[reset.clone(), one.clone(), end]);
    check_end(shut, 1, &pipe, &[one, again]);
}

#[test]
fn a_shut_down_socket_returns_queued_messages_then_the_end() {
    let mut rig = Rig::default();
    rig.send(&[]);
    let (old_end, new_end) = (rig.old_end, rig.new_end);
    rig.ok(NEW, Call::Socket(SocketCall::ShutdownReceive { fd: new_end }));
    rig.refuses(OLD, send(old_end, &[2], &[]), Errno::EPIPE);
    assert_eq!(rig.ok(NEW, receive(new_end)), message(&[1]));
    assert_eq!(rig.ok(NEW, receive(new_end)), message(&[]));
    rig.ok(NEW, send(new_end, &[3], &[]));
}

#[test]
fn a_receive_blocks_while_a_sender_exists() {
    #[track_caller]
    fn check(pid: Pid, call: &Call, before: End, expected: bool) {
        let mut rig = Rig::default();
        before(&mut rig);
        assert_eq!(rig.machine.would_block(pid, call), expected);
    }
    let (end, memfd) = (Fd(3), Fd(4));
    let wait = |fd| Call::Socket(SocketCall::Receive { fd, wait: true });
    check(NEW, &wait(end), |_| {}, true);
    check(NEW, &receive(end), |_| {}, false);
    let nonblocking =
        |rig: &mut Rig| _ = rig.ok(NEW, Call::File(FileCall::SetNonblock { fd: Fd(3), on: true }));
    check(NEW, &wait(end), nonblocking, false);
    check(NEW, &wait(BAD), |_| {}, false);
    check(NEW, &Call::File(FileCall::Eventfd), |_| {}, false);
    check(NEW, &wait(memfd), |rig| _ = rig.memfd(NEW, 1), false);
    check(NEW, &wait(end), |rig| rig.send(&[]), false);
    check(NEW, &wait(end), |rig| rig.machine.kill(OLD), false);
    check(
        NEW,
        &wait(end),
        |rig| _ = rig.ok(NEW, Call::Socket(SocketCall::ShutdownReceive { fd: Fd(3) })),
        false,
    );
    check(
        NEW,
        &wait(end),
        |rig| _ = rig.ok(OLD, Call::Socket(SocketCall::ShutdownReceive { fd: Fd(3) })),
        true,
    );
}

#[test]
fn a_dropped_queue_releases_its_descriptors() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    rig.send(&[set_up.device]);
    rig.ok(OLD, Call::File(FileCall::Close { fd: set_up.device }));
    let view = rig.machine.view();
    assert!(view.devices["edu"].bound && view.devices["edu"].holders.is_empty());
    rig.machine.kill(NEW);
    rig.machine.audit().expect("invariants");
    assert!(!rig.machine.view().devices["edu"].bound, "last close");
}

/// Counts packets and a pending reset as they arrive and are received.
#[test]
fn unread_packets_are_counted() {
    let mut rig = Rig::default();
    let (old, new) = (rig.old_end, rig.new_end);
    assert_eq!(rig.machine.unread(), 0);
    rig.ok(OLD, send(old, &[1], &[]));
    rig.ok(OLD, send(old, &[2], &[]));
    rig.ok(NEW, send(new, &[3], &[]));
    assert_eq!(rig.machine.unread(), 3);
    rig.ok(NEW, receive(new));
    assert_eq!(rig.machine.unread(), 2);
    // One packet is dropped with its socket, and closing the unread end resets the peer.
    rig.ok(NEW, Call::File(FileCall::Close { fd: new }));
    assert_eq!(rig.machine.unread(), 2);
    assert_eq!(rig.machine.call(OLD, &receive(old)), Err(Errno::ECONNRESET));
    assert_eq!(rig.machine.unread(), 1);
    rig.ok(OLD, receive(old));
    assert_eq!(rig.machine.unread(), 0);
}
