//! The report of `handoff check`: scenarios, their state spaces, and a verdict for each property.

use super::run::{Run, replay};
use crate::check::{self, Report, blackout};
use crate::counterexample::{Checked, token};
use crate::properties::Property;
use crate::scenario::Scenario;
use crate::state::system::System;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// The results of a check, one for each scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    /// The scenarios, in the order in which they were named.
    pub scenarios: Vec<CheckedScenario>,
}

/// A scenario that was checked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckedScenario {
    /// The scenario.
    #[serde(flatten)]
    pub scenario: ScenarioHead,
    /// The number of distinct reachable states.
    pub states: u32,
    /// The number of transitions between them.
    pub transitions: u64,
    /// The greatest distance of a state from the first one, in steps of the run that reaches it
    /// with the fewest faults.
    pub depth: u32,
    /// The number of steps of the longest run; null if a run can repeat for ever, or if a limit
    /// stopped the search.
    pub longest_run: Option<u32>,
    /// True if every reachable state was searched.
    pub exhaustive: bool,
    /// The limit that stopped the search; null if the search is exhaustive.
    pub stopped_by: Option<String>,
    /// The duration of the check, in milliseconds.
    pub duration_ms: u64,
    /// Kinds of steps that the scenario allows but that never happen, so that nothing is proved
    /// about them.
    pub never: Vec<&'static str>,
    /// The blackout of the guest; null if a limit stopped the search, or if no run stops the guest.
    pub blackout: Option<Blackouts>,
    /// A verdict for each property, always in the same order.
    pub verdicts: Vec<Verdict>,
    /// The runs that violate properties, the shortest first.
    pub counterexamples: Vec<Run>,
    /// The run in which this program panicked; null if it did not.
    pub panic: Option<Panic>,
    /// Remarks on the certificate and the checkpoint.
    pub notes: Vec<String>,
}

/// The identity of a scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioHead {
    /// The scenario as the command line names it: a file, or a built-in scenario, with its options.
    pub argument: String,
    /// The `name` in the scenario.
    pub name: String,
    /// The `about` in the scenario.
    pub about: String,
    /// The mode of the handoff: `transfer` (to a new process) or `exec` (to a new program in the
    /// same process).
    pub mode: &'static str,
    /// The simulated kernel, one of `handoff list kernels`.
    pub kernel: &'static str,
    /// The variant of the protocol, one of `handoff list variants`.
    pub variant: &'static str,
    /// The defects that the scenario plants, from `handoff list defects`.
    pub defects: Vec<Injection>,
    /// The mutant of the variant that the scenario runs, one of `handoff list mutants`.
    pub mutant: Option<String>,
    /// The corruption that the scenario injects, one of `handoff list corruptions`.
    pub corruption: Option<Injection>,
}

/// A defect or a corruption that a scenario injects.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Injection {
    /// The name in scenario files.
    pub id: &'static str,
    /// A sentence that describes it.
    pub sentence: &'static str,
}

/// Blackouts: the time during which no guest runs, in kernel calls and steps.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Blackouts {
    /// The longest one on runs without a fault.
    pub fault_free: Blackout,
    /// The longest one on any run.
    pub worst: Blackout,
    /// A run with the longest one, encoded as one word.
    pub run: String,
    /// The command that shows that run.
    pub replay: String,
}

/// One blackout.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Blackout {
    /// The number of kernel calls that both processes make in it.
    pub calls: u32,
    /// The number of steps from the first of these calls to the last.
    pub steps: usize,
}

/// The verdict for a property.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// The identifier of the property, such as `OWN-1`.
    pub property: &'static str,
    /// The verdict.
    pub verdict: VerdictKind,
    /// The reason why the property does not apply; null for other verdicts.
    pub reason: Option<&'static str>,
    /// The limit that stopped the search, for `holds_within` and `inconclusive`; null for other
    /// verdicts.
    pub stopped_by: Option<String>,
    /// The number of steps of the violating run; null for other verdicts.
    pub steps: Option<usize>,
    /// The number of these that are faults; null for other verdicts.
    pub faults: Option<u32>,
}

/// Verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The property holds in every reachable state, and could have failed in some.
    Proved,
    /// The property holds in every state that was reached before the search was stopped.
    HoldsWithin,
    /// Some run violates the property.
    Violated,
    /// The property held because its antecedent was false in every state, so nothing is proved.
    Vacuous,
    /// A limit stopped the search before the property could be evaluated.
    Inconclusive,
    /// The property does not apply to this scenario.
    NotApplicable,
}

/// A panic of this program, which is a bug in it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Panic {
    /// The message of the panic.
    pub message: String,
    /// The number of steps to it.
    pub steps: usize,
    /// The number of these that are faults.
    pub faults: u32,
    /// The run to it, encoded as one word.
    pub run: String,
    /// The command that shows that run.
    pub replay: String,
}

impl CheckedScenario {
    /// Returns the report of a check. `argument` names the scenario on the command line.
    pub fn new(argument: &str, scenario: &Scenario, checked: &Checked) -> Self {
        let Checked { system, report } = checked;
        let runs = checked.counterexamples();
        Self {
            scenario: ScenarioHead::new(argument, scenario),
            states: report.states,
            transitions: report.transitions,
            depth: report.depth,
            longest_run: report.longest_run,
            exhaustive: report.stopped_by.is_none(),
            stopped_by: report.stopped_by.map(|cut| cut.to_string()),
            duration_ms: milliseconds(report.time),
            never: report.never_happens.clone(),
            blackout: Blackouts::new(argument, system, report),
            verdicts: report.verdicts.iter().map(|(of, said)| Verdict::new(of, said)).collect(),
            counterexamples: runs.iter().map(|run| Run::new(run, argument)).collect(),
            panic: Panic::new(argument, system, report),
            notes: Vec::new(),
        }
    }

    /// Returns the run that violates a property.
    pub fn counterexample(&self, property: &str) -> Option<&Run> {
        let violates = |run: &&Run| run.violated.iter().any(|it| it.property == property);
        self.counterexamples.iter().find(violates)
    }
}

/// Returns a duration in whole milliseconds.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ScenarioHead {
    /// Returns the identity of a scenario. `argument` names it on the command line.
    pub fn new(argument: &str, scenario: &Scenario) -> Self {
        let defects = scenario.defects.iter();
        let injection = |id, sentence| Injection { id, sentence };
        Self {
            argument: argument.to_owned(),
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            mode: scenario.mode.name(),
            kernel: scenario.kernel.name(),
            variant: scenario.variant.id,
            defects: defects.map(|defect| injection(defect.id, defect.sentence)).collect(),
            mutant: scenario.mutant.map(|mutant| mutant.to_string()),
            corruption: scenario.corruption.map(|wrong| injection(wrong.id, wrong.sentence)),
        }
    }
}

impl Blackouts {
    fn new(argument: &str, system: &System, report: &Report) -> Option<Self> {
        let found = report.blackouts.as_ref().filter(|found| found.worst.steps > 0)?;
        let run = token::encode(system, &system.actions_at(&found.worst.places));
        let blackout = |of: &blackout::Blackout| Blackout { calls: of.calls, steps: of.steps };
        let (fault_free, worst) = (blackout(&found.undisturbed), blackout(&found.worst));
        Some(Self { fault_free, worst, replay: replay(argument, &run), run })
    }
}

impl Verdict {
    /// Returns the report of a property's verdict.
    pub fn new(property: &Property, verdict: &check::Verdict) -> Self {
        use check::Verdict as Said;
        let kind = match verdict {
            Said::Proved => VerdictKind::Proved,
            Said::HoldsWithin(_) => VerdictKind::HoldsWithin,
            Said::Violated(_) => VerdictKind::Violated,
            Said::Vacuous => VerdictKind::Vacuous,
            Said::Inconclusive(_) => VerdictKind::Inconclusive,
            Said::NotApplicable(_) => VerdictKind::NotApplicable,
        };
        let (mut reason, mut stopped_by, mut run) = (None, None, None);
        match verdict {
            Said::NotApplicable(why) => reason = Some(*why),
            Said::HoldsWithin(cut) | Said::Inconclusive(cut) => stopped_by = Some(cut.to_string()),
            Said::Violated(found) => run = Some(found),
            Said::Proved | Said::Vacuous => {}
        }
        Self {
            property: property.id,
            verdict: kind,
            reason,
            stopped_by,
            steps: run.map(|run| run.actions.len()),
            faults: run.map(|run| run.faults),
        }
    }
}

impl Panic {
    fn new(argument: &str, system: &System, report: &Report) -> Option<Self> {
        let panicked = report.panic.as_ref()?;
        let run = token::encode(system, &panicked.actions);
        Some(Self {
            message: panicked.violation.clone(),
            steps: panicked.actions.len(),
            faults: panicked.faults,
            replay: replay(argument, &run),
            run,
        })
    }
}
