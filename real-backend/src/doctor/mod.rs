//! Checks whether this host supports a handoff: a list of findings with evidence and a remedy.
//!
//! The checks only read: they open `/dev/iommu` (an empty context, closed at once) and create a
//! memfd. They cannot fail: a missing or unreadable file is a finding. They run on a machine
//! without an IOMMU, in a container, and as any user.
//!
//! Vocabulary: *pass*: as required; *warn*: works, but may surprise; *fail*: a handoff cannot work;
//! *skip*: could not be checked, with the reason. A skip never counts as a pass.
//!
//! All files are read below the root of a [`Machine`], which also has the limits, so that a test
//! can set up any machine.

mod device;
mod kernel;
mod limits;

use crate::sysfs::{Bdf, Sysfs};
use serde::Serialize;

pub use limits::Limits;

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The requirement is met.
    Pass,
    /// The check could not be made.
    Skip,
    /// Works, but may surprise.
    Warn,
    /// A handoff cannot work.
    Fail,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name, such as `kernel.version`.
    pub id: &'static str,
    /// The outcome.
    pub status: Status,
    /// The requirement, with the device it applies to.
    pub what: String,
    /// The observation that led to the outcome.
    pub evidence: String,
    /// The remedy: commands where possible.
    pub remedy: Option<String>,
}

/// A check without an outcome yet.
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

/// A host to examine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its file tree.
    pub files: Sysfs,
    /// Limits of the process that runs the checks.
    pub limits: Limits,
}

impl Machine {
    /// The machine this process runs on.
    pub fn here() -> Self {
        Self { files: Sysfs::default(), limits: Limits::here() }
    }
}

/// The devices and memory to hand over.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// PCI addresses of the devices.
    pub devices: Vec<Bdf>,
    /// Size of guest RAM in bytes; 0 if unknown.
    pub ram_bytes: u64,
}

/// Runs all checks, in the order in which one would fix them.
pub fn examine(machine: &Machine, request: &Request) -> Vec<Finding> {
    let mut findings = kernel::examine(&machine.files);
    findings.extend(limits::examine(&machine.limits, request.ram_bytes));
    for bdf in &request.devices {
        findings.extend(device::examine(&machine.files, *bdf));
    }
    findings
}
