//! The worker's side: executes requests, one after the other.

use super::wire::{Link, Received};
use super::{CONTROL_FD, COUNTER, FD_END, Reach, Request, Response, WorkerCredentials};
use crate::device::{self, Direction, Dma};
use crate::{calls, fail_nth, family, sys};
use handoff_model::abi::call::{Call, CallResult, MemoryCall, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid, Va};
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;
use handoff_real_backend::spawn;
use rustix::fd::{IntoRawFd, OwnedFd};
use rustix::process::{DumpableBehavior, PidfdFlags, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The longest DMA.
const DMA_LIMIT: Duration = Duration::from_secs(5);

/// The marks in a page before the device reads it, and before the device writes it.
const MARKS: [&[u8; 16]; 2] = [b"read me, device!", b"and write me now"];

/// Runs the zygote: a program that was started with its end of the socket as standard input.
/// `again` is the name and the arguments with which the program, executed again, calls [`live_on`].
///
/// Returns when the controller has exited; an error means that the zygote could not continue.
pub fn live(again: &[&str]) -> Result<(), Errno> {
    hold(spawn::take_inherited()?)?;
    family::adopt_orphans()?;
    sys::forget_children();
    live_on(again)
}

/// Runs a program that a worker has executed.
pub fn live_on(again: &[&str]) -> Result<(), Errno> {
    let again: Vec<OsString> = again.iter().map(OsString::from).collect();
    let memory = Memory::default();
    let host = Host::new(again.clone(), memory.clone(), Box::new(NoGuest));
    let mut agent = Agent { again, memory, host, link: Link::new(CONTROL_FD) };
    agent.link.send(&Response::Hello, None)?;
    agent.run()
}

/// Moves the socket to [`CONTROL_FD`], which executed programs inherit.
fn hold(socket: Fd) -> Result<(), Errno> {
    take(socket, CONTROL_FD)
}

/// Moves a descriptor to a number above those that calls get.
fn take(fd: Fd, to: Fd) -> Result<(), Errno> {
    limit_descriptors(FD_END + 2)?;
    sys::redirect(fd, to)?;
    limit_descriptors(FD_END)?;
    calls::close(fd)
}

/// Sets the soft limit. Fails with `EINVAL` above the hard limit.
fn limit_descriptors(limit: u64) -> Result<(), Errno> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit { current: Some(limit), maximum };
    rustix::process::setrlimit(Resource::Nofile, limits).map_err(sys::errno)
}

struct Agent {
    again: Vec<OsString>,
    memory: Memory,
    host: Host,
    link: Link,
}

impl Agent {
    fn run(&mut self) -> Result<(), Errno> {
        while let Received::Value(request, fd) = self.link.receive::<Request<Call>>()? {
            if let Some(response) = self.execute(request, fd) {
                self.link.send(&response, None)?;
            }
        }
        Ok(())
    }

    /// Returns `None` in a newly forked child, which sends no response.
    fn execute(&mut self, request: Request<Call>, fd: Option<OwnedFd>) -> Option<Response> {
        let fd = fd.map(|fd| Fd(fd.into_raw_fd()));
        let answer = match request {
            Request::Call(call, place) => self.call(&call, place),
            Request::Fail(call, nth) => match fail(&call, nth) {
                Ok((answer, reached)) => return Some(Response::Failed(answer, reached)),
                Err(errno) => Err(errno),
            },
            Request::Become(credentials) => self.take_on(&credentials).map(|()| Reply::Done),
            Request::Fork => {
                return fork(fd).unwrap_or_else(|errno| Some(Response::Answer(Err(errno))));
            }
            Request::Exec => Err(exec(&self.again)),
            Request::Keep => fd.map(Reply::Fd).ok_or(Errno::EBADF),
            Request::Pidfd(pid) => pidfd(pid),
            Request::Raise(device) => device::raise_once(device).map(|()| Reply::Done),
            Request::Reach(reach) => reaches(&reach).map(Reply::Flag),
        };
        Some(Response::Answer(answer))
    }

    fn call(&mut self, call: &Call, place: Option<Va>) -> CallResult {
        match (call, place) {
            (Call::Memory(MemoryCall::Mmap { fd, offset_bytes, length_bytes }), Some(place)) => {
                self.memory.map_at(place, *fd, *offset_bytes, *length_bytes).map(Reply::Va)
            }
            _ => self.host.call(call),
        }
    }

    /// Takes on a user, a capability and a limit. Makes the process dumpable again, like a program
    /// that the user executed, so that it owns its `/proc` files.
    fn take_on(&mut self, credentials: &WorkerCredentials) -> Result<(), Errno> {
        let WorkerCredentials { uid, cap_ipc_lock, memlock_bytes } = *credentials;
        self.host.call(&Call::Process(ProcessCall::SetMemlock { limit_bytes: memlock_bytes }))?;
        if uid.0 != 0 {
            rustix::thread::set_keep_capabilities(cap_ipc_lock).map_err(sys::errno)?;
            self.host.call(&Call::Process(ProcessCall::SetUid { uid }))?;
            let dumpable = DumpableBehavior::Dumpable;
            rustix::process::set_dumpable_behavior(dumpable).map_err(sys::errno)?;
            if cap_ipc_lock {
                keep_ipc_lock()?;
            }
        } else if !cap_ipc_lock {
            self.host.call(&Call::Process(ProcessCall::DropCapIpcLock))?;
        }
        Ok(())
    }
}

/// Makes an ioctl whose nth allocation fails. Its new descriptors get the same numbers as without
/// the counter.
fn fail(call: &Call, nth: u32) -> Result<(CallResult, bool), Errno> {
    take(Fd(fail_nth::open()?.into_raw_fd()), COUNTER)?;
    let failed = fail_nth::ioctl(COUNTER, call, nth);
    calls::close(COUNTER)?;
    failed
}

/// Returns the child's process ID in the parent, and no response in the child.
fn fork(socket: Option<Fd>) -> Result<Option<Response>, Errno> {
    let socket = socket.ok_or(Errno::EBADF)?;
    match sys::fork()? {
        Some(child) => {
            calls::close(socket)?;
            Ok(Some(Response::Child(child)))
        }
        None => hold(socket).map(|()| None),
    }
}

/// Executes the program again, with an empty environment; returns the errno.
fn exec(again: &[OsString]) -> Errno {
    let mut program = Command::new("/proc/self/exe");
    let Some((name, rest)) = again.split_first() else { return Errno::EINVAL };
    sys::io_errno(&program.arg0(name).args(rest).env_clear().exec())
}

fn keep_ipc_lock() -> Result<(), Errno> {
    let only = CapabilitySet::IPC_LOCK;
    let sets = CapabilitySets { effective: only, permitted: only, inheritable: only };
    rustix::thread::set_capabilities(None, sets).map_err(sys::errno)?;
    rustix::thread::configure_capability_in_ambient_set(only, true).map_err(sys::errno)
}

fn pidfd(pid: Pid) -> CallResult {
    let number = rustix::process::Pid::from_raw(pid.0.cast_signed()).ok_or(Errno::ESRCH)?;
    let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(sys::errno)?;
    Ok(Reply::Fd(Fd(pidfd.into_raw_fd())))
}

/// Makes the device read the bytes at the IOVA and write them back there. If the IOVA maps the
/// page, that undoes a change made in between. Any other memory it leaves unchanged.
fn reaches(reach: &Reach) -> Result<bool, Errno> {
    let Reach { device, iova, memfd, offset_bytes } = *reach;
    let mut device = device::probe(device)?.drive(None)?;
    let length_bytes = MARKS[0].len() as u64;
    let kernel = &mut calls::host();
    let before = calls::read_at(kernel, memfd, offset_bytes, length_bytes)?;
    for (mark, direction) in MARKS.into_iter().zip([Direction::FromRam, Direction::ToRam]) {
        calls::write_at(kernel, memfd, offset_bytes, mark)?;
        device.start(Dma { direction, iova, length_bytes: 16, interrupt: false })?;
        device.wait(DMA_LIMIT)?;
    }
    let after = calls::read_at(kernel, memfd, offset_bytes, length_bytes)?;
    calls::write_at(kernel, memfd, offset_bytes, &before)?;
    Ok(after == MARKS[0])
}
