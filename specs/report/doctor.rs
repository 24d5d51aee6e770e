//! The report of `handoff doctor`: findings about this host.

use handoff_real_backend::doctor;
use schemars::JsonSchema;
use serde::Serialize;

/// Findings that show whether this host supports a handoff.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Doctor {
    /// The findings, in the order in which to fix them.
    pub findings: Vec<Finding>,
    /// The number of findings that failed.
    pub failed: usize,
}

/// The result of one check of the host.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// The stable name of the finding, such as `kernel.version`.
    pub id: &'static str,
    /// The status of the finding.
    pub status: Status,
    /// The question, with the device that it concerns.
    pub question: String,
    /// The evidence for the status.
    pub evidence: String,
    /// The remedy; null if none is needed.
    pub remedy: Option<String>,
}

/// The status of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The check passed.
    Pass,
    /// The check could not be made.
    Skip,
    /// A handoff works, with a restriction that the evidence describes.
    Warn,
    /// A handoff cannot succeed.
    Fail,
}

impl Doctor {
    /// Returns the report of findings.
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
