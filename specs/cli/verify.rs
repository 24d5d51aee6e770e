//! `handoff verify`: a certificate in, a verdict out.

use super::{Exit, Failure, width};
use crate::check::certificate::{Verified, verify};
use crate::report::layout::{paragraph, plain};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A file that `handoff check --certificate FILE` has written
    certificate: PathBuf,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let name = arguments.certificate.display();
    let file = File::open(&arguments.certificate)
        .map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let (text, exit) = match verify(BufReader::new(file)) {
        Err(wrong) => (format!("{name} proves nothing: {wrong}"), Exit::Bad),
        Ok(Verified { scenario, states, transitions, proved }) => (
            format!(
                "{scenario}: verified: {states} states, {transitions} transitions and no other; \
                 in all of them: {}",
                proved.join(" ")
            ),
            Exit::Good,
        ),
    };
    write!(out, "{}", paragraph(&plain(&text), width()))?;
    Ok(exit)
}
