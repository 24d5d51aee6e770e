//! From an event to the call that was made: the inverse of [`event_of`](super::event_of).
//!
//! Of a foreign trace, only the forms that [`Call`] has become calls. Where a recorder kept only the
//! first bytes of a write, a read or a message, the call is not known either.

use super::record::Record;
use super::{Event, ioctl};
use crate::abi::call::{
    Answer, Call, FileCall, GuestCall, Made, MemoryCall, ProcessCall, Reply, SocketCall,
};
use crate::abi::ids::{Fd, Uid, Va};

/// The flags of the calls, as Linux numbers them, and the words of records.
pub(super) mod flag {
    pub(in super::super) const O_NONBLOCK: u32 = 0x800;
    pub(in super::super) const O_RDWR_CLOEXEC: u32 = 0x8_0002;
    pub(in super::super) const O_RDONLY_CLOEXEC: u32 = 0x8_0000;
    pub(in super::super) const EFD_CLOEXEC_NONBLOCK: u32 = 0x8_0800;
    pub(in super::super) const EFD_SEMAPHORE: u32 = 1;
    pub(in super::super) const EVENT_BYTES: u64 = 8;
    pub(in super::super) const MFD_CLOEXEC_SEALING: u32 = 3;
    pub(in super::super) const MFD_HUGETLB: u32 = 4;
    pub(in super::super) const F_SEAL_SEAL: u32 = 1;
    pub(in super::super) const F_SEAL_SIZE: u32 = 6;
    pub(in super::super) const PUNCH_HOLE_KEEP_SIZE: u32 = 3;
    pub(in super::super) const PROT_READ_WRITE: u32 = 3;
    pub(in super::super) const MAP_SHARED: u32 = 1;
    pub(in super::super) const MAP_PRIVATE: u32 = 2;
    pub(in super::super) const MAP_ANONYMOUS: u32 = 0x20;
    pub(in super::super) const MAP_SHARED_ANONYMOUS: u32 = MAP_SHARED | MAP_ANONYMOUS;
    pub(in super::super) const MAP_PRIVATE_ANONYMOUS: u32 = MAP_PRIVATE | MAP_ANONYMOUS;
    /// `MAP_FIXED`, `_DENYWRITE`, `_NORESERVE`, `_POPULATE`, `_STACK`, `_FIXED_NOREPLACE`: where and
    /// when, not what.
    pub(in super::super) const MAP_PLACEMENT: u32 =
        0x10 | 0x800 | 0x4000 | 0x8000 | 0x2_0000 | 0x10_0000;
    pub(in super::super) const SHUT_RD: u32 = 0;
    pub(in super::super) const SIGKILL: &str = "SIGKILL";
    pub(in super::super) const MEMLOCK: &str = "MEMLOCK";
    pub(in super::super) const SETRESUID: &str = "setresuid";
    pub(in super::super) const CAPSET: &str = "capset";
    pub(in super::super) const SELF_FD: &str = "/proc/self/fd/";
}

/// Calls of a VMM on its own guest, in both directions.
pub(super) mod guest {
    use super::{Call, Fd, GuestCall, Record};

    pub(in super::super) fn record(call: &Call) -> Option<Record> {
        let (what, fd) = match call {
            Call::Guest(GuestCall::Stop) => ("stop", None),
            Call::Guest(GuestCall::Save { fd }) => ("save", Some(*fd)),
            Call::Guest(GuestCall::Load { fd }) => ("load", Some(*fd)),
            Call::Guest(GuestCall::Start) => ("start", None),
            _ => return None,
        };
        Some(Record::Guest { what: what.to_owned(), fd })
    }

    pub(super) fn call(what: &str, fd: Option<Fd>) -> Option<Call> {
        Some(match (what, fd) {
            ("stop", _) => Call::Guest(GuestCall::Stop),
            ("save", Some(fd)) => Call::Guest(GuestCall::Save { fd }),
            ("load", Some(fd)) => Call::Guest(GuestCall::Load { fd }),
            ("start", _) => Call::Guest(GuestCall::Start),
            _ => return None,
        })
    }
}

/// An event that is not a call of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not modelled")]
pub struct NotModelled {
    /// Under what it is counted: the event's name, with "(other form)" where only some forms of the
    /// call are modelled.
    pub name: String,
}

/// The call that an event tells of, by whom, and its answer.
pub fn made_of(event: &Event) -> Result<Made, NotModelled> {
    let call = call(event).ok_or_else(|| not_modelled(event))?;
    let answer = answer(event, &call).ok_or_else(|| not_modelled(event))?;
    Ok(Made { pid: event.pid, call, answer })
}

/// The same, but every ioctl stays bytes, also where [`Call`] has a form for it: what the kernel wrote
/// is the answer, byte for byte, also of a failure.
pub fn made_as_bytes(event: &Event) -> Result<Made, NotModelled> {
    let Some(ioctl) = ioctl_of(event) else { return made_of(event) };
    let (call, outcome) = ioctl.as_bytes();
    Ok(Made { pid: event.pid, call, answer: Ok(Reply::Ioctl(outcome)) })
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
        .or_else(|| Some(ioctl_of(event)?.call()))
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

/// Whether the recorder kept all `length` bytes.
fn holds(bytes: &[u8], length: u64) -> bool {
    bytes.len() as u64 == length
}

fn returned(event: &Event) -> Option<u64> {
    event.ret?.try_into().ok()
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
        Record::Guest { what, fd } => return guest::call(what, *fd),
        _ => return None,
    })
}

fn ioctl_of(event: &Event) -> Option<ioctl::Recorded<'_>> {
    match &event.record {
        Record::Ioctl { fd, req, input, output, memory, arg, .. } => Some(ioctl::Recorded {
            fd: *fd,
            request: *req,
            value: *arg,
            input,
            output,
            memory,
            result: match (event.succeeded(), event.errno()) {
                (true, _) => Ok(event.ret.and_then(|ret| ret.try_into().ok()).unwrap_or(0)),
                (false, errno) => Err(errno?),
            },
        }),
        _ => None,
    }
}

/// What came back; `None` where that is not known: an errno without a name here, bytes cut off.
fn answer(event: &Event, call: &Call) -> Option<Answer> {
    if let Some(ioctl) = ioctl_of(event) {
        return Some(ioctl.answer(call));
    }
    if event.succeeded() { reply(event, call).map(Ok) } else { event.errno().map(Err) }
}

fn reply(event: &Event, call: &Call) -> Option<Reply> {
    let returned = returned(event);
    Some(match (call, &event.record) {
        (
            Call::File(FileCall::Open { .. } | FileCall::Dup { .. } | FileCall::Eventfd)
            | Call::Memory(MemoryCall::ReopenReadOnly { .. } | MemoryCall::Memfd { .. }),
            _,
        ) => Reply::Fd(Fd(i32::try_from(returned?).ok()?)),
        (Call::Memory(MemoryCall::Mmap { .. }), _) => Reply::Va(Va(returned?)),
        (Call::File(FileCall::WriteAt { .. } | FileCall::Write { .. }), _) => {
            Reply::Length(returned?)
        }
        (Call::Process(ProcessCall::GetUid), _) => Reply::Uid(Uid(u32::try_from(returned?).ok()?)),
        (
            Call::File(FileCall::ReadAt { .. } | FileCall::Read { .. }),
            Record::Read { bytes, .. },
        ) if holds(bytes, returned?) => Reply::Bytes(bytes.clone()),
        (Call::File(FileCall::ReadEvent { .. }), Record::Read { bytes, .. }) => {
            Reply::Count(u64::from_ne_bytes(bytes.as_slice().try_into().ok()?))
        }
        (_, Record::Recvmsg { bytes, fds, truncated, .. }) if holds(bytes, returned?) => {
            Reply::Message { bytes: bytes.clone(), fds: fds.clone(), truncated: *truncated }
        }
        (
            Call::File(FileCall::ReadAt { .. } | FileCall::Read { .. })
            | Call::Socket(SocketCall::Receive { .. } | SocketCall::ReceiveFew { .. }),
            _,
        ) => {
            return None;
        }
        (_, Record::Stat { inode, size, .. }) => Reply::Stat { inode: *inode, length_bytes: *size },
        (_, Record::Getrlimit { cur, .. }) => Reply::Memlock(*cur),
        (_, Record::Capget { cap_ipc_lock }) => Reply::Flag(*cap_ipc_lock),
        _ => Reply::Done,
    })
}
