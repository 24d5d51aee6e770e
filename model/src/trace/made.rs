//! The conversion of an event to the call that was made: the inverse of
//! [`event_of`](super::event_of).
//!
//! In a trace of another program, only events that match a variant of [`Call`] become calls. If a
//! recorder kept only the first bytes of a write, a read or a message, the call is unknown.

use super::answer::{answer, holds, returned};
use super::ioctl::Recorded;
use super::record::Record;
use super::{Event, flag};
use crate::abi::call::{
    Call, CompletedCall, FileCall, GuestCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use crate::abi::ids::{Fd, Va};

/// An event that matches no variant of [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not modelled")]
pub struct NotModelled {
    /// The name under which it is counted: the event's name, with "(other form)" if some variants
    /// of the call are modelled.
    pub name: String,
}

/// Returns the call of an event, with its process and answer.
///
/// # Errors
/// [`NotModelled`] if the event matches no variant of [`Call`], or its answer is unknown.
pub fn made_of(event: &Event) -> Result<CompletedCall, NotModelled> {
    let call = call(event).ok_or_else(|| not_modelled(event))?;
    let answer = answer(event, &call).ok_or_else(|| not_modelled(event))?;
    Ok(CompletedCall { pid: event.pid, call, answer })
}

/// Like [`made_of`], but every ioctl remains bytes, even if [`Call`] has a variant for it. The
/// answer is the memory that the kernel wrote, byte for byte, also for a failure.
pub fn made_as_bytes(event: &Event) -> Result<CompletedCall, NotModelled> {
    let Some(ioctl) = Recorded::of(event) else { return made_of(event) };
    let (call, outcome) = ioctl.as_bytes();
    Ok(CompletedCall { pid: event.pid, call, answer: Ok(Reply::Ioctl(outcome)) })
}

fn not_modelled(event: &Event) -> NotModelled {
    let has_forms = !matches!(
        event.record,
        Record::Start { .. }
            | Record::CloseRange { .. }
            | Record::Mremap { .. }
            | Record::Socket { .. }
            | Record::Socketpair { .. }
            | Record::Connect { .. }
            | Record::Bind { .. }
            | Record::Listen { .. }
            | Record::Accept { .. }
            | Record::Clone { .. }
            | Record::Given { .. }
            | Record::Ioctl { .. }
            | Record::Other
    );
    let form = if has_forms { " (other form)" } else { "" };
    NotModelled { name: event.name() + form }
}

fn call(event: &Event) -> Option<Call> {
    file(&event.record)
        .or_else(|| memory(&event.record))
        .or_else(|| transfer(event))
        .or_else(|| process(&event.record))
        .or_else(|| Some(Recorded::of(event)?.call()))
}

fn file(record: &Record) -> Option<Call> {
    Some(match record {
        Record::Open { path, flags: flag::O_RDONLY_CLOEXEC } if path.starts_with(flag::SELF_FD) => {
            Call::Memory(MemoryCall::ReopenReadOnly {
                fd: Fd(path.strip_prefix(flag::SELF_FD)?.parse().ok()?),
            })
        }
        Record::Open { path, .. } => Call::File(FileCall::Open { path: path.clone() }),
        Record::Close { fd } => Call::File(FileCall::Close { fd: *fd }),
        Record::Dup { fd, .. } => Call::File(FileCall::Dup { fd: *fd }),
        Record::Setfd { fd, cloexec } => Call::File(FileCall::SetCloexec { fd: *fd, on: *cloexec }),
        Record::Setfl { fd, flags: Some(flags), .. } => {
            Call::File(FileCall::SetNonblock { fd: *fd, on: flags & flag::O_NONBLOCK != 0 })
        }
        Record::Setfl { fd, nonblock: Some(on), .. } => {
            Call::File(FileCall::SetNonblock { fd: *fd, on: *on })
        }
        Record::Eventfd { count: 0, flags } if flags & flag::EFD_SEMAPHORE == 0 => {
            Call::File(FileCall::Eventfd)
        }
        Record::Shutdown { fd, how: flag::SHUT_RD } => {
            Call::Socket(SocketCall::ShutdownReceive { fd: *fd })
        }
        Record::Kill { fd, signal } if signal == flag::SIGKILL => {
            Call::Process(ProcessCall::Kill { pidfd: *fd })
        }
        Record::Wait { fd } => Call::Process(ProcessCall::AwaitExit { pidfd: *fd }),
        Record::Stat { fd, .. } => Call::File(FileCall::Stat { fd: *fd }),
        _ => return None,
    })
}

fn memory(record: &Record) -> Option<Call> {
    Some(match record {
        Record::Memfd { name, flags } if flags & flag::MFD_HUGETLB == 0 => {
            Call::Memory(MemoryCall::Memfd { name: name.clone() })
        }
        Record::Truncate { fd, length } => {
            Call::Memory(MemoryCall::Truncate { fd: *fd, length_bytes: *length })
        }
        Record::Seal { fd, seals } if seals & !flag::F_SEAL_SEAL == flag::F_SEAL_SIZE => {
            Call::Memory(MemoryCall::SealSize { fd: *fd })
        }
        Record::Seal { fd, seals } => Call::Memory(MemoryCall::AddSeals { fd: *fd, seals: *seals }),
        Record::Fallocate { fd, mode: flag::PUNCH_HOLE_KEEP_SIZE, offset, length } => {
            Call::Memory(MemoryCall::PunchHole {
                fd: *fd,
                offset_bytes: *offset,
                length_bytes: *length,
            })
        }
        Record::Mmap { length, prot: flag::PROT_READ_WRITE, flags, fd, offset, .. } => {
            let fd = match flags & !flag::MAP_PLACEMENT {
                flag::MAP_SHARED => Some(*fd),
                flag::MAP_PRIVATE_ANONYMOUS | flag::MAP_SHARED_ANONYMOUS => None,
                _ => return None,
            };
            Call::Memory(MemoryCall::Mmap { fd, offset_bytes: *offset, length_bytes: *length })
        }
        Record::Munmap { addr, length } => {
            Call::Memory(MemoryCall::Munmap { va: Va(*addr), length_bytes: *length })
        }
        _ => return None,
    })
}

fn transfer(event: &Event) -> Option<Call> {
    Some(match &event.record {
        Record::Write { fd, length, offset: Some(offset), bytes } if holds(bytes, *length) => {
            Call::File(FileCall::WriteAt { fd: *fd, offset_bytes: *offset, bytes: bytes.clone() })
        }
        Record::Read { fd, length, offset: Some(offset), .. } => {
            Call::File(FileCall::ReadAt { fd: *fd, offset_bytes: *offset, length_bytes: *length })
        }
        Record::Read { fd, length: flag::EVENT_BYTES, offset: None, .. } => {
            Call::File(FileCall::ReadEvent { fd: *fd })
        }
        Record::Write { fd, length: flag::EVENT_BYTES, offset: None, bytes } => {
            let count = bytes.as_slice().try_into().ok()?;
            Call::File(FileCall::WriteEvent { fd: *fd, count: u64::from_ne_bytes(count) })
        }
        Record::Read { fd, length, offset: None, .. } => {
            Call::File(FileCall::Read { fd: *fd, length_bytes: *length })
        }
        Record::Write { fd, length, offset: None, bytes } if holds(bytes, *length) => {
            Call::File(FileCall::Write { fd: *fd, bytes: bytes.clone() })
        }
        Record::Sendmsg { fd, bytes, fds }
            if !event.succeeded() || holds(bytes, returned(event)?) =>
        {
            Call::Socket(SocketCall::Send { fd: *fd, bytes: bytes.clone(), fds: fds.clone() })
        }
        Record::Recvmsg { fd, peek: false, dontwait: true, fds_max: Some(fds_max), .. } => {
            Call::Socket(SocketCall::ReceiveFew { fd: *fd, fds_max: *fds_max })
        }
        Record::Recvmsg { fd, peek: false, dontwait, .. } => {
            Call::Socket(SocketCall::Receive { fd: *fd, wait: !dontwait })
        }
        _ => return None,
    })
}

fn process(record: &Record) -> Option<Call> {
    Some(match record {
        Record::Getrlimit { resource, .. } if resource == flag::MEMLOCK => {
            Call::Process(ProcessCall::GetMemlock)
        }
        Record::Rlimit { resource, cur, max, target: None }
            if resource == flag::MEMLOCK && cur == max =>
        {
            Call::Process(ProcessCall::SetMemlock { limit_bytes: *cur })
        }
        Record::Getuid => Call::Process(ProcessCall::GetUid),
        Record::Capget { .. } => Call::Process(ProcessCall::GetCapIpcLock),
        Record::Cred { call: Some(call), uid: Some(uid), .. } if call == flag::SETRESUID => {
            Call::Process(ProcessCall::SetUid { uid: *uid })
        }
        Record::Cred { call: Some(call), .. } if call == flag::CAPSET => {
            Call::Process(ProcessCall::DropCapIpcLock)
        }
        Record::Exec { path, .. } => Call::Process(ProcessCall::Exec {
            image: Fd(path.strip_prefix(flag::SELF_FD)?.parse().ok()?),
        }),
        Record::Exit { status: Some(status), signal: None } => {
            Call::Process(ProcessCall::Exit { status: u8::try_from(*status).ok()? })
        }
        Record::Guest { what, fd } => return guest(what, *fd),
        _ => return None,
    })
}

fn guest(what: &str, fd: Option<Fd>) -> Option<Call> {
    Some(Call::Guest(match (what, fd) {
        (flag::STOP, _) => GuestCall::Stop,
        (flag::SAVE, Some(fd)) => GuestCall::Save { fd },
        (flag::LOAD, Some(fd)) => GuestCall::Load { fd },
        (flag::START, _) => GuestCall::Start,
        _ => return None,
    }))
}
