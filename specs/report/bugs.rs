//! The report of `handoff bugs`: known bugs of QEMU and Linux, and what finds each of them again.

use super::check::Injection;
use super::run::Run;
use schemars::JsonSchema;
use serde::Serialize;

/// Known bugs: all of them, or the one that was asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bugs {
    /// The bugs.
    pub bugs: Vec<Bug>,
}

/// A known bug.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bug {
    /// The letter and number of the bug.
    pub bug: &'static str,
    /// What goes wrong.
    pub sentence: &'static str,
    /// Where it was seen: commits of QEMU or Linux, mails, versions.
    pub source: &'static str,
    /// Whether it was found again just now; true of a bug that nothing here can show.
    pub reproduced: bool,
    /// What shows it.
    pub shown_by: ShownBy,
}

/// What shows a bug.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShownBy {
    /// A check of a small scenario.
    Check(Box<FoundByCheck>),
    /// A fact of the conformance suite that the kernel with the bug does not keep.
    Fact {
        /// The name of the fact, for `handoff conform`.
        fact: &'static str,
        /// The simulated kernel with the bug.
        kernel: &'static str,
        /// How that kernel answers instead; null if it keeps the fact.
        mismatch: Option<String>,
    },
    /// A test that explores how concurrent calls interleave in the kernel.
    LockModel {
        /// The name of the test, and where it is.
        test: &'static str,
    },
    /// Nothing, because it is no bug.
    NotABug {
        /// Why it is none.
        reason: &'static str,
    },
    /// Nothing, because no scenario can express it.
    OutOfScope {
        /// Why none can.
        reason: &'static str,
    },
}

/// A bug that a check finds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundByCheck {
    /// The property that the bug breaks.
    pub property: &'static str,
    /// The known bugs that its scenario plants.
    pub defects: Vec<Injection>,
    /// The scenario, as a scenario file has it.
    pub scenario: String,
    /// The cheapest run that violates the property; null if none does any more.
    pub cheapest: Option<Cheapest>,
    /// That run, step by step; null unless one bug was asked for.
    pub counterexample: Option<Run>,
}

/// The cheapest run by which a bug breaks a property.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Cheapest {
    /// How many steps it has.
    pub steps: usize,
    /// How many of these are faults.
    pub faults: u32,
    /// The run as one word.
    pub run: String,
    /// The command that shows it.
    pub replay: String,
}
