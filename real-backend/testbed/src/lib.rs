//! The test gear of the handoff on a real kernel; a VMM links none of it.
//!
//! | module | what it is |
//! |---|---|
//! | [`device`] | the trait of a test device, and the kinds there are |
//! | [`workload`], [`guest`] | the work that is done on such devices, and a guest that does it |
//! | [`worker`] | processes that make the calls that a controller sends them |
//! | [`family`] | processes that a supervisor has started, and their descendants |
//! | [`interrupts`] | how often the kernel has taken a device's interrupt |
//!
//! Everything goes through `handoff_real_backend`, as a VMM does. Unsafe code is only in `sys`.

mod calls;
pub mod device;
mod fail_nth;
pub mod family;
pub mod guest;
pub mod interrupts;
mod sys;
pub mod worker;
pub mod workload;
