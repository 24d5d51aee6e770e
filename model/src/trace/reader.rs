//! The reader of traces: from lines to a header and events.
//!
//! It rejects input that is not a trace, newer versions, lines that are not records, and events
//! that are out of order. Every error names the line (from 1). The last line of a recording may be
//! incomplete (the recorder was killed, the disk was full); that has an error of its own.

use super::record::Record;
use super::{Event, FORMAT, Header, VERSION};
use serde::Deserialize;
use std::iter::Peekable;

/// The error of a trace, with the number of its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The first line is not a header.
    #[error("line 1: not a handoff trace")]
    NotATrace,
    /// The header's version is not known.
    #[error("line 1: version {version} is newer than this reader's {VERSION}")]
    Newer {
        /// The version in the header.
        version: u32,
    },
    /// The last line is incomplete.
    #[error("line {line}: truncated")]
    CutOff {
        /// The number of the line.
        line: usize,
    },
    /// A line is not JSON.
    #[error("line {line}: not JSON: {why}")]
    NotJson {
        /// The number of the line.
        line: usize,
        /// The parser's message.
        why: String,
    },
    /// A line is JSON but not an event, or lacks a field of its record.
    #[error("line {line}: not a record: {why}")]
    NotARecord {
        /// The number of the line.
        line: usize,
        /// The parser's message.
        why: String,
    },
    /// An event's `seq` is not greater than the previous one.
    #[error("line {line}: seq {seq} does not follow {before}")]
    Order {
        /// The number of the line.
        line: usize,
        /// The `seq` of this event.
        seq: u64,
        /// The `seq` of the previous event.
        before: u64,
    },
}

/// The reader of a trace: the header at once, the events as an iterator, each with its line number.
/// The iterator ends after an error.
#[derive(Debug)]
pub struct Reader<I: Iterator<Item = String>> {
    header: Header,
    lines: Peekable<I>,
    line: usize,
    seq: u64,
    is_over: bool,
}

impl<I: Iterator<Item = String>> Reader<I> {
    /// Reads the header from the first line.
    ///
    /// # Errors
    /// [`ReadError::NotATrace`] or [`ReadError::Newer`].
    pub fn new(lines: I) -> Result<Self, ReadError> {
        let mut lines = lines.peekable();
        let header = header(&lines.next().unwrap_or_default())?;
        Ok(Self { header, lines, line: 1, seq: 0, is_over: false })
    }

    /// Returns the header.
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
