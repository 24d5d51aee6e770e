//! The report of `handoff lockstep`: random calls on two kernels, and the first difference.

use handoff_conformance::lockstep;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// The results of random calls that were made on two kernels.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lockstep {
    /// The number of cases; each begins with fresh processes.
    pub cases: u64,
    /// Counts of calls, by name; empty if the host's kernel could not be tested.
    pub calls: BTreeMap<&'static str, Calls>,
    /// The number of branches of the simulator that refused a call.
    pub refusing_branches: usize,
    /// The first difference; null if there is none.
    pub difference: Option<LockstepDifference>,
    /// The precondition that this host lacks, so that its kernel was not tested; null if none is
    /// missing.
    pub missing: Option<String>,
}

/// Counts of one call.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Calls {
    /// The number of times it was made.
    pub made: u64,
    /// The number of times it was refused.
    pub refused: u64,
}

/// A difference between two kernels, shrunk to a short case.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LockstepDifference {
    /// The number of the case.
    pub case: u64,
    /// The number of steps that lead to it.
    pub steps: usize,
    /// The steps and both answers, as text.
    pub text: String,
}

impl Lockstep {
    /// Returns the report of a comparison.
    pub fn new(report: &lockstep::Report) -> Self {
        let calls = |(name, (made, refused)): (&&'static str, &(u64, u64))| {
            (*name, Calls { made: *made, refused: *refused })
        };
        let difference = |it: &lockstep::Difference| LockstepDifference {
            case: it.case,
            steps: it.steps.len(),
            text: it.to_string(),
        };
        Self {
            cases: report.cases,
            calls: report.calls.iter().map(calls).collect(),
            refusing_branches: report.refusals.len(),
            difference: report.difference.as_ref().map(difference),
            missing: None,
        }
    }

    /// Returns the report of a comparison that was skipped, with the missing precondition.
    pub fn skipped(missing: String) -> Self {
        Self { missing: Some(missing), ..Self::new(&lockstep::Report::default()) }
    }
}
