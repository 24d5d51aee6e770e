//! The only unsafe code of the test gear: what a process does to itself by raw descriptor numbers.
//!
//! A descriptor is a plain number here, as in `handoff_real_backend`: it may be stale, and the
//! kernel answers EBADF then.
//!
//! Mirrors: `dup2(2)`, `fork(2)`, `signal(2)`.

#![expect(unsafe_code, reason = "the one place for calls that the compiler cannot check")]

use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use rustix::fd::BorrowedFd;

/// The model's errno for one of rustix.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_number(error.raw_os_error())
}

/// The model's errno for one of std; EIO for an error that no system call reported.
pub(crate) fn io_errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_number)
}

/// The number as a type that rustix takes; it is not negative.
pub(crate) fn borrow(fd: Fd) -> BorrowedFd<'static> {
    assert!(fd.0 >= 0, "{fd} is no descriptor");
    // SAFETY: not -1. Whether the number is open is the kernel's to say: it is passed to system
    // calls only, and whoever passes descriptors by number accepts EBADF.
    unsafe { BorrowedFd::borrow_raw(fd.0) }
}

/// `dup2(from, to)`: `to` becomes an inheritable copy of `from`.
pub(crate) fn redirect(from: Fd, to: Fd) -> Result<(), Errno> {
    // SAFETY: takes numbers and no memory.
    let copy = unsafe { libc::dup2(from.0, to.0) };
    if copy < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `fork(2)` of a process with one thread: the child's number in the parent, `None` in the child.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: takes nothing; whoever calls this has one thread, so no lock is held by another.
    let child = unsafe { libc::fork() };
    let child = u32::try_from(child).map_err(|_| last_errno())?;
    Ok((child != 0).then_some(Pid(child)))
}

/// Children that end leave nothing to be waited for; stays so after `execve`.
pub(crate) fn forget_children() {
    // SAFETY: SIGCHLD can be ignored, and no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn last_errno() -> Errno {
    io_errno(&std::io::Error::last_os_error())
}
