//! Starts the new process: a program, its arguments, and one inherited descriptor.
//!
//! The descriptor becomes the new process's standard input, the only number that both sides can
//! agree on without a race against other threads that spawn. Standard output and error are
//! inherited. Every other descriptor is marked CLOEXEC between fork and exec, even if its owner did
//! not mark it. The first thing the new process does is to move its end away from standard input
//! with [`take_inherited`].
//!
//! Mirrors: `close_range(2)` with CLOSE_RANGE_CLOEXEC (5.11), `pidfd_open(2)`.

use crate::sys;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsRawFd, IntoRawFd, OwnedFd};
use rustix::process::PidfdFlags;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The descriptor number at which a spawned process finds its inherited descriptor.
pub const INHERITED: Fd = Fd(0);

/// A process that this process has started.
///
/// Dropping it neither kills nor reaps the process.
#[derive(Debug)]
pub struct Spawned {
    /// Its process ID.
    pub pid: Pid,
    /// A pidfd, readable once the process has exited; CLOEXEC.
    pub pidfd: OwnedFd,
    child: Child,
}

impl Spawned {
    /// Waits for the process to exit and reaps it. Returns `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Errno> {
        let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut ended, Some(&timeout)).map_err(sys::errno)? {
            0 => Ok(None),
            _ => self.child.wait().map(Some).map_err(|error| sys::io_errno(&error)),
        }
    }
}

/// Starts `image` with `argv` (program name first); `inherited` becomes its [`INHERITED`]
/// descriptor.
///
/// # Errors
/// `EINVAL` if `argv` is empty; the errnos of `fork(2)`, `execve(2)` and `pidfd_open(2)`.
pub fn spawn(image: &Path, argv: &[OsString], inherited: OwnedFd) -> Result<Spawned, Errno> {
    use std::os::unix::process::CommandExt;
    let (name, rest) = argv.split_first().ok_or(Errno::EINVAL)?;
    let mut command = Command::new(image);
    command.arg0(name).args(rest).stdin(Stdio::from(inherited));
    sys::keep_only_standard_streams(&mut command);
    let child = command.spawn().map_err(|error| sys::io_errno(&error))?;
    let number = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(sys::errno)?;
    Ok(Spawned { pid: Pid(child.id()), pidfd, child })
}

/// Moves the inherited descriptor to another number, CLOEXEC, and leaves `/dev/null` as standard
/// input. For the spawned process.
pub fn take_inherited() -> Result<Fd, Errno> {
    let inherited =
        rustix::io::fcntl_dupfd_cloexec(sys::borrow(INHERITED), 3).map_err(sys::errno)?;
    let null = File::open("/dev/null").map_err(|error| sys::io_errno(&error))?;
    sys::redirect(Fd(null.as_raw_fd()), INHERITED)?;
    Ok(Fd(inherited.into_raw_fd()))
}
