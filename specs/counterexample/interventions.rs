//! Interventions: the parts of a state that a property sees, which can be restored one by one to
//! earlier values.
//!
//! A part of a state is a cause of a violation if the property would hold with that part as it was
//! earlier in the run and all others unchanged. The step that is named is the last one that changed
//! the part away from such a value. (This is the causality of Halpern and Pearl, applied to
//! counterexamples by Beer and others: "Explaining Counterexamples Using Causality", CAV 2009.)
//!
//! A part is just a function that restores it; its description follows from the change.

use super::Followed;
use crate::check::evaluate::setup;
use crate::properties::{Judgement, Property, PropertyInput, Status};
use crate::state::State;
use crate::state::action::NEW;
use crate::state::system::System;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::{
    DescriptorView, DeviceView, GuestView, PageSetView, ProcessView, View,
};
use handoff_model::role::outgoing::OutgoingOutcome;

/// The part of a state that properties see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) view: View,
    pub(super) status: Status,
}

impl Snapshot {
    pub(super) fn of(system: &System, state: &State) -> Self {
        Self { view: state.view(), status: system.status(state) }
    }

    /// Returns true if the property fails here; false for one that needs more than a snapshot.
    pub(super) fn fails(&self, property: &Property, system: &System) -> bool {
        let (base, preserved) = system.constants().expected_with(self.status.armed);
        let (view, status) = (&self.view, self.status);
        let names = &system.constants().names;
        let case = PropertyInput { view, base: &base, status, preserved: &preserved, names };
        let judge = property.predicate().filter(|_| property.scope.covers(&setup(&case)));
        judge.is_some_and(|judge| matches!(judge(&case), Judgement::Fails(_)))
    }
}

/// A part of a snapshot that can be restored.
#[derive(Clone, Debug)]
pub(super) enum Intervention {
    /// A part of the status, and the description of its new value.
    Status(fn(&mut Status, &Status), fn(&Status) -> String),
    /// A part of the view.
    View(fn(&mut View, &View)),
    /// A part of a process.
    Process(Pid, fn(&mut ProcessView, &ProcessView)),
    /// A part of a device.
    Device(String, fn(&mut DeviceView, &DeviceView)),
}

impl Intervention {
    /// Returns all parts.
    pub(super) fn all(base: &View) -> Vec<Self> {
        let processes = (base.processes.keys())
            .flat_map(|pid| OF_PROCESS.iter().map(|part| Self::Process(*pid, *part)));
        let devices = (base.devices.keys())
            .flat_map(|name| OF_DEVICE.iter().map(|part| Self::Device(name.clone(), *part)));
        let views = OF_VIEW.iter().map(|part| Self::View(*part));
        let statuses = OF_STATUS.iter().map(|(part, text)| Self::Status(*part, *text));
        views.chain(processes).chain(devices).chain(statuses).collect()
    }

    /// Returns `seen` with this part as it was `earlier`.
    pub(super) fn put_back(&self, seen: &Snapshot, earlier: &Snapshot) -> Snapshot {
        let mut other = seen.clone();
        match self {
            Self::Status(put, _) => put(&mut other.status, &earlier.status),
            Self::View(put) => put(&mut other.view, &earlier.view),
            Self::Process(pid, put) => {
                let there = other.view.processes.get_mut(pid);
                there
                    .zip(earlier.view.processes.get(pid))
                    .into_iter()
                    .for_each(|(to, from)| put(to, from));
            }
            Self::Device(name, put) => {
                let there = other.view.devices.get_mut(name);
                there
                    .zip(earlier.view.devices.get(name))
                    .into_iter()
                    .for_each(|(to, from)| put(to, from));
            }
        }
        other
    }

    /// Returns the name of the thing of which it is a part.
    pub(super) fn subject(&self, followed: &Followed<'_>) -> String {
        match self {
            Self::Process(pid, _) => followed.actor(*pid),
            Self::Device(name, _) => name.clone(),
            Self::Status(..) | Self::View(_) => "the system".to_owned(),
        }
    }
}

/// Restores fields of page sets if their number is the same; their creation and removal is a part
/// of its own.
fn sets(to: &mut View, from: &View, put: fn(&mut PageSetView, &PageSetView)) {
    if to.page_sets.len() == from.page_sets.len() {
        to.page_sets.iter_mut().zip(&from.page_sets).for_each(|(to, from)| put(to, from));
    }
}

const OF_VIEW: &[fn(&mut View, &View)] = &[
    |to, from| {
        sets(to, from, |to, from| (to.owner, to.owner_alive) = (from.owner, from.owner_alive));
    },
    |to, from| sets(to, from, |to, from| to.pinned_pages = from.pinned_pages),
    |to, from| {
        sets(to, from, |to, from| {
            (to.charged_pages, to.account) = (from.charged_pages, from.account);
        });
        to.books.clone_from(&from.books);
    },
    |to, from| {
        if to.page_sets.len() != from.page_sets.len() {
            to.page_sets.clone_from(&from.page_sets);
        }
    },
    |to, from| sets(to, from, |to, from| to.awaits_address = from.awaits_address),
    |to, from| to.mappings.clone_from(&from.mappings),
    |to, from| to.in_flight.clone_from(&from.in_flight),
];

/// Applies a change to the guest, if there is one.
fn guest(to: &mut ProcessView, put: impl FnOnce(&mut GuestView)) {
    if let Some(guest) = &mut to.guest {
        put(guest);
    }
}

const OF_PROCESS: &[fn(&mut ProcessView, &ProcessView)] = &[
    |to, from| {
        if to.guest.is_none() {
            to.guest.clone_from(&from.guest);
        }
    },
    |to, from| {
        let running = from.guest.as_ref().is_some_and(|guest| guest.running);
        guest(to, |guest| guest.running = running);
    },
    |to, from| {
        let progress = from.guest.as_ref().and_then(|guest| guest.progress);
        guest(to, |guest| guest.progress = progress);
    },
    |to, from| {
        if let Some(before) = &from.guest {
            guest(to, |guest| guest.ram.clone_from(&before.ram));
        }
    },
    |to, from| {
        if let Some(before) = &from.guest {
            guest(to, |guest| guest.injected.clone_from(&before.injected));
        }
    },
    |to, from| to.vm_pin_pages = from.vm_pin_pages,
    |to, from| {
        let kept = |fd: &Fd, before: &DescriptorView| {
            let now = to.descriptors.get(fd).filter(|now| now.file == before.file);
            (*fd, *now.unwrap_or(before))
        };
        to.descriptors = from.descriptors.iter().map(|(fd, before)| kept(fd, before)).collect();
    },
    |to, from| {
        for (fd, descriptor) in &mut to.descriptors {
            let before = from.descriptors.get(fd).filter(|before| before.file == descriptor.file);
            descriptor.cloexec = before.map_or(descriptor.cloexec, |before| before.cloexec);
        }
    },
];

const OF_DEVICE: &[fn(&mut DeviceView, &DeviceView)] = &[
    |to, from| {
        (to.attached, to.bound) = (from.attached, from.bound);
        (to.bus_master, to.disruptions) = (from.bus_master, from.disruptions);
    },
    |to, from| to.reach.clone_from(&from.reach),
    |to, from| to.interrupts.clone_from(&from.interrupts),
];

/// A part of the status, and the description of its new value.
type OfStatus = (fn(&mut Status, &Status), fn(&Status) -> String);

const OF_STATUS: &[OfStatus] = &[
    (
        |to, from| to.quiescent = from.quiescent,
        |now| {
            let text =
                if now.quiescent { "the handoff terminated" } else { "the handoff continued" };
            text.to_owned()
        },
    ),
    (
        |to, from| {
            (to.guest_owner, to.guest_owner_was_killed) =
                (from.guest_owner, from.guest_owner_was_killed);
        },
        |now| match now.guest_owner {
            Some(NEW) => "the new VMM became the guest's owner".to_owned(),
            Some(_) => "the old VMM became the guest's owner".to_owned(),
            None => "the guest was lost with its process".to_owned(),
        },
    ),
    (
        |to, from| {
            (to.outcome, to.fell_back) = (from.outcome, from.fell_back);
            to.handed_over = from.handed_over;
        },
        |now| {
            let text = match (now.handed_over, now.fell_back, now.outcome) {
                (true, ..) => "the new VMM completed the takeover",
                (_, true, _) => "the old program ran again",
                (.., Some(OutgoingOutcome::HandedOver)) => "the old VMM completed its part",
                (.., Some(_)) => "the old VMM abandoned the handoff",
                (.., None) => "the outcome was still open",
            };
            text.to_owned()
        },
    ),
    (|to, from| to.faulted = from.faulted, |_| "a fault occurred".to_owned()),
    (|to, from| to.was_stopped = from.was_stopped, |_| "the guest was stopped".to_owned()),
    (
        |to, from| to.changed_early = from.changed_early,
        |_| "the new VMM changed kernel state before the old VMM allowed it".to_owned(),
    ),
    (
        |to, from| to.commit_allowed = from.commit_allowed,
        |_| "the old VMM allowed the commit".to_owned(),
    ),
    (
        |to, from| to.progress = from.progress,
        |now| format!("the guest's progress reached {}", now.progress.unwrap_or_default()),
    ),
    (
        |to, from| to.window_open = from.window_open,
        |now| {
            let text = if now.window_open { "opened" } else { "closed" };
            format!("the window for inheritable descriptors {text}")
        },
    ),
];

/// An event that could have happened: the change that it would have made, and the description of
/// its absence.
type Omission = (fn(&mut Snapshot), fn(&str) -> String);

/// Events of the handoff and of the guest's owner, whose name is the argument.
const OMISSIONS: &[Omission] = &[
    (
        |seen| {
            let owner = seen.status.guest_owner;
            let own = |set: &mut PageSetView| (set.owner, set.owner_alive) = (owner, Some(true));
            seen.view.page_sets.iter_mut().for_each(own);
        },
        |owner| format!("{owner} did not own all pages"),
    ),
    (
        |seen| {
            let owner = seen.status.guest_owner;
            if let Some(process) = owner.and_then(|pid| seen.view.processes.get_mut(&pid)) {
                guest(process, |guest| guest.running = true);
            }
        },
        |owner| format!("the guest did not run in {owner}"),
    ),
    (
        |seen| seen.status.handed_over = true,
        |_| "the new VMM had not completed the takeover".to_owned(),
    ),
    (|seen| seen.status.faulted = true, |_| "no fault had occurred".to_owned()),
];

/// Returns the events that had not happened by a state and would have saved it.
pub(super) fn missing(
    seen: &Snapshot,
    process: impl Fn(Pid) -> String,
    fails: impl Fn(&Snapshot) -> bool,
) -> Vec<String> {
    let saves = |change: &dyn Fn(&mut Snapshot)| {
        let mut other = seen.clone();
        change(&mut other);
        other != *seen && !fails(&other)
    };
    let owner = seen.status.guest_owner;
    let name = owner.map_or("no process".to_owned(), &process);
    let omitted = OMISSIONS.iter().filter(|(change, _)| saves(change));
    let omitted = omitted.map(|(_, text)| text(&name));
    let alive = seen.view.processes.iter().filter(|(_, process)| process.alive);
    let others = alive.map(|(pid, _)| *pid).filter(|pid| Some(*pid) != owner);
    let still = others.filter(|pid| saves(&|seen: &mut Snapshot| end(seen, *pid)));
    omitted.chain(still.map(|pid| format!("{} had not exited", process(pid)))).collect()
}

/// Applies the end of a process: if there are two, no process without the guest is left.
fn end(seen: &mut Snapshot, pid: Pid) {
    seen.status.left_over = false;
    if let Some(process) = seen.view.processes.get_mut(&pid) {
        process.alive = false;
        process.descriptors.clear();
        (process.guest, process.vm_pin_pages) = (None, None);
    }
}
