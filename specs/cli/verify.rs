//! `handoff verify`: verifies a certificate.

use super::{Exit, Failure, width};
use crate::check::certificate::{Verified, verify};
use crate::report::layout::{paragraph, plain};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// File that `handoff check --certificate FILE` wrote
    certificate: PathBuf,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let name = arguments.certificate.display();
    let file = File::open(&arguments.certificate)
        .map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let (text, exit) = match verify(BufReader::new(file)) {
        Err(error) => (format!("{name}: NOT verified, proves nothing: {error}"), Exit::Bad),
        Ok(Verified { scenario, states, transitions, proved }) => (
            format!(
                "{scenario}: verified: {states} states, closed under all {transitions} \
                 transitions; proved: {}",
                proved.join(" ")
            ),
            Exit::Good,
        ),
    };
    write!(out, "{}", paragraph(&plain(&text), width()))?;
    Ok(exit)
}
