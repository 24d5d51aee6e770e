//! A comparison of variants as text: a legend of the columns, the table, and counterexamples.

use super::grouped;
use super::run::replay;
use crate::report::check::VerdictKind;
use crate::report::compare::{Cell, Compare, Hazard, Response, Variant};
use crate::report::layout::{labelled, paragraph};
use handoff_sim_kernel::Quirk;

/// The width of the column with the names of properties and hazards.
const NAMES: usize = 8;

/// The number of spaces between columns.
const GAP: usize = 2;

/// Returns the names of the columns.
pub fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// Writes a complete comparison.
pub fn compare(compare: &Compare, width: usize) -> String {
    let heads: String = heads(compare).iter().map(|line| entry(line, width)).collect();
    let legend: String = legend(compare).iter().map(|line| paragraph(line, width)).collect();
    let variants = || letters().zip(&compare.variants);
    let violations = variants().flat_map(|(letter, variant)| violations(letter, variant));
    let violations: String =
        violations.map(|(line, command)| entry(&line, width) + &command).collect();
    let stopped = variants().flat_map(|(letter, variant)| stopped(letter, variant));
    let stopped: String = stopped.map(|line| entry(&line, width)).collect();
    let verdict = paragraph(&verdict(compare), width);
    let mut text = format!("{verdict}\n{heads}\n{}\n{legend}", table_within(compare, width));
    for (title, lines) in [("Counterexamples", violations), ("Stopped searches", stopped)] {
        if !lines.is_empty() {
            text.extend(["\n", title, ":\n", &lines]);
        }
    }
    text
}

/// Wraps a line that begins with the letter of a variant below its text.
fn entry(line: &str, width: usize) -> String {
    let (label, text) = line.split_at(3.min(line.len()));
    labelled(label, text, width)
}

/// Returns a description of each column.
pub fn heads(compare: &Compare) -> Vec<String> {
    let head = |(letter, of): (char, &Variant)| {
        let Variant { variant, mode, sentence, scenarios, states, .. } = of;
        let (noun, states) =
            (if *scenarios == 1 { "scenario" } else { "scenarios" }, grouped(*states));
        format!("{letter}  {variant}, {mode}: {sentence} ({scenarios} {noun}, {states} states)")
    };
    letters().zip(&compare.variants).map(head).collect()
}

/// Returns the table: a row for each property and hazard, a column for each variant.
pub fn table(compare: &Compare) -> String {
    table_within(compare, usize::MAX)
}

/// Returns the table, divided into several with fewer columns if it is too wide.
fn table_within(compare: &Compare, width: usize) -> String {
    let names = names(compare);
    let mut tables = Vec::new();
    let mut columns: Vec<(usize, Vec<String>)> = Vec::new();
    for (letter, variant) in letters().zip(&compare.variants) {
        let cells = column(letter, variant);
        let wide = cells.iter().map(String::len).max().unwrap_or(0) + GAP;
        let used = NAMES + columns.iter().map(|(wide, _)| wide).sum::<usize>();
        if !columns.is_empty() && used + wide - GAP > width {
            tables.push(lines(&names, &columns));
            columns.clear();
        }
        columns.push((wide, cells));
    }
    tables.push(lines(&names, &columns));
    tables.join("\n")
}

/// The first column: an empty cell, the properties, and the hazards.
fn names(compare: &Compare) -> Vec<&'static str> {
    let verdicts = compare.variants.first().map_or(&[][..], |variant| &variant.verdicts);
    let properties = verdicts.iter().map(|cell| cell.verdict.property);
    [""].into_iter().chain(properties).chain(Quirk::ALL.into_iter().map(Quirk::code)).collect()
}

/// The column of a variant: its letter, its verdicts, and its responses to hazards.
fn column(letter: char, variant: &Variant) -> Vec<String> {
    let responses = Quirk::ALL.into_iter().map(|quirk| {
        let found = variant.hazards.iter().find(|hazard| hazard.hazard == quirk.code());
        found.map_or("-", response).to_owned()
    });
    let verdicts = variant.verdicts.iter().map(describe);
    [letter.to_string()].into_iter().chain(verdicts).chain(responses).collect()
}

fn lines(names: &[&str], columns: &[(usize, Vec<String>)]) -> String {
    let line = |(row, name): (usize, &&str)| {
        let cells = columns.iter().map(|(wide, cells)| format!("{:wide$}", cells[row]));
        let line = format!("{name:NAMES$}{}", cells.collect::<String>());
        line.trim_end().to_owned() + "\n"
    };
    names.iter().enumerate().map(line).collect()
}

fn response(hazard: &Hazard) -> &'static str {
    match hazard.response {
        Response::Unharmed => "unharmed",
        Response::Refused => "refuses",
        Response::Violated => hazard.property.unwrap_or_default(),
    }
}

fn describe(cell: &Cell) -> String {
    let word = match cell.verdict.verdict {
        VerdictKind::Violated if cell.is_not_promised() => "limit",
        VerdictKind::Violated => return length(cell),
        VerdictKind::Proved => "proved",
        VerdictKind::HoldsWithin => "holds within",
        VerdictKind::Inconclusive => "inconclusive",
        VerdictKind::Vacuous => "vacuous",
        VerdictKind::NotApplicable => "n/a",
    };
    word.to_owned()
}

fn length(cell: &Cell) -> String {
    let steps = cell.verdict.steps.unwrap_or_default();
    match cell.verdict.faults {
        None | Some(0) => steps.to_string(),
        Some(faults) => format!("{steps} +{faults}"),
    }
}

/// Returns an explanation of the table.
pub fn legend(compare: &Compare) -> Vec<String> {
    let cells = compare.variants.iter().flat_map(|variant| &variant.verdicts);
    let words: Vec<String> = cells.map(describe).collect();
    let explained = [
        ("limit", "violated, which is a documented limit of the variant"),
        ("n/a", "the property applies to none of the scenarios"),
        ("vacuous", "the antecedent of the property is false in every state: nothing is proved"),
        ("holds within", "not violated when a limit stopped the search: nothing is proved"),
        ("inconclusive", "a limit stopped the search before the property could be evaluated"),
    ];
    let mut lines = vec![
        "A number: violated by a run with this number of steps; +n: n of these are faults."
            .to_owned(),
    ];
    for (word, text) in explained.iter().filter(|(word, _)| words.iter().any(|it| it == word)) {
        lines.push(format!("{word}: {text}."));
    }
    lines.push(
        "H1, H2, H3: hazards of the kernel. The variant refuses the handoff, is unharmed, or \
         violates the named property because of the hazard."
            .to_owned(),
    );
    for quirk in Quirk::ALL {
        lines.push(format!("{}: {}", quirk.code(), quirk.evidence()));
    }
    lines.extend(refusals(compare));
    lines
}

/// Returns the reasons of refusals, each once with the variants that give it.
fn refusals(compare: &Compare) -> Vec<String> {
    let mut found: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for (letter, variant) in letters().zip(&compare.variants) {
        for Hazard { hazard, reason, .. } in &variant.hazards {
            let Some(reason) = reason else { continue };
            match found.iter_mut().find(|(of, why, _)| (of, *why) == (hazard, reason.as_str())) {
                Some((.., variants)) => variants.push(letter.to_string()),
                None => found.push((hazard, reason, vec![letter.to_string()])),
            }
        }
    }
    found.sort_by_key(|(hazard, ..)| *hazard);
    let line = |(hazard, reason, variants): (&str, &str, Vec<String>)| {
        let verb = if variants.len() == 1 { "refuses" } else { "refuse" };
        format!("{hazard}: {} {verb}: {reason}", variants.join(", "))
    };
    found.into_iter().map(line).collect()
}

/// Returns a line about each violation, with the command that shows its run on a line of its own.
fn violations(letter: char, variant: &Variant) -> Vec<(String, String)> {
    let line = |cell: &Cell| {
        let Cell { verdict, violation, documented_limit, replay: command, .. } = cell;
        let violation = violation.as_deref().unwrap_or_default();
        let text = match documented_limit {
            Some(limit) => format!("{violation} (documented limit: {limit})"),
            None => violation.to_owned(),
        };
        let command = format!("     {}\n", replay(command.as_deref()?));
        Some((format!("{letter}  {}  {text}", verdict.property), command))
    };
    variant.verdicts.iter().filter_map(line).collect()
}

/// Returns a line about each search that a limit stopped, with the properties that it left open.
fn stopped(letter: char, variant: &Variant) -> Vec<String> {
    let mut found: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for Cell { verdict, scenario, .. } in &variant.verdicts {
        let Some(limit) = verdict.stopped_by.as_deref() else { continue };
        match found.iter_mut().find(|(of, by, _)| (*of, *by) == (scenario, limit)) {
            Some((.., properties)) => properties.push(verdict.property),
            None => found.push((scenario, limit, vec![verdict.property])),
        }
    }
    let line = |(scenario, limit, properties): (&str, &str, Vec<&str>)| {
        format!("{letter}  {} in {scenario}: stopped by {limit}", properties.join(" "))
    };
    found.into_iter().map(line).collect()
}

/// Returns the verdict on this project's variants, in a line.
fn verdict(compare: &Compare) -> String {
    let ours = || letters().zip(&compare.variants).filter(|(_, variant)| variant.ours);
    let names: Vec<_> = ours().map(|(letter, _)| letter.to_string()).collect();
    let has = |kinds: &[VerdictKind]| {
        let mut cells = ours().flat_map(|(_, variant)| &variant.verdicts);
        cells.any(|cell| kinds.contains(&cell.verdict.verdict))
    };
    let verdict = if has(&[VerdictKind::Violated]) {
        "VIOLATED"
    } else if has(&[VerdictKind::HoldsWithin, VerdictKind::Inconclusive, VerdictKind::Vacuous]) {
        "undecided: not every property is proved"
    } else {
        "proved: every property that applies holds"
    };
    if names.is_empty() {
        return "No variant of this project supports these scenarios.".to_owned();
    }
    format!("This project's variants ({}): {verdict}.", names.join(", "))
}
