//! Recorded runs: the calls of processes with the kernel's answers, one JSON object per line.
//!
//! The same format serves runs on the simulated kernel, runs of our backend on a real kernel, and
//! recordings of other programs; `docs/trace-format.md` defines it. A trace is a [`Header`]
//! followed by [`Event`]s, each with a [`Record`] that describes what happened.
//!
//! | from | to | by |
//! |---|---|---|
//! | lines | header and events | [`Reader`] |
//! | header, event | a line | [`Header::line`], [`Event::line`] |
//! | a call that was made | an event | [`event_of`] |
//! | another fact about a process | an event | [`event_of_record`] |
//! | an event | the call that was made | [`made_of`], [`made_as_bytes`] |
//!
//! `made_of` is the inverse of `event_of`. In a trace of another program it recognises the variants
//! of [`Call`](crate::abi::call::Call). Any other event yields [`NotModelled`], with the name under
//! which it is counted; that is not a defect of the trace.
//!
//! This module opens no file and reads no clock. The caller provides lines and times, and
//! decompresses its input.

mod answer;
mod flag;
mod ioctl;
mod limit;
mod made;
mod pointer;
mod reader;
mod record;
mod write;

pub use made::{NotModelled, made_as_bytes, made_of};
pub use reader::{ReadError, Reader};
pub use record::{PassedFd, Record};
pub use write::{Stamps, event_of, event_of_record};

use crate::abi::errno::Errno;
use crate::abi::ids::{PAGE_BYTES, Pid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `format` of the header.
pub const FORMAT: &str = "handoff-trace";

/// The version that is written, and the only one that is accepted.
pub const VERSION: u32 = 1;

/// The header, which is the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Always [`FORMAT`].
    pub format: String,
    /// The version of the format; [`VERSION`] when written.
    pub version: u32,
    /// The recorder: `ptrace`, `host` or `sim`.
    pub source: String,
    /// The release of the kernel, such as `7.2.13`.
    pub kernel: String,
    /// The page size in bytes.
    pub page_size: u64,
    /// A comment for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Facts about the host of one of our own runs, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host: BTreeMap<String, String>,
}

impl Header {
    /// Creates the header of a recording.
    pub fn new(source: &str, kernel: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            source: source.to_owned(),
            kernel: kernel.to_owned(),
            page_size: PAGE_BYTES,
            comment: String::new(),
            host: BTreeMap::new(),
        }
    }

    /// Returns the line, without a newline.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always have a JSON form")
    }
}

/// An event, which is every other line: an action of a process, or a fact about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event's number in the order in which calls returned, from 1.
    pub seq: u64,
    /// The time of the return, in nanoseconds of `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub t_ns: u64,
    /// The time of the call, in nanoseconds of `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub enter_ns: u64,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Pid,
    /// The record of the event.
    #[serde(flatten)]
    pub record: Record,
    /// The return value of the call, -1 if it failed; absent if the event is not a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<i64>,
    /// The errno of a failed call: its name, or its number if it has no name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The `sys` of a record that this reader does not know ([`Record::Other`]).
    #[serde(skip)]
    pub unknown: Option<String>,
}

impl Event {
    /// Returns the line, without a newline.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always have a JSON form")
    }

    /// Returns true if the call succeeded, or if the event is not a call.
    pub fn succeeded(&self) -> bool {
        self.errno.is_none() && self.ret != Some(-1)
    }

    /// Returns the errno, if the call failed and its errno is known.
    pub fn errno(&self) -> Option<Errno> {
        self.errno.as_deref().and_then(Errno::from_name)
    }

    /// Returns the name under which the call is counted: an ioctl's name (or its number in hex),
    /// otherwise the `sys`.
    pub fn name(&self) -> String {
        match (&self.record, &self.unknown) {
            (_, Some(unknown)) => unknown.clone(),
            (Record::Ioctl { name: Some(name), .. }, None) => name.clone(),
            (Record::Ioctl { req, .. }, None) => ioctl::name(*req),
            (record, None) => record.sys(),
        }
    }
}
