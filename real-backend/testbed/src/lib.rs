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
//!
//! # Example
//!
//! A test looks up a kind of device by its ids, and asks for no DMA beyond its limits:
//!
//! ```
//! use handoff_model::abi::ids::Iova;
//! use handoff_testbed::device::{Direction, Dma, kind_of};
//!
//! let edu = kind_of((0x1234, 0x11e8)).expect("QEMU's edu is a test device");
//! let (direction, iova) = (Direction::FromRam, Iova(0x10_0000));
//! let dma = Dma { direction, iova, length_bytes: 512, interrupt: true };
//! assert!(edu.limits.allow(&dma));
//! assert!(!edu.limits.allow(&Dma { iova: Iova(edu.limits.iova_end), ..dma }));
//! ```

mod calls;
pub mod device;
mod fail_nth;
pub mod family;
pub mod guest;
pub mod interrupts;
mod sys;
pub mod worker;
pub mod workload;
