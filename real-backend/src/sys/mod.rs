//! The only unsafe code: system calls that take raw addresses or raw descriptor numbers.
//!
//! A descriptor is a plain number here, as in the kernel's table. This crate owns only those held
//! as `OwnedFd`, so any other number may be stale; the kernel then answers EBADF.
//!
//! Invariants, each ensured in one place:
//! * an ioctl's argument and the buffers it points to live until the ioctl returns. Either the
//!   model's codec made them ([`ioctl`]), so that they are as long as the structure states; or they
//!   lie before inaccessible pages, because the stated lengths may be wrong ([`guarded`]);
//! * memory is mapped, copied and unmapped only under the lock of [`memory::Memory`].
//!
//! Beyond any type's guarantee: `IOMMU_IOAS_MAP` and `MAP_FILE` let a device write to memory. The
//! caller chooses that memory; as with `/proc/self/mem`, such writes are outside Rust's rules.
//!
//! Mirrors: `ioctl(2)`, `execve(2)`, `setresuid(2)`, `kcmp(2)`, `close_range(2)`, `_exit(2)` of
//! Linux 7.3.

#![expect(unsafe_code, reason = "the one place for calls that the compiler cannot check")]

mod guarded;
pub mod memory;

use handoff_model::abi::argument::{Argument, HexBytes, Ioctl, IoctlOutcome};
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid, Uid};
use handoff_model::abi::uapi;
use rustix::fd::BorrowedFd;
use std::ffi::{CStr, CString};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Converts an errno of rustix to the model's.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_number(error.raw_os_error())
}

/// Converts an error of std to the model's errno; `EIO` if no system call reported it.
pub(crate) fn io_errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_number)
}

/// Converts the number to the type that rustix takes. A negative number becomes the highest one,
/// which is never open either, so that the kernel answers EBADF.
pub(crate) fn borrow(fd: Fd) -> BorrowedFd<'static> {
    let number = if fd.0 < 0 { i32::MAX } else { fd.0 };
    // SAFETY: not -1. The kernel checks whether the number is open: it is passed to system calls
    // only, and a process that passes descriptors by number accepts EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// `close(fd)`.
pub(crate) fn close(fd: Fd) -> Result<(), Errno> {
    // SAFETY: takes a number and no memory.
    done(unsafe { libc::close(fd.0) })
}

/// `dup2(from, to)`: `to` becomes an inheritable copy of `from`.
pub(crate) fn redirect(from: Fd, to: Fd) -> Result<(), Errno> {
    // SAFETY: takes numbers and no memory.
    done(unsafe { libc::dup2(from.0, to.0) })
}

/// `setresuid(uid, uid, uid)` in every thread of the process. Fails with `EPERM`.
pub(crate) fn set_user(uid: Uid) -> Result<(), Errno> {
    // SAFETY: takes numbers and no memory.
    done(unsafe { libc::setresuid(uid.0, uid.0, uid.0) })
}

/// `exit_group(status)`: runs no destructors and no exit handlers, like a killed process.
pub(crate) fn exit(status: u8) -> ! {
    // SAFETY: takes a number; every thread ends.
    unsafe { libc::_exit(i32::from(status)) }
}

/// `execve(path, argv, environment)`; returns the errno.
pub(crate) fn exec(path: &CStr, argv: &[CString], environment: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| {
        let strings = strings.iter().map(|string| string.as_ptr());
        strings.chain([ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: NUL-terminated strings in lists that end with a null pointer, all of which outlive a
    // call that returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    last_errno()
}

/// True if two descriptors share an open file description: `kcmp(KCMP_FILE)`.
///
/// # Errors
/// `EPERM` if the caller may not inspect one of the processes, `ENOSYS` if the kernel lacks `kcmp`.
pub(crate) fn same_file(left: (Pid, Fd), right: (Pid, Fd)) -> Result<bool, Errno> {
    const KCMP_FILE: libc::c_long = 0;
    let [left_pid, right_pid] = [left.0, right.0].map(|pid| libc::c_long::from(pid.0));
    let [left_fd, right_fd] = [left.1, right.1].map(|fd| libc::c_long::from(fd.0));
    // SAFETY: takes numbers and no memory.
    let order =
        unsafe { libc::syscall(libc::SYS_kcmp, left_pid, right_pid, KCMP_FILE, left_fd, right_fd) };
    if order < 0 { Err(last_errno()) } else { Ok(order == 0) }
}

/// Makes `command` mark every descriptor from 3 on CLOEXEC after its fork, so that the new program
/// inherits only the standard streams.
pub(crate) fn keep_only_standard_streams(command: &mut Command) {
    let mark = || {
        let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
        // SAFETY: takes numbers and no memory.
        done(unsafe { libc::close_range(3, u32::MAX, flags) })
            .map_err(|errno| std::io::Error::from_raw_os_error(errno.number()))
    };
    // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor
    // locks.
    unsafe { command.pre_exec(mark) };
}

fn done(result: libc::c_int) -> Result<(), Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

fn last_errno() -> Errno {
    io_errno(&std::io::Error::last_os_error())
}

/// Makes the ioctl that `call` describes. Fails with `ENOTTY` if `call` is not an ioctl.
pub(crate) fn ioctl(call: &Call) -> CallResult {
    let (fd, ioctl) = uapi::encode(call).ok_or(Errno::ENOTTY)?;
    let outcome = match call {
        Call::Ioctl { .. } => guarded::ioctl(fd, &ioctl),
        _ => plain_ioctl(fd, ioctl),
    };
    uapi::answer(call, outcome)
}

/// Makes the ioctl that `call` describes, and calls `before` and `after` immediately around the
/// system call. Fails with `ENOTTY` if `call` is not an ioctl.
pub fn ioctl_between(call: &Call, before: impl FnOnce(), after: impl FnOnce()) -> CallResult {
    let (fd, ioctl) = uapi::encode(call).ok_or(Errno::ENOTTY)?;
    let outcome = guarded::ioctl_by(&ioctl, |argument| {
        before();
        let result = raw_ioctl(fd, ioctl.request, argument);
        after();
        result
    });
    uapi::answer(call, outcome)
}

/// Makes, in place, an ioctl whose structure the codec has made.
fn plain_ioctl(fd: Fd, ioctl: Ioctl) -> IoctlOutcome {
    let mut structure = match ioctl.argument {
        Argument::Structure(structure) => structure,
        Argument::Value(value) => {
            return ioctl.argument.untouched(raw_ioctl(fd, ioctl.request, value));
        }
    };
    for pointee in &mut structure.pointees {
        let address = pointee.bytes.as_mut_ptr().expose_provenance() as u64;
        structure.bytes[pointee.at..pointee.at + 8].copy_from_slice(&address.to_ne_bytes());
    }
    // The codec made the structure, so it is as long as it states, which bounds what the kernel
    // reads and writes; the pointers were just set to buffers that outlive the call.
    let address = structure.bytes.as_mut_ptr().expose_provenance() as u64;
    let result = raw_ioctl(fd, ioctl.request, address);
    let pointees = structure.pointees.into_iter().map(|pointee| HexBytes(pointee.bytes));
    IoctlOutcome { result, bytes: structure.bytes, pointees: pointees.collect() }
}

/// `ioctl(fd, request, argument)`. Memory that the argument points to must outlive the call, have
/// exposed provenance, and either be as long as the kernel takes it to be or end at an inaccessible
/// page.
fn raw_ioctl(fd: Fd, request: u32, argument: u64) -> Result<u32, Errno> {
    // SAFETY: takes numbers; see above for the memory.
    let result = unsafe { libc::ioctl(fd.0, request.into(), argument) };
    u32::try_from(result).map_err(|_| last_errno())
}
