//! From an event to the call that was made: the inverse of [`event_of`](super::event_of).
//!
//! Of a foreign trace, only the forms that [`Call`] has become calls. Where a recorder kept only the
//! first bytes of a write, a read or a message, the call is not known either.

use super::record::Record;
use super::{Event, ioctl};
use crate::abi::call::{Answer, Call, Made, Reply};
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
    use super::{Call, Fd, Record};

    pub(in super::super) fn record(call: &Call) -> Option<Record> {
        let (what, fd) = match call {
            Call::StopGuest => ("stop", None),
            Call::SaveGuest { fd } => ("save", Some(*fd)),
            Call::LoadGuest { fd } => ("load", Some(*fd)),
            Call::StartGuest => ("start", None),
            _ => return None,
        };
        Some(Record::Guest { what: what.to_owned(), fd })
    }

    pub(super) fn call(what: &str, fd: Option<Fd>) -> Option<Call> {
        Some(match (what, fd) {
            ("stop", _) => Call::StopGuest,
            ("save", Some(fd)) => Call::SaveGuest { fd },
            ("load", Some(fd)) => Call::LoadGuest { fd },
            ("start", _) => Call::StartGuest,
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
            Call::ReopenReadOnly { fd: Fd(path.strip_prefix(flag::SELF_FD)?.parse().ok()?) }
        }
        Record::Open { path, .. } => Call::Open { path: path.clone() },
        Record::Close { fd } => Call::Close { fd: *fd },
        Record::Dup { fd, .. } => Call::Dup { fd: *fd },
        Record::Setfd { fd, cloexec } => Call::SetCloexec { fd: *fd, on: *cloexec },
        Record::Setfl { fd, flags: Some(flags), .. } => {
            Call::SetNonblock { fd: *fd, on: flags & flag::O_NONBLOCK != 0 }
        }
        Record::Setfl { fd, nonblock: Some(on), .. } => Call::SetNonblock { fd: *fd, on: *on },
        Record::Eventfd { count: 0, flags } if flags & flag::EFD_SEMAPHORE == 0 => Call::Eventfd,
        Record::Shutdown { fd, how: flag::SHUT_RD } => Call::ShutdownReceive { fd: *fd },
        Record::Kill { fd, signal } if signal == flag::SIGKILL => Call::Kill { pidfd: *fd },
        Record::Wait { fd } => Call::AwaitExit { pidfd: *fd },
        Record::Stat { fd, .. } => Call::Stat { fd: *fd },
        _ => return None,
    })
}

fn memory(record: &Record) -> Option<Call> {
    Some(match record {
        Record::Memfd { name, flags } if flags & flag::MFD_HUGETLB == 0 => {
            Call::Memfd { name: name.clone() }
        }
        Record::Truncate { fd, length } => Call::Truncate { fd: *fd, length_bytes: *length },
        Record::Seal { fd, seals } if seals & !flag::F_SEAL_SEAL == flag::F_SEAL_SIZE => {
            Call::SealSize { fd: *fd }
        }
        Record::Seal { fd, seals } => Call::AddSeals { fd: *fd, seals: *seals },
        Record::Fallocate { fd, mode: flag::PUNCH_HOLE_KEEP_SIZE, offset, length } => {
            Call::PunchHole { fd: *fd, offset_bytes: *offset, length_bytes: *length }
        }
        Record::Mmap { length, prot: flag::PROT_READ_WRITE, flags, fd, offset, .. } => {
            let fd = match flags & !flag::MAP_PLACEMENT {
                flag::MAP_SHARED => Some(*fd),
                flag::MAP_PRIVATE_ANONYMOUS | flag::MAP_SHARED_ANONYMOUS => None,
                _ => return None,
            };
            Call::Mmap { fd, offset_bytes: *offset, length_bytes: *length }
        }
        Record::Munmap { addr, length } => Call::Munmap { va: Va(*addr), length_bytes: *length },
        _ => return None,
    })
}

fn transfer(event: &Event) -> Option<Call> {
    Some(match &event.record {
        Record::Write { fd, length, offset: Some(offset), bytes } if holds(bytes, *length) => {
            Call::WriteAt { fd: *fd, offset_bytes: *offset, bytes: bytes.clone() }
        }
        Record::Read { fd, length, offset: Some(offset), .. } => {
            Call::ReadAt { fd: *fd, offset_bytes: *offset, length_bytes: *length }
        }
        Record::Read { fd, length: flag::EVENT_BYTES, offset: None, .. } => {
            Call::ReadEvent { fd: *fd }
        }
        Record::Write { fd, length: flag::EVENT_BYTES, offset: None, bytes } => {
            let count = bytes.as_slice().try_into().ok()?;
            Call::WriteEvent { fd: *fd, count: u64::from_ne_bytes(count) }
        }
        Record::Read { fd, length, offset: None, .. } => {
            Call::Read { fd: *fd, length_bytes: *length }
        }
        Record::Write { fd, length, offset: None, bytes } if holds(bytes, *length) => {
            Call::Write { fd: *fd, bytes: bytes.clone() }
        }
        Record::Sendmsg { fd, bytes, fds }
            if !event.succeeded() || holds(bytes, returned(event)?) =>
        {
            Call::SendMessage { fd: *fd, bytes: bytes.clone(), fds: fds.clone() }
        }
        Record::Recvmsg { fd, peek: false, dontwait: true, fds_max: Some(fds_max), .. } => {
            Call::ReceiveFew { fd: *fd, fds_max: *fds_max }
        }
        Record::Recvmsg { fd, peek: false, dontwait, .. } => {
            Call::ReceiveMessage { fd: *fd, wait: !dontwait }
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
        Record::Getrlimit { resource, .. } if resource == flag::MEMLOCK => Call::GetMemlock,
        Record::Rlimit { resource, cur, max, target: None }
            if resource == flag::MEMLOCK && cur == max =>
        {
            Call::SetMemlock { limit_bytes: *cur }
        }
        Record::Getuid => Call::GetUid,
        Record::Capget { .. } => Call::GetCapIpcLock,
        Record::Cred { call: Some(call), uid: Some(uid), .. } if call == flag::SETRESUID => {
            Call::SetUid { uid: *uid }
        }
        Record::Cred { call: Some(call), .. } if call == flag::CAPSET => Call::DropCapIpcLock,
        Record::Exec { path, .. } => {
            Call::Exec { image: Fd(path.strip_prefix(flag::SELF_FD)?.parse().ok()?) }
        }
        Record::Exit { status: Some(status), signal: None } => {
            Call::Exit { status: u8::try_from(*status).ok()? }
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
            Call::Open { .. }
            | Call::ReopenReadOnly { .. }
            | Call::Dup { .. }
            | Call::Memfd { .. }
            | Call::Eventfd,
            _,
        ) => Reply::Fd(Fd(i32::try_from(returned?).ok()?)),
        (Call::Mmap { .. }, _) => Reply::Va(Va(returned?)),
        (Call::WriteAt { .. } | Call::Write { .. }, _) => Reply::Length(returned?),
        (Call::GetUid, _) => Reply::Uid(Uid(u32::try_from(returned?).ok()?)),
        (Call::ReadAt { .. } | Call::Read { .. }, Record::Read { bytes, .. })
            if holds(bytes, returned?) =>
        {
            Reply::Bytes(bytes.clone())
        }
        (Call::ReadEvent { .. }, Record::Read { bytes, .. }) => {
            Reply::Count(u64::from_ne_bytes(bytes.as_slice().try_into().ok()?))
        }
        (_, Record::Recvmsg { bytes, fds, truncated, .. }) if holds(bytes, returned?) => {
            Reply::Message { bytes: bytes.clone(), fds: fds.clone(), truncated: *truncated }
        }
        (
            Call::ReadAt { .. }
            | Call::Read { .. }
            | Call::ReceiveMessage { .. }
            | Call::ReceiveFew { .. },
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
