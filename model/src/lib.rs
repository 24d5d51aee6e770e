//! The handoff, written once.
pub mod call;
pub mod errno;
pub mod hex;
pub mod ids;
pub mod kernel;
pub mod uapi;
pub mod view;
