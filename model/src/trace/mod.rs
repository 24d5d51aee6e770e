//! Recorded runs: what processes asked of a kernel and what it answered, one JSON object a line.
//!
//! The same format carries a run on the simulated kernel, a run of our own backend on a real one,
//! and a recording of somebody else's program; `docs/trace-format.md` defines it. A trace is a
//! [`Header`] and then [`Event`]s, each with a [`Record`]: what happened.
//!
//! | from | to | by |
//! |---|---|---|
//! | lines | header and events | [`Reader`] |
//! | header, event | a line | [`Header::line`], [`Event::line`] |
//! | a call that was made | an event | [`event_of`] |
//! | what is told of a process | an event | [`event_of_record`] |
//! | an event | the call that was made | [`made_of`], [`made_as_bytes`] |
//!
//! `made_of` is the inverse of `event_of`. Of a foreign trace it knows the forms that
//! [`Call`](crate::abi::call::Call) has; every other event is [`NotModelled`], with the name under
//! which it is counted, and never an error.
//!
//! Nothing here opens a file or looks at a clock: lines and times come from the caller, who also
//! unpacks what is compressed.

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

/// What the header's `format` says.
pub const FORMAT: &str = "handoff-trace";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Who recorded: `ptrace`, `host` or `sim`.
    pub source: String,
    /// The release of the kernel, such as `7.2.13`.
    pub kernel: String,
    /// In bytes.
    pub page_size: u64,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Facts about the host of one of our own runs, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host: BTreeMap<String, String>,
}

impl Header {
    /// The header of a run that is recorded now.
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

    /// The line, without its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always have a JSON form")
    }
}

/// Every other line: something that a process did, or that was done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The order in which the calls returned, from 1.
    pub seq: u64,
    /// `CLOCK_MONOTONIC` when the call returned, in nanoseconds.
    #[serde(default)]
    pub t_ns: u64,
    /// The same when it was made.
    #[serde(default)]
    pub enter_ns: u64,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Pid,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
    /// What the call returned, -1 where it failed; absent where nothing was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<i64>,
    /// Its errno where it failed: the name, or the number of one without a name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The `sys` of a record that this reader does not know ([`Record::Other`]).
    #[serde(skip)]
    pub unknown: Option<String>,
}

impl Event {
    /// The line, without its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always have a JSON form")
    }

    /// Whether the call succeeded; things that are not calls always do.
    pub fn succeeded(&self) -> bool {
        self.errno.is_none() && self.ret != Some(-1)
    }

    /// The errno, where the call failed and the name is known.
    pub fn errno(&self) -> Option<Errno> {
        self.errno.as_deref().and_then(Errno::from_name)
    }

    /// What the call is counted as: the ioctl's name (or its number in hex), else the `sys`.
    pub fn name(&self) -> String {
        match (&self.record, &self.unknown) {
            (_, Some(unknown)) => unknown.clone(),
            (Record::Ioctl { name: Some(name), .. }, None) => name.clone(),
            (Record::Ioctl { req, .. }, None) => ioctl::name(*req),
            (record, None) => record.sys(),
        }
    }
}
