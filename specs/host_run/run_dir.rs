//! The folder through which the supervisor and the processes of a run communicate.
//!
//! The order is a JSON file that every process of the run reads. Notes and trace lines are appended
//! to one file each; each line is one `write` in append mode, so that lines of several processes
//! never interleave.

use handoff_model::role::incoming::IncomingOutcome;
use handoff_model::role::outgoing::OutgoingOutcome;
use handoff_model::trace::{Event, Record};
use handoff_real_backend::sysfs::Bdf;
use handoff_testbed::workload::Progress;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The parameters of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSpec {
    /// The scenario's name in messages.
    pub name: String,
    /// The scenario's text.
    pub text: String,
    /// The PCI addresses, in the order of the scenario's devices.
    pub devices: Vec<Bdf>,
    /// True to kill the new process before each of its steps, one attempt per step, before the
    /// handoff that is left to succeed.
    pub sweep: bool,
}

/// A note that a process leaves for the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// The old process could not set up the VM.
    NotLaunched {
        /// The reason.
        why: String,
    },
    /// The guest is running and its devices are working.
    Launched {
        /// The progress of each device.
        progress: Vec<Progress>,
        /// The host as the old process observed it.
        seen: HostObservation,
    },
    /// A step failed.
    Trouble {
        /// The phase.
        phase: String,
        /// The error.
        what: String,
    },
    /// The guest was stopped.
    Stopped {
        /// The time, on the clock of the trace (ns).
        at_ns: u64,
        /// The progress of each device.
        progress: Vec<Progress>,
    },
    /// The guest is about to start again.
    Starting {
        /// The time, on the clock of the trace (ns).
        at_ns: u64,
        /// The time (ns) before that spent waiting for the devices' interrupts, which a VMM would
        /// not spend.
        waited_ns: u64,
        /// The count of each device's eventfd: interrupts raised while no guest was running.
        waiting: Vec<u64>,
    },
    /// A new process is about to be killed, before a step.
    Killed {
        /// The number of steps it has made.
        step: u32,
        /// The phase of that step.
        phase: String,
    },
    /// After a failed attempt the devices continued to work in the old process.
    Survived {
        /// The number of attempts so far.
        attempt: u32,
        /// VmPin of the old process, in pages, and the expected value if known.
        pins: (i64, Option<i64>),
    },
    /// In mode exec, the old program runs again.
    FellBack,
    /// The outcome for the old process.
    Outcome {
        /// The outcome.
        outcome: OutgoingOutcome,
    },
    /// The outcome for the new process.
    Arrival {
        /// The outcome.
        arrival: IncomingOutcome,
    },
    /// The final report of the process that has the guest, after its devices have worked again.
    Final {
        /// The progress of each device when the handoff had ended.
        from: Vec<Progress>,
        /// The progress of each device at the end.
        progress: Vec<Progress>,
        /// The reason why the devices did not continue to work, if they did not.
        failure: Option<String>,
        /// The host as that process observed it.
        seen: HostObservation,
    },
}

/// An observation of the host by the process that has the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostObservation {
    /// The process that observed.
    pub pid: u32,
    /// VmPin of that process, in pages.
    pub pinned_pages: i64,
    /// The expected VmPin by its mappings, in pages. `None` if no account is charged, because then
    /// the kernel does not transfer VmPin (hazard H2).
    pub expected_pages: Option<i64>,
    /// The observed facts.
    pub view: handoff_model::abi::view::View,
    /// The facts that could not be observed.
    pub blind: Vec<String>,
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Uses an existing folder.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes the order.
    pub fn give(&self, order: &RunSpec) -> io::Result<()> {
        fs::write(self.0.join("order.json"), serde_json::to_vec(order)?)
    }

    /// Reads the order.
    pub fn order(&self) -> io::Result<RunSpec> {
        Ok(serde_json::from_slice(&fs::read(self.0.join("order.json"))?)?)
    }

    /// Appends a note.
    pub fn note(&self, note: &RunEvent) -> io::Result<()> {
        self.append("notes.jsonl", &serde_json::to_string(note)?)
    }

    /// All notes, in order.
    pub fn notes(&self) -> io::Result<Vec<RunEvent>> {
        let text = match fs::read_to_string(self.0.join("notes.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Appends a line to the trace.
    pub fn event(&self, event: &Event) -> io::Result<()> {
        self.append("events.jsonl", &event.line())
    }

    /// All events, sorted by their return times and numbered.
    pub fn events(&self) -> io::Result<Vec<Event>> {
        let text = fs::read_to_string(self.0.join("events.jsonl"))?;
        let parsed = text.lines().map(serde_json::from_str);
        let mut events: Vec<Event> = parsed.collect::<Result<_, _>>()?;
        forget_failed_execs(&mut events);
        events.sort_by_key(|event| event.t_ns);
        (1..).zip(&mut events).for_each(|(seq, event)| event.seq = seq);
        Ok(events)
    }

    fn append(&self, file: &str, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.0.join(file))?;
        file.write_all(format!("{line}\n").as_bytes())
    }
}

/// Removes the first record of each failed `execve`. An `execve` is recorded before it is made,
/// because it does not return; one that fails is recorded again, and the second record is valid.
fn forget_failed_execs(events: &mut Vec<Event>) {
    let is_exec = |event: &Event| matches!(event.record, Record::Exec { .. });
    let failed = events.iter().filter(|event| is_exec(event) && !event.succeeded());
    let failed: Vec<_> = failed.map(|event| (event.pid, event.enter_ns)).collect();
    events.retain(|event| {
        !is_exec(event) || !event.succeeded() || !failed.contains(&(event.pid, event.enter_ns))
    });
}
