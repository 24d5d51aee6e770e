//! What every call goes through: refusals, the caller's memory, ioctls, allocations that fail.

pub(crate) mod fail_nth;
pub(crate) mod ioctl;
pub(crate) mod refusal;
pub(crate) mod user_memory;
