//! `handoff run`: runs the same protocol on the kernel of this host; and the hidden `handoff vmm`,
//! the processes of such a run.

use super::scenarios::read;
use super::{Exit, Failure, width};
use crate::host_run::run_dir::RunDir;
use crate::host_run::verdict::Verdict;
use crate::host_run::vmm::{self, Inherited};
use crate::host_run::{self, Request, SetupError};
use crate::report::layout::{labelled, plain};
use crate::scenario::Scenario;
use crate::scenario::library::text_of;
use handoff_model::abi::ids::Fd;
use handoff_real_backend::sysfs::Bdf;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Device of this host, such as 0000:00:05.0; repeat for each device of the scenario. It must
    /// be an edu device of QEMU, bound to vfio-pci
    #[arg(long, value_name = "BDF", required = true)]
    device: Vec<Bdf>,

    /// Hand over to a new process (transfer) or to a new program in the same process (exec), by a
    /// built-in scenario
    #[arg(long, value_enum, default_value_t = Mode::Transfer, conflicts_with = "scenario")]
    mode: Mode,

    /// Scenario file, or the name of a built-in scenario
    #[arg(long, value_name = "SCENARIO")]
    scenario: Option<String>,

    /// First make one attempt for each step before the point of no return, and kill the new process
    /// there; transfer only
    #[arg(long)]
    sweep: bool,

    /// Write the trace of the run to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Transfer,
    Exec,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let request = request(arguments)?;
    let verdict = match host_run::run(&request) {
        Ok(verdict) => verdict,
        Err(hindrance @ SetupError::Missing { .. }) => {
            writeln!(out, "SKIP  {hindrance}")?;
            return Ok(Exit::Skipped);
        }
        Err(SetupError::Request(what)) => return Err(Failure::Usage(what)),
        Err(SetupError::Files(error)) => {
            return Err(Failure::Usage(format!("files of the run: {error}")));
        }
    };
    if let Some(path) = &arguments.trace {
        let bad = |error| Failure::Usage(format!("{}: {error}", path.display()));
        std::fs::write(path, &verdict.trace).map_err(bad)?;
    }
    write_verdict(&request, &verdict, out)?;
    Ok(if verdict.is_good() { Exit::Good } else { Exit::Bad })
}

fn request(arguments: &Arguments) -> Result<Request, Failure> {
    let name = arguments.scenario.clone().unwrap_or_else(|| built_in(arguments));
    let scenario = read(&name)?;
    let text = text_of(&name).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    Ok(Request { name, text, scenario, devices: arguments.device.clone(), sweep: arguments.sweep })
}

/// Returns the built-in scenario for a mode and a number of devices.
fn built_in(arguments: &Arguments) -> String {
    let mode = match arguments.mode {
        Mode::Transfer => "transfer",
        Mode::Exec => "exec",
    };
    format!("host-{mode}-{}", arguments.device.len().clamp(1, 2))
}

fn write_verdict(
    request: &Request,
    verdict: &Verdict,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let Scenario { name, about, .. } = &request.scenario;
    writeln!(out, "{}: {}", plain(name), plain(about))?;
    for finding in &verdict.findings {
        let head = match finding.good {
            Some(true) => "PASS  ",
            Some(false) => "FAIL  ",
            None => "N/A   ",
        };
        let text = format!("{}: {}", finding.what, finding.seen);
        write!(out, "{}", labelled(head, &text, width()))?;
    }
    Ok(())
}

/// The arguments of a process of a run.
#[derive(clap::Args)]
pub(super) struct VmmArguments {
    #[command(subcommand)]
    life: Life,
}

#[derive(clap::Subcommand)]
enum Life {
    /// The old process
    Old {
        /// The run's files
        folder: PathBuf,
    },
    /// The new process, by transfer
    New {
        /// The run's files
        folder: PathBuf,
        /// The old process
        peer: u32,
        /// The descriptor number of its end of the socket
        peer_fd: i32,
        /// The time at which it was started
        born_ns: u64,
        /// The step before which it is killed
        kill: Option<u32>,
    },
    /// The new program, by exec
    Exec(Program),
    /// The old program again, after the new one failed to take over
    Fallback(Program),
}

/// The arguments of a program that was started by execve.
#[derive(clap::Args)]
struct Program {
    /// The run's files
    folder: PathBuf,
    /// The descriptor number of the stream
    stream: i32,
    /// The descriptor number of the old program's image
    old_image: i32,
}

impl Program {
    fn live(&self, again: bool) -> String {
        vmm::executed(RunDir::at(&self.folder), Fd(self.stream), Fd(self.old_image), again)
    }
}

pub(super) fn vmm(arguments: &VmmArguments) -> Failure {
    Failure::Usage(match &arguments.life {
        Life::Old { folder } => vmm::old(RunDir::at(folder)),
        Life::New { folder, peer, peer_fd, born_ns, kill } => {
            let inherited =
                Inherited { peer: *peer, peer_fd: *peer_fd, born_ns: *born_ns, kill: *kill };
            vmm::new(RunDir::at(folder), inherited)
        }
        Life::Exec(program) => program.live(false),
        Life::Fallback(program) => program.live(true),
    })
}
