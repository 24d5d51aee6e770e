//! The report of `handoff lockstep`: random calls on two kernels, and the first difference.

use handoff_conformance::lockstep;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whether two kernels answer random calls alike.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lockstep {
    /// How many cases were begun, each from nothing.
    pub cases: u64,
    /// Calls by name; empty if the host's kernel could not be asked.
    pub calls: BTreeMap<&'static str, Calls>,
    /// How many branches of the simulator have refused a call.
    pub refusing_branches: usize,
    /// The first difference; null if there is none.
    pub difference: Option<LockstepDifference>,
    /// What is missing on this host, so that its kernel was not asked; null if nothing is.
    pub missing: Option<String>,
}

/// How often a call was made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Calls {
    /// How often it was made.
    pub made: u64,
    /// How often it was refused.
    pub refused: u64,
}

/// A difference between two kernels, as short as it could be made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LockstepDifference {
    /// The number of the case.
    pub case: u64,
    /// How many steps lead to it.
    pub steps: usize,
    /// The steps and both answers, as text.
    pub text: String,
}

impl Lockstep {
    /// Reports a run.
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

    /// Reports that the host's kernel could not be asked.
    pub fn skipped(missing: String) -> Self {
        Self { missing: Some(missing), ..Self::new(&lockstep::Report::default()) }
    }
}
