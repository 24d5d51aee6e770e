//! A run as a trace for `handoff replay`: the calls that set up its initial state, and then its
//! own.
//!
//! The format is that of any trace (`docs/trace-format.md`), written by a simulated kernel. Events
//! that are no calls are included: processes that start or are killed, and the descriptors that
//! they start with. A call that the environment failed never reached a kernel: the `sys` of its
//! record is `injected`, and `call` has the call's own name. Readers that do not know it count it
//! and continue, which is correct because the call had no effect. Interrupts and the guest's steps
//! are in no trace.
//!
//! A replay has two limits. It learns about devices from their answers, and a mediated device
//! answers like a PCI device, but attaching it yields no HWPT: that call differs. And a SIGKILL
//! from one process to another is immediate in a replay: the calls that the target still makes
//! before it dies are not followed.

use super::{Followed, Step};
use crate::scenario::{Credentials, Scenario};
use crate::state::action::{Action, NEW, OLD};
use handoff_model::abi::call::CompletedCall;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::FileKind;
use handoff_model::trace::{Event, Header, PassedFd, Record, Stamps, event_of, event_of_record};
use serde_json::{Value, json};

/// The `sys` of a call that the environment failed.
pub const INJECTED: &str = "injected";

/// Returns the lines of a run of a scenario, without line ends.
pub fn trace(scenario: &Scenario, followed: &Followed<'_>) -> Vec<String> {
    let comment = format!("a run of the scenario {}", scenario.name);
    let header = Header { comment, ..Header::new("sim", scenario.kernel.name()) };
    let mut lines = vec![header.line()];
    for event in opening(scenario, followed).into_iter().flatten() {
        lines.push(numbered(event, lines.len()).line());
    }
    for step in followed.steps() {
        let besides = step.happening.besides.iter().map(|made| event_of(made, UNNUMBERED));
        for event in step_event(step).into_iter().chain(besides) {
            let event = numbered(event, lines.len());
            lines.push(match step.action {
                Action::Fail(..) => injected(&event),
                _ => event.line(),
            });
        }
    }
    lines
}

/// Stamps an event with its number, in place of a clock.
fn numbered(event: Event, number: usize) -> Event {
    let number = number as u64;
    Event { seq: number, t_ns: number, enter_ns: number, ..event }
}

const UNNUMBERED: Stamps = Stamps { seq: 0, enter_ns: 0, t_ns: 0 };

fn event(pid: Pid, record: Record) -> Event {
    event_of_record(pid, record, UNNUMBERED)
}

/// Returns the events that set up the initial state.
fn opening(scenario: &Scenario, followed: &Followed<'_>) -> [Vec<Event>; 4] {
    let constants = followed.system().constants();
    let rights = [(OLD, scenario.old), (NEW, scenario.new)];
    let are_there =
        rights.into_iter().filter(|(pid, _)| constants.base.processes.contains_key(pid));
    let launched = constants.opening.iter().map(|made| event_of(made, UNNUMBERED));
    let boot = Record::Guest { what: "boot".to_owned(), fd: None };
    [
        are_there.map(|(pid, rights)| event(pid, start(rights))).collect(),
        launched.collect(),
        given(followed),
        vec![event(OLD, boot)],
    ]
}

fn start(rights: Credentials) -> Record {
    let Credentials { uid, cap_ipc_lock, memlock_bytes } = rights;
    let (memlock_cur, memlock_max) = (memlock_bytes, memlock_bytes);
    Record::Start { uid, euid: uid, cap_ipc_lock, memlock_cur, memlock_max, parent: Pid(0) }
}

/// Returns the descriptors that no call created. A socket pair is listed once, for the old process.
fn given(followed: &Followed<'_>) -> Vec<Event> {
    let base = &followed.system().constants().base;
    let table = |pid: Pid| base.processes.get(&pid).map(|process| &process.descriptors);
    let is_socket = |pid: Pid| {
        let open = table(pid).into_iter().flatten();
        open.filter(|(_, open)| open.kind == FileKind::Socket).map(|(fd, _)| *fd).next()
    };
    let what = |fd: Fd, kind: FileKind| match kind {
        FileKind::Socket => Some(PassedFd::Socket { peer: NEW, peer_fd: is_socket(NEW)? }),
        FileKind::Pidfd => Some(PassedFd::Pidfd { target: NEW }),
        FileKind::Image => Some(PassedFd::Image { path: format!("image {fd}") }),
        _ => None,
    };
    let event = |(fd, open): (&Fd, &handoff_model::abi::view::DescriptorView)| {
        let record = Record::Given { fd: *fd, what: what(*fd, open.kind)?, cloexec: open.cloexec };
        Some(event(OLD, record))
    };
    table(OLD).into_iter().flatten().filter_map(event).collect()
}

/// Returns the event of a step; `None` if no process made a call and none was killed.
fn step_event(step: &Step) -> Option<Event> {
    let killed = || Record::Exit { status: None, signal: Some("SIGKILL".to_owned()) };
    match &step.action {
        Action::Step(side) | Action::Fail(side, _) => {
            let (_, call, answer) = step.happening.call.clone()?;
            Some(event_of(&CompletedCall { pid: side.pid(), call, answer }, UNNUMBERED))
        }
        Action::Kill(side) => Some(event(side.pid(), killed())),
        Action::Die => Some(event(NEW, killed())),
        Action::Cancel | Action::Raise(_) | Action::Take(..) | Action::Work(_) | Action::Arm => {
            None
        }
    }
}

/// Returns the line of a call that the environment failed.
fn injected(event: &Event) -> String {
    let mut line = serde_json::to_value(event).expect("an event always has a JSON form");
    if let Value::Object(fields) = &mut line {
        let sys = fields.insert("sys".to_owned(), json!(INJECTED));
        fields.insert("call".to_owned(), sys.unwrap_or_default());
    }
    line.to_string()
}
