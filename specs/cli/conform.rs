//! `handoff conform`: facts about the kernel, on the simulated one and on this host's; and `handoff
//! puppet`, the processes in which calls are made on the latter.

use super::output::{Output, ReportArgument, StyleArgument};
use super::{Exit, Failure};
use crate::report::conform::{Conform, Fact, FactResult, Kernel, untested};
use crate::report::{Body, text};
use handoff_conformance::suite::{self, Verdict, rows, run as run_row, simulated_for};
use handoff_conformance::target::host::HostTarget;
use handoff_testbed::worker::{live, live_on};
use std::ffi::OsString;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only the rows whose names contain this
    filter: Option<String>,

    /// On which kernel
    #[arg(long, value_enum, default_value_t = Which::Simulated)]
    arm: Which,

    /// Also tell of each row as it comes; in text
    #[arg(long)]
    verbose: bool,

    #[command(flatten)]
    style: StyleArgument,

    #[command(flatten)]
    reports: ReportArgument,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// The simulated kernel
    Simulated,
    /// The kernel of this host: as root, on a host to spare
    Real,
    /// One after the other
    Both,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let rows: Vec<&suite::Fact> = rows::all().filter(|row| row.name.contains(filter)).collect();
    if rows.is_empty() {
        return Err(Failure::Usage(format!("no row has {filter:?} in its name")));
    }
    let output = Output::new(arguments.style.style(), arguments.reports.files()?, out);
    let mut suite = Suite { rows, verbose: arguments.verbose, output };
    let mut report = Conform { kernels: Vec::new(), untested: Vec::new(), missing: None };
    if arguments.arm != Which::Real {
        let simulated = |row: &suite::Fact| run_row(row, &mut simulated_for(row));
        report.kernels.push(suite.run("simulated kernel", simulated)?);
    }
    if filter.is_empty() {
        report.untested = untested();
        suite.output.text(|_| text::conform::untested(&report.untested))?;
    }
    if arguments.arm != Which::Simulated {
        match real() {
            Ok(mut real) => {
                let kernel = suite.run("kernel of this host", |row| run_row(row, &mut real))?;
                report.kernels.push(kernel);
            }
            Err(missing) => {
                suite.output.text(|_| format!("SKIP  kernel of this host: needs {missing}\n"))?;
                report.missing = Some(missing);
            }
        }
    }
    let skipped = report.missing.as_ref().map(|_| Exit::Skipped);
    let exit = report.kernels.iter().map(exit_of).chain(skipped).max().unwrap_or(Exit::Good);
    suite.output.end(Body::Conform(report), exit)
}

fn exit_of(kernel: &Kernel) -> Exit {
    if kernel.count(FactResult::Differs) > 0 {
        Exit::Bad
    } else if kernel.count(FactResult::Agrees) == 0 {
        Exit::Skipped
    } else {
        Exit::Good
    }
}

/// The kernel of this host, or what it lacks.
pub(super) fn real() -> Result<HostTarget, String> {
    let image = std::env::current_exe().map_err(|error| format!("its own program ({error})"))?;
    HostTarget::new(&image, &[OsString::from("handoff"), OsString::from("puppet")])
}

/// The rows that are asked, and where it is said what comes of them.
struct Suite<'a, W> {
    rows: Vec<&'a suite::Fact>,
    verbose: bool,
    output: Output<'a, W>,
}

impl<W: Write> Suite<'_, W> {
    /// Asks one kernel. Each row is told before it runs: it may be the last.
    fn run(
        &mut self,
        kernel: &'static str,
        mut on: impl FnMut(&suite::Fact) -> Verdict,
    ) -> Result<Kernel, Failure> {
        let mut asked = Kernel { kernel, facts: Vec::new() };
        for row in &self.rows {
            if self.verbose {
                self.output.text(|_| format!("  -   {}\n", row.name))?;
            }
            let fact = Fact::new(row, on(row));
            self.output.text(|_| text::conform::fact(&fact))?;
            asked.facts.push(fact);
        }
        self.output.text(|_| text::conform::sums(&asked))?;
        Ok(asked)
    }
}

/// A process of the real arm.
#[derive(clap::Args)]
pub(super) struct WorkerArguments {
    /// It has been executed by one
    #[arg(long)]
    again: bool,
}

pub(super) fn puppet(arguments: &WorkerArguments) -> Result<Exit, Failure> {
    let again = ["handoff", "puppet", "--again"];
    let lived = if arguments.again { live_on(&again) } else { live(&again) };
    lived.map(|()| Exit::Good).map_err(|errno| Failure::Usage(format!("a puppet's life: {errno}")))
}
