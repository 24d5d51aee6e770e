//! Conformance tests of the simulated kernel against Linux, with three methods that find different
//! errors:
//!
//! * [`suite`]: a table of facts about the kernel. Each has a set-up, calls, the answers that the
//!   kernel must give, and the state that must be visible afterwards;
//! * [`lockstep`]: random calls by several processes, made on two kernels and compared after each
//!   call (differential testing);
//! * [`replay`]: the calls of a real program, read from a trace and repeated on the simulated
//!   kernel.
//!
//! A [`target`] is a kernel under test, with processes that make the calls: the simulated kernel,
//! or the kernel of this host. This crate tests the *kernel*; it does not check the correctness of
//! a protocol.
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
