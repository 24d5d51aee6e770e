//! Test support for handoffs on a real kernel: test devices, a guest, worker processes. VMMs do not
//! link it.
//!
//! | module | what it is |
//! |---|---|
//! | [`device`] | the trait of a test device, and the registry of kinds |
//! | [`workload`], [`guest`] | DMA and interrupts on these devices, and a guest that drives them |
//! | [`worker`] | processes that make the calls that a controller sends them |
//! | [`family`] | lets a supervisor adopt and reap the processes of a run |
//! | [`interrupts`] | counts of a device's interrupts, from the kernel |
//!
//! The kernel is reached through `handoff_real_backend`, as in a VMM. Unsafe code is only in `sys`.

mod calls;
pub mod device;
mod fail_nth;
pub mod family;
pub mod guest;
pub mod interrupts;
mod sys;
pub mod worker;
pub mod workload;
