//! The boundary to a kernel: system calls and their answers as data, and the observable state of a
//! system.

pub mod argument;
pub mod call;
pub mod errno;
pub mod hex;
pub mod ids;
pub mod kernel;
pub mod request;
pub mod uapi;
pub mod view;
