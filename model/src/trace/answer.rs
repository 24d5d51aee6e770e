//! The conversion of an event to the answer of its call.
//!
//! If a recorder kept only the first bytes of a read or a message, the reply is unknown.

use super::Event;
use super::ioctl::Recorded;
use super::record::Record;
use crate::abi::call::{
    Call, CallResult, FileCall, GuestCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use crate::abi::ids::{Fd, Uid, Va};

/// Returns true if the recorder kept all `length` bytes.
pub(super) fn holds(bytes: &[u8], length: u64) -> bool {
    bytes.len() as u64 == length
}

pub(super) fn returned(event: &Event) -> Option<u64> {
    event.ret?.try_into().ok()
}

/// Returns the answer; `None` if it is unknown: an errno without a name here, or truncated bytes.
pub(super) fn answer(event: &Event, call: &Call) -> Option<CallResult> {
    if let Some(ioctl) = Recorded::of(event) {
        return Some(ioctl.answer(call));
    }
    if event.succeeded() { reply(event, call).map(Ok) } else { event.errno().map(Err) }
}

/// Returns the reply of a call other than an ioctl.
fn reply(event: &Event, call: &Call) -> Option<Reply> {
    match call {
        Call::File(call) => reply_of_file(event, call),
        Call::Memory(call) => reply_of_memory(event, call),
        Call::Process(call) => reply_of_process(event, call),
        Call::Socket(call) => reply_of_socket(event, call),
        Call::Guest(
            GuestCall::Stop | GuestCall::Save { .. } | GuestCall::Load { .. } | GuestCall::Start,
        ) => Some(Reply::Done),
        Call::Iommufd(_)
        | Call::Device(_)
        | Call::Container(_)
        | Call::Kvm(_)
        | Call::Ioctl { .. } => None,
    }
}

fn new_fd(event: &Event) -> Option<Reply> {
    Some(Reply::Fd(Fd(i32::try_from(returned(event)?).ok()?)))
}

fn reply_of_file(event: &Event, call: &FileCall) -> Option<Reply> {
    match (call, &event.record) {
        (FileCall::Open { .. } | FileCall::Dup { .. } | FileCall::Eventfd, _) => new_fd(event),
        (FileCall::WriteAt { .. } | FileCall::Write { .. }, _) => {
            Some(Reply::Length(returned(event)?))
        }
        (FileCall::ReadAt { .. } | FileCall::Read { .. }, Record::Read { bytes, .. }) => {
            holds(bytes, returned(event)?).then(|| Reply::Bytes(bytes.clone()))
        }
        (FileCall::ReadEvent { .. }, Record::Read { bytes, .. }) => {
            Some(Reply::Count(u64::from_ne_bytes(bytes.as_slice().try_into().ok()?)))
        }
        (FileCall::Stat { .. }, Record::Stat { inode, size, .. }) => {
            Some(Reply::Stat { inode: *inode, length_bytes: *size })
        }
        (
            FileCall::ReadAt { .. }
            | FileCall::Read { .. }
            | FileCall::ReadEvent { .. }
            | FileCall::Stat { .. },
            _,
        ) => None,
        (
            FileCall::Close { .. }
            | FileCall::SetCloexec { .. }
            | FileCall::SetNonblock { .. }
            | FileCall::WriteEvent { .. },
            _,
        ) => Some(Reply::Done),
    }
}

fn reply_of_memory(event: &Event, call: &MemoryCall) -> Option<Reply> {
    match call {
        MemoryCall::Memfd { .. } | MemoryCall::ReopenReadOnly { .. } => new_fd(event),
        MemoryCall::Mmap { .. } => Some(Reply::Va(Va(returned(event)?))),
        MemoryCall::Truncate { .. }
        | MemoryCall::SealSize { .. }
        | MemoryCall::AddSeals { .. }
        | MemoryCall::PunchHole { .. }
        | MemoryCall::Munmap { .. } => Some(Reply::Done),
    }
}

fn reply_of_process(event: &Event, call: &ProcessCall) -> Option<Reply> {
    match (call, &event.record) {
        (ProcessCall::GetUid, _) => Some(Reply::Uid(Uid(u32::try_from(returned(event)?).ok()?))),
        (ProcessCall::GetMemlock, Record::Getrlimit { cur, .. }) => Some(Reply::Memlock(*cur)),
        (ProcessCall::GetCapIpcLock, Record::Capget { cap_ipc_lock }) => {
            Some(Reply::Flag(*cap_ipc_lock))
        }
        (ProcessCall::GetMemlock | ProcessCall::GetCapIpcLock, _) => None,
        (
            ProcessCall::SetMemlock { .. }
            | ProcessCall::SetUid { .. }
            | ProcessCall::DropCapIpcLock
            | ProcessCall::Exec { .. }
            | ProcessCall::Exit { .. }
            | ProcessCall::Kill { .. }
            | ProcessCall::AwaitExit { .. },
            _,
        ) => Some(Reply::Done),
    }
}

fn reply_of_socket(event: &Event, call: &SocketCall) -> Option<Reply> {
    match (call, &event.record) {
        (
            SocketCall::Receive { .. } | SocketCall::ReceiveFew { .. },
            Record::Recvmsg { bytes, fds, truncated, .. },
        ) => holds(bytes, returned(event)?).then(|| Reply::Message {
            bytes: bytes.clone(),
            fds: fds.clone(),
            truncated: *truncated,
        }),
        (SocketCall::Receive { .. } | SocketCall::ReceiveFew { .. }, _) => None,
        (SocketCall::Send { .. } | SocketCall::ShutdownReceive { .. }, _) => Some(Reply::Done),
    }
}
