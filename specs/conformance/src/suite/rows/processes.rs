//! Processes: limits, users, signals, exec, guests; and the sockets between them.

use crate::suite::fixture::{Fixture, ROOT, limited};
use crate::suite::{Fact, FactResult, row};
use crate::target::Capability;
use handoff_model::abi::call::{
    Call, FDS_PER_MESSAGE_MAX, FileCall, GuestCall, MESSAGE_BYTES_MAX, ProcessCall, Reply,
    SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid, Uid};

const BAD: Fd = Fd(99);

const WAITS: &[Capability] = &[Capability::Simulated("a process of a host would wait")];
const GUEST: &[Capability] = &[Capability::Simulated("a host's workers have no guest")];

fn send(fd: Fd, length: usize, fds: Vec<Fd>) -> Call {
    SocketCall::send(fd, vec![1; length], fds)
}

fn receive(fd: Fd) -> Call {
    Call::Socket(SocketCall::Receive { fd, wait: false })
}

/// Returns the length of the next message in bytes.
fn bytes(b: &mut Fixture<'_>, p: Pid, fd: Fd) -> FactResult<usize> {
    match b.ok(p, &receive(fd))? {
        Reply::Message { bytes, .. } => Ok(bytes.len()),
        other => unreachable!("{other:?}"),
    }
}

pub(super) const ROWS: &[Fact] = &[
    row("processes/limits", "any process can lower its limit, only root can raise it", &[], |b| {
        let p = b.spawn(limited(1000, 4));
        let seen = b.ok(p, &Call::Process(ProcessCall::GetMemlock))?;
        b.same("the limit", &seen, &Reply::Memlock(4 * PAGE_BYTES))?;
        b.ok(p, &Call::Process(ProcessCall::SetMemlock { limit_bytes: PAGE_BYTES }))?;
        b.refuses(
            p,
            &Call::Process(ProcessCall::SetMemlock { limit_bytes: 2 * PAGE_BYTES }),
            Errno::EPERM,
        )?;
        let root = b.spawn(ROOT);
        b.ok(root, &Call::Process(ProcessCall::SetMemlock { limit_bytes: 0 }))?;
        b.ok(root, &Call::Process(ProcessCall::SetMemlock { limit_bytes: UNLIMITED })).map(drop)
    }),
    row("processes/users", "a process that leaves user 0 loses its capabilities", &[], |b| {
        let p = b.spawn(ROOT);
        b.ok(p, &Call::Process(ProcessCall::SetUid { uid: Uid(1000) }))?;
        let seen = b.ok(p, &Call::Process(ProcessCall::GetCapIpcLock))?;
        b.same("CAP_IPC_LOCK", &seen, &Reply::Flag(false))?;
        b.refuses(p, &Call::Process(ProcessCall::SetUid { uid: Uid(0) }), Errno::EPERM)?;
        b.ok(p, &Call::Process(ProcessCall::SetUid { uid: Uid(1000) })).map(drop)
    }),
    row(
        "processes/kill",
        "pidfd_send_signal fails with EPERM for another user, with ESRCH after the exit",
        &[],
        |b| {
            let (p, q, other) = (b.process(), b.process(), b.spawn(limited(1001, 4)));
            let memfd = b.memfd(p, 1)?;
            let (fd, theirs) = (b.arm().pidfd(p, q), b.arm().pidfd(p, other));
            b.refuses(p, &Call::Process(ProcessCall::Kill { pidfd: memfd }), Errno::EBADF)?;
            b.refuses(p, &Call::Process(ProcessCall::Kill { pidfd: theirs }), Errno::EPERM)?;
            b.kill(q);
            b.ok(p, &Call::Process(ProcessCall::AwaitExit { pidfd: fd }))?;
            b.refuses(p, &Call::Process(ProcessCall::Kill { pidfd: fd }), Errno::ESRCH)
        },
    ),
    row("processes/wait", "waiting for a live process does not return", WAITS, |b| {
        let (p, q) = (b.process(), b.process());
        let pidfd = b.arm().pidfd(p, q);
        b.refuses(p, &Call::Process(ProcessCall::AwaitExit { pidfd }), Errno::EINTR)?;
        let (here, _) = b.arm().socketpair(p, q);
        b.refuses(p, &Call::Socket(SocketCall::Receive { fd: here, wait: true }), Errno::EINTR)?;
        let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.refuses(p, &Call::File(FileCall::ReadEvent { fd: event }), Errno::EAGAIN)?;
        b.ok(p, &Call::File(FileCall::SetNonblock { fd: event, on: false }))?;
        b.refuses(p, &Call::File(FileCall::ReadEvent { fd: event }), Errno::EINTR)
    }),
    row("processes/exec", "execve fails for files that are not programs", &[], |b| {
        let p = b.process();
        let (memfd, iommufd) = (b.memfd(p, 1)?, b.iommufd(p)?);
        b.all_refused(
            p,
            &[
                (Call::Process(ProcessCall::Exec { image: BAD }), Errno::ENOENT),
                (Call::Process(ProcessCall::Exec { image: memfd }), Errno::Other(8)),
                (Call::Process(ProcessCall::Exec { image: iommufd }), Errno::EACCES),
            ],
        )
    }),
    row(
        "processes/guest",
        "a guest can be saved, and loaded into a process that has none",
        GUEST,
        |b| {
            let p = b.process();
            let (memfd, iommufd) = (b.memfd(p, 0)?, b.iommufd(p)?);
            b.all_refused(
                p,
                &[
                    (Call::Guest(GuestCall::Start), Errno::EINVAL),
                    (Call::Guest(GuestCall::Save { fd: iommufd }), Errno::EINVAL),
                    (Call::Guest(GuestCall::Save { fd: memfd }), Errno::EINVAL),
                    (Call::Guest(GuestCall::Load { fd: iommufd }), Errno::EINVAL),
                    (Call::Guest(GuestCall::Load { fd: memfd }), Errno::EINVAL),
                ],
            )?;
            let state = |length: usize| {
                FileCall::write_at(memfd, 0, [&b"vmstate\0"[..], &vec![0; length]].concat())
            };
            b.ok(p, &state(3))?;
            b.refuses(p, &Call::Guest(GuestCall::Load { fd: memfd }), Errno::EINVAL)?;
            b.ok(p, &state(8))?;
            b.ok(p, &Call::Guest(GuestCall::Load { fd: memfd }))?;
            b.refuses(p, &Call::Guest(GuestCall::Load { fd: memfd }), Errno::EINVAL)?;
            b.ok(p, &Call::Guest(GuestCall::Start))?;
            b.ok(p, &Call::Guest(GuestCall::Stop))?;
            b.ok(p, &Call::Guest(GuestCall::Save { fd: memfd })).map(drop)
        },
    ),
    row(
        "sockets/messages",
        "sendmsg and recvmsg refuse other files and too many descriptors",
        &[],
        |b| {
            let (p, q) = (b.process(), b.process());
            let (here, there) = b.arm().socketpair(p, q);
            let memfd = b.memfd(p, 1)?;
            b.all_refused(
                p,
                &[
                    (send(memfd, 1, vec![]), Errno::ENOTSOCK),
                    (send(here, 1, vec![BAD]), Errno::EBADF),
                    (send(here, 1, vec![memfd; FDS_PER_MESSAGE_MAX + 1]), Errno::EINVAL),
                    (receive(here), Errno::EAGAIN),
                    (receive(memfd), Errno::ENOTSOCK),
                ],
            )?;
            b.ok(p, &send(here, 7, vec![memfd]))?;
            let seen = bytes(b, q, there)?;
            b.same("bytes", &seen, &7)
        },
    ),
    row(
        "sockets/size",
        "a message that is too long fails with EMSGSIZE",
        &[Capability::Simulated("the socket's buffer determines the maximum length")],
        |b| {
            let (p, q) = (b.process(), b.process());
            let (here, _) = b.arm().socketpair(p, q);
            b.refuses(p, &send(here, MESSAGE_BYTES_MAX + 1, vec![]), Errno::EMSGSIZE)
        },
    ),
    row("sockets/nonblocking", "O_NONBLOCK applies to all holders of an open file", &[], |b| {
        let (p, q) = (b.process(), b.process());
        let (here, there) = b.arm().socketpair(p, q);
        let shared = b.pass(p, q, &[here])?[0];
        b.ok(q, &Call::File(FileCall::SetNonblock { fd: shared, on: true }))?;
        let wait = Call::Socket(SocketCall::Receive { fd: here, wait: true });
        b.refuses(p, &wait, Errno::EAGAIN)?;
        b.ok(q, &send(there, 3, vec![]))?;
        b.ok(p, &wait)?;
        b.refuses(p, &wait, Errno::EAGAIN)
    }),
    row(
        "sockets/closed",
        "after an orderly close, the peer receives the sent messages and then the end",
        &[],
        |b| {
            let (p, q) = (b.process(), b.process());
            let (here, there) = b.arm().socketpair(p, q);
            b.ok(p, &send(here, 3, vec![]))?;
            b.ok(p, &Call::File(FileCall::Close { fd: here }))?;
            b.refuses(q, &send(there, 1, vec![]), Errno::EPIPE)?;
            let seen = (bytes(b, q, there)?, bytes(b, q, there)?);
            b.same("the sent message, and the end", &seen, &(3, 0))
        },
    ),
    row("sockets/reset", "closing with unread packets resets the peer once", &[], |b| {
        let (p, q) = (b.process(), b.process());
        let (here, there) = b.arm().socketpair(p, q);
        b.ok(q, &send(there, 1, vec![]))?;
        b.ok(p, &send(here, 3, vec![]))?;
        b.kill(p);
        b.refuses(q, &receive(there), Errno::ECONNRESET)?;
        let seen = (bytes(b, q, there)?, bytes(b, q, there)?);
        b.same("the sent message, and the end", &seen, &(3, 0))
    }),
    row("sockets/shut", "SHUT_RD refuses new messages, and keeps queued ones", &[], |b| {
        let (p, q) = (b.process(), b.process());
        let (here, there) = b.arm().socketpair(p, q);
        b.ok(p, &send(here, 3, vec![]))?;
        b.ok(q, &Call::Socket(SocketCall::ShutdownReceive { fd: there }))?;
        b.refuses(p, &send(here, 3, vec![]), Errno::EPIPE)?;
        let seen = (bytes(b, q, there)?, bytes(b, q, there)?);
        b.same("the sent message, and the end", &seen, &(3, 0))
    }),
];
