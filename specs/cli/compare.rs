//! `handoff check --all`: what each variant keeps, as a table, and the runs by which it does not.

use super::check::cannot_start;
use super::{Exit, Failure, width};
use crate::check::Verdict;
use crate::counterexample::report;
use crate::scenario::Scenario;
use crate::state::system::System;
use crate::survey::compare::{Cell, Column, compare, heads, legend, letters, table};
use handoff_checker::search::Limits;
use std::io::Write;

/// Good where the protocol that a VMM should use keeps everything; how others fail is a result, and no failure.
pub(super) fn run(
    scenarios: &[(String, Scenario)],
    limits: Limits,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let columns = compare(scenarios, limits).map_err(|error| Failure::Usage(error.to_string()))?;
    for line in heads(&columns) {
        paragraph(&line, out)?;
    }
    writeln!(out, "\n{}", table(&columns))?;
    for line in &legend(&columns) {
        paragraph(line, out)?;
    }
    writeln!(out, "\nThe runs by which they do not:\n")?;
    for (letter, column) in letters().zip(&columns) {
        runs(letter, column, scenarios, out)?;
    }
    let ours = columns.iter().filter(|column| column.variant.is_ours);
    Ok(ours.flat_map(|column| &column.cells).map(exit).max().unwrap_or(Exit::Good))
}

fn exit(cell: &Cell) -> Exit {
    match cell.verdict {
        Verdict::Proved | Verdict::NotAsked(_) => Exit::Good,
        Verdict::Violated(_) => Exit::Bad,
        _ => Exit::Inconclusive,
    }
}

fn paragraph(line: &str, out: &mut impl Write) -> Result<(), Failure> {
    let mut text = String::new();
    report::paragraph(&mut text, line, width());
    write!(out, "{text}")?;
    Ok(())
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
                let token = report::token(&system, &run.actions);
                let id = column.variant.id;
                format!("{told}: handoff check {name} --variant {id} --steps {token}")
            }
            Verdict::HoldsWithin(cut) | Verdict::Inconclusive(cut) => {
                format!("in {name} cut by {cut}")
            }
            _ => continue,
        };
        paragraph(&format!("{letter}  {}  {line}", property.id), out)?;
    }
    Ok(())
}
