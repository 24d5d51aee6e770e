//! `handoff conform`: facts about the kernel, on the simulated one and on this host's; and `handoff
//! puppet`, the processes in which calls are made on the latter.

use super::{Exit, Failure};
use handoff_conformance::suite::untested::{UNTESTED, Untested};
use handoff_conformance::suite::{Row, Verdict, rows, run as run_row, simulated_for};
use handoff_conformance::target::Arm;
use handoff_conformance::target::host::Real;
use handoff_testbed::worker::{live, live_on};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only the rows whose names contain this
    filter: Option<String>,

    /// On which kernel
    #[arg(long, value_enum, default_value_t = Which::Simulated)]
    arm: Which,

    /// Also tell of each row as it comes
    #[arg(long)]
    verbose: bool,
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
    let rows: Vec<&Row> = rows::all().filter(|row| row.name.contains(filter)).collect();
    if rows.is_empty() {
        return Err(Failure::Usage(format!("no row has {filter:?} in its name")));
    }
    let mut exit = Exit::Good;
    if arguments.arm != Which::Real {
        let table = Table { kernel: "simulated kernel", rows: &rows, verbose: arguments.verbose };
        exit = exit.max(table.run(out, |row, run| run(&mut simulated_for(row)))?);
    }
    if filter.is_empty() {
        for Untested { fact, reason } in UNTESTED {
            writeln!(out, "NO ROW  {fact}: {reason}")?;
        }
    }
    if arguments.arm != Which::Simulated {
        let mut real = match real() {
            Ok(real) => real,
            Err(missing) => {
                writeln!(out, "SKIP  kernel of this host: needs {missing}")?;
                return Ok(exit.max(Exit::Skipped));
            }
        };
        let table =
            Table { kernel: "kernel of this host", rows: &rows, verbose: arguments.verbose };
        exit = exit.max(table.run(out, |_, run| run(&mut real))?);
    }
    Ok(exit)
}

/// The kernel of this host, or what it lacks.
pub(super) fn real() -> Result<Real, String> {
    let image = std::env::current_exe().map_err(|error| format!("its own program ({error})"))?;
    Real::new(&image, &[OsString::from("handoff"), OsString::from("puppet")])
}

/// Rows for one kernel.
struct Table<'a> {
    kernel: &'a str,
    rows: &'a [&'a Row],
    verbose: bool,
}

impl Table<'_> {
    fn run(
        &self,
        out: &mut impl Write,
        mut on: impl FnMut(&Row, &mut dyn FnMut(&mut dyn Arm) -> Verdict) -> Verdict,
    ) -> Result<Exit, Failure> {
        let (mut agree, mut differ) = (0, 0);
        let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
        for row in self.rows {
            if self.verbose {
                writeln!(out, "  -   {}", row.name)?;
                out.flush()?;
            }
            match on(row, &mut |arm| run_row(row, arm)) {
                Verdict::Agrees => agree += 1,
                Verdict::Skipped(missing) => *skipped.entry(missing).or_default() += 1,
                Verdict::Differs(mismatch) => {
                    differ += 1;
                    writeln!(out, "FAIL  {}: {}\n{mismatch}", row.name, row.fact)?;
                }
            }
        }
        for (missing, rows) in &skipped {
            writeln!(out, "SKIP  {rows} for want of {missing}")?;
        }
        let skipped: usize = skipped.values().sum();
        let Self { kernel, rows, .. } = self;
        let rows = rows.len();
        writeln!(out, "{kernel}: {rows} rows, {agree} agree, {differ} differ, {skipped} skipped")?;
        Ok(if differ > 0 {
            Exit::Bad
        } else if agree == 0 {
            Exit::Skipped
        } else {
            Exit::Good
        })
    }
}

/// A process of the real arm.
#[derive(clap::Args)]
pub(super) struct PuppetArguments {
    /// It has been executed by one
    #[arg(long)]
    again: bool,
}

pub(super) fn puppet(arguments: &PuppetArguments) -> Result<Exit, Failure> {
    let again = ["handoff", "puppet", "--again"];
    let lived = if arguments.again { live_on(&again) } else { live(&again) };
    lived.map(|()| Exit::Good).map_err(|errno| Failure::Usage(format!("a puppet's life: {errno}")))
}
