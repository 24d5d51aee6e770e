//! The only unsafe code of the test support: calls on raw descriptor numbers, `fork`, `signal`.
//!
//! A descriptor is a plain number here, as in `handoff_real_backend`: it may be stale, and the
//! kernel then answers EBADF.
//!
//! Mirrors: `dup2(2)`, `fork(2)`, `signal(2)`.

#![expect(unsafe_code, reason = "the one place for calls that the compiler cannot check")]

use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use rustix::fd::BorrowedFd;

/// Converts an errno of rustix to the model's.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_number(error.raw_os_error())
}

/// Converts an error of std to the model's errno; `EIO` if no system call reported it.
pub(crate) fn io_errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_number)
}

/// Converts the number to the type that rustix takes.
///
/// # Panics
/// If the number is negative.
pub(crate) fn borrow(fd: Fd) -> BorrowedFd<'static> {
    assert!(fd.0 >= 0, "{fd} is not a descriptor");
    // SAFETY: not -1. The kernel checks whether the number is open: it is passed to system calls
    // only, and a process that passes descriptors by number accepts EBADF.
    unsafe { BorrowedFd::borrow_raw(fd.0) }
}

/// `dup2(from, to)`: `to` becomes an inheritable copy of `from`.
pub(crate) fn redirect(from: Fd, to: Fd) -> Result<(), Errno> {
    // SAFETY: takes numbers and no memory.
    let copy = unsafe { libc::dup2(from.0, to.0) };
    if copy < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `fork(2)` of a single-threaded process: the child's process ID in the parent, `None` in the
/// child.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: takes no arguments; the caller has one thread, so no other thread holds a lock.
    let child = unsafe { libc::fork() };
    let child = u32::try_from(child).map_err(|_| last_errno())?;
    Ok((child != 0).then_some(Pid(child)))
}

/// Ignores SIGCHLD, so that children are reaped as they exit; `execve` preserves that.
pub(crate) fn forget_children() {
    // SAFETY: SIGCHLD can be ignored, and no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn last_errno() -> Errno {
    io_errno(&std::io::Error::last_os_error())
}
