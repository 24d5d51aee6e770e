//! `handoff zoo`: every known bug, found again; or one of them as a story.

use super::check::cannot_start;
use super::{Exit, Failure, width};
use crate::check::{Report, Run, check};
use crate::counterexample::report;
use crate::properties::Property;
use crate::scenario::Scenario;
use crate::scenario::bugs::{self, Found, Known};
use crate::state::system::System;
use crate::survey::bugs::mismatch;
use handoff_checker::search::Limits;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The bug to tell, as Z09; without one: all of them
    bug: Option<String>,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    match &arguments.bug {
        None => list(out),
        Some(id) => {
            let known = bugs::find(id).ok_or_else(|| {
                let known = bugs::all().map(|known| known.id).collect::<Vec<_>>().join(", ");
                Failure::Usage(format!("{id:?} is no known bug; one of {known}"))
            })?;
            tell(known, out)
        }
    }
}

/// A line for each; Bad where one is not found any more.
fn list(out: &mut impl Write) -> Result<Exit, Failure> {
    let mut exit = Exit::Good;
    for known in bugs::all() {
        let found = match &known.found {
            Found::Interleaved(_) => "locks".to_owned(),
            Found::Refuted(_) => "refuted".to_owned(),
            Found::Unsaid(_) => "not said".to_owned(),
            Found::Row(_, kernel) if mismatch(known).is_some() => format!("row {kernel}"),
            Found::Row(_, kernel) => {
                exit = Exit::Bad;
                format!("{kernel} NOT FOUND")
            }
            Found::Checked(property, _) => {
                let (_, report) = checked(known)?;
                match run_of(&report, property) {
                    Some((_, run)) if run.faults == 0 => {
                        format!("{property} {}", run.actions.len())
                    }
                    Some((_, run)) => format!("{property} {} +{}", run.actions.len(), run.faults),
                    None => {
                        exit = Exit::Bad;
                        format!("{property} NOT FOUND")
                    }
                }
            }
        };
        let mut text = String::new();
        let line = format!("{:4}  {found:13}  {} ({})", known.id, known.sentence, known.source);
        report::paragraph(&mut text, &line, width());
        write!(out, "{text}")?;
    }
    writeln!(out, "\nthe property that it breaks, by how many steps; +n: n of them are faults")?;
    writeln!(out, "row 6.2: a fact about the kernel that Linux 6.2 does not keep")?;
    writeln!(
        out,
        "locks: found where the kernel's locks are explored; refuted: it is none; not said: `handoff zoo ID` says why"
    )?;
    Ok(exit)
}

fn checked(known: &Known) -> Result<(Scenario, Report), Failure> {
    let scenario = known.scenario().expect("it is found by a check");
    let report = check(&scenario, Limits::default());
    report.map_err(|error| cannot_start(&scenario, &error)).map(|report| (scenario, report))
}

fn run_of<'a>(report: &'a Report, property: &str) -> Option<(&'static Property, &'a Run)> {
    report.violations().find(|(of, _)| of.id == property)
}

/// What is known of a bug, its world, and the shortest run.
fn tell(known: &Known, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut text = String::new();
    let line = format!("{}: {} ({})", known.id, known.sentence, known.source);
    report::paragraph(&mut text, &line, width());
    let (told, exit) = match &known.found {
        Found::Unsaid(why) => (paragraph(&format!("No world shows it: {why}.")), Exit::Good),
        Found::Refuted(why) => (paragraph(&format!("It is no bug: {why}.")), Exit::Good),
        Found::Row(name, kernel) => match mismatch(known) {
            Some(mismatch) => {
                let told =
                    format!("The row {name} of the conformance suite does not hold on {kernel}:");
                (format!("{}{mismatch}\n", paragraph(&told)), Exit::Good)
            }
            None => (paragraph(&format!("The row {name} holds on {kernel}.")), Exit::Bad),
        },
        Found::Interleaved(by) => {
            let told = format!(
                "It is in no order of whole calls, but within one: the test {by} of the simulated kernel's locks finds it."
            );
            (paragraph(&told), Exit::Good)
        }
        Found::Checked(property, _) => {
            let (scenario, report) = checked(known)?;
            for defect in &scenario.defects {
                report::paragraph(&mut text, &format!("planted: {}", defect.sentence), width());
            }
            text += "\n";
            text += known.world().map(|world| world.text()).unwrap_or_default().trim_end();
            text += "\n";
            let system = System::new(&scenario).map_err(|error| cannot_start(&scenario, &error))?;
            match run_of(&report, property) {
                Some((property, run)) => {
                    (report::violation(&system, known.id, property, run, width()), Exit::Good)
                }
                None => (paragraph(&format!("{property} is not violated any more.")), Exit::Bad),
            }
        }
    };
    write!(out, "{text}\n{told}")?;
    Ok(exit)
}

fn paragraph(line: &str) -> String {
    let mut text = String::new();
    report::paragraph(&mut text, line, width());
    text
}
