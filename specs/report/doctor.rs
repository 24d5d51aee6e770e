//! The report of `handoff doctor`: findings about this host.

use handoff_real_backend::doctor;
use schemars::JsonSchema;
use serde::Serialize;

/// Whether this host can do a handoff.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Doctor {
    /// What was looked at, in the order in which one would mend it.
    pub findings: Vec<Finding>,
    /// How many findings have failed.
    pub failed: usize,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// The stable name of the finding, such as `kernel.version`.
    pub id: &'static str,
    /// How it counts.
    pub status: Status,
    /// The question, and which device it is about.
    pub question: String,
    /// What was seen.
    pub evidence: String,
    /// What to do about it; null if nothing is wrong.
    pub remedy: Option<String>,
}

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Pass,
    /// Could not be looked at.
    Skip,
    /// Works, and may surprise.
    Warn,
    /// A handoff cannot work.
    Fail,
}

impl Doctor {
    /// Reports findings.
    pub fn new(findings: Vec<doctor::Finding>) -> Self {
        let findings: Vec<_> = findings.into_iter().map(Finding::new).collect();
        let failed = findings.iter().filter(|finding| finding.status == Status::Fail).count();
        Self { findings, failed }
    }
}

impl Finding {
    fn new(finding: doctor::Finding) -> Self {
        let doctor::Finding { id, status, what, evidence, remedy } = finding;
        let status = match status {
            doctor::Status::Pass => Status::Pass,
            doctor::Status::Skip => Status::Skip,
            doctor::Status::Warn => Status::Warn,
            doctor::Status::Fail => Status::Fail,
        };
        Self { id, status, question: what, evidence, remedy }
    }
}
