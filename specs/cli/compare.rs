//! `handoff compare`: a table of verdicts for each variant, with a counterexample for each
//! violation.

use super::limits::LimitArguments;
use super::output::{Output, ReportArgument, ReportFile, Style, StyleArgument};
use super::scenarios::{Named, Scenarios};
use super::{Exit, Failure};
use crate::check::Verdict;
use crate::report::{Body, text};
use crate::survey::compare::{self, Cell};
use handoff_checker::search::Limits;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    scenarios: Scenarios,

    #[command(flatten)]
    limits: LimitArguments,

    #[command(flatten)]
    style: StyleArgument,

    #[command(flatten)]
    reports: ReportArgument,
}

/// A comparison.
pub(super) struct Job {
    pub(super) scenarios: Vec<Named>,
    pub(super) limits: Limits,
    pub(super) style: Style,
    pub(super) files: Vec<ReportFile>,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let job = Job {
        scenarios: arguments.scenarios.to_compare()?,
        limits: arguments.limits.resolve(),
        style: arguments.style.style(),
        files: arguments.reports.files()?,
    };
    compare(job, out)
}

/// Compares variants. Only violations by this project's variants make the command fail; those by
/// others are results.
pub(super) fn compare(job: Job, out: &mut impl Write) -> Result<Exit, Failure> {
    let Job { scenarios, limits, style, files } = job;
    let columns =
        compare::compare(&scenarios, limits).map_err(|error| Failure::Usage(error.to_string()))?;
    let report = compare::document(&columns);
    let ours = columns.iter().filter(|column| column.variant.is_ours);
    let exit = ours.flat_map(|column| &column.cells).map(exit_of).max().unwrap_or(Exit::Good);
    let mut output = Output::new(style, files, out);
    output.text(|width| text::compare::compare(&report, width))?;
    output.end(Body::Compare(report), exit)
}

fn exit_of(cell: &Cell) -> Exit {
    match cell.verdict {
        Verdict::Proved | Verdict::NotApplicable(_) => Exit::Good,
        Verdict::Violated(_) => Exit::Bad,
        _ => Exit::Inconclusive,
    }
}
