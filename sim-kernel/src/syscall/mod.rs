//! Parts common to all calls: refusals, the caller's memory, ioctls, allocations that fail.
//!
//! Every subsystem uses it. `dispatch.rs`, above all subsystems, says which one answers which call.

mod fail_nth;
mod ioctl;
mod refusal;
mod user_memory;

pub(crate) use ioctl::Request;
pub use refusal::Refusal;
pub(crate) use refusal::{Answered, refuse};
pub(crate) use user_memory::{Fields, User};
