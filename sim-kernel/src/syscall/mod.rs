//! What every call goes through: refusals, the caller's memory, ioctls, allocations that fail.

mod fail_nth;
mod ioctl;
mod refusal;
mod user_memory;

pub(crate) use ioctl::Request;
pub use refusal::Refusal;
pub(crate) use refusal::{Answered, refuse};
pub(crate) use user_memory::{Fields, User};
