//! `handoff check --all`: what each variant keeps, as a table, and the runs by which it does not.

use super::check::cannot_start;
use super::{Exit, Failure, width};
use crate::check::Verdict;
use crate::compare::{Cell, Column, compare};
use crate::property::{PROPERTIES, Property};
use crate::scenario::Scenario;
use crate::search::Limits;
use crate::story;
use crate::system::System;
use handoff_model::variant::Variant;
use std::io::Write;

/// Good where the protocol that a VMM should use keeps everything; how others fail is a result, and no failure.
pub(super) fn run(
    scenarios: &[(String, Scenario)],
    limits: Limits,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let columns = compare(scenarios, limits).map_err(|error| Failure::Usage(error.to_string()))?;
    heads(&columns, out)?;
    table(&columns, out)?;
    for (letter, column) in letters().zip(&columns) {
        runs(letter, column, scenarios, out)?;
    }
    let ours = columns.iter().filter(|column| column.variant.id == "safe");
    Ok(ours.flat_map(|column| &column.cells).map(exit).max().unwrap_or(Exit::Good))
}

fn exit(cell: &Cell) -> Exit {
    match cell.verdict {
        Verdict::Proved | Verdict::NotAsked(_) => Exit::Good,
        Verdict::Violated(_) => Exit::Bad,
        _ => Exit::Inconclusive,
    }
}

fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// What each column is of.
fn heads(columns: &[Column], out: &mut impl Write) -> Result<(), Failure> {
    for (letter, column) in letters().zip(columns) {
        let Column { scenarios, states, .. } = column;
        let Variant { id, mode, sentence, .. } = column.variant;
        let mode = format!("{mode:?}").to_lowercase();
        let seconds = column.time.as_secs_f64();
        let head = format!(
            "{letter}  {id}, {mode}: {sentence} ({scenarios} scenarios, {states} states, {seconds:.1} s)"
        );
        let mut text = String::new();
        story::paragraph(&mut text, &head, width());
        write!(out, "{text}")?;
    }
    writeln!(out)?;
    Ok(())
}

fn table(columns: &[Column], out: &mut impl Write) -> Result<(), Failure> {
    const COLUMN: usize = 14;
    let line = |first: &str, cells: Vec<String>| {
        let padded = |cell: &String| format!("{cell:COLUMN$}");
        let cells = cells.iter().map(padded).collect::<Vec<_>>().concat();
        format!("{first:9}{}", cells.trim_end())
    };
    let head = letters().take(columns.len()).map(String::from).collect();
    writeln!(out, "{}", line("", head))?;
    for (at, property) in PROPERTIES.iter().enumerate() {
        let words = columns.iter().map(|column| words(column, property, &column.cells[at]));
        writeln!(out, "{}", line(property.id, words.collect()))?;
    }
    writeln!(out, "\na number: violated, by so many steps; +n: n of them are faults\n")?;
    Ok(())
}

fn words(column: &Column, property: &Property, cell: &Cell) -> String {
    match &cell.verdict {
        Verdict::Violated(_) if column.told_instead(property).is_some() => "not promised".into(),
        Verdict::Violated(run) if run.faults == 0 => format!("{}", run.actions.len()),
        Verdict::Violated(run) => format!("{} +{}", run.actions.len(), run.faults),
        Verdict::Proved => "proved".into(),
        Verdict::HoldsWithin(_) => "holds within".into(),
        Verdict::Inconclusive(_) => "inconclusive".into(),
        Verdict::Vacuous => "vacuous".into(),
        Verdict::NotAsked(_) => "not asked".into(),
    }
}

/// How to see each run by which a variant violates something, and what cut short the rest.
fn runs(
    letter: char,
    column: &Column,
    scenarios: &[(String, Scenario)],
    out: &mut impl Write,
) -> Result<(), Failure> {
    for (property, cell) in column.verdicts() {
        let Cell { verdict, scenario: name } = cell;
        let line = match verdict {
            Verdict::Violated(run) => {
                let told = column.told_instead(property);
                let told = told.map_or_else(|| run.wrong.clone(), str::to_owned);
                let (_, scenario) =
                    scenarios.iter().find(|(other, _)| other == name).expect("it was checked");
                let scenario = Scenario { variant: column.variant, ..scenario.clone() };
                let system =
                    System::new(&scenario).map_err(|error| cannot_start(&scenario, &error))?;
                let token = story::token(&system, &run.actions);
                let id = column.variant.id;
                format!("{told}: handoff check {name} --variant {id} --steps {token}")
            }
            Verdict::HoldsWithin(cut) | Verdict::Inconclusive(cut) => {
                format!("in {name} cut by {cut}")
            }
            _ => continue,
        };
        let mut text = String::new();
        story::paragraph(&mut text, &format!("{letter}  {}  {line}", property.id), width());
        write!(out, "{text}")?;
    }
    Ok(())
}
