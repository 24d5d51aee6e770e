//! Known bugs as text: a line for each, or one of them with its scenario and run.

use super::run::counterexample;
use crate::report::bugs::{Bug, Cheapest, FoundByCheck, ShownBy};
use crate::report::check::Injection;
use crate::report::layout::paragraph;

/// Writes one known bug in a line.
pub fn line(bug: &Bug, width: usize) -> String {
    let found = match &bug.shown_by {
        ShownBy::LockModel { .. } => "locks".to_owned(),
        ShownBy::NotABug { .. } => "refuted".to_owned(),
        ShownBy::OutOfScope { .. } => "not said".to_owned(),
        ShownBy::Fact { kernel, mismatch: Some(_), .. } => format!("row {kernel}"),
        ShownBy::Fact { kernel, mismatch: None, .. } => format!("{kernel} NOT FOUND"),
        ShownBy::Check(check) => match &check.cheapest {
            Some(Cheapest { steps, faults: 0, .. }) => format!("{} {steps}", check.property),
            Some(Cheapest { steps, faults, .. }) => format!("{} {steps} +{faults}", check.property),
            None => format!("{} NOT FOUND", check.property),
        },
    };
    let Bug { bug, sentence, source, .. } = bug;
    paragraph(&format!("{bug:4}  {found:13}  {sentence} ({source})"), width)
}

/// How to read the lines of known bugs.
pub const LEGEND: &str = "
the property that it breaks, by how many steps; +n: n of them are faults
row 6.2: a fact about the kernel that Linux 6.2 does not keep
locks: found where the kernel's locks are explored; refuted: it is none; not said: \
`handoff zoo ID` says why
";

/// Writes everything about one known bug.
pub fn bug(bug: &Bug, width: usize) -> String {
    let Bug { bug, sentence, source, shown_by, .. } = bug;
    let wrapped = |line: &str| paragraph(line, width);
    let head = wrapped(&format!("{bug}: {sentence} ({source})"));
    let shown = match shown_by {
        ShownBy::OutOfScope { reason } => wrapped(&format!("No world shows it: {reason}.")),
        ShownBy::NotABug { reason } => wrapped(&format!("It is no bug: {reason}.")),
        ShownBy::Fact { fact, kernel, mismatch: Some(mismatch) } => {
            let line =
                format!("The row {fact} of the conformance suite does not hold on {kernel}:");
            format!("{}{mismatch}\n", wrapped(&line))
        }
        ShownBy::Fact { fact, kernel, mismatch: None } => {
            wrapped(&format!("The row {fact} holds on {kernel}."))
        }
        ShownBy::LockModel { test } => wrapped(&format!(
            "It is in no order of whole calls, but within one: the test {test} of the simulated \
             kernel's locks finds it."
        )),
        ShownBy::Check(check) => return head + &found(check, width),
    };
    format!("{head}\n{shown}")
}

/// The scenario of a bug, and the shortest run.
fn found(check: &FoundByCheck, width: usize) -> String {
    let FoundByCheck { property, defects, scenario, counterexample: run, .. } = check;
    let planted = |it: &Injection| paragraph(&format!("planted: {}", it.sentence), width);
    let planted: String = defects.iter().map(planted).collect();
    let run = match run {
        Some(run) => counterexample(run, width, usize::MAX),
        None => paragraph(&format!("{property} is not violated any more."), width),
    };
    format!("{planted}\n{}\n\n{run}", scenario.trim_end())
}
