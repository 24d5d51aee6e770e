//! `handoff lockstep`: makes random calls on the simulated kernel and another one, and compares
//! answers.

use super::conform::real;
use super::output::StyleArgument;
use super::{Exit, Failure};
use crate::report::Body;
use crate::report::lockstep::Lockstep;
use handoff_conformance::lockstep::{Plan, Step, run as compare};
use handoff_conformance::target::simulated::SimulatedTarget;
use handoff_sim_kernel::Profile;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Minimum number of calls
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// Number of steps per case; each case starts with fresh processes
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Seed of the random calls; the same seed gives the same calls
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated kernel, one of `handoff list kernels`
    #[arg(long, default_value = "7.3")]
    kernel: String,
    /// Compare with this simulated kernel instead of the host's (which needs root, and may hang the
    /// host)
    #[arg(long, value_name = "KERNEL")]
    against: Option<String>,
    /// Print each step before it is made
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    style: StyleArgument,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let Arguments { calls, steps, seed, kernel, against, verbose, style } = arguments;
    let plan = Plan { calls: *calls, steps: *steps, seed: *seed };
    let kernel = profile(kernel)?;
    let mut output = style.to(out);
    let report = {
        let mut print = |step: &Step| {
            if *verbose {
                // A broken pipe is reported by a later write.
                let _ = output.text(|_| format!("{step:?}\n"));
            }
        };
        match against {
            Some(other) => {
                compare(plan, kernel, &mut SimulatedTarget::new(profile(other)?), &mut print)
            }
            None => match real() {
                Ok(mut real) => compare(plan, kernel, &mut real, &mut print),
                Err(missing) => {
                    output.text(|_| format!("SKIP  kernel of this host: needs {missing}\n"))?;
                    let report = Lockstep::skipped(missing);
                    return output.end(Body::Lockstep(report), Exit::Skipped);
                }
            },
        }
    };
    output.text(|_| format!("{report}\n"))?;
    let exit = if report.difference.is_none() { Exit::Good } else { Exit::Bad };
    output.end(Body::Lockstep(Lockstep::new(&report)), exit)
}

fn profile(name: &str) -> Result<Profile, Failure> {
    let unknown = || {
        Failure::Usage(format!("{name:?} is not a simulated kernel; see `handoff list kernels`"))
    };
    Profile::by_name(name).ok_or_else(unknown)
}
