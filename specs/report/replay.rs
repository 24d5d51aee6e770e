//! The report of `handoff replay`: a recorded trace, replayed on the simulated kernel.

use handoff_conformance::replay;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Counts of the calls that the simulated kernel answers as the recorded one did. Every event is in
/// exactly one count: `events = taken + agreeing + differing + not_followed + not_modelled`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Replay {
    /// The kernel that was recorded.
    pub kernel: String,
    /// The simulated kernel.
    pub simulated: String,
    /// Events in the trace.
    pub events: usize,
    /// Events that are not calls: starts and exits of processes, and interrupts.
    pub taken: usize,
    /// Calls that both kernels answered alike.
    pub agreeing: usize,
    /// Calls that they answered differently.
    pub differing: usize,
    /// Calls, by name, on objects that the simulator does not have, or lost track of after a call
    /// that it does not model.
    pub not_followed: BTreeMap<String, usize>,
    /// Calls, by name, that the simulator does not model.
    pub not_modelled: BTreeMap<String, usize>,
    /// Ioctls of iommufd and VFIO in the trace.
    pub device_ioctls: usize,
    /// The number of these that were compared.
    pub device_ioctls_compared: usize,
    /// The first differences.
    pub differences: Vec<ReplayDifference>,
}

/// A call that two kernels answered differently.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReplayDifference {
    /// The line of the trace.
    pub line: usize,
    /// The process, as the trace numbers it.
    pub process: u32,
    /// The name of the call.
    pub call: &'static str,
    /// The differences, a line each.
    pub details: Vec<String>,
    /// The call and both answers, as text.
    pub text: String,
}

impl Replay {
    /// Returns the report of a replay.
    pub fn new(report: &replay::Report) -> Self {
        let difference = |it: &replay::Difference| ReplayDifference {
            line: it.line,
            process: it.pid.0,
            call: it.call.name(),
            details: it.differences.clone(),
            text: it.to_string(),
        };
        Self {
            kernel: report.kernel.clone(),
            simulated: report.profile.clone(),
            events: report.seen,
            taken: report.told,
            agreeing: report.agreeing,
            differing: report.differing,
            not_followed: report.not_followed.clone(),
            not_modelled: report.not_modelled.clone(),
            device_ioctls: report.of_devices.seen,
            device_ioctls_compared: report.of_devices.compared,
            differences: report.stories.iter().map(difference).collect(),
        }
    }
}
