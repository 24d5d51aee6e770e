//! What every call goes through: refusals, the caller's memory, ioctls, allocations that fail.
//!
//! Every subsystem uses it. Which subsystem answers which call is in the crate's `dispatch.rs`, above them all.

mod fail_nth;
mod ioctl;
mod refusal;
mod user_memory;

pub(crate) use ioctl::Request;
pub use refusal::Refusal;
pub(crate) use refusal::{Answered, refuse};
pub(crate) use user_memory::{Fields, User};
