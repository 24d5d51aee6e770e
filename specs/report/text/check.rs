//! The result of a check as text: one line for each of several scenarios, or one scenario in
//! detail. The verdict comes first, then the findings, the worst severity and the shortest run
//! first.
//!
//! Without `--verbose` the text fits into [`LINES_MAX`] lines, as long as the findings leave room.

use super::grouped;
use super::run::{Detail, counterexample, length, replay};
use crate::properties::{self, Property, Severity};
use crate::report::check::{
    Blackouts, CheckedScenario, Injection, Panic, ScenarioHead, Verdict, VerdictKind,
};
use crate::report::layout::{paragraph, plain};
use crate::report::run::Run;
use std::fmt::Write;

/// Number of lines that the default output about one scenario fills at most, at 100 columns.
pub const LINES_MAX: usize = 60;

/// Number of steps of a counterexample that the default output shows at least.
const STEPS_MIN: usize = 8;

/// Properties that are explained and changes that are shown, from the most to the least; the first
/// pair that fits is used.
const EXTENTS: [(usize, usize); 3] = [(2, 6), (1, 6), (1, 2)];

/// A violated property, and the length of the run that violates it.
struct Finding {
    property: &'static Property,
    faults: u32,
    steps: usize,
    /// Name of the scenario.
    scenario: String,
    /// The scenario as the command names it.
    argument: String,
    /// Number of further scenarios in which the property is violated.
    others: usize,
}

impl Finding {
    /// Returns the findings of scenarios, each property once, the most severe first.
    fn all<'a>(scenarios: impl IntoIterator<Item = &'a CheckedScenario>) -> Vec<Self> {
        let mut findings: Vec<Self> = Vec::new();
        for checked in scenarios {
            let verdicts = checked.verdicts.iter();
            for verdict in verdicts.filter(|it| it.verdict == VerdictKind::Violated) {
                let found = Self::new(verdict, &checked.scenario);
                let known = findings.iter_mut().find(|it| it.property.id == found.property.id);
                let Some(known) = known else {
                    findings.push(found);
                    continue;
                };
                let others = known.others + 1;
                if found.cost() < known.cost() {
                    *known = found;
                }
                known.others = others;
            }
        }
        findings.sort_by_key(Self::rank);
        findings
    }

    fn new(verdict: &Verdict, scenario: &ScenarioHead) -> Self {
        Self {
            property: properties::find(verdict.property).expect("a property of the registry"),
            faults: verdict.faults.unwrap_or_default(),
            steps: verdict.steps.unwrap_or_default(),
            scenario: scenario.name.clone(),
            argument: scenario.argument.clone(),
            others: 0,
        }
    }

    fn cost(&self) -> (u32, usize) {
        (self.faults, self.steps)
    }

    fn rank(&self) -> (Severity, u32, usize) {
        (self.property.severity, self.faults, self.steps)
    }

    fn line(&self, with_scenario: bool) -> String {
        let Self { property, faults, steps, .. } = self;
        let length = length(*steps, *faults as usize);
        let place = match (with_scenario, self.others) {
            (false, _) => String::new(),
            (true, 0) => format!(", in {}", plain(&self.scenario)),
            (true, others) => format!(", in {} and {others} more", plain(&self.scenario)),
        };
        format!(
            "  {:<16}  {:<6}  {} ({length}{place})",
            property.severity, property.id, property.title
        )
    }
}

/// Writes one line about a scenario: its verdict, its size and its blackout.
pub fn line(checked: &CheckedScenario) -> String {
    let name = plain(&checked.scenario.argument);
    let verdict = Overall::of(checked).word();
    let states = grouped(u64::from(checked.states));
    let seconds = seconds(checked.duration_ms);
    let blackout = checked.blackout.as_ref().map_or(String::new(), |blackout| {
        let (best, worst) = (blackout.fault_free.calls, blackout.worst.calls);
        format!("  blackout {best} calls, worst {worst}")
    });
    format!("{verdict:<10}  {name:<24} {states:>9} states {seconds:>6} s{blackout}\n")
}

/// Writes the sums over several scenarios, and the findings in them.
pub fn total(scenarios: &[CheckedScenario], width: usize) -> String {
    let states: u64 = scenarios.iter().map(|checked| u64::from(checked.states)).sum();
    let exhaustive = scenarios.iter().filter(|checked| checked.exhaustive).count();
    let findings = Finding::all(scenarios);
    let mut text = String::new();
    if !findings.is_empty() {
        text.push('\n');
        for finding in &findings {
            text.push_str(&paragraph(&finding.line(true), width));
        }
        let example = format!("handoff check {}", findings[0].argument);
        let _ = write!(text, "\nshow the first one in detail: {example}\n");
    }
    let count = scenarios.iter().map(violations).sum::<usize>();
    let violated = match count {
        0 => "no property violated".to_owned(),
        1 => "1 violation".to_owned(),
        count => format!("{count} violations"),
    };
    let seconds = seconds(scenarios.iter().map(|checked| checked.duration_ms).sum());
    let states = grouped(states);
    let scenarios = scenarios.len();
    let _ = writeln!(
        text,
        "{scenarios} scenarios, {exhaustive} exhaustive, {states} unique states, {seconds} s: \
         {violated}"
    );
    text
}

/// Writes one scenario in at most [`LINES_MAX`] lines.
pub fn summary(checked: &CheckedScenario, width: usize) -> String {
    let mut text = headline(checked, width) + &head(checked, width);
    let findings = Finding::all([checked]);
    for finding in &findings {
        text.push_str(&paragraph(&finding.line(false), width));
    }
    text.push_str(&paragraph(&others(checked), width));
    text.push_str(&panicked(checked));
    let first = findings.first().and_then(|it| checked.counterexample(it.property.id));
    let Some(first) = first else { return text };
    let more = more(checked, width);
    // The empty line between both parts counts, too.
    let used = text.lines().count() + more.lines().count() + 1;
    text.extend(["\n", &shortened(first, width, LINES_MAX.saturating_sub(used)), &more]);
    text
}

/// Writes a counterexample in at most `lines_max` lines if its least extent allows that.
fn shortened(run: &Run, width: usize, lines_max: usize) -> String {
    let write = |steps_max, (explained_max, changes_max)| {
        counterexample(run, width, Detail { steps_max, explained_max, changes_max })
    };
    let steps = STEPS_MIN..=run.steps.len().max(STEPS_MIN);
    let texts = EXTENTS
        .into_iter()
        .flat_map(|extent| steps.clone().rev().map(move |steps_max| (steps_max, extent)));
    let mut texts = texts.map(|(steps_max, extent)| write(steps_max, extent));
    let fits = |text: &String| text.lines().count() <= lines_max;
    texts.find(fits).unwrap_or_else(|| write(STEPS_MIN, EXTENTS[EXTENTS.len() - 1]))
}

/// Writes everything about a scenario: each verdict, and each counterexample in full.
pub fn everything(checked: &CheckedScenario, width: usize) -> String {
    let mut text = headline(checked, width) + &head(checked, width);
    for finding in Finding::all([checked]) {
        text.push_str(&paragraph(&finding.line(false), width));
    }
    for kind in [
        VerdictKind::Proved,
        VerdictKind::HoldsWithin,
        VerdictKind::Inconclusive,
        VerdictKind::Vacuous,
    ] {
        for verdict in checked.verdicts.iter().filter(|it| it.verdict == kind) {
            text.push_str(&paragraph(&titled(verdict), width));
        }
    }
    for verdict in checked.verdicts.iter().filter(|it| it.reason.is_some()) {
        let reason = verdict.reason.unwrap_or_default();
        text.push_str(&paragraph(&format!("{} ({reason})", titled(verdict)), width));
    }
    text.push_str(&panicked(checked));
    for run in by_severity(checked) {
        text.extend(["\n", &counterexample(run, width, Detail::FULL)]);
    }
    text + "\n"
}

/// The verdict on a scenario as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overall {
    /// This program failed.
    Panicked,
    /// A property is violated.
    Violated,
    /// A limit stopped the search.
    Undecided,
    /// A property, or an event that the scenario allows, was never tested.
    Vacuous,
    /// Every applicable property is proved.
    Proved,
}

impl Overall {
    fn of(checked: &CheckedScenario) -> Self {
        let has = |kind| checked.verdicts.iter().any(|it| it.verdict == kind);
        if checked.panic.is_some() {
            Self::Panicked
        } else if has(VerdictKind::Violated) {
            Self::Violated
        } else if !checked.exhaustive {
            Self::Undecided
        } else if has(VerdictKind::Vacuous) || !checked.never.is_empty() {
            Self::Vacuous
        } else {
            Self::Proved
        }
    }

    /// Returns a word; capitals if the exit code is 1.
    fn word(self) -> &'static str {
        match self {
            Self::Panicked => "PANICKED",
            Self::Violated => "VIOLATED",
            Self::Undecided => "undecided",
            Self::Vacuous => "vacuous",
            Self::Proved => "proved",
        }
    }
}

fn violations(checked: &CheckedScenario) -> usize {
    checked.verdicts.iter().filter(|it| it.verdict == VerdictKind::Violated).count()
}

/// The first line: the scenario, and its verdict.
fn headline(checked: &CheckedScenario, width: usize) -> String {
    let count = |kind| checked.verdicts.iter().filter(|it| it.verdict == kind).count();
    let not_applicable = count(VerdictKind::NotApplicable);
    let all = checked.verdicts.len() - not_applicable;
    let proved = count(VerdictKind::Proved);
    let verdict = match Overall::of(checked) {
        Overall::Violated => format!("VIOLATED: {} of {all} properties", violations(checked)),
        Overall::Panicked => "PANICKED: this program failed, so nothing is proved".to_owned(),
        Overall::Undecided => {
            let limit = checked.stopped_by.as_deref().unwrap_or_default();
            format!("undecided: {limit} stopped the search, so nothing is proved")
        }
        Overall::Vacuous => {
            let vacuous = count(VerdictKind::Vacuous);
            match vacuous {
                0 => format!("proved {proved} of {all} properties, but an event never happens"),
                _ => format!("proved {proved} of {all} properties, but {vacuous} are vacuous"),
            }
        }
        Overall::Proved => format!("proved: all {all} properties hold in every reachable state"),
    };
    paragraph(&format!("{}: {verdict}", plain(&checked.scenario.name)), width)
}

/// The scenario, the size of its state space, and its blackout.
fn head(checked: &CheckedScenario, width: usize) -> String {
    let scenario = &checked.scenario;
    let mut lines: Vec<String> = Vec::new();
    lines.extend((!scenario.about.is_empty()).then(|| format!("  {}", plain(&scenario.about))));
    lines.push(format!(
        "  {} mode, kernel {}, variant {}",
        scenario.mode, scenario.kernel, scenario.variant
    ));
    let planted =
        |Injection { id, sentence }: &Injection| format!("  planted bug {id}: {sentence}");
    lines.extend(scenario.defects.iter().map(planted));
    lines.extend(scenario.mutant.iter().map(|mutant| format!("  mutant: {mutant}")));
    let corruption = scenario.corruption.iter();
    lines.extend(corruption.map(|it| format!("  corruption {}: {}", it.id, it.sentence)));
    lines.push(format!("  {}", coverage(checked)));
    if !checked.never.is_empty() {
        let never = checked.never.join(", ");
        lines.push(format!("  allowed but never happens, so nothing is proved about it: {never}"));
    }
    let mut text: String = lines.iter().map(|line| paragraph(line, width)).collect();
    text.extend(checked.blackout.as_ref().map(|it| blackout(it, width)));
    text
}

fn coverage(checked: &CheckedScenario) -> String {
    let CheckedScenario { states, transitions, depth, longest_run, stopped_by, .. } = checked;
    let (states, transitions) = (grouped(u64::from(*states)), grouped(*transitions));
    let how = match stopped_by {
        None => "exhaustive".to_owned(),
        Some(limit) => format!("NOT exhaustive, stopped by {limit}"),
    };
    let longest = longest_run.map_or(String::new(), |steps| format!(", longest run {steps} steps"));
    let seconds = seconds(checked.duration_ms);
    format!(
        "{states} unique states, {transitions} transitions, depth {depth}{longest}, {seconds} s: \
         {how}"
    )
}

fn blackout(blackouts: &Blackouts, width: usize) -> String {
    let (fault_free, worst) = (&blackouts.fault_free, &blackouts.worst);
    let line = format!(
        "  blackout: at most {} kernel calls without faults, {} in the worst case",
        fault_free.calls, worst.calls
    );
    paragraph(&line, width) + &format!("    shown by: {}\n", replay(&blackouts.replay))
}

/// One line about every property that is not violated.
fn others(checked: &CheckedScenario) -> String {
    let limit = checked.stopped_by.as_deref().unwrap_or("the search");
    let kinds = [
        (VerdictKind::Proved, "proved".to_owned()),
        (VerdictKind::HoldsWithin, format!("hold within {limit}, not proved")),
        (VerdictKind::Inconclusive, "inconclusive".to_owned()),
        (VerdictKind::Vacuous, "vacuous".to_owned()),
        (VerdictKind::NotApplicable, "n/a".to_owned()),
    ];
    let mut parts = Vec::new();
    for (kind, word) in kinds {
        let of_kind = checked.verdicts.iter().filter(|it| it.verdict == kind);
        let ids: Vec<_> = of_kind.map(|it| it.property).collect();
        match (kind, ids.len()) {
            (_, 0) => {}
            (VerdictKind::Proved | VerdictKind::NotApplicable, count) => {
                parts.push(format!("{count} {word}"));
            }
            _ => parts.push(format!("{word}: {}", ids.join(" "))),
        }
    }
    format!("  {} (--verbose lists each property)", parts.join("; "))
}

fn titled(verdict: &Verdict) -> String {
    let title = properties::find(verdict.property).map_or("", |property| property.title);
    let word = match verdict.verdict {
        VerdictKind::Proved => "proved",
        VerdictKind::HoldsWithin => "holds within",
        VerdictKind::Violated => "violated",
        VerdictKind::Vacuous => "vacuous",
        VerdictKind::Inconclusive => "inconclusive",
        VerdictKind::NotApplicable => "n/a",
    };
    format!("  {word:<16}  {:<6}  {title}", verdict.property)
}

fn panicked(checked: &CheckedScenario) -> String {
    checked.panic.as_ref().map_or(String::new(), |panic| {
        let Panic { message, steps, faults, replay: command, .. } = panic;
        let length = length(*steps, *faults as usize);
        format!("\n{message} after {length}\n  replay: {}\n", replay(command))
    })
}

/// The counterexamples, the most severe first, then the shortest.
fn by_severity(checked: &CheckedScenario) -> Vec<&Run> {
    let rank = |run: &&Run| {
        let of = run.violated.iter().filter_map(|it| properties::find(it.property));
        (of.map(|property| property.severity).min(), run.faults, run.steps.len())
    };
    let mut runs: Vec<&Run> = checked.counterexamples.iter().collect();
    runs.sort_by_key(rank);
    runs
}

/// The number of counterexamples that are left out, and the option that shows them.
fn more(checked: &CheckedScenario, width: usize) -> String {
    match checked.counterexamples.len() - 1 {
        0 => String::new(),
        count => {
            let noun = if count == 1 { "counterexample" } else { "counterexamples" };
            paragraph(&format!("{count} more {noun}: --verbose shows each in full"), width)
        }
    }
}

/// Returns a duration in seconds, with one digit after the point.
fn seconds(duration_ms: u64) -> String {
    let tenths = (duration_ms + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}
