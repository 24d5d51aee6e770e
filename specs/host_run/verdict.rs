//! The verdict of a run: a list of findings, each with its evidence.
//!
//! There are three kinds of evidence: the counts of the devices and the guest (DMA, interrupts,
//! bytes compared); the properties, evaluated on the processes' views of the host, as far as a host
//! shows the facts that a property needs; and the replay of the recorded calls.

use super::run_dir::{HostObservation, RunDir, RunEvent};
use super::vmm::DMAS;
use super::{Request, SetupError, header};
use crate::check::evaluate::setup;
use crate::properties::{Judgement, Names, PROPERTIES, PropertyInput, Status};
use crate::scenario::expectation::Expected;
use handoff_conformance::replay::{Report, replay};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::FileRef;
use handoff_model::role::incoming::IncomingOutcome;
use handoff_model::role::outgoing::OutgoingOutcome;
use handoff_testbed::workload::Progress;
use std::collections::BTreeSet;

/// The result of a run.
#[derive(Debug)]
pub struct Verdict {
    /// The outcome for the old process.
    pub outcome: Option<OutgoingOutcome>,
    /// The findings.
    pub findings: Vec<Finding>,
    /// The text of the trace file.
    pub trace: String,
}

/// The result of one check.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// True if the check passed; `None` if this host does not show the facts.
    pub good: Option<bool>,
    /// The subject of the check.
    pub what: String,
    /// The evidence.
    pub seen: String,
}

impl Verdict {
    /// True if no check failed.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.good != Some(false))
    }
}

fn finding(good: impl Into<Option<bool>>, what: &str, seen: impl Into<String>) -> Finding {
    Finding { good: good.into(), what: what.to_owned(), seen: seen.into() }
}

/// Evaluates the files that the processes of a run have left in its folder.
pub(super) fn judge(
    folder: &RunDir,
    request: &Request,
    ended: bool,
) -> Result<Verdict, SetupError> {
    let notes = folder.notes()?;
    let trace = trace(folder)?;
    if let Some(why) = notes.iter().find_map(|note| match note {
        RunEvent::NotLaunched { why } => Some(why.clone()),
        _ => None,
    }) {
        let findings = vec![finding(false, "launch", why)];
        return Ok(Verdict { outcome: None, findings, trace });
    }
    let run = Run { notes: &notes, request };
    let processes = if ended { "all have exited" } else { "some did not exit, and were killed" };
    let mut findings = vec![finding(ended, "processes of the run", processes)];
    findings.extend(run.outcome());
    findings.extend(run.sweep());
    findings.extend(run.blackout());
    findings.extend(run.devices());
    findings.extend(run.pins());
    findings.extend(run.properties());
    findings.push(replayed(&trace));
    Ok(Verdict { outcome: run.last_outcome(), findings, trace })
}

fn trace(folder: &RunDir) -> Result<String, SetupError> {
    let mut lines = vec![header().line()];
    lines.extend(folder.events()?.iter().map(handoff_model::trace::Event::line));
    Ok(lines.join("\n") + "\n")
}

fn replayed(trace: &str) -> Finding {
    let what = "replay of the calls on the simulated kernel";
    match replay(trace.lines().map(str::to_owned)) {
        Ok(report) => finding(is_full(&report), what, counts(&report)),
        Err(error) => finding(false, what, error.to_string()),
    }
}

/// True if every call is modelled, followed, and agrees, as all calls of our own must.
fn is_full(report: &Report) -> bool {
    report.agrees() && report.not_followed.is_empty() && report.not_modelled.is_empty()
}

fn counts(report: &Report) -> String {
    if is_full(report) {
        return format!("{} calls, all of them agree ({})", report.agreeing, report.profile);
    }
    report.to_string()
}

/// The final report of the process that had the guest.
struct Last<'a> {
    from: &'a [Progress],
    progress: &'a [Progress],
    failure: Option<&'a str>,
    seen: &'a HostObservation,
}

/// A run, as recorded in its notes.
struct Run<'a> {
    notes: &'a [RunEvent],
    request: &'a Request,
}

impl Run<'_> {
    fn last_outcome(&self) -> Option<OutgoingOutcome> {
        let outcome = self.notes.iter().rev().find_map(|note| match note {
            RunEvent::Outcome { outcome } => Some(*outcome),
            _ => None,
        });
        // In mode exec, the old program no longer exists when the handoff succeeds.
        let took = |note: &&RunEvent| {
            matches!(note, RunEvent::Arrival { arrival: IncomingOutcome::TookOver })
        };
        let fell_back = self.notes.iter().any(|note| matches!(note, RunEvent::FellBack));
        let there =
            if fell_back { OutgoingOutcome::RolledBack } else { OutgoingOutcome::HandedOver };
        let arrived = self.notes.iter().find(took).map(|_| there);
        arrived.or(outcome)
    }

    /// The errors of the last attempt.
    fn troubles(&self) -> Vec<String> {
        let last = self.notes.iter().rposition(|note| matches!(note, RunEvent::Survived { .. }));
        let notes = &self.notes[last.map_or(0, |at| at + 1)..];
        let errors = notes.iter().filter_map(|note| match note {
            RunEvent::Trouble { phase, what } => Some(format!("{phase}: {what}")),
            _ => None,
        });
        errors.collect()
    }

    fn outcome(&self) -> Vec<Finding> {
        let expected = if self.request.scenario.refused {
            OutgoingOutcome::Refused
        } else {
            OutgoingOutcome::HandedOver
        };
        let outcome = self.last_outcome();
        let word = match outcome {
            Some(OutgoingOutcome::HandedOver) => "handed over",
            Some(OutgoingOutcome::Refused) => "refused before the guest was stopped",
            Some(OutgoingOutcome::RolledBack) => "failed; the guest continued in the old process",
            Some(OutgoingOutcome::RolledBackUnowned) => {
                "failed; the guest continued in the old process, with memory of an exited owner"
            }
            None => "the run ended without an outcome",
        };
        let mut troubles = self.troubles();
        troubles.insert(0, word.to_owned());
        vec![finding(outcome == Some(expected), "outcome", troubles.join("; "))]
    }

    /// The attempts in which the new process was killed, and whether the guest continued in the old
    /// one.
    fn sweep(&self) -> Option<Finding> {
        let killed: Vec<_> = (self.notes.iter())
            .filter_map(|note| match note {
                RunEvent::Killed { phase, .. } => Some(phase.as_str()),
                _ => None,
            })
            .collect();
        let pins = self.notes.iter().filter_map(|note| match note {
            RunEvent::Survived { pins: (pinned, expected), .. } => Some((*pinned, *expected)),
            _ => None,
        });
        let survived = pins.clone().count();
        let owned = pins.clone().all(|(pinned, expected)| expected.is_none_or(|e| e == pinned));
        let back = |note: &&RunEvent| {
            matches!(
                note,
                RunEvent::Outcome {
                    outcome: OutgoingOutcome::Refused | OutgoingOutcome::RolledBack
                }
            )
        };
        let backs = self.notes.iter().filter(back).count();
        let phases: BTreeSet<_> = killed.iter().collect();
        self.request.sweep.then(|| {
            let seen = format!(
                "killed at {} points, in {} phases; after {survived} kills DMA and interrupts \
                 continued in the old process, whose VmPin was {}",
                killed.len(),
                phases.len(),
                if owned { "always as expected" } else { "NOT always as expected" }
            );
            let good = survived == killed.len() && backs == survived && owned && survived > 0;
            finding(good, "new process killed before each step up to the point of no return", seen)
        })
    }

    fn blackout(&self) -> Option<Finding> {
        let stopped = self.notes.iter().rev().find_map(|note| match note {
            RunEvent::Stopped { at_ns, progress } => Some((*at_ns, progress)),
            _ => None,
        });
        let starting = self.notes.iter().rev().find_map(|note| match note {
            RunEvent::Starting { at_ns, waited_ns, waiting } => Some((*at_ns, *waited_ns, waiting)),
            _ => None,
        });
        let what = "DMA and interrupts while no guest ran";
        let (Some((stopped_ns, before)), Some((started_ns, waited_ns, waiting))) =
            (stopped, starting)
        else {
            // If the guest has moved, both notes must exist.
            let moved = self.last_outcome() == Some(OutgoingOutcome::HandedOver);
            return moved.then(|| {
                finding(false, what, "no process recorded when the guest stopped and started")
            });
        };
        let under_way = before.iter().filter(|device| device.started > device.finished).count();
        let devices = self.request.scenario.plan.devices.len();
        let arrived = waiting.iter().filter(|count| **count > 0).count();
        let good = arrived == devices && under_way == devices;
        let seen = format!(
            "{} µs from stop to start, excluding the wait for the test's interrupts; {under_way} \
             DMAs in flight at the stop; pending interrupts per device at the start: {waiting:?}",
            started_ns.saturating_sub(stopped_ns).saturating_sub(waited_ns) / 1000
        );
        Some(finding(good, what, seen))
    }

    fn last(&self) -> Option<Last<'_>> {
        self.notes.iter().rev().find_map(|note| match note {
            RunEvent::Final { from, progress, failure, seen } => {
                Some(Last { from, progress, failure: failure.as_deref(), seen })
            }
            _ => None,
        })
    }

    fn first(&self) -> Option<&HostObservation> {
        self.notes.iter().find_map(|note| match note {
            RunEvent::Launched { seen, .. } => Some(seen),
            _ => None,
        })
    }

    fn devices(&self) -> Vec<Finding> {
        let Some(Last { from, progress, failure, .. }) = self.last() else {
            return vec![finding(
                false,
                "devices",
                "no process recorded the final state of the devices",
            )];
        };
        let plan = &self.request.scenario.plan.devices;
        if from.len() != plan.len() || progress.len() != plan.len() {
            return vec![finding(
                false,
                "devices",
                "the final state of some devices was not recorded",
            )];
        }
        let all = plan.iter().zip(from.iter().zip(progress));
        let findings = all.map(|(device, (before, after))| {
            let more = after.finished - before.finished;
            let good = after.faults.is_empty() && more >= DMAS && failure.is_none();
            let mut seen = format!(
                "{} DMAs finished before the end of the handoff, {more} after it; {} bytes \
                 compared; {} interrupts raised, {} taken",
                before.finished, after.compared_bytes, after.raised, after.delivered
            );
            if !after.faults.is_empty() {
                seen = format!("{seen}; faults: {:?}", after.faults);
            }
            finding(good, &device.name, seen)
        });
        let failed = failure.map(|failure| finding(false, "devices", failure));
        findings.chain(failed).collect()
    }

    /// Checks that all of VmPin is with the process that has the guest, if the kernel transfers it.
    fn pins(&self) -> Vec<Finding> {
        let (Some(first), Some(Last { seen: last, .. })) = (self.first(), self.last()) else {
            return Vec::new();
        };
        let describe =
            |seen: &HostObservation| format!("process {}: {} pages", seen.pid, seen.pinned_pages);
        let counts = format!("before, {}; after, {}", describe(first), describe(last));
        let good = last
            .expected_pages
            .map(|expected| last.pinned_pages == expected && first.pinned_pages == expected);
        let note = match good {
            None => "; the kernel does not move VmPin of uncharged memory (hazard K2)".to_owned(),
            Some(true) => String::new(),
            Some(false) => format!(", expected {}", last.expected_pages.unwrap_or_default()),
        };
        vec![finding(good, "pinned memory (VmPin)", counts + &note)]
    }

    /// Evaluates the properties that a host shows, on the quiescent state at the end.
    fn properties(&self) -> Vec<Finding> {
        let (Some(first), Some(Last { seen: last, .. })) = (self.first(), self.last()) else {
            return Vec::new();
        };
        let files = self.preserved();
        let status = Status {
            mode: self.request.scenario.mode,
            guest_owner: Some(Pid(last.pid)),
            guest_owner_was_killed: false,
            quiescent: true,
            outcome: self.last_outcome(),
            fell_back: self.notes.iter().any(|note| matches!(note, RunEvent::FellBack)),
            handed_over: self.last_outcome() == Some(OutgoingOutcome::HandedOver),
            faulted: false,
            expected: if self.request.scenario.refused {
                Expected::RefusedBeforeStop
            } else {
                Expected::HandedOver
            },
            unexplained: false,
            new_program: false,
            left_over: false,
            was_stopped: self.notes.iter().any(|note| matches!(note, RunEvent::Stopped { .. })),
            changed_early: false,
            commit_allowed: true,
            progress: None,
            window_open: false,
            armed: None,
        };
        let case = PropertyInput {
            view: &last.view,
            base: &first.view,
            status,
            preserved: &files,
            names: &Names::default(),
        };
        let applicable = PROPERTIES.iter().filter(|property| property.scope.covers(&setup(&case)));
        // The owner of a page set, the mappings, and the times at which a guest ran are not visible
        // on a host. The other findings of the run and the replay of its calls cover them.
        let judged =
            applicable.map(|property| match property.predicate().map(|judge| judge(&case)) {
                Some(Judgement::Fails(wrong)) => finding(false, property.id, wrong),
                Some(Judgement::Holds) if property.on_host => {
                    finding(true, property.id, property.sentence)
                }
                _ => finding(None, property.id, "not observable on a host"),
            });
        judged.collect()
    }

    /// The files of the inventory, by their numbers in the views of a run.
    fn preserved(&self) -> BTreeSet<FileRef> {
        let plan = &self.request.scenario.plan;
        let vectors =
            plan.devices.iter().flat_map(|d| &d.interrupts).map(|i| usize::from(i.vectors));
        let files = plan.ram.iter().filter(|ram| ram.backing == handoff_model::vm::Backing::File);
        // The stream and the saved guest; contexts; RAM; devices with their eventfds.
        let count =
            2 + plan.contexts.len() + files.count() + plan.devices.len() + vectors.sum::<usize>();
        (0..).map(FileRef).take(count).collect()
    }
}
