//! A model checker for VMM handoffs: scenarios in, verdicts and counterexamples out.
//!
//! Each module imports only from modules below it in this table:
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | the command-line interface `handoff` |
//! | [`host_run`] | runs of the same protocol on the kernel of this host, and their verdicts |
//! | [`survey`] | many checks together: comparison of variants, hazards, mutants, generated pages |
//! | [`report`] | results of commands as data, and as text, JSON and JUnit XML |
//! | [`counterexample`] | violating runs: causes, and the run as trace, ITF or diagram |
//! | [`check`] | the search of a scenario's state space, and a verdict for each property |
//! | [`spec`] | the abstract spec of a handoff, and the refinement mapping of states to it |
//! | [`state`] | the transition system: a simulated machine, both roles, and a fault budget |
//! | [`properties`] | the requirements, as predicates over a `View` of the machine |
//! | [`scenario`] | a VM and its fault budget, read from TOML; known bugs, corruptions |
//!
//! Two crates stand beside them: `handoff-checker`, the search engine, and `handoff-conformance`,
//! which judges the simulated kernel.
//!
//! # Example
//!
//! A handoff is proved, and with a known bug in the protocol it is not:
//!
//! ```
//! use handoff_checker::search::Limits;
//! use handoff_specs::check::check;
//! use handoff_specs::scenario::Scenario;
//!
//! let text = r#"
//!     name = "my-vm"
//!     mode = "transfer"
//!     ram = [{ name = "ram0", pages = 2, iova = 0x100000 }]
//!     device = [{ name = "nic0" }]
//! "#;
//! let scenario = Scenario::parse("my-vm.toml", text).expect("a scenario");
//! let report = check(&scenario, Limits::default()).expect("the VM starts");
//! assert!(report.violations().next().is_none() && !report.is_inconclusive());
//!
//! let buggy = format!("defects = [\"probe-takes-ownership\"]\n{text}");
//! let scenario = Scenario::parse("my-vm.toml", &buggy).expect("a scenario");
//! let report = check(&scenario, Limits::default()).expect("the VM starts");
//! assert!(report.violations().any(|(property, _)| property.id == "READ-1"));
//! ```

pub mod check;
pub mod cli;
pub mod counterexample;
pub mod host_run;
pub mod properties;
pub mod report;
pub mod scenario;
pub mod spec;
pub mod state;
pub mod survey;
