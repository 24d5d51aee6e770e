//! Calls on the calling process (limits, credentials, `execve`) and on another one (kill, wait).
//!
//! Capabilities are per thread: [`drop_ipc_lock`] changes the calling thread, which is the one that
//! makes the mapping calls. The user ID changes in every thread, as with `setresuid(3)`.
//!
//! Mirrors: `getrlimit(2)`, `capabilities(7)`, `execve(2)`, `pidfd_send_signal(2)`.

use crate::sys;
use handoff_model::abi::call::UNLIMITED;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Uid};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CapabilitySet;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

pub(crate) fn memlock() -> u64 {
    rustix::process::getrlimit(Resource::Memlock).current.unwrap_or(UNLIMITED)
}

/// Sets both limits. Raising the hard limit without CAP_SYS_RESOURCE fails with `EPERM`.
pub(crate) fn set_memlock(limit_bytes: u64) -> Result<(), Errno> {
    let limit = (limit_bytes != UNLIMITED).then_some(limit_bytes);
    let limits = Rlimit { current: limit, maximum: limit };
    rustix::process::setrlimit(Resource::Memlock, limits).map_err(sys::errno)
}

pub(crate) fn user() -> Uid {
    Uid(rustix::process::geteuid().as_raw())
}

pub(crate) fn has_ipc_lock() -> Result<bool, Errno> {
    let sets = rustix::thread::capabilities(None).map_err(sys::errno)?;
    Ok(sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Removes CAP_IPC_LOCK from all three sets, so that it cannot be regained before an `execve`.
pub(crate) fn drop_ipc_lock() -> Result<(), Errno> {
    let mut sets = rustix::thread::capabilities(None).map_err(sys::errno)?;
    for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
        set.remove(CapabilitySet::IPC_LOCK);
    }
    rustix::thread::set_capabilities(None, sets).map_err(sys::errno)
}

/// `execve("/proc/self/fd/N", argv, environ)`; returns the errno. `EINVAL` if `argv` is empty or
/// contains a NUL byte.
///
/// Not std's `exec`, which runs a shell in place of an image that is not executable (ENOEXEC).
pub(crate) fn exec(image: Fd, argv: &[OsString]) -> Errno {
    let path = OsString::from(format!("/proc/self/fd/{}", image.0));
    let environment: Vec<OsString> =
        std::env::vars_os().map(|(name, value)| [name, value].join(OsStr::new("="))).collect();
    let strings = |list: &[OsString]| list.iter().map(c_string).collect::<Result<Vec<_>, _>>();
    match (c_string(&path), strings(argv), strings(&environment)) {
        (Ok(path), Ok(argv), Ok(environment)) if !argv.is_empty() => {
            sys::exec(&path, &argv, &environment)
        }
        _ => Errno::EINVAL,
    }
}

fn c_string(text: &OsString) -> Result<CString, NulError> {
    CString::new(text.as_bytes())
}

/// Returns once the process has exited. Fails with `EBADF` or `EINTR`.
pub(crate) fn await_exit(pidfd: Fd) -> Result<(), Errno> {
    let mut ended = [PollFd::from_borrowed_fd(sys::borrow(pidfd), PollFlags::IN)];
    rustix::event::poll(&mut ended, None).map_err(sys::errno)?;
    if ended[0].revents().contains(PollFlags::NVAL) { Err(Errno::EBADF) } else { Ok(()) }
}

/// Sends SIGKILL. Fails with `ESRCH` if the process has exited, or with `EPERM`, `EBADF`.
pub(crate) fn kill(pidfd: Fd) -> Result<(), Errno> {
    rustix::process::pidfd_send_signal(sys::borrow(pidfd), Signal::KILL).map_err(sys::errno)
}
