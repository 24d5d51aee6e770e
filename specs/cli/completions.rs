//! `handoff completions` and `handoff man`: completion scripts for shells, and manual pages.

use super::{Exit, Failure};
use clap::Command;
use clap_complete::Shell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Shell that reads the script
    shell: Shell,
}

#[derive(clap::Args)]
pub(super) struct ManArguments {
    /// Directory for the pages; it is created if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the completion script of a shell to standard output.
pub(super) fn run(
    arguments: &Arguments,
    mut command: Command,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "handoff", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Good)
}

/// Writes a manual page for each command, and prints the number of pages.
pub(super) fn man(
    arguments: &ManArguments,
    command: Command,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let directory = arguments.directory.display();
    let pages = 1 + command.get_subcommands().count();
    let written = fs::create_dir_all(&arguments.directory)
        .and_then(|()| clap_mangen::generate_to(command, &arguments.directory));
    written.map_err(|error| Failure::Usage(format!("{directory}: {error}")))?;
    writeln!(out, "{pages} pages in {directory}; read one with: man -l {directory}/handoff.1")?;
    Ok(Exit::Good)
}
