//! `handoff replay`: replays a recorded trace on the simulated kernel.

use super::output::StyleArgument;
use super::{Exit, Failure};
use crate::report::Body;
use crate::report::layout::plain;
use crate::report::replay::Replay;
use flate2::read::MultiGzDecoder;
use handoff_conformance::replay::{Report, replay};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Trace file: NDJSON, optionally compressed by gzip
    trace: String,

    #[command(flatten)]
    style: StyleArgument,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let name = &arguments.trace;
    let bad = |what: &dyn std::fmt::Display| Failure::Usage(format!("{name}: {what}"));
    let text = read(name).map_err(|error| bad(&error))?;
    let report = replay(text.lines().map(str::to_owned)).map_err(|error| bad(&error))?;
    let exit = if report.agrees() { Exit::Good } else { Exit::Bad };
    let mut output = arguments.style.to(out);
    output.text(|_| format!("{}\n", safe(&report)))?;
    output.end(Body::Replay(Replay::new(&report)), exit)
}

/// Returns the report with names from the trace escaped for printing.
fn safe(report: &Report) -> Report {
    let names = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(name, count)| (plain(name).into_owned(), *count)).collect()
    };
    Report {
        kernel: plain(&report.kernel).into_owned(),
        not_followed: names(&report.not_followed),
        not_modelled: names(&report.not_modelled),
        ..report.clone()
    }
}

/// Reads the text of a trace, and decompresses it if it begins with the magic number of gzip. A
/// truncated last line is kept, so that the parser reports it.
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
