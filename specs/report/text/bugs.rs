//! Known bugs as text: a table of all, or one of them with its scenario and counterexample.

use super::run::{Detail, counterexample};
use crate::report::bugs::{Bug, Cheapest, FoundByCheck, ShownBy};
use crate::report::check::Injection;
use crate::report::layout::{labelled, paragraph};
use crate::scenario::bugs;

/// Writes the head of the table.
pub fn head() -> String {
    format!("{:4}  {:13}  title (source)\n", "bug", "found by")
}

/// Writes the row of one known bug.
pub fn line(bug: &Bug, width: usize) -> String {
    let found = match &bug.shown_by {
        ShownBy::LockModel { .. } => "locks".to_owned(),
        ShownBy::NotABug { .. } => "not a bug".to_owned(),
        ShownBy::OutOfScope { .. } => "out of scope".to_owned(),
        ShownBy::Fact { kernel, mismatch: Some(_), .. } => format!("fact {kernel}"),
        ShownBy::Fact { kernel, mismatch: None, .. } => format!("{kernel} NOT FOUND"),
        ShownBy::Check(check) => match &check.cheapest {
            Some(Cheapest { steps, faults: 0, .. }) => format!("{} {steps}", check.property),
            Some(Cheapest { steps, faults, .. }) => format!("{} {steps} +{faults}", check.property),
            None => format!("{} NOT FOUND", check.property),
        },
    };
    let Bug { bug, source, .. } = bug;
    labelled(&format!("{bug:4}  {found:13}  "), &format!("{} ({source})", title(bug)), width)
}

fn title(bug: &str) -> &'static str {
    bugs::find(bug).map_or("", |known| known.title)
}

/// Writes an explanation of the second column.
pub fn legend(width: usize) -> String {
    let lines = [
        ("VM-3 20 +1", "a check finds a violation of VM-3 in 20 steps, 1 of which is a fault"),
        ("fact 6.2", "Linux 6.2, as simulated, differs from a fact of the conformance suite"),
        ("locks", "found by exploring the interleavings of a call in the kernel"),
        ("out of scope", "no scenario can express it; `handoff bugs ID` gives the reason"),
        ("not a bug", "suspected, but refuted; `handoff bugs ID` gives the reason"),
    ];
    let line = |(cell, text): (&str, &str)| labelled(&format!("{cell:12}  "), text, width);
    format!("\n{}", lines.map(line).concat())
}

/// Writes everything about one known bug.
pub fn bug(bug: &Bug, width: usize) -> String {
    let Bug { bug, sentence, source, shown_by, .. } = bug;
    let wrapped = |line: &str| paragraph(line, width);
    let head =
        wrapped(&format!("{bug}: {}", title(bug))) + &wrapped(&format!("  {sentence} ({source})"));
    let shown = match shown_by {
        ShownBy::OutOfScope { reason } => wrapped(&format!("No scenario reproduces it: {reason}.")),
        ShownBy::NotABug { reason } => wrapped(&format!("Not a bug: {reason}.")),
        ShownBy::Fact { fact, kernel, mismatch: Some(mismatch) } => {
            let line = format!(
                "The simulated kernel {kernel} differs from the fact {fact} of the conformance \
                 suite:"
            );
            format!("{}{mismatch}\n", wrapped(&line))
        }
        ShownBy::Fact { fact, kernel, mismatch: None } => wrapped(&format!(
            "NOT REPRODUCED: the simulated kernel {kernel} agrees with the fact {fact} of the \
             conformance suite."
        )),
        ShownBy::LockModel { test } => wrapped(&format!(
            "It needs two calls that interleave, which scenarios do not model. The test {test} of \
             the simulated kernel's locks finds it."
        )),
        ShownBy::Check(check) => return head + &found(check, width),
    };
    format!("{head}\n{shown}")
}

/// Writes the scenario of a bug, and the cheapest run that violates the property.
fn found(check: &FoundByCheck, width: usize) -> String {
    let FoundByCheck { property, defects, scenario, counterexample: run, .. } = check;
    let planted =
        |Injection { id, sentence }: &Injection| format!("  planted bug {id}: {sentence}");
    let planted: String = defects.iter().map(|it| paragraph(&planted(it), width)).collect();
    let run = match run {
        Some(run) => counterexample(run, width, Detail::FULL),
        None => paragraph(&format!("NOT REPRODUCED: no run violates {property}."), width),
    };
    format!("{planted}\n{}\n\n{run}", scenario.trim_end())
}
