//! `handoff replay`: a recorded trace against the simulated kernel.

use super::{Exit, Failure};
use flate2::read::MultiGzDecoder;
use handoff_conformance::replay::replay;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A trace: NDJSON, or the same compressed by gzip
    trace: String,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let name = &arguments.trace;
    let bad = |what: &dyn std::fmt::Display| Failure::Usage(format!("{name}: {what}"));
    let text = read(name).map_err(|error| bad(&error))?;
    let report = replay(text.lines().map(str::to_owned)).map_err(|error| bad(&error))?;
    writeln!(out, "{report}")?;
    Ok(if report.agrees() { Exit::Good } else { Exit::Bad })
}

/// The text of a trace, decompressed where its first bytes are those of gzip. A text that ends in the
/// middle of a line keeps that half line: the reader tells of it.
fn read(name: &str) -> std::io::Result<String> {
    let mut file = BufReader::new(File::open(name)?);
    let mut text = String::new();
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        file.read_to_string(&mut text)?;
    }
    Ok(text)
}
