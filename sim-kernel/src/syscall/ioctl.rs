//! An ioctl in progress, on any kind of file.

use crate::machine::Placement;
use crate::syscall::user_memory::User;
use crate::value::FileId;
use handoff_model::abi::ids::Pid;

/// An ioctl in progress: the caller, the file, the request number and its argument.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) pid: Pid,
    pub(crate) file: FileId,
    pub(crate) number: u32,
    pub(crate) user: &'a mut User,
    pub(crate) place: &'a Placement,
}
