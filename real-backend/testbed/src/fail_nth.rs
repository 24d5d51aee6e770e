//! Ioctls of which the nth allocation or pin fails.
//!
//! Mirrors: `/proc/thread-self/fail-nth` (`Documentation/fault-injection/fault-injection.rst`),
//! which counts whatever a thread allocates. So it is set right before the ioctl, and read and
//! unset right after it.

use crate::sys;
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_real_backend::host::ioctl_between;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::cell::Cell;

const FILE: &str = "/proc/thread-self/fail-nth";

/// The counter of the calling thread. ENOENT where the kernel injects no faults; EACCES.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    rustix::fs::open(FILE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(sys::errno)
}

/// Makes an ioctl of which the nth allocation fails, counted from 1, by a thread's counter; → its
/// answer, and whether it came to that allocation. ENOTTY for a call that is no ioctl, and what the
/// counter's file says.
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

/// Once more where unsetting the counter was what failed.
fn unset(counter: Fd) -> Result<(), Errno> {
    write(counter, 0).or_else(|_| write(counter, 0))
}

/// Reading may be what fails; then the ioctl came to no failure.
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
