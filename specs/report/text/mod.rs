//! Reports as text for people, wrapped to the width of the terminal.

pub mod bugs;
pub mod compare;
pub mod conform;
pub mod run;

use super::check::{
    Blackout, Blackouts, CheckedScenario, Injection, Panic, ScenarioHead, Verdict, VerdictKind,
};
use super::doctor::{Doctor, Status};
use super::layout::{labelled, paragraph, plain};
use run::{counterexample, length};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Writes the report on one scenario of a check.
pub fn scenario(checked: &CheckedScenario, width: usize) -> String {
    let mut lines = head(&checked.scenario);
    lines.push(format!("  {}", coverage(checked)));
    if !checked.never.is_empty() {
        let never = checked.never.join(", ");
        lines.push(format!("  never happens, so nothing is proved of it: {never}"));
    }
    lines.extend(checked.blackout.as_ref().map(blackout));
    let mut verdicts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for verdict in &checked.verdicts {
        verdicts.entry(describe(verdict)).or_default().push(verdict.property);
    }
    lines.extend(verdicts.iter().map(|(verdict, of)| format!("  {verdict}: {}", of.join(" "))));
    let mut text: String = lines.iter().map(|line| paragraph(line, width)).collect();
    for run in &checked.counterexamples {
        text.extend(["\n", &counterexample(run, width)]);
    }
    if let Some(Panic { message, steps, faults, replay, .. }) = &checked.panic {
        let length = length(*steps, *faults as usize);
        let _ = write!(text, "\n{message} after {length}\n  replay: {replay}\n");
    }
    text + "\n"
}

fn head(scenario: &ScenarioHead) -> Vec<String> {
    let ScenarioHead { name, about, mode, kernel, defects, mutant, corruption, .. } = scenario;
    let mut lines = vec![format!("{}  ({mode}, kernel {kernel})", plain(name))];
    lines.extend((!about.is_empty()).then(|| format!("  {}", plain(about))));
    let planted = |Injection { id, sentence }: &Injection| format!("  planted: {id}: {sentence}");
    lines.extend(defects.iter().map(planted));
    lines.extend(mutant.iter().map(|mutant| format!("  left out: {mutant}")));
    lines.extend(corruption.iter().map(|wrong| format!("  wrong: {}", wrong.sentence)));
    lines
}

fn coverage(checked: &CheckedScenario) -> String {
    let CheckedScenario { states, transitions, depth, longest_run, stopped_by, .. } = checked;
    let how = match stopped_by {
        None => "exhaustive".to_owned(),
        Some(limit) => format!("NOT exhaustive: cut by {limit}"),
    };
    let longest = longest_run.map_or(String::new(), |steps| format!(", longest run {steps} steps"));
    let seconds = seconds(checked.duration_ms);
    format!(
        "{how}: {states} unique states, {transitions} transitions, depth {depth}{longest}, \
         {seconds} s"
    )
}

/// Returns a duration in seconds, with one digit after the point.
fn seconds(duration_ms: u64) -> String {
    let tenths = (duration_ms + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn blackout(blackouts: &Blackouts) -> String {
    let Blackouts { fault_free, worst, replay, .. } = blackouts;
    let said =
        |Blackout { calls, steps }: &Blackout| format!("{calls} kernel calls ({steps} steps)");
    let (fault_free, worst) = (said(fault_free), said(worst));
    format!(
        "  blackout: at most {fault_free} when nothing disturbs it, {worst} whatever does: {replay}"
    )
}

fn describe(verdict: &Verdict) -> String {
    let limit = verdict.stopped_by.as_deref().unwrap_or_default();
    match verdict.verdict {
        VerdictKind::Proved => "proved".to_owned(),
        VerdictKind::HoldsWithin => format!("holds within {limit}, not proved"),
        VerdictKind::Violated => {
            let faults = verdict.faults.unwrap_or_default() as usize;
            format!("violated, by {}", length(verdict.steps.unwrap_or_default(), faults))
        }
        VerdictKind::Vacuous => "vacuous, proves nothing".to_owned(),
        VerdictKind::Inconclusive => format!("inconclusive, cut by {limit}"),
        VerdictKind::NotApplicable => {
            format!("not asked ({})", verdict.reason.unwrap_or_default())
        }
    }
}

/// Writes the sums over several scenarios.
pub fn total(scenarios: &[CheckedScenario]) -> String {
    let states: u64 = scenarios.iter().map(|checked| u64::from(checked.states)).sum();
    let exhaustive = scenarios.iter().filter(|checked| checked.exhaustive).count();
    let verdicts = scenarios.iter().flat_map(|checked| &checked.verdicts);
    let violated = verdicts.filter(|it| it.verdict == VerdictKind::Violated).count();
    let violated = match violated {
        0 => "no property violated".to_owned(),
        count => format!("{count} violations"),
    };
    let seconds = seconds(scenarios.iter().map(|checked| checked.duration_ms).sum());
    format!(
        "{} scenarios, {exhaustive} exhaustive, {states} unique states, {seconds} s: {violated}\n",
        scenarios.len()
    )
}

/// Writes findings about this host.
pub fn doctor(doctor: &Doctor, width: usize) -> String {
    let mut text = String::new();
    for finding in &doctor.findings {
        let status = match finding.status {
            Status::Pass => "PASS  ",
            Status::Skip => "SKIP  ",
            Status::Warn => "WARN  ",
            Status::Fail => "FAIL  ",
        };
        let said = format!("{}: {}", finding.question, finding.evidence);
        text.push_str(&labelled(status, &said, width));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&labelled("      → ", remedy, width));
        }
    }
    text + &match doctor.failed {
        0 => "This host can do a handoff, as far as can be seen.\n".to_owned(),
        count => format!("This host cannot do a handoff: {count} findings stand against it.\n"),
    }
}
