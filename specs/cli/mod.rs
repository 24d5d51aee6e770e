//! The command: arguments, exit codes, and what is printed where.
//!
//! Results go to standard output and nothing else does; a reader that goes away early ends the
//! command quietly. Exit codes are few and stable, see [`Exit`].

mod bugs;
mod check;
mod compare;
mod conform;
mod doctor;
mod limits;
mod list;
mod lockstep;
mod output;
mod replay;
mod resumable;
mod run;
mod scenarios;
mod show;
mod verify;

use crate::report::layout::plain;
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Live update of a VMM with passed-through devices: prove it, replay it, run it.
#[derive(Parser)]
#[command(name = "handoff", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// Without a command: `check`.
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  handoff                          prove every built-in scenario
  handoff check my-vm.toml         prove the handoff of a VM that a file describes
  handoff check --report junit=handoff.xml
                                   the same for a CI service
  handoff compare                  what each variant of the protocol keeps, and what not
  handoff bugs Z09                 how QEMU lost an interrupt, as the shortest run in a small world
  handoff list properties          what is proved, and why it matters
  handoff doctor                   could this host do it?
  handoff run --device 0000:00:05.0 --device 0000:00:06.0
                                   do it on this host's kernel, with two edu devices of QEMU
  handoff conform --arm real       does this host's kernel answer as the suite of facts says?
  handoff replay trace.jsonl.gz    does the simulated kernel answer as the recorded one did?

Exit codes: 0 proved or done, 1 violated, differing or failed, 2 wrong usage or input,
3 inconclusive, 4 skipped for want of something on this host, 70 a bug in this program.";

#[derive(Subcommand)]
enum Command {
    /// Prove that a handoff keeps every property, whatever goes wrong, or show how it fails
    Check(Box<check::Arguments>),
    /// Compare all variants of the protocol: what each keeps, and the runs by which it does not
    Compare(compare::Arguments),
    /// Show one run of a scenario step by step, or as a trace, as ITF or as a diagram
    Show(show::Arguments),
    /// Verify a certificate that `check` has written: a second, small checker makes every state
    /// anew
    Verify(verify::Arguments),
    /// Replay a recorded trace on the simulated kernel, call by call
    Replay(replay::Arguments),
    /// Do a handoff on the real kernel of this host, and judge it
    Run(run::Arguments),
    /// Tell whether this host could do a handoff; changes nothing
    Doctor(doctor::Arguments),
    /// Make random calls on two kernels, one of them simulated, and show where they differ
    Lockstep(lockstep::Arguments),
    /// Tell whether a kernel answers as the suite of facts about Linux says, row by row
    Conform(conform::Arguments),
    /// Show the built-in scenarios, the properties, the known bugs that can be planted, the kernels
    List(list::Arguments),
    /// Show every known bug of QEMU and Linux in this field, with the property that finds it again,
    /// or tell one
    #[command(visible_alias = "zoo")]
    Bugs(bugs::Arguments),
    /// A process of a run
    #[command(hide = true)]
    Vmm(run::VmmArguments),
    /// A process that makes the calls of a row
    #[command(hide = true)]
    Puppet(conform::WorkerArguments),
}

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything that was asked for was proved or done.
    Good,
    /// Something is left open: a limit was hit, or a property had nothing to say.
    Inconclusive,
    /// A precondition on this host is missing.
    Skipped,
    /// A property is violated, a replay differs, or a handoff failed.
    Bad,
    /// The arguments or an input file cannot be used.
    Usage,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Skipped => 4,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// One line for the user.
    #[error("{0}")]
    Usage(String),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let done = match arguments.command {
        None => check::run(check::Arguments::default(), &mut out),
        Some(Command::Check(arguments)) => check::run(*arguments, &mut out),
        Some(Command::Compare(arguments)) => compare::run(&arguments, &mut out),
        Some(Command::Show(arguments)) => show::run(arguments, &mut out),
        Some(Command::Lockstep(arguments)) => lockstep::run(&arguments, &mut out),
        Some(Command::List(arguments)) => list::run(&arguments, &mut out),
        Some(Command::Bugs(arguments)) => bugs::run(&arguments, &mut out),
        Some(Command::Verify(arguments)) => verify::run(&arguments, &mut out),
        Some(Command::Replay(arguments)) => replay::run(&arguments, &mut out),
        Some(Command::Run(arguments)) => run::run(&arguments, &mut out),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments, &mut out),
        Some(Command::Conform(arguments)) => conform::run(&arguments, &mut out),
        Some(Command::Puppet(arguments)) => conform::puppet(&arguments),
        Some(Command::Vmm(arguments)) => Err(run::vmm(&arguments)),
    };
    match done.and_then(|exit| Ok(out.flush().map(|()| exit)?)) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "handoff: {}", plain(&failure.to_string()));
            ExitCode::from(Exit::Usage.code())
        }
    }
}

/// The width of the terminal, or of a page where there is none.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns
        .or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
        .unwrap_or(110)
}
