//! The command-line interface: arguments, exit codes, and output streams.
//!
//! Results go to standard output, errors to standard error. A broken pipe ends the command without
//! an error. Exit codes are stable, see [`Exit`].

mod bugs;
mod check;
mod compare;
mod completions;
mod conform;
mod doctor;
mod explain;
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
use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Live update of VMMs with VFIO devices: check the protocol, run it, compare it with Linux
#[derive(Parser)]
#[command(name = "handoff", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// The command; `check` if there is none.
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  handoff                          check every built-in scenario
  handoff check my-vm.toml         check the handoff of a VM in a file
  handoff check --report junit=handoff.xml
                                   check, and write a report for a CI service
  handoff compare                  compare the variants of the protocol
  handoff explain OWN-1            explain a property, phase, bug, errno, …
  handoff bugs Z09                 show how QEMU lost an interrupt
  handoff doctor                   check whether this host supports a handoff
  handoff run --device 0000:00:05.0 --device 0000:00:06.0
                                   run it here, with two edu devices of QEMU
  handoff conform --arm real       test facts about Linux on this host
  handoff replay trace.jsonl.gz    replay a trace on the simulated kernel

Without a command, `handoff` runs `handoff check`.

Exit codes: 0 proved or done; 1 violated, different or failed; 2 wrong usage or
input; 3 inconclusive; 4 skipped, because this host lacks a precondition;
70 a bug in this program.";

#[derive(Subcommand)]
enum Command {
    /// Check that a handoff keeps every property under faults; show counterexamples
    Check(Box<check::Arguments>),
    /// Compare all variants of the protocol, with a counterexample for each violation
    Compare(compare::Arguments),
    /// Show one run of a scenario step by step, or as a trace, ITF or a diagram
    Show(show::Arguments),
    /// Verify a certificate of `check`: an independent checker recomputes every state
    Verify(verify::Arguments),
    /// Replay a recorded trace on the simulated kernel, call by call
    Replay(replay::Arguments),
    /// Run a handoff on the kernel of this host, and check the result
    Run(run::Arguments),
    /// Check whether this host supports a handoff; changes nothing
    Doctor(doctor::Arguments),
    /// Make random calls on the simulated kernel and another one, and compare the answers
    Lockstep(lockstep::Arguments),
    /// Test facts about Linux on the simulated kernel or on that of this host
    Conform(conform::Arguments),
    /// List scenarios, variants, properties, plantable bugs, corruptions, mutants and kernels
    List(list::Arguments),
    /// Reproduce the known bugs of QEMU and Linux in this field, or show one of them
    #[command(visible_alias = "zoo")]
    Bugs(bugs::Arguments),
    /// Explain a property, known bug, variant, defect, corruption, phase or errno
    Explain(explain::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Write manual pages, one for each command
    Man(completions::ManArguments),
    /// A process of a run
    #[command(hide = true)]
    Vmm(run::VmmArguments),
    /// A process that makes calls for `conform` and `lockstep`
    #[command(hide = true, alias = "puppet")]
    Worker(conform::WorkerArguments),
}

/// The exit status of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything requested was proved or done.
    Good,
    /// The result is inconclusive: a limit stopped the search, or a property was vacuous.
    Inconclusive,
    /// A precondition on this host is missing.
    Skipped,
    /// A property is violated, a replay differs, or a handoff failed.
    Bad,
    /// The arguments or an input file cannot be used.
    Usage,
}

impl Exit {
    /// Returns the exit code.
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

/// The reason why a command could not run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// An error in the arguments or an input, described in one line.
    #[error("{0}")]
    Usage(String),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the command that the arguments select.
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
        Some(Command::Explain(arguments)) => explain::run(&arguments, &mut out),
        Some(Command::Completions(arguments)) => completions::run(&arguments, command(), &mut out),
        Some(Command::Man(arguments)) => completions::man(&arguments, command(), &mut out),
        Some(Command::Verify(arguments)) => verify::run(&arguments, &mut out),
        Some(Command::Replay(arguments)) => replay::run(&arguments, &mut out),
        Some(Command::Run(arguments)) => run::run(&arguments, &mut out),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments, &mut out),
        Some(Command::Conform(arguments)) => conform::run(&arguments, &mut out),
        Some(Command::Worker(arguments)) => conform::worker(&arguments),
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

/// Returns the command line without hidden commands.
fn command() -> clap::Command {
    let all = Arguments::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("handoff")
        .version(env!("CARGO_PKG_VERSION"))
        .about(all.get_about().cloned().unwrap_or_default())
        .after_help(EXAMPLES)
        .subcommands(visible.collect::<Vec<_>>())
}

/// Returns the width for text: `COLUMNS`, the width of the terminal, or 110 columns.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns
        .or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
        .unwrap_or(110)
}
