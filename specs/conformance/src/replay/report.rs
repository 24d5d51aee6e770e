//! Report of a replay.

use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::{Call, CallResult, Reply};
use handoff_model::abi::ids::{PAGE_BYTES, Pid};
use handoff_model::abi::uapi::decode;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Maximum number of differences that a report describes; the others are only counted.
pub const STORIES_MAX: usize = 20;

/// Report of a replay. Every event is in exactly one of the counts: `seen = told + agreeing +
/// differing + not_followed + not_modelled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Release of the recorded kernel.
    pub kernel: String,
    /// Profile of the simulated kernel.
    pub profile: String,
    /// Number of events in the trace.
    pub seen: usize,
    /// Number of events that were applied as recorded: processes that start and exit, programs,
    /// credentials, sockets that the simulator does not model, and external input (interrupts).
    pub told: usize,
    /// Number of calls that both kernels answered alike.
    pub agreeing: usize,
    /// Number of calls that they answered differently: findings.
    pub differing: usize,
    /// Calls about resources that the simulator does not have, or whose state it lost after a call
    /// that it does not model, by name.
    pub not_followed: BTreeMap<String, usize>,
    /// Calls that the simulator does not have, by name.
    pub not_modelled: BTreeMap<String, usize>,
    /// The share of ioctls of iommufd and VFIO that were compared.
    pub of_devices: Share,
    /// The first differences.
    pub stories: Vec<Difference>,
}

/// Share of some calls that was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Number of such calls.
    pub seen: usize,
    /// Number of those that both kernels answered.
    pub compared: usize,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, compared } = self;
        let per_mille = (compared * 1000).checked_div(*seen).unwrap_or(1000);
        write!(f, "{compared} of {seen}, {}.{} %", per_mille / 10, per_mille % 10)
    }
}

impl Report {
    /// Returns true if there is no difference.
    pub fn agrees(&self) -> bool {
        self.differing == 0
    }

    /// Returns the number of calls that the simulator has, followed or not.
    pub fn modelled(&self) -> usize {
        self.agreeing + self.differing + self.not_followed.values().sum::<usize>()
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        self.differing += 1;
        if self.stories.len() < STORIES_MAX {
            self.stories.push(difference);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for story in &self.stories {
            writeln!(f, "{story}")?;
        }
        if self.differing > self.stories.len() {
            writeln!(f, "… and {} more", self.differing - self.stories.len())?;
        }
        writeln!(f, "kernel {}, simulated as {}", self.kernel, self.profile)?;
        writeln!(f, "{:>8} events", self.seen)?;
        writeln!(f, "{:>8} applied as recorded", self.told)?;
        writeln!(f, "{:>8} calls answered alike", self.agreeing)?;
        writeln!(f, "{:>8} calls answered differently", self.differing)?;
        list(f, "calls not followed", &self.not_followed)?;
        list(f, "calls not modelled", &self.not_modelled)?;
        writeln!(f, "ioctls of iommufd and VFIO compared: {}", self.of_devices)
    }
}

/// Writes a total and its parts, the largest first.
fn list(f: &mut fmt::Formatter<'_>, title: &str, counts: &BTreeMap<String, usize>) -> fmt::Result {
    writeln!(f, "{:>8} {title}", counts.values().sum::<usize>())?;
    let mut rows: Vec<(&String, &usize)> = counts.iter().collect();
    rows.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    rows.into_iter().try_for_each(|(name, count)| writeln!(f, "{count:>16} {name}"))
}

/// A call that the two kernels answered differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Line number in the trace.
    pub line: usize,
    /// The calling process, as numbered in the trace.
    pub pid: Pid,
    /// The call.
    pub call: Call,
    /// The recorded kernel's answer.
    pub recorded: CallResult,
    /// The simulated kernel's answer.
    pub simulated: CallResult,
    /// Descriptions of the differences between the answers.
    pub differences: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, pid, .. } = self;
        let (call, recorded, simulated) =
            (describe_call(&self.call), answer(&self.recorded), answer(&self.simulated));
        writeln!(f, "line {line}: process {pid}: {call}")?;
        write!(f, "    the kernel returned {recorded}, the simulator returned {simulated}")?;
        let bytes = self.differences.iter().filter(|difference| difference.contains("bytes"));
        bytes.into_iter().try_for_each(|difference| write!(f, "\n    {difference}"))
    }
}

/// Formats a call with its arguments.
fn describe_call(call: &Call) -> String {
    if let Call::Ioctl { fd, ioctl } = call {
        let bytes = ioctl.argument.bytes();
        return match decode(*fd, ioctl.request, &ioctl.argument) {
            Some(known) => describe_call(&known),
            None => format!("{} fd {fd}, {}", call.name(), hex_dump(bytes)),
        };
    }
    let value = serde_json::to_value(call).expect("a call has a JSON form");
    let within = |value: &Value| value.as_object()?.values().next().cloned();
    // Subsystem, call, fields.
    match within(&value).and_then(|call| within(&call)) {
        Some(fields) => format!("{} {}", call.name(), describe(&fields)),
        None => call.name().to_owned(),
    }
}

fn answer(answer: &CallResult) -> String {
    match answer {
        Ok(Reply::Done) => "success".to_owned(),
        Ok(Reply::Ioctl(IoctlOutcome { result: Err(errno), .. })) => {
            format!("{errno} ({})", errno.text())
        }
        Ok(Reply::Ioctl(IoctlOutcome { result: Ok(value), .. })) => format!("success ({value})"),
        Ok(reply) => describe(&serde_json::to_value(reply).expect("a reply has a JSON form")),
        Err(errno) => format!("{errno} ({})", errno.text()),
    }
}

/// Formats a structure in words of four bytes, without trailing zeroes.
fn hex_dump(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let word = |bytes: &[u8]| {
        format!("{:x}", bytes.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    bytes[..end].chunks(4).map(word).collect::<Vec<String>>().join(" ")
}

/// Formats a value. Numbers from a page size on are addresses and lengths, and are shown in
/// hexadecimal.
fn describe(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Object(fields) => {
            list(fields.iter().map(|(name, value)| format!("{name} {}", describe(value))).collect())
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(describe).collect())),
        Value::Number(number) => match number.as_u64() {
            Some(large) if large >= PAGE_BYTES => format!("{large:#x}"),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
