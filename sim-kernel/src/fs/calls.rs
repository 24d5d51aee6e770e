//! The calls on files and descriptors: the function that answers each, and the calls that wait.
//!
//! A file of another subsystem answers its reads and writes itself.

use crate::machine::{Machine, Placement};
use crate::syscall::SyscallResult;
use handoff_model::abi::call::FileCall;
use handoff_model::abi::ids::Pid;

impl Machine {
    pub(crate) fn file_call(
        &mut self,
        pid: Pid,
        call: &FileCall,
        place: &Placement,
    ) -> SyscallResult {
        match call {
            FileCall::Open { path } => self.open(pid, path, place),
            FileCall::Close { fd } => self.close(pid, *fd),
            FileCall::Dup { fd } => self.dup(pid, *fd, place),
            FileCall::SetCloexec { fd, on } => self.set_cloexec(pid, *fd, *on),
            FileCall::SetNonblock { fd, on } => self.set_nonblock(pid, *fd, *on),
            FileCall::Stat { fd } => self.stat(pid, *fd),
            FileCall::WriteAt { fd, offset_bytes, bytes } => {
                self.write_at(pid, *fd, *offset_bytes, bytes)
            }
            FileCall::ReadAt { fd, offset_bytes, length_bytes } => {
                self.read_at(pid, *fd, *offset_bytes, *length_bytes)
            }
            FileCall::Eventfd => self.new_eventfd(pid, place),
            FileCall::ReadEvent { fd } => self.read_event(pid, *fd),
            FileCall::WriteEvent { fd, count } => self.write_event(pid, *fd, *count),
            FileCall::Read { fd, length_bytes } => self.read_queue(pid, *fd, *length_bytes),
            FileCall::Write { fd, bytes } => self.write_queue(pid, *fd, bytes),
        }
    }

    /// Returns true if the call would wait: for an eventfd that is empty or full.
    pub(crate) fn file_call_waits(&self, pid: Pid, call: &FileCall) -> bool {
        match *call {
            FileCall::ReadEvent { fd } => self.read_event_waits(pid, fd),
            FileCall::WriteEvent { fd, count } => self.write_event_waits(pid, fd, count),
            FileCall::Open { .. }
            | FileCall::Close { .. }
            | FileCall::Dup { .. }
            | FileCall::SetCloexec { .. }
            | FileCall::SetNonblock { .. }
            | FileCall::Stat { .. }
            | FileCall::WriteAt { .. }
            | FileCall::ReadAt { .. }
            | FileCall::Eventfd
            | FileCall::Read { .. }
            | FileCall::Write { .. } => false,
        }
    }
}
