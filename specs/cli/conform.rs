//! `handoff conform`: tests facts about Linux on the simulated kernel and on this host's; and the
//! hidden `handoff worker`, whose processes make the calls on the latter.

use super::output::{Output, ReportArgument, StyleArgument};
use super::{Exit, Failure};
use crate::report::conform::{Conform, Fact, FactResult, Kernel, untested};
use crate::report::{Body, text};
use handoff_conformance::suite::{self, Verdict, rows, run as run_fact, simulated_for};
use handoff_conformance::target::host::HostTarget;
use handoff_testbed::worker::{live, live_on};
use std::ffi::OsString;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Test only facts whose names contain this text
    filter: Option<String>,

    /// Kernel to test
    #[arg(long, visible_alias = "target", value_enum, default_value_t = Which::Simulated)]
    arm: Which,

    /// Print the name of each fact before its test, and the facts without a test
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
    /// The kernel of this host; needs root, and may hang the host
    Real,
    /// First the simulated kernel, then that of this host
    Both,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let facts: Vec<_> = rows::all().filter(|fact| fact.name.contains(filter)).collect();
    if facts.is_empty() {
        return Err(Failure::Usage(format!("no fact has {filter:?} in its name")));
    }
    let output = Output::new(arguments.style.style(), arguments.reports.files()?, out);
    let mut suite = Suite { facts, verbose: arguments.verbose, output };
    let mut report = Conform { kernels: Vec::new(), untested: Vec::new(), missing: None };
    if arguments.arm != Which::Real {
        let simulated = |fact: &suite::Fact| run_fact(fact, &mut simulated_for(fact));
        report.kernels.push(suite.run("simulated kernel", simulated)?);
    }
    if filter.is_empty() {
        report.untested = untested();
        let verbose = arguments.verbose;
        suite.output.text(|width| text::conform::untested(&report.untested, verbose, width))?;
    }
    if arguments.arm != Which::Simulated {
        match real() {
            Ok(mut real) => {
                let kernel = suite.run("kernel of this host", |fact| run_fact(fact, &mut real))?;
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

/// Returns the kernel of this host.
pub(super) fn real() -> Result<HostTarget, String> {
    let image =
        std::env::current_exe().map_err(|error| format!("the path of this program ({error})"))?;
    HostTarget::new(&image, &[OsString::from("handoff"), OsString::from("worker")])
}

/// The selected facts, and the output of their results.
struct Suite<'a, W> {
    facts: Vec<&'a suite::Fact>,
    verbose: bool,
    output: Output<'a, W>,
}

impl<W: Write> Suite<'_, W> {
    /// Tests one kernel. With `--verbose` prints the name of each fact before its test, because the
    /// test may hang the host.
    fn run(
        &mut self,
        kernel: &'static str,
        mut on: impl FnMut(&suite::Fact) -> Verdict,
    ) -> Result<Kernel, Failure> {
        let mut tested = Kernel { kernel, facts: Vec::new() };
        for fact in &self.facts {
            if self.verbose {
                self.output.text(|_| format!("test  {}\n", fact.name))?;
            }
            let fact = Fact::new(fact, on(fact));
            self.output.text(|_| text::conform::fact(&fact))?;
            tested.facts.push(fact);
        }
        self.output.text(|_| text::conform::sums(&tested))?;
        Ok(tested)
    }
}

/// The arguments of a worker process.
#[derive(clap::Args)]
pub(super) struct WorkerArguments {
    /// Continue a worker that has called execve
    #[arg(long)]
    again: bool,
}

pub(super) fn worker(arguments: &WorkerArguments) -> Result<Exit, Failure> {
    let again = ["handoff", "worker", "--again"];
    let done = if arguments.again { live_on(&again) } else { live(&again) };
    done.map(|()| Exit::Good).map_err(|errno| Failure::Usage(format!("worker process: {errno}")))
}
