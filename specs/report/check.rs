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

/// What a check found in each scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    /// The scenarios, in the order in which they were named.
    pub scenarios: Vec<CheckedScenario>,
}

/// A scenario that was checked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckedScenario {
    /// Which scenario.
    #[serde(flatten)]
    pub scenario: ScenarioHead,
    /// The number of distinct reachable states.
    pub states: u32,
    /// The number of transitions between them.
    pub transitions: u64,
    /// The greatest number of steps to a state, by the runs with the fewest faults.
    pub depth: u32,
    /// The number of steps of the longest run; null if a run can repeat for ever, or the search was
    /// stopped.
    pub longest_run: Option<u32>,
    /// Whether every reachable state was searched.
    pub exhaustive: bool,
    /// What stopped the search; null if it is exhaustive.
    pub stopped_by: Option<String>,
    /// How long the check took.
    pub duration_ms: u64,
    /// Kinds of steps that the scenario allows and that never happen: nothing is proved about them.
    pub never: Vec<&'static str>,
    /// For how long the guest stands still; null if the search was stopped, or no run stops the
    /// guest.
    pub blackout: Option<Blackouts>,
    /// A verdict for each property, always in the same order.
    pub verdicts: Vec<Verdict>,
    /// The runs that violate properties, the shortest first.
    pub counterexamples: Vec<Run>,
    /// The run in which this program itself failed; null unless it did.
    pub panic: Option<Panic>,
    /// Remarks on the certificate and on the checkpoint that were asked for.
    pub notes: Vec<String>,
}

/// Identifies a scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioHead {
    /// What the command calls it: a file, or the name of a built-in scenario, with its options.
    pub argument: String,
    /// The name that the scenario gives itself.
    pub name: String,
    /// What the scenario says about itself.
    pub about: String,
    /// How the new program comes to life: `transfer` or `exec`.
    pub mode: &'static str,
    /// The simulated kernel, one of `handoff list kernels`.
    pub kernel: &'static str,
    /// The variant of the protocol, one of `handoff list variants`.
    pub variant: &'static str,
    /// Known bugs that the scenario plants.
    pub defects: Vec<Injection>,
    /// The omission that the scenario makes, one of `handoff list mutants`.
    pub mutant: Option<String>,
    /// The corruption that the scenario injects, one of `handoff list corruptions`.
    pub corruption: Option<Injection>,
}

/// A known bug or a corruption that a scenario injects.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Injection {
    /// Its name in scenario files.
    pub id: &'static str,
    /// What it is.
    pub sentence: &'static str,
}

/// Blackouts: the time for which the guest stands still, in kernel calls and steps.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Blackouts {
    /// The longest one on runs without a fault.
    pub fault_free: Blackout,
    /// The longest one on any run.
    pub worst: Blackout,
    /// A run with the longest one, as one word.
    pub run: String,
    /// The command that shows that run.
    pub replay: String,
}

/// One blackout.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Blackout {
    /// How many kernel calls both processes make in it.
    pub calls: u32,
    /// How many steps the run has from the first of these calls to the last.
    pub steps: usize,
}

/// The verdict for a property.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// The identifier of the property, such as `OWN-1`.
    pub property: &'static str,
    /// The verdict.
    pub verdict: VerdictKind,
    /// Why the property is not applicable; null for other verdicts.
    pub reason: Option<&'static str>,
    /// What stopped the search, of `holds_within` and `inconclusive`; null for other verdicts.
    pub stopped_by: Option<String>,
    /// The number of steps of the violating run; null for other verdicts.
    pub steps: Option<usize>,
    /// How many of these are faults; null for other verdicts.
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
    /// The property is violated.
    Violated,
    /// The property held in every state because it never applied: nothing is proved.
    Vacuous,
    /// The search was stopped before the property could be judged.
    Inconclusive,
    /// The property does not apply to this scenario.
    NotApplicable,
}

/// A failure of this program.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Panic {
    /// What it said.
    pub message: String,
    /// The number of steps to it.
    pub steps: usize,
    /// How many of these are faults.
    pub faults: u32,
    /// The run to it, as one word.
    pub run: String,
    /// The command that shows that run.
    pub replay: String,
}

impl CheckedScenario {
    /// Reports a check; `argument` is what the command calls the scenario.
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
    /// Identifies a scenario.
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
    /// Reports the verdict for a property.
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
