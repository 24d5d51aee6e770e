//! The reason why a call was refused: an errno, and the place in the simulator that returned it.
//!
//! A place corresponds to a branch of Linux. The tests require that each of them is reached by a
//! fact of the conformance suite ([`Machine::call_explained`](crate::Machine::call_explained)), so
//! that an error in one cannot go unnoticed.

use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use std::panic::Location;

/// A refusal of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    /// The errno that the caller receives.
    pub errno: Errno,
    /// The refusing line in this crate's source.
    pub at: &'static Location<'static>,
}

/// Returns a refusal that is located at the line of the caller.
#[track_caller]
pub(crate) fn fail(errno: Errno) -> Failure {
    Failure { errno, at: Location::caller() }
}

impl From<Failure> for Errno {
    fn from(refusal: Failure) -> Self {
        refusal.errno
    }
}

/// The result of a call within this crate.
pub(crate) type SyscallResult<T = Reply> = Result<T, Failure>;
