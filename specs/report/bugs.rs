//! The report of `handoff bugs`: known bugs of QEMU and Linux, and how each is reproduced.

use super::check::Injection;
use super::run::Run;
use schemars::JsonSchema;
use serde::Serialize;

/// Known bugs: all, or the one that was named.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bugs {
    /// The bugs.
    pub bugs: Vec<Bug>,
}

/// A known bug.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bug {
    /// The identifier of the bug, such as `Z09`.
    pub bug: &'static str,
    /// A sentence that describes the bug.
    pub sentence: &'static str,
    /// The origin of the bug: commits of QEMU or Linux, mails, versions.
    pub source: &'static str,
    /// True if the bug was reproduced by this run of the command, or cannot be reproduced here.
    pub reproduced: bool,
    /// The means by which the bug is reproduced.
    pub shown_by: ShownBy,
}

/// The means by which a bug is reproduced.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShownBy {
    /// A check of a small scenario.
    Check(Box<FoundByCheck>),
    /// A fact of the conformance suite, from which the kernel with the bug differs.
    Fact {
        /// The name of the fact, for `handoff conform`.
        fact: &'static str,
        /// The simulated kernel with the bug.
        kernel: &'static str,
        /// The answers of that kernel; null if it agrees with the fact.
        mismatch: Option<String>,
    },
    /// A test that explores the interleavings of concurrent calls in the kernel.
    LockModel {
        /// The name and the location of the test.
        test: &'static str,
    },
    /// None, because analysis showed that it is not a bug.
    NotABug {
        /// The reason.
        reason: &'static str,
    },
    /// None, because no scenario can express the bug.
    OutOfScope {
        /// The reason.
        reason: &'static str,
    },
}

/// A bug that is found by checking a scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundByCheck {
    /// The property that the bug violates.
    pub property: &'static str,
    /// The defects that the scenario plants.
    pub defects: Vec<Injection>,
    /// The scenario, as the text of a scenario file.
    pub scenario: String,
    /// The cheapest run that violates the property; null if no run does.
    pub cheapest: Option<Cheapest>,
    /// The cheapest run, step by step; null unless the command names one bug.
    pub counterexample: Option<Run>,
}

/// The cheapest run by which a bug violates a property: it has the fewest faults, then the fewest
/// steps.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Cheapest {
    /// The number of its steps.
    pub steps: usize,
    /// The number of these that are faults.
    pub faults: u32,
    /// The run, encoded as one word.
    pub run: String,
    /// The command that shows the run.
    pub replay: String,
}
