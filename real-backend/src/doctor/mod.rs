//! Whether this host can hand devices over: a list of findings, each with evidence and a remedy.
//!
//! Reads only: it opens `/dev/iommu` (an empty context, gone at once) and makes a memfd, and
//! changes nothing. It cannot fail: what is not there, or may not be looked at, is a finding. It
//! runs on a machine without an IOMMU, in a container, and as anybody.
//!
//! Vocabulary: *pass* is good, *warn* works and may surprise, *fail* means that a handoff cannot
//! work, *skip* could not be looked at and says why. Skip is never a pass.
//!
//! All files are read below the root of a [`Machine`], and limits come from it, so that a test can
//! make any machine up.

mod device;
mod kernel;
mod limits;

use crate::sysfs::{Bdf, Sysfs};
use serde::Serialize;

pub use limits::Limits;

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name, such as `kernel.version`.
    pub id: &'static str,
    /// How it counts.
    pub status: Status,
    /// What is asked, and of which device.
    pub what: String,
    /// What was seen.
    pub evidence: String,
    /// What to do about it: commands, where there are some.
    pub remedy: Option<String>,
}

/// A finding whose outcome is not yet known.
struct Question {
    id: &'static str,
    what: String,
}

fn ask(id: &'static str, what: impl Into<String>) -> Question {
    Question { id, what: what.into() }
}

impl Question {
    fn answer(self, status: Status, evidence: String, remedy: Option<String>) -> Finding {
        Finding { id: self.id, status, what: self.what, evidence, remedy }
    }

    fn pass(self, evidence: impl Into<String>) -> Finding {
        self.answer(Status::Pass, evidence.into(), None)
    }

    fn skip(self, why: impl Into<String>) -> Finding {
        self.answer(Status::Skip, why.into(), None)
    }

    fn warn(self, evidence: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.answer(Status::Warn, evidence.into(), Some(remedy.into()))
    }

    fn fail(self, evidence: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.answer(Status::Fail, evidence.into(), Some(remedy.into()))
    }
}

/// A host to look at.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its files.
    pub files: Sysfs,
    /// What the process that asks may use.
    pub limits: Limits,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Self { files: Sysfs::default(), limits: Limits::here() }
    }
}

/// What is to be handed over.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which devices.
    pub devices: Vec<Bdf>,
    /// How much guest RAM; 0 when not known.
    pub ram_bytes: u64,
}

/// Everything, in the order in which one would mend it.
pub fn examine(machine: &Machine, request: &Request) -> Vec<Finding> {
    let mut findings = kernel::examine(&machine.files);
    findings.extend(limits::examine(&machine.limits, request.ram_bytes));
    for bdf in &request.devices {
        findings.extend(device::examine(&machine.files, *bdf));
    }
    findings
}
