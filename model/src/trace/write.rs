//! From a call that was made to its event.
//!
//! Our own runs write what a recorder would have seen of them, and more: all bytes of reads, writes
//! and messages, and the calls for which only our own runs have records. The flags are those with
//! which [`Call`] says that the call is made.

use super::made::{flag, guest};
use super::record::Record;
use super::{Event, ioctl};
use crate::abi::call::{
    Answer, Call, ContainerCall, FileCall, Made, MemoryCall, ProcessCall, Reply, SocketCall,
};
use crate::abi::ids::{Fd, Pid};

/// When an event happened; the caller has the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// Its place in the order of returns, from 1.
    pub seq: u64,
    /// When the call was made, in nanoseconds of `CLOCK_MONOTONIC`.
    pub enter_ns: u64,
    /// When it returned.
    pub t_ns: u64,
}

/// The event of a call that was made, by the only thread of its process.
pub fn event_of(made: &Made, stamps: Stamps) -> Event {
    Event {
        ret: ret(&made.call, &made.answer),
        errno: made.errno().map(|errno| errno.to_string()),
        ..told(made.pid, record(&made.call, &made.answer), stamps)
    }
}

/// An event that is no call: what is told of a process.
pub fn told(pid: Pid, record: Record, stamps: Stamps) -> Event {
    let Stamps { seq, enter_ns, t_ns } = stamps;
    Event { seq, t_ns, enter_ns, pid, tid: pid, record, ret: None, errno: None, unknown: None }
}

fn record(call: &Call, answer: &Answer) -> Record {
    file(call)
        .or_else(|| memory(call))
        .or_else(|| transfer(call, answer))
        .or_else(|| process(call, answer))
        .or_else(|| guest::record(call))
        .or_else(|| ioctl::record(call, answer))
        .expect("every call is of one of these families")
}

fn file(call: &Call) -> Option<Record> {
    Some(match call {
        Call::File(FileCall::Open { path }) => {
            Record::Open { path: path.clone(), flags: flag::O_RDWR_CLOEXEC }
        }
        Call::Memory(MemoryCall::ReopenReadOnly { fd }) => {
            Record::Open { path: format!("{}{fd}", flag::SELF_FD), flags: flag::O_RDONLY_CLOEXEC }
        }
        Call::File(FileCall::Close { fd }) => Record::Close { fd: *fd },
        Call::File(FileCall::Dup { fd }) => Record::Dup { fd: *fd, cloexec: true },
        Call::File(FileCall::SetCloexec { fd, on }) => Record::Setfd { fd: *fd, cloexec: *on },
        Call::File(FileCall::SetNonblock { fd, on }) => {
            let flags = if *on { flag::O_NONBLOCK } else { 0 };
            Record::Setfl { fd: *fd, flags: Some(flags), nonblock: None }
        }
        Call::File(FileCall::Eventfd) => {
            Record::Eventfd { count: 0, flags: flag::EFD_CLOEXEC_NONBLOCK }
        }
        Call::Socket(SocketCall::ShutdownReceive { fd }) => {
            Record::Shutdown { fd: *fd, how: flag::SHUT_RD }
        }
        Call::Process(ProcessCall::Kill { pidfd }) => {
            Record::Kill { fd: *pidfd, signal: flag::SIGKILL.to_owned() }
        }
        Call::Process(ProcessCall::AwaitExit { pidfd }) => Record::Wait { fd: *pidfd },
        _ => return None,
    })
}

fn memory(call: &Call) -> Option<Record> {
    Some(match call {
        Call::Memory(MemoryCall::Memfd { name }) => {
            Record::Memfd { name: name.clone(), flags: flag::MFD_CLOEXEC_SEALING }
        }
        Call::Memory(MemoryCall::Truncate { fd, length_bytes }) => {
            Record::Truncate { fd: *fd, length: *length_bytes }
        }
        Call::Memory(MemoryCall::SealSize { fd }) => {
            Record::Seal { fd: *fd, seals: flag::F_SEAL_SIZE }
        }
        Call::Memory(MemoryCall::AddSeals { fd, seals }) => Record::Seal { fd: *fd, seals: *seals },
        Call::Memory(MemoryCall::PunchHole { fd, offset_bytes, length_bytes }) => {
            Record::Fallocate {
                fd: *fd,
                mode: flag::PUNCH_HOLE_KEEP_SIZE,
                offset: *offset_bytes,
                length: *length_bytes,
            }
        }
        Call::Memory(MemoryCall::Mmap { fd, offset_bytes, length_bytes }) => Record::Mmap {
            addr: 0,
            length: *length_bytes,
            prot: flag::PROT_READ_WRITE,
            flags: fd.map_or(flag::MAP_PRIVATE_ANONYMOUS, |_| flag::MAP_SHARED),
            fd: fd.unwrap_or(Fd(-1)),
            offset: *offset_bytes,
        },
        Call::Memory(MemoryCall::Munmap { va, length_bytes }) => {
            Record::Munmap { addr: va.0, length: *length_bytes }
        }
        _ => return None,
    })
}

/// Calls that move bytes or descriptors.
fn transfer(call: &Call, answer: &Answer) -> Option<Record> {
    Some(match call {
        Call::File(FileCall::WriteAt { fd, offset_bytes, bytes }) => Record::Write {
            fd: *fd,
            length: bytes.len() as u64,
            offset: Some(*offset_bytes),
            bytes: bytes.clone(),
        },
        Call::File(FileCall::ReadAt { fd, offset_bytes, length_bytes }) => Record::Read {
            fd: *fd,
            length: *length_bytes,
            offset: Some(*offset_bytes),
            bytes: read(answer),
        },
        Call::File(FileCall::ReadEvent { fd }) => {
            Record::Read { fd: *fd, length: flag::EVENT_BYTES, offset: None, bytes: read(answer) }
        }
        Call::File(FileCall::Read { fd, length_bytes }) => {
            Record::Read { fd: *fd, length: *length_bytes, offset: None, bytes: read(answer) }
        }
        Call::File(FileCall::Write { fd, bytes }) => Record::Write {
            fd: *fd,
            length: bytes.len() as u64,
            offset: None,
            bytes: bytes.clone(),
        },
        Call::File(FileCall::WriteEvent { fd, count }) => Record::Write {
            fd: *fd,
            length: flag::EVENT_BYTES,
            offset: None,
            bytes: count.to_ne_bytes().to_vec(),
        },
        Call::Socket(SocketCall::Send { fd, bytes, fds }) => {
            Record::Sendmsg { fd: *fd, bytes: bytes.clone(), fds: fds.clone() }
        }
        Call::Socket(SocketCall::Receive { fd, wait }) => received(*fd, !wait, None, answer),
        Call::Socket(SocketCall::ReceiveFew { fd, fds_max }) => {
            received(*fd, true, Some(*fds_max), answer)
        }
        _ => return None,
    })
}

fn read(answer: &Answer) -> Vec<u8> {
    match answer {
        Ok(Reply::Bytes(bytes)) => bytes.clone(),
        Ok(Reply::Count(count)) => count.to_ne_bytes().to_vec(),
        _ => Vec::new(),
    }
}

fn received(fd: Fd, dontwait: bool, fds_max: Option<usize>, answer: &Answer) -> Record {
    let (bytes, fds, truncated) = match answer {
        Ok(Reply::Message { bytes, fds, truncated }) => (bytes.clone(), fds.clone(), *truncated),
        _ => (Vec::new(), Vec::new(), false),
    };
    Record::Recvmsg { fd, bytes, fds, cloexec: true, peek: false, truncated, dontwait, fds_max }
}

fn process(call: &Call, answer: &Answer) -> Option<Record> {
    let resource = flag::MEMLOCK.to_owned();
    Some(match (call, answer) {
        (Call::File(FileCall::Stat { fd }), Ok(Reply::Stat { inode, length_bytes })) => {
            Record::Stat { fd: *fd, inode: *inode, size: *length_bytes }
        }
        (Call::File(FileCall::Stat { fd }), _) => Record::Stat { fd: *fd, inode: 0, size: 0 },
        (Call::Process(ProcessCall::GetMemlock), Ok(Reply::Memlock(cur))) => {
            Record::Getrlimit { resource, cur: *cur }
        }
        (Call::Process(ProcessCall::GetMemlock), _) => Record::Getrlimit { resource, cur: 0 },
        (Call::Process(ProcessCall::SetMemlock { limit_bytes: cur }), _) => {
            Record::Rlimit { resource, cur: *cur, max: *cur, target: None }
        }
        (Call::Process(ProcessCall::GetUid), _) => Record::Getuid,
        (Call::Process(ProcessCall::SetUid { uid }), _) => Record::Cred {
            call: Some(flag::SETRESUID.to_owned()),
            uid: Some(*uid),
            euid: Some(*uid),
            cap_ipc_lock: (uid.0 != 0).then_some(false),
        },
        (Call::Process(ProcessCall::GetCapIpcLock), answer) => {
            Record::Capget { cap_ipc_lock: *answer == Ok(Reply::Flag(true)) }
        }
        (Call::Process(ProcessCall::DropCapIpcLock), _) => Record::Cred {
            call: Some(flag::CAPSET.to_owned()),
            uid: None,
            euid: None,
            cap_ipc_lock: Some(false),
        },
        (Call::Process(ProcessCall::Exec { image }), _) => Record::Exec {
            path: format!("{}{image}", flag::SELF_FD),
            argv: Vec::new(),
            uid: None,
            euid: None,
            cap_ipc_lock: None,
        },
        (Call::Process(ProcessCall::Exit { status }), _) => {
            Record::Exit { status: Some(i32::from(*status)), signal: None }
        }
        _ => return None,
    })
}

fn ret(call: &Call, answer: &Answer) -> Option<i64> {
    let length = |bytes: &[u8]| i64::try_from(bytes.len()).expect("a length fits");
    match (call, answer) {
        (Call::Process(ProcessCall::Exit { .. }), _) => None,
        (_, Err(_)) => Some(-1),
        (_, Ok(Reply::Ioctl(outcome))) => Some(outcome.result.map_or(-1, i64::from)),
        (Call::Socket(SocketCall::Send { bytes, .. }), _)
        | (_, Ok(Reply::Bytes(bytes) | Reply::Message { bytes, .. })) => Some(length(bytes)),
        (_, Ok(Reply::Fd(fd))) => Some(i64::from(fd.0)),
        (_, Ok(Reply::Va(va))) => Some(va.0.cast_signed()),
        (_, Ok(Reply::Uid(uid))) => Some(i64::from(uid.0)),
        (Call::Container(ContainerCall::CanUpdateVaddr { .. }), Ok(Reply::Flag(can))) => {
            Some(i64::from(*can))
        }
        (Call::File(FileCall::WriteEvent { .. }), Ok(_)) | (_, Ok(Reply::Count(_))) => {
            Some(flag::EVENT_BYTES.cast_signed())
        }
        (
            Call::File(FileCall::WriteAt { .. } | FileCall::Write { .. }),
            Ok(Reply::Length(length)),
        ) => Some(length.cast_signed()),
        (_, Ok(_)) => Some(0),
    }
}
