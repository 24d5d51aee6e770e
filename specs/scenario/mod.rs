//! Scenarios: TOML files that describe a virtual machine as its operator knows it, and the faults
//! that may occur.
//!
//! Parsing is strict: an unknown key, an undefined name or two RAM blocks at one IOVA are refused
//! with one line that names the file, the place and the cure. In a parsed [`Scenario`] all names
//! are resolved.
//!
//! ```toml
//! name = "two-devices"
//! mode = "transfer"                 # or "exec"
//! kernel = "7.3"                    # a simulated kernel: see `handoff list`
//! variant = "safe"                  # the protocol: see `handoff list`
//! kvm = true                        # interrupts by irqfds; default: the VMM reads the eventfds
//! dma = "iommufd"                   # or "type1": each [[space]] is a container
//! # wrong = "ram-other"             # a corruption: see `handoff list corruptions`
//! # mutant = "row old Revoke"       # a step that the protocol omits: see `handoff list mutants`
//!
//! [[ram]]
//! name = "ram0"
//! pages = 2
//! iova = 0x100000
//!
//! [[device]]
//! name = "nic0"
//! interrupts = 1
//! # armed_later = true              # last device only: the guest arms it during the handoff
//! # hwpt = "own"                    # default "shared"; or "nest-parent", one per space
//! # bar_iova = 0x200000             # IOVA at which its space maps its BAR 0
//!
//! [process]                         # both processes; [new] overrides the new one
//! uid = 1000
//! memlock_pages = 4
//!
//! [may]                             # the fault budget; a fault may occur at any step
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
