//! The kernel trait for the calling process: each call is the single system call that its
//! documentation names.
//!
//! A `Host` acts on the process it runs in. A process should have only one, because it has only one
//! descriptor table.
//!
//! Invariants:
//! * no retries: EINTR, EAGAIN and short transfers are returned to the caller;
//! * `Host` owns no descriptor and closes one only for [`FileCall::Close`];
//! * every descriptor that a call creates is CLOEXEC;
//! * an ioctl that the running kernel does not have fails with ENOTTY.
//!
//! Deviations from the bare system calls: [`MemoryCall::Munmap`] refuses (EINVAL) a range that was
//! not mapped through the same [`crate::memory`]; [`MemoryCall::Mmap`] also reads the file's inode.
//!
//! Mirrors: Linux 7.3, x86-64 and other 64-bit architectures.

use crate::memory::Memory;
use crate::{process, socket, sys};
use handoff_model::abi::call::{
    Call, CallResult, FileCall, GuestCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use rustix::event::EventfdFlags;
use rustix::fd::{IntoRawFd, OwnedFd};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::FdFlags;
use std::ffi::OsString;
use std::fmt;

pub use crate::sys::ioctl_between;

/// The VMM's implementation of the four guest calls. Only one thread at a time calls it.
pub trait Guest: Send {
    /// Forces every vCPU out of the guest and keeps it out; returns once none runs. Idempotent.
    fn stop(&mut self) -> Result<(), Errno>;

    /// Writes the state of the stopped guest to a memfd, from offset 0.
    fn save(&mut self, fd: Fd) -> Result<(), Errno>;

    /// Builds a stopped guest from what [`Guest::save`] wrote. Fails with `EINVAL` if that is
    /// invalid.
    fn load(&mut self, fd: Fd) -> Result<(), Errno>;

    /// Lets the vCPUs run.
    fn start(&mut self) -> Result<(), Errno>;
}

/// A process without a guest: every guest call fails with `ENODEV`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGuest;

impl Guest for NoGuest {
    fn stop(&mut self) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    fn save(&mut self, _: Fd) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    fn load(&mut self, _: Fd) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    fn start(&mut self) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
}

/// The kernel as the calling process reaches it.
pub struct Host {
    argv: Vec<OsString>,
    memory: Memory,
    guest: Box<dyn Guest>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("argv", &self.argv).finish_non_exhaustive()
    }
}

impl Host {
    /// `argv` is passed to the new image by [`ProcessCall::Exec`], program name first; `memory`
    /// registers the mappings, which the guest reads; `guest` answers the guest calls.
    pub fn new(argv: Vec<OsString>, memory: Memory, guest: Box<dyn Guest>) -> Self {
        Self { argv, memory, guest }
    }
}

impl Kernel for Host {
    fn call(&mut self, call: &Call) -> CallResult {
        match call {
            Call::File(call) => file_call(call),
            Call::Memory(call) => self.memory_call(call),
            Call::Process(call) => self.process_call(call),
            Call::Socket(call) => socket_call(call),
            Call::Guest(call) => self.guest_call(call),
            Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => sys::ioctl(call),
        }
    }
}

impl Host {
    fn memory_call(&mut self, call: &MemoryCall) -> CallResult {
        match call {
            MemoryCall::Memfd { name } => new_fd(memfd(name)),
            MemoryCall::Truncate { fd, length_bytes } => {
                done(rustix::fs::ftruncate(sys::borrow(*fd), *length_bytes).map_err(sys::errno))
            }
            MemoryCall::SealSize { fd } => {
                done(add_seals(*fd, SealFlags::SHRINK | SealFlags::GROW))
            }
            MemoryCall::AddSeals { fd, seals } => {
                done(add_seals(*fd, SealFlags::from_bits_retain(*seals)))
            }
            MemoryCall::ReopenReadOnly { fd } => new_fd(reopen_read_only(*fd)),
            MemoryCall::PunchHole { fd, offset_bytes, length_bytes } => {
                done(punch_hole(*fd, *offset_bytes, *length_bytes))
            }
            MemoryCall::Mmap { fd, offset_bytes, length_bytes } => {
                self.memory.map(*fd, *offset_bytes, *length_bytes).map(Reply::Va)
            }
            MemoryCall::Munmap { va, length_bytes } => done(self.memory.unmap(*va, *length_bytes)),
        }
    }

    fn process_call(&self, call: &ProcessCall) -> CallResult {
        match call {
            ProcessCall::GetMemlock => Ok(Reply::Memlock(process::memlock())),
            ProcessCall::SetMemlock { limit_bytes } => done(process::set_memlock(*limit_bytes)),
            ProcessCall::GetUid => Ok(Reply::Uid(process::user())),
            ProcessCall::SetUid { uid } => done(sys::set_user(*uid)),
            ProcessCall::GetCapIpcLock => process::has_ipc_lock().map(Reply::Flag),
            ProcessCall::DropCapIpcLock => done(process::drop_ipc_lock()),
            ProcessCall::Exec { image } => Err(process::exec(*image, &self.argv)),
            ProcessCall::Exit { status } => sys::exit(*status),
            ProcessCall::Kill { pidfd } => done(process::kill(*pidfd)),
            ProcessCall::AwaitExit { pidfd } => done(process::await_exit(*pidfd)),
        }
    }

    fn guest_call(&mut self, call: &GuestCall) -> CallResult {
        done(match call {
            GuestCall::Stop => self.guest.stop(),
            GuestCall::Save { fd } => self.guest.save(*fd),
            GuestCall::Load { fd } => self.guest.load(*fd),
            GuestCall::Start => self.guest.start(),
        })
    }
}

fn file_call(call: &FileCall) -> CallResult {
    match call {
        FileCall::Open { path } => new_fd(open(path)),
        FileCall::Close { fd } => done(sys::close(*fd)),
        FileCall::Dup { fd } => {
            new_fd(rustix::io::fcntl_dupfd_cloexec(sys::borrow(*fd), 0).map_err(sys::errno))
        }
        FileCall::SetCloexec { fd, on } => done(set_cloexec(*fd, *on)),
        FileCall::SetNonblock { fd, on } => done(set_nonblock(*fd, *on)),
        FileCall::Stat { fd } => stat(*fd),
        FileCall::WriteAt { fd, offset_bytes, bytes } => {
            write_at(*fd, *offset_bytes, bytes).map(Reply::Length)
        }
        FileCall::ReadAt { fd, offset_bytes, length_bytes } => {
            read_at(*fd, *offset_bytes, *length_bytes).map(Reply::Bytes)
        }
        FileCall::Eventfd => new_fd(eventfd()),
        FileCall::ReadEvent { fd } => read_event(*fd).map(Reply::Count),
        FileCall::WriteEvent { fd, count } => done(write_event(*fd, *count)),
        FileCall::Read { fd, length_bytes } => read(*fd, *length_bytes).map(Reply::Bytes),
        FileCall::Write { fd, bytes } => write(*fd, bytes).map(Reply::Length),
    }
}

fn socket_call(call: &SocketCall) -> CallResult {
    match call {
        SocketCall::Send { fd, bytes, fds } => done(socket::send(*fd, bytes, fds)),
        SocketCall::Receive { fd, wait } => socket::receive(*fd, *wait),
        SocketCall::ReceiveFew { fd, fds_max } => socket::receive_few(*fd, *fds_max),
        SocketCall::ShutdownReceive { fd } => done(socket::shutdown_receive(*fd)),
    }
}

fn done(result: Result<(), Errno>) -> CallResult {
    result.map(|()| Reply::Done)
}

fn new_fd(result: Result<OwnedFd, Errno>) -> CallResult {
    result.map(|fd| Reply::Fd(Fd(fd.into_raw_fd())))
}

fn open(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(sys::errno)
}

fn memfd(name: &str) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create(name, flags).map_err(sys::errno)
}

fn eventfd() -> Result<OwnedFd, Errno> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    rustix::event::eventfd(0, flags).map_err(sys::errno)
}

fn set_cloexec(fd: Fd, on: bool) -> Result<(), Errno> {
    let flags = if on { FdFlags::CLOEXEC } else { FdFlags::empty() };
    rustix::io::fcntl_setfd(sys::borrow(fd), flags).map_err(sys::errno)
}

fn set_nonblock(fd: Fd, on: bool) -> Result<(), Errno> {
    let flags = if on { OFlags::NONBLOCK } else { OFlags::empty() };
    rustix::fs::fcntl_setfl(sys::borrow(fd), flags).map_err(sys::errno)
}

fn stat(fd: Fd) -> CallResult {
    let stat = rustix::fs::fstat(sys::borrow(fd)).map_err(sys::errno)?;
    Ok(Reply::Stat { inode: stat.st_ino, length_bytes: stat.st_size.cast_unsigned() })
}

fn reopen_read_only(fd: Fd) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{fd}");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(sys::errno)
}

fn add_seals(fd: Fd, seals: SealFlags) -> Result<(), Errno> {
    rustix::fs::fcntl_add_seals(sys::borrow(fd), seals).map_err(sys::errno)
}

fn punch_hole(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Result<(), Errno> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(sys::borrow(fd), mode, offset_bytes, length_bytes).map_err(sys::errno)
}

/// One `pwrite`; returns the number of bytes written.
fn write_at(fd: Fd, offset_bytes: u64, bytes: &[u8]) -> Result<u64, Errno> {
    let written = rustix::io::pwrite(sys::borrow(fd), bytes, offset_bytes).map_err(sys::errno)?;
    Ok(written as u64)
}

/// One `pread`. Fails with `ENOMEM` if the buffer cannot be allocated.
fn read_at(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Result<Vec<u8>, Errno> {
    let fd = sys::borrow(fd);
    let length = usize::try_from(length_bytes).map_err(|_| Errno::ENOMEM)?;
    if length == 0 {
        rustix::io::pread(fd, &mut [0; 0][..], offset_bytes).map_err(sys::errno)?;
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    // Touches only the bytes that are read: the caller may ask for far more than the file has.
    let room = rustix::buffer::spare_capacity(&mut bytes);
    rustix::io::pread(fd, room, offset_bytes).map_err(sys::errno)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// One `read`. Fails with `ENOMEM` if the length exceeds the address space.
fn read(fd: Fd, length_bytes: u64) -> Result<Vec<u8>, Errno> {
    let fd = sys::borrow(fd);
    let length = usize::try_from(length_bytes).map_err(|_| Errno::ENOMEM)?;
    let mut bytes = vec![0; length];
    let read = rustix::io::read(fd, &mut bytes).map_err(sys::errno)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// One `write`.
fn write(fd: Fd, bytes: &[u8]) -> Result<u64, Errno> {
    let written = rustix::io::write(sys::borrow(fd), bytes).map_err(sys::errno)?;
    Ok(written as u64)
}

/// `write` to an eventfd.
fn write_event(fd: Fd, count: u64) -> Result<(), Errno> {
    rustix::io::write(sys::borrow(fd), &count.to_ne_bytes()).map_err(sys::errno).map(drop)
}

/// `read` of an eventfd: returns its count and resets it. Fails with `EAGAIN` if it is zero.
fn read_event(fd: Fd) -> Result<u64, Errno> {
    let mut count = [0; 8];
    rustix::io::read(sys::borrow(fd), &mut count).map_err(sys::errno)?;
    Ok(u64::from_ne_bytes(count))
}
