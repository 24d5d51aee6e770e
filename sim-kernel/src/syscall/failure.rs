//! Why a call was refused: an errno, and the place in the simulator that said so.
//!
//! A place is a branch of Linux. The tests ask for each of them to be reached by a row of a table
//! ([`Machine::call_explained`](crate::Machine::call_explained)), so none can be wrong unseen.

use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use std::panic::Location;

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    /// What the caller is told.
    pub errno: Errno,
    /// Where in this crate's source.
    pub at: &'static Location<'static>,
}

/// A refusal by the line that calls this.
#[track_caller]
pub(crate) fn fail(errno: Errno) -> Failure {
    Failure { errno, at: Location::caller() }
}

impl From<Failure> for Errno {
    fn from(refusal: Failure) -> Self {
        refusal.errno
    }
}

/// What a call comes to within this crate.
pub(crate) type SyscallResult<T = Reply> = Result<T, Failure>;
