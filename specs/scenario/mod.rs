//! Scenarios: a virtual machine as its operator knows it, and what may go wrong, in a TOML file.
//!
//! A file is read strictly: an unknown key, a name that nothing has, two blocks at one address are
//! refused in one line that names the file, the place and the cure. Behind [`Scenario::parse`]
//! everything resolves.
//!
//! ```toml
//! name = "two-devices"
//! mode = "transfer"                 # or "exec"
//! kernel = "7.3"                    # a simulated kernel: see `handoff list`
//! variant = "safe"                  # the protocol: see `handoff list`
//! kvm = true                        # interrupts by irqfds; without: the VMM reads its eventfds
//! dma = "iommufd"                   # or "type1": each [[space]] is a container
//! # wrong = "ram-other"             # what is told that is not so: see `handoff list corruptions`
//! # mutant = "row old Revoke"       # what the protocol leaves out: see `handoff list mutants`
//!
//! [[ram]]
//! name = "ram0"
//! pages = 2
//! iova = 0x100000
//!
//! [[device]]
//! name = "nic0"
//! interrupts = 1
//! # armed_later = true              # the last device's: armed while the guest runs
//! # hwpt = "own"                   # instead of "shared"; or "nest-parent", one a space
//! # bar_iova = 0x200000             # the other devices of its space reach its BAR 0 there
//!
//! [process]                         # of both; [new] overrides for the new one
//! uid = 1000
//! memlock_pages = 4
//!
//! [may]                             # what may go wrong, at any step
//! fail_calls = 1
//! kill = 1
//! cancel = true
//! ```

pub mod bugs;
pub mod builder;
pub mod corruption;
pub mod expectation;
mod faults;
mod file;
pub mod generated;
mod injections;
pub mod library;
pub mod mutants;
mod names;
mod parse;
mod plan;
mod resolved;

pub use faults::FaultBudget;
pub(crate) use faults::errnos;
pub(crate) use injections::find_variant;
pub(crate) use names::DEVICES_MAX;
pub use parse::ParseError;
pub(crate) use parse::newest;
pub use resolved::{Credentials, Scenario};
