//! Parts common to all calls: refusals, the caller's memory, ioctls, failing allocations.
//!
//! Every subsystem uses it. `dispatch.rs`, above all subsystems, selects the one that answers a
//! call.

mod fail_nth;
mod failure;
mod ioctl;
mod user_memory;

pub use failure::Failure;
pub(crate) use failure::{SyscallResult, fail};
pub(crate) use ioctl::Request;
pub(crate) use user_memory::{Fields, User};
