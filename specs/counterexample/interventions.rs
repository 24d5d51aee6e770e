//! What a property sees, in parts that can be put back one by one.
//!
//! Why does a property fail in a state? Because of those parts of the state that it would not fail
//! without: put one of them back to what it was earlier in the run, leave all the others as they
//! are, and ask the property again. A part that saves it is a cause, and the last step that took
//! the part away from a saving value is where it came about. (This is the causality of Halpern and
//! Pearl as Beer and others ask it of counterexamples: "Explaining Counterexamples Using
//! Causality", CAV 2009.)
//!
//! So a part is nothing but a way to put it back; how it is told follows from what it changes.

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

/// What a property sees of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) view: View,
    pub(super) status: Status,
}

impl Snapshot {
    pub(super) fn of(system: &System, state: &State) -> Self {
        Self { view: state.view(), status: system.status(state) }
    }

    /// Whether a property fails here. Of one that takes more than this it is not asked.
    pub(super) fn fails(&self, property: &Property, system: &System) -> bool {
        let (base, preserved) = system.constants().expected_with(self.status.armed);
        let (view, status) = (&self.view, self.status);
        let names = &system.constants().names;
        let case = PropertyInput { view, base: &base, status, preserved: &preserved, names };
        let judge = property.predicate().filter(|_| property.scope.covers(&setup(&case)));
        judge.is_some_and(|judge| matches!(judge(&case), Judgement::Fails(_)))
    }
}

/// A part of what is seen.
#[derive(Clone, Debug)]
pub(super) enum Intervention {
    /// Of the moment, and how it is told.
    Moment(fn(&mut Status, &Status), fn(&Status) -> String),
    /// Of the view.
    View(fn(&mut View, &View)),
    /// Of a process.
    Process(Pid, fn(&mut ProcessView, &ProcessView)),
    /// Of a device.
    Device(String, fn(&mut DeviceView, &DeviceView)),
}

impl Intervention {
    /// All of them.
    pub(super) fn all(base: &View) -> Vec<Self> {
        let processes = (base.processes.keys())
            .flat_map(|pid| OF_PROCESS.iter().map(|part| Self::Process(*pid, *part)));
        let devices = (base.devices.keys())
            .flat_map(|name| OF_DEVICE.iter().map(|part| Self::Device(name.clone(), *part)));
        let views = OF_VIEW.iter().map(|part| Self::View(*part));
        let moments = OF_MOMENT.iter().map(|(part, told)| Self::Moment(*part, *told));
        views.chain(processes).chain(devices).chain(moments).collect()
    }

    /// `seen`, with this part as it was `earlier`.
    pub(super) fn put_back(&self, seen: &Snapshot, earlier: &Snapshot) -> Snapshot {
        let mut other = seen.clone();
        match self {
            Self::Moment(put, _) => put(&mut other.status, &earlier.status),
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
}

/// Page sets are compared one by one only where none came or went; that is a part of its own.
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

/// Does something to a guest, where there is one.
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

/// A part of the moment, and what is told of its new value.
type OfMoment = (fn(&mut Status, &Status), fn(&Status) -> String);

const OF_MOMENT: &[OfMoment] = &[
    (
        |to, from| to.quiescent = from.quiescent,
        |now| {
            let what = if now.quiescent { "nothing was under way any more" } else { "it went on" };
            what.to_owned()
        },
    ),
    (
        |to, from| {
            (to.guest_owner, to.guest_owner_was_killed) =
                (from.guest_owner, from.guest_owner_was_killed);
        },
        |now| match now.guest_owner {
            Some(NEW) => "the new VMM had the guest".to_owned(),
            Some(_) => "the old VMM had the guest".to_owned(),
            None => "the process that had the guest was gone".to_owned(),
        },
    ),
    (
        |to, from| {
            (to.outcome, to.fell_back) = (from.outcome, from.fell_back);
            to.handed_over = from.handed_over;
        },
        |now| {
            let what = match (now.handed_over, now.fell_back, now.outcome) {
                (true, ..) => "the guest had moved for good",
                (_, true, _) => "the old program ran again",
                (.., Some(OutgoingOutcome::HandedOver)) => "the old VMM had done its part",
                (.., Some(_)) => "the old VMM had given it up",
                (.., None) => "it was not known how it ends",
            };
            what.to_owned()
        },
    ),
    (|to, from| to.faulted = from.faulted, |_| "something had gone wrong".to_owned()),
    (|to, from| to.was_stopped = from.was_stopped, |_| "the guest had been stopped".to_owned()),
    (
        |to, from| to.changed_early = from.changed_early,
        |_| "the new process had changed something, and nobody had allowed it yet".to_owned(),
    ),
    (
        |to, from| to.commit_allowed = from.commit_allowed,
        |_| "the new process was allowed to change things".to_owned(),
    ),
    (
        |to, from| to.progress = from.progress,
        |now| {
            let steps = now.progress.unwrap_or_default();
            format!("the guest had come to step {steps}")
        },
    ),
    (
        |to, from| to.window_open = from.window_open,
        |now| {
            let may = if now.window_open { "might" } else { "might no longer" };
            format!("descriptors {may} be inheritable")
        },
    ),
];

/// What could have happened and did not: a change that would have saved a state, and how its
/// absence is told.
type Omission = (fn(&mut Snapshot), fn(&str) -> String);

/// Those of the handoff, and of the process that has the guest, which is named to them.
const OMISSIONS: &[Omission] = &[
    (
        |seen| {
            let owner = seen.status.guest_owner;
            let own = |set: &mut PageSetView| (set.owner, set.owner_alive) = (owner, Some(true));
            seen.view.page_sets.iter_mut().for_each(own);
        },
        |keeper| format!("{keeper} did not own all pages"),
    ),
    (
        |seen| {
            let keeper = seen.status.guest_owner;
            if let Some(process) = keeper.and_then(|pid| seen.view.processes.get_mut(&pid)) {
                guest(process, |guest| guest.running = true);
            }
        },
        |keeper| format!("the guest did not run in {keeper}"),
    ),
    (|seen| seen.status.handed_over = true, |_| "the guest had not moved for good".to_owned()),
    (|seen| seen.status.faulted = true, |_| "nothing had disturbed it".to_owned()),
];

/// What had not happened by a state and would have saved it.
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
    let keeper = seen.status.guest_owner;
    let name = keeper.map_or("nobody".to_owned(), &process);
    let told = OMISSIONS.iter().filter(|(change, _)| saves(change));
    let told = told.map(|(_, words)| words(&name));
    let alive = seen.view.processes.iter().filter(|(_, process)| process.alive);
    let others = alive.map(|(pid, _)| *pid).filter(|pid| Some(*pid) != keeper);
    let still = others.filter(|pid| saves(&|seen: &mut Snapshot| end(seen, *pid)));
    told.chain(still.map(|pid| format!("{} had not ended", process(pid)))).collect()
}

/// What is left of a process that has ended: where there are two, none that has not the guest.
fn end(seen: &mut Snapshot, pid: Pid) {
    seen.status.left_over = false;
    if let Some(process) = seen.view.processes.get_mut(&pid) {
        process.alive = false;
        process.descriptors.clear();
        (process.guest, process.vm_pin_pages) = (None, None);
    }
}
