//! Lifetime of processes: start, exec, exit, and the state that survives.

use crate::suite::fixture::{FactResult, Fixture, ORDINARY, ROOT, limited};
use crate::suite::{Fact, row};
use handoff_model::abi::call::{
    Call, FileCall, MemoryCall, ProcessCall, Reply, SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid, Uid};
use handoff_sim_kernel::ProcessSpec;

fn flag(b: &mut Fixture<'_>, pid: Pid, call: &Call, expected: bool) -> FactResult {
    let reply = b.ok(pid, call)?;
    b.same(call.name(), &reply, &Reply::Flag(expected))
}

fn cap_ipc_lock(b: &mut Fixture<'_>, pid: Pid, expected: bool) -> FactResult {
    flag(b, pid, &Call::Process(ProcessCall::GetCapIpcLock), expected)
}

/// Root without CAP_IPC_LOCK, and an unprivileged user with it.
const BARE_ROOT: ProcessSpec = ProcessSpec { cap_ipc_lock: false, ..ROOT };
const LOCKER: ProcessSpec = ProcessSpec { cap_ipc_lock: true, ..ORDINARY };

pub(super) const ROWS: &[Fact] = &[
    row(
        "process/descriptors",
        "the lowest free descriptor is assigned, from 3 to 1023",
        &[],
        |b| {
            let p = b.process();
            let first = b.fd(p, &Call::File(FileCall::Eventfd))?;
            b.same("the first", &first, &Fd(3))?;
            for expected in 4..1024 {
                let fd = b.fd(p, &Call::File(FileCall::Dup { fd: first }))?;
                b.same("the next", &fd, &Fd(expected))?;
            }
            b.refuses(p, &Call::File(FileCall::Dup { fd: first }), Errno::EMFILE)?;
            b.refuses(p, &Call::Memory(MemoryCall::Memfd { name: "ram".into() }), Errno::EMFILE)?;
            b.ok(p, &Call::File(FileCall::Close { fd: Fd(700) }))?;
            b.refuses(p, &Call::File(FileCall::Close { fd: Fd(700) }), Errno::EBADF)?;
            let fd = b.fd(p, &Call::File(FileCall::Dup { fd: first }))?;
            b.same("the free one", &fd, &Fd(700))
        },
    ),
    row("process/fork", "a child shares open files, but not the descriptor table", &[], |b| {
        let parent = b.process();
        let event = b.fd(parent, &Call::File(FileCall::Eventfd))?;
        let child = b.fork(parent);
        b.ok(parent, &Call::File(FileCall::Close { fd: event }))?;
        b.refuses(child, &Call::File(FileCall::ReadEvent { fd: event }), Errno::EAGAIN)?;
        b.refuses(parent, &Call::File(FileCall::ReadEvent { fd: event }), Errno::EBADF)?;
        let next = b.fd(child, &Call::File(FileCall::Eventfd))?;
        b.same("the child's next", &next, &Fd(4))?;
        b.kill(parent);
        b.refuses(child, &Call::File(FileCall::ReadEvent { fd: next }), Errno::EAGAIN)
    }),
    row("process/exec", "execve closes only CLOEXEC descriptors", &[], |b| {
        let p = b.process();
        let (kept, closed) =
            (b.fd(p, &Call::File(FileCall::Eventfd))?, b.fd(p, &Call::File(FileCall::Eventfd))?);
        b.ok(p, &Call::File(FileCall::SetCloexec { fd: kept, on: false }))?;
        b.exec(p);
        b.refuses(p, &Call::File(FileCall::ReadEvent { fd: kept }), Errno::EAGAIN)?;
        b.refuses(p, &Call::File(FileCall::ReadEvent { fd: closed }), Errno::EBADF)?;
        let next = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.same("the next", &next, &closed)
    }),
    row(
        "process/exec-capabilities",
        "execve gives root every capability, and keeps ambient ones",
        &[],
        |b| {
            for (spec, before, after) in [
                (ROOT, true, true),
                (BARE_ROOT, false, true),
                (LOCKER, true, true),
                (ORDINARY, false, false),
            ] {
                let p = b.spawn(spec);
                cap_ipc_lock(b, p, before)?;
                b.exec(p);
                cap_ipc_lock(b, p, after)?;
            }
            Ok(())
        },
    ),
    row(
        "process/gives-up-capabilities",
        "a user other than 0 has no capabilities, and cannot regain them",
        &[],
        |b| {
            let p = b.spawn(ROOT);
            b.ok(p, &Call::Process(ProcessCall::SetUid { uid: Uid(1000) }))?;
            cap_ipc_lock(b, p, false)?;
            b.refuses(p, &Call::Process(ProcessCall::SetUid { uid: Uid(0) }), Errno::EPERM)?;
            let reply = b.ok(p, &Call::Process(ProcessCall::GetUid))?;
            b.same("its user", &reply, &Reply::Uid(Uid(1000)))?;
            b.exec(p);
            cap_ipc_lock(b, p, false)?;
            let p = b.spawn(LOCKER);
            b.ok(p, &Call::Process(ProcessCall::DropCapIpcLock))?;
            cap_ipc_lock(b, p, false)?;
            b.exec(p);
            cap_ipc_lock(b, p, false)
        },
    ),
    row("process/memlock", "only root can raise the hard limit", &[], |b| {
        let limit =
            |pages: u64| Call::Process(ProcessCall::SetMemlock { limit_bytes: pages * PAGE_BYTES });
        for (spec, may) in
            [(limited(1000, 8), false), (ProcessSpec { uid: Uid(0), ..limited(0, 8) }, true)]
        {
            let p = b.spawn(spec);
            let reply = b.ok(p, &Call::Process(ProcessCall::GetMemlock))?;
            b.same("the limit", &reply, &Reply::Memlock(8 * PAGE_BYTES))?;
            b.ok(p, &limit(4))?;
            for raised in
                [limit(5), Call::Process(ProcessCall::SetMemlock { limit_bytes: UNLIMITED })]
            {
                if may {
                    b.ok(p, &raised)?;
                } else {
                    b.refuses(p, &raised, Errno::EPERM)?;
                }
            }
        }
        Ok(())
    }),
    row("process/ends", "exit and kill close all files of a process", &[], |b| {
        for how in 0..3 {
            let (p, q) = (b.process(), b.process());
            let (here, there) = b.arm().socketpair(p, q);
            let pidfd = b.arm().pidfd(q, p);
            match how {
                0 => b.kill(p),
                1 => b.ok(p, &Call::Process(ProcessCall::Exit { status: 3 })).map(drop)?,
                _ => b.ok(q, &Call::Process(ProcessCall::Kill { pidfd })).map(drop)?,
            }
            b.ok(q, &Call::Process(ProcessCall::AwaitExit { pidfd }))?;
            // A process that was killed by another may not have been reaped yet.
            if how < 2 {
                b.refuses(q, &Call::Process(ProcessCall::Kill { pidfd }), Errno::ESRCH)?;
            }
            let message = SocketCall::send(there, vec![1], vec![]);
            b.refuses(q, &message, Errno::EPIPE)?;
            b.same("the sockets", &here, &Fd(3))?;
        }
        Ok(())
    }),
];
