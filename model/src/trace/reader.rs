//! From lines to a header and events.
//!
//! A reader refuses what is not a trace, a newer version, lines that are not records, and an order
//! that is none. Every error names the line (from 1). The last line of a recording may be cut off
//! (the recorder was killed, the disk was full): that is told apart from garbage.

use super::record::Record;
use super::{Event, FORMAT, Header, VERSION};
use serde::Deserialize;
use std::iter::Peekable;

/// What is wrong with a trace, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The first line is no header.
    #[error("line 1: not a handoff trace")]
    NotATrace,
    /// The header's version is not known.
    #[error("line 1: version {version} is newer than this reader's {VERSION}")]
    Newer {
        /// What the header says.
        version: u32,
    },
    /// The last line ends in the middle of its object.
    #[error("line {line}: cut off in the middle")]
    CutOff {
        /// Which.
        line: usize,
    },
    /// A line is no JSON.
    #[error("line {line}: not JSON: {why}")]
    NotJson {
        /// Which.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// A line is JSON, but no event, or lacks a field of its record.
    #[error("line {line}: not a record: {why}")]
    NotARecord {
        /// Which.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// An event's `seq` is not above the one before it.
    #[error("line {line}: seq {seq} does not follow {before}")]
    Order {
        /// Which.
        line: usize,
        /// What it says.
        seq: u64,
        /// What the line before it said.
        before: u64,
    },
}

/// Reads a trace: the header at once, the events as an iterator, each with the number of its line.
/// After an error there is nothing more.
#[derive(Debug)]
pub struct Reader<I: Iterator<Item = String>> {
    header: Header,
    lines: Peekable<I>,
    line: usize,
    seq: u64,
    is_over: bool,
}

impl<I: Iterator<Item = String>> Reader<I> {
    /// Takes the first line.
    pub fn new(lines: I) -> Result<Self, ReadError> {
        let mut lines = lines.peekable();
        let header = header(&lines.next().unwrap_or_default())?;
        Ok(Self { header, lines, line: 1, seq: 0, is_over: false })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn read(&mut self, text: &str) -> Result<Event, ReadError> {
        let event = event(text).map_err(|error| self.why(&error))?;
        let (line, seq, before) = (self.line, event.seq, self.seq);
        if seq <= before {
            return Err(ReadError::Order { line, seq, before });
        }
        self.seq = seq;
        Ok(event)
    }

    fn why(&mut self, error: &serde_json::Error) -> ReadError {
        let (line, why) = (self.line, error.to_string());
        match error.classify() {
            serde_json::error::Category::Eof if self.lines.peek().is_none() => {
                ReadError::CutOff { line }
            }
            serde_json::error::Category::Data => ReadError::NotARecord { line, why },
            _ => ReadError::NotJson { line, why },
        }
    }
}

impl<I: Iterator<Item = String>> Iterator for Reader<I> {
    type Item = Result<(usize, Event), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.lines.next().filter(|_| !self.is_over)?;
        self.line += 1;
        let event = self.read(&text);
        self.is_over = event.is_err();
        Some(event.map(|event| (self.line, event)))
    }
}

fn header(line: &str) -> Result<Header, ReadError> {
    #[derive(Deserialize)]
    struct Version {
        format: String,
        version: u32,
    }
    let Version { format, version } =
        serde_json::from_str(line).map_err(|_| ReadError::NotATrace)?;
    match version {
        _ if format != FORMAT => Err(ReadError::NotATrace),
        VERSION => serde_json::from_str(line).map_err(|_| ReadError::NotATrace),
        newer if newer > VERSION => Err(ReadError::Newer { version: newer }),
        _ => Err(ReadError::NotATrace),
    }
}

fn event(line: &str) -> Result<Event, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tag {
        sys: String,
    }
    let mut event: Event = serde_json::from_str(line)?;
    if event.record == Record::Other {
        event.unknown = Some(serde_json::from_str::<Tag>(line)?.sys);
    }
    Ok(event)
}
