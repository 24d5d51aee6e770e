//! The conversion of a completed call to an event.
//!
//! Our own runs write everything that a recorder would observe, and more: all bytes of reads,
//! writes and messages, and the calls that only our own runs record. The flags are those that the
//! documentation of [`Call`] specifies for each call.

use super::record::Record;
use super::{Event, flag, ioctl};
use crate::abi::call::{
    Call, CallResult, CompletedCall, FileCall, GuestCall, MemoryCall, ProcessCall, Reply,
    SocketCall,
};
use crate::abi::ids::{Fd, Pid};

/// The times of an event; the caller has the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The event's number in the order of returns, from 1.
    pub seq: u64,
    /// The time of the call, in nanoseconds of `CLOCK_MONOTONIC`.
    pub enter_ns: u64,
    /// The time of the return, in nanoseconds of `CLOCK_MONOTONIC`.
    pub t_ns: u64,
}

/// Returns the event of a completed call, made by the only thread of its process.
pub fn event_of(made: &CompletedCall, stamps: Stamps) -> Event {
    Event {
        ret: ret(&made.call, &made.answer),
        errno: made.errno().map(|errno| errno.to_string()),
        ..event_of_record(made.pid, record(&made.call, &made.answer), stamps)
    }
}

/// Returns an event that is not a call but a fact about a process.
pub fn event_of_record(pid: Pid, record: Record, stamps: Stamps) -> Event {
    let Stamps { seq, enter_ns, t_ns } = stamps;
    Event { seq, t_ns, enter_ns, pid, tid: pid, record, ret: None, errno: None, unknown: None }
}

fn record(call: &Call, answer: &CallResult) -> Record {
    match call {
        Call::File(call) => file(call, answer),
        Call::Memory(call) => memory(call),
        Call::Process(call) => process(call, answer),
        Call::Socket(call) => socket(call, answer),
        Call::Guest(call) => guest(call),
        Call::Iommufd(_)
        | Call::Device(_)
        | Call::Container(_)
        | Call::Kvm(_)
        | Call::Ioctl { .. } => ioctl::record(call, answer),
    }
}

fn file(call: &FileCall, answer: &CallResult) -> Record {
    match call {
        FileCall::Open { path } => Record::Open { path: path.clone(), flags: flag::O_RDWR_CLOEXEC },
        FileCall::Close { fd } => Record::Close { fd: *fd },
        FileCall::Dup { fd } => Record::Dup { fd: *fd, cloexec: true },
        FileCall::SetCloexec { fd, on } => Record::Setfd { fd: *fd, cloexec: *on },
        FileCall::SetNonblock { fd, on } => {
            let flags = if *on { flag::O_NONBLOCK } else { 0 };
            Record::Setfl { fd: *fd, flags: Some(flags), nonblock: None }
        }
        FileCall::Stat { fd } => match answer {
            Ok(Reply::Stat { inode, length_bytes }) => {
                Record::Stat { fd: *fd, inode: *inode, size: *length_bytes }
            }
            _ => Record::Stat { fd: *fd, inode: 0, size: 0 },
        },
        FileCall::WriteAt { fd, offset_bytes, bytes } => Record::Write {
            fd: *fd,
            length: bytes.len() as u64,
            offset: Some(*offset_bytes),
            bytes: bytes.clone(),
        },
        FileCall::ReadAt { fd, offset_bytes, length_bytes } => Record::Read {
            fd: *fd,
            length: *length_bytes,
            offset: Some(*offset_bytes),
            bytes: read(answer),
        },
        FileCall::Eventfd => Record::Eventfd { count: 0, flags: flag::EFD_CLOEXEC_NONBLOCK },
        FileCall::ReadEvent { fd } => {
            Record::Read { fd: *fd, length: flag::EVENT_BYTES, offset: None, bytes: read(answer) }
        }
        FileCall::WriteEvent { fd, count } => Record::Write {
            fd: *fd,
            length: flag::EVENT_BYTES,
            offset: None,
            bytes: count.to_ne_bytes().to_vec(),
        },
        FileCall::Read { fd, length_bytes } => {
            Record::Read { fd: *fd, length: *length_bytes, offset: None, bytes: read(answer) }
        }
        FileCall::Write { fd, bytes } => Record::Write {
            fd: *fd,
            length: bytes.len() as u64,
            offset: None,
            bytes: bytes.clone(),
        },
    }
}

fn read(answer: &CallResult) -> Vec<u8> {
    match answer {
        Ok(Reply::Bytes(bytes)) => bytes.clone(),
        Ok(Reply::Count(count)) => count.to_ne_bytes().to_vec(),
        _ => Vec::new(),
    }
}

fn memory(call: &MemoryCall) -> Record {
    match call {
        MemoryCall::Memfd { name } => {
            Record::Memfd { name: name.clone(), flags: flag::MFD_CLOEXEC_SEALING }
        }
        MemoryCall::Truncate { fd, length_bytes } => {
            Record::Truncate { fd: *fd, length: *length_bytes }
        }
        MemoryCall::SealSize { fd } => Record::Seal { fd: *fd, seals: flag::F_SEAL_SIZE },
        MemoryCall::AddSeals { fd, seals } => Record::Seal { fd: *fd, seals: *seals },
        MemoryCall::ReopenReadOnly { fd } => {
            Record::Open { path: format!("{}{fd}", flag::SELF_FD), flags: flag::O_RDONLY_CLOEXEC }
        }
        MemoryCall::PunchHole { fd, offset_bytes, length_bytes } => Record::Fallocate {
            fd: *fd,
            mode: flag::PUNCH_HOLE_KEEP_SIZE,
            offset: *offset_bytes,
            length: *length_bytes,
        },
        MemoryCall::Mmap { fd, offset_bytes, length_bytes } => Record::Mmap {
            addr: 0,
            length: *length_bytes,
            prot: flag::PROT_READ_WRITE,
            flags: fd.map_or(flag::MAP_PRIVATE_ANONYMOUS, |_| flag::MAP_SHARED),
            fd: fd.unwrap_or(Fd(-1)),
            offset: *offset_bytes,
        },
        MemoryCall::Munmap { va, length_bytes } => {
            Record::Munmap { addr: va.0, length: *length_bytes }
        }
    }
}

fn process(call: &ProcessCall, answer: &CallResult) -> Record {
    let resource = flag::MEMLOCK.to_owned();
    match call {
        ProcessCall::GetMemlock => match answer {
            Ok(Reply::Memlock(cur)) => Record::Getrlimit { resource, cur: *cur },
            _ => Record::Getrlimit { resource, cur: 0 },
        },
        ProcessCall::SetMemlock { limit_bytes: cur } => {
            Record::Rlimit { resource, cur: *cur, max: *cur, target: None }
        }
        ProcessCall::GetUid => Record::Getuid,
        ProcessCall::SetUid { uid } => Record::Cred {
            call: Some(flag::SETRESUID.to_owned()),
            uid: Some(*uid),
            euid: Some(*uid),
            cap_ipc_lock: (uid.0 != 0).then_some(false),
        },
        ProcessCall::GetCapIpcLock => {
            Record::Capget { cap_ipc_lock: *answer == Ok(Reply::Flag(true)) }
        }
        ProcessCall::DropCapIpcLock => Record::Cred {
            call: Some(flag::CAPSET.to_owned()),
            uid: None,
            euid: None,
            cap_ipc_lock: Some(false),
        },
        ProcessCall::Exec { image } => Record::Exec {
            path: format!("{}{image}", flag::SELF_FD),
            argv: Vec::new(),
            uid: None,
            euid: None,
            cap_ipc_lock: None,
        },
        ProcessCall::Exit { status } => {
            Record::Exit { status: Some(i32::from(*status)), signal: None }
        }
        ProcessCall::Kill { pidfd } => {
            Record::Kill { fd: *pidfd, signal: flag::SIGKILL.to_owned() }
        }
        ProcessCall::AwaitExit { pidfd } => Record::Wait { fd: *pidfd },
    }
}

fn socket(call: &SocketCall, answer: &CallResult) -> Record {
    match call {
        SocketCall::Send { fd, bytes, fds } => {
            Record::Sendmsg { fd: *fd, bytes: bytes.clone(), fds: fds.clone() }
        }
        SocketCall::Receive { fd, wait } => received(*fd, !wait, None, answer),
        SocketCall::ReceiveFew { fd, fds_max } => received(*fd, true, Some(*fds_max), answer),
        SocketCall::ShutdownReceive { fd } => Record::Shutdown { fd: *fd, how: flag::SHUT_RD },
    }
}

fn received(fd: Fd, dontwait: bool, fds_max: Option<usize>, answer: &CallResult) -> Record {
    let (bytes, fds, truncated) = match answer {
        Ok(Reply::Message { bytes, fds, truncated }) => (bytes.clone(), fds.clone(), *truncated),
        _ => (Vec::new(), Vec::new(), false),
    };
    Record::Recvmsg { fd, bytes, fds, cloexec: true, peek: false, truncated, dontwait, fds_max }
}

fn guest(call: &GuestCall) -> Record {
    let (what, fd) = match call {
        GuestCall::Stop => (flag::STOP, None),
        GuestCall::Save { fd } => (flag::SAVE, Some(*fd)),
        GuestCall::Load { fd } => (flag::LOAD, Some(*fd)),
        GuestCall::Start => (flag::START, None),
    };
    Record::Guest { what: what.to_owned(), fd }
}

/// Returns the return value of the system call; `None` for one that never returns.
fn ret(call: &Call, answer: &CallResult) -> Option<i64> {
    let length = |bytes: &[u8]| i64::try_from(bytes.len()).expect("a length fits");
    let reply = match (call, answer) {
        (Call::Process(ProcessCall::Exit { .. }), _) => return None,
        (_, Err(_)) => return Some(-1),
        (_, Ok(reply)) => reply,
    };
    Some(match (call, reply) {
        (
            Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. },
            _,
        ) => ioctl::returned(call, answer),
        // The replies of SEND and of writing an event do not contain the length.
        (Call::Socket(SocketCall::Send { bytes, .. }), _)
        | (_, Reply::Bytes(bytes) | Reply::Message { bytes, .. }) => length(bytes),
        (Call::File(FileCall::WriteEvent { .. }), _) | (_, Reply::Count(_)) => {
            flag::EVENT_BYTES.cast_signed()
        }
        (_, Reply::Fd(fd)) => i64::from(fd.0),
        (_, Reply::Va(va)) => va.0.cast_signed(),
        (_, Reply::Uid(uid)) => i64::from(uid.0),
        (_, Reply::Length(length)) => length.cast_signed(),
        // The content of these replies is not in the return value.
        (
            _,
            Reply::Done
            | Reply::Flag(_)
            | Reply::Memlock(_)
            | Reply::Stat { .. }
            | Reply::Object(_)
            | Reply::IovaRanges { .. }
            | Reply::HwInfo { .. }
            | Reply::DeviceInfo { .. }
            | Reply::RegionInfo { .. }
            | Reply::IrqInfo { .. }
            | Reply::Ioctl(_),
        ) => 0,
    })
}
