//! Makes ioctls whose nth allocation or pin fails.
//!
//! Mirrors: `/proc/thread-self/fail-nth` (`Documentation/fault-injection/fault-injection.rst`). It
//! counts all allocations of a thread, so it is set immediately before the ioctl, and read and
//! cleared immediately after it.

use crate::sys;
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_real_backend::host::ioctl_between;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::cell::Cell;

const FILE: &str = "/proc/thread-self/fail-nth";

/// Opens the counter of the calling thread. Fails with `ENOENT` if the kernel has no fault
/// injection, or with `EACCES`.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    rustix::fs::open(FILE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(sys::errno)
}

/// Makes an ioctl whose nth allocation fails, counted from 1. Returns its answer, and whether it
/// reached that allocation.
///
/// # Errors
/// `ENOTTY` if the call is not an ioctl; the errnos of the counter's file.
pub(crate) fn ioctl(counter: Fd, call: &Call, nth: u32) -> Result<(CallResult, bool), Errno> {
    let (set, left) = (Cell::new(Ok(())), Cell::new(Ok(0)));
    let answer = ioctl_between(
        call,
        || set.set(write(counter, nth)),
        || left.set(read(counter).and_then(|left| unset(counter).map(|()| left))),
    );
    set.into_inner()?;
    Ok((answer, left.into_inner()? == 0))
}

fn write(counter: Fd, nth: u32) -> Result<(), Errno> {
    rustix::io::pwrite(sys::borrow(counter), nth.to_string().as_bytes(), 0)
        .map(drop)
        .map_err(sys::errno)
}

/// Clears the counter. Retries once, because the write itself may be what fails.
fn unset(counter: Fd) -> Result<(), Errno> {
    write(counter, 0).or_else(|_| write(counter, 0))
}

/// Reads the counter. If the read itself is what fails (EFAULT), the ioctl did not reach the
/// failure.
fn read(counter: Fd) -> Result<u32, Errno> {
    let mut text = [0; 16];
    match rustix::io::pread(sys::borrow(counter), &mut text, 0) {
        Ok(length) => {
            let text = std::str::from_utf8(&text[..length]).map_err(|_| Errno::EIO)?;
            text.trim().parse().map_err(|_| Errno::EIO)
        }
        Err(rustix::io::Errno::FAULT) => Ok(1),
        Err(error) => Err(sys::errno(error)),
    }
}
