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
