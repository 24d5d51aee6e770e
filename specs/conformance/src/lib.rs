//! Is the simulated kernel Linux? Three ways to find out, which find different things.
//!
//! * [`suite`]: facts about the kernel as rows of a table: a set-up, a call, what the kernel must
//!   answer and what must be visible afterwards;
//! * [`lockstep`]: random calls by several processes, made on two kernels and compared after each
//!   call;
//! * [`replay`]: the calls that a real program made, read from a trace and made again on the
//!   simulated kernel.
//!
//! A [`target`] is a kernel under test with processes in it that make the calls: the simulated
//! kernel, or that of this host. This crate judges the *kernel*; whether a protocol is right is not
//! its business.
//!
//! # Example
//!
//! A fact about Linux, checked against the simulated kernel:
//!
//! ```
//! use handoff_conformance::suite::{self, Verdict};
//!
//! let name = "change-process/reserved";
//! let fact = suite::rows::all().find(|fact| fact.name == name).expect("a fact");
//! println!("{}", fact.sentence);
//! assert_eq!(suite::run(fact, &mut suite::simulated_for(fact)), Verdict::Agrees);
//! ```

pub mod lockstep;
pub mod replay;
pub mod suite;
pub mod target;
