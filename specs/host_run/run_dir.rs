//! What the supervisor asks of the processes of a run, and what they tell it: files in one folder.
//!
//! The order is a JSON file that every process of the run reads. Notes and trace lines are appended
//! to one file each; a line is one `write` to a file opened for appending, so that lines of several
//! processes never mix.

use handoff_model::role::incoming::IncomingOutcome;
use handoff_model::role::outgoing::OutgoingOutcome;
use handoff_model::trace::{Event, Record};
use handoff_real_backend::sysfs::Bdf;
use handoff_testbed::workload::Progress;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a run shall be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSpec {
    /// What messages call the scenario.
    pub name: String,
    /// The scenario's text.
    pub text: String,
    /// The devices, in the order of the scenario's.
    pub devices: Vec<Bdf>,
    /// Kill the new process before each of its steps, one attempt after the other, before the
    /// handoff that is left to succeed.
    pub sweep: bool,
}

/// Something that a process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// The old process could not set the VM up.
    NotLaunched {
        /// Why.
        why: String,
    },
    /// The guest runs, its devices work.
    Launched {
        /// How far they are.
        progress: Vec<Progress>,
        /// The old process.
        seen: HostObservation,
    },
    /// Something went wrong in a step.
    Trouble {
        /// In which phase.
        phase: String,
        /// What.
        what: String,
    },
    /// The guest was stopped.
    Stopped {
        /// When, on the clock of the trace.
        at_ns: u64,
        /// How far its devices were.
        progress: Vec<Progress>,
    },
    /// The guest is about to run again.
    Starting {
        /// When.
        at_ns: u64,
        /// How long before that was spent waiting for the devices' interrupts, which a VMM would
        /// not.
        waited_ns: u64,
        /// What waits in the eventfd of each device's interrupt: raised while no guest ran.
        waiting: Vec<u64>,
    },
    /// A new process is about to be killed, before a step.
    Killed {
        /// How many steps it had made.
        step: u32,
        /// Of which phase the step would have been.
        phase: String,
    },
    /// After a failed attempt the devices worked on in the old process.
    Survived {
        /// After how many attempts.
        attempt: u32,
        /// VmPin of the old process, in pages, and what it should be, where that is known.
        pins: (i64, Option<i64>),
    },
    /// By exec: the old program runs again.
    FellBack,
    /// How it ended for the old process.
    Outcome {
        /// How.
        outcome: OutgoingOutcome,
    },
    /// How it ended for the new process.
    Arrival {
        /// How.
        arrival: IncomingOutcome,
    },
    /// The process that has the guest at the end, after its devices have worked on.
    Final {
        /// How far they were when the handoff was over.
        from: Vec<Progress>,
        /// How far they are.
        progress: Vec<Progress>,
        /// Why they did not work on, where they did not.
        failure: Option<String>,
        /// What it sees.
        seen: HostObservation,
    },
}

/// A look at the host by a process that has the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostObservation {
    /// Who looked.
    pub pid: u32,
    /// VmPin of the process that looked, in pages.
    pub pinned_pages: i64,
    /// What that should be by its mappings, in pages; unknown where it is charged to nobody, for
    /// then the kernel does not move the figure (hazard K2).
    pub expected_pages: Option<i64>,
    /// What could be seen.
    pub view: handoff_model::abi::view::View,
    /// What could not.
    pub blind: Vec<String>,
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// An existing folder.
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

    /// Tells something.
    pub fn note(&self, note: &RunEvent) -> io::Result<()> {
        self.append("notes.jsonl", &serde_json::to_string(note)?)
    }

    /// Everything that was told, in order.
    pub fn notes(&self) -> io::Result<Vec<RunEvent>> {
        let text = match fs::read_to_string(self.0.join("notes.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Adds a line to the trace.
    pub fn event(&self, event: &Event) -> io::Result<()> {
        self.append("events.jsonl", &event.line())
    }

    /// Every event, in the order of their returns, numbered.
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

/// An `execve` is told before it is made, for it does not return; one that failed after all is told
/// again, and the second line is the true one.
fn forget_failed_execs(events: &mut Vec<Event>) {
    let is_exec = |event: &Event| matches!(event.record, Record::Exec { .. });
    let failed = events.iter().filter(|event| is_exec(event) && !event.succeeded());
    let failed: Vec<_> = failed.map(|event| (event.pid, event.enter_ns)).collect();
    events.retain(|event| {
        !is_exec(event) || !event.succeeded() || !failed.contains(&(event.pid, event.enter_ns))
    });
}
