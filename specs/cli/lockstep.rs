//! `handoff lockstep`: random calls on the simulated kernel and on another one, compared.

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
    /// At least so many calls
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// Steps of a case, after which everything begins anew
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// What the run depends on: the same seed gives the same calls
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The simulated kernel, one of `handoff list kernels`
    #[arg(long, default_value = "7.3")]
    kernel: String,
    /// Another simulated kernel to compare it with, instead of this host's (which takes root and a
    /// host to spare)
    #[arg(long, value_name = "KERNEL")]
    against: Option<String>,
    /// Also tell of each step before it is made
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
        let mut tell = |step: &Step| {
            if *verbose {
                // A reader that has gone is told at the end.
                let _ = output.text(|_| format!("{step:?}\n"));
            }
        };
        match against {
            Some(other) => {
                compare(plan, kernel, &mut SimulatedTarget::new(profile(other)?), &mut tell)
            }
            None => match real() {
                Ok(mut real) => compare(plan, kernel, &mut real, &mut tell),
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
    let unknown =
        || Failure::Usage(format!("no simulated kernel {name:?}; see handoff list kernels"));
    Profile::by_name(name).ok_or_else(unknown)
}
