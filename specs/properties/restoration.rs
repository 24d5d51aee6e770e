//! Every end state is an initial state: the next update finds what the first one found.
//!
//! So a property of one update holds for any sequence of updates, in whatever order they fail and
//! succeed, if each process has the rights of the one before it and if what can be observed of a
//! machine determines its behaviour. Views are compared without process numbers, which differ in
//! the next update. `FD-1` proves that no other process keeps a part of the VM.

use super::Judgement::{Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{DescriptorView, FileKind, View};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// An aspect of a view: its name, and its value for the process that has the guest.
type Aspect = (&'static str, fn(&View, Pid) -> String);

const ASPECTS: &[Aspect] = &[
    ("open descriptors", |view, pid| descriptors(view, pid, |_| true)),
    ("inheritable descriptors", |view, pid| descriptors(view, pid, |open| !open.cloexec)),
    ("guest memory", |view, pid| {
        debug_text(&view.processes[&pid].guest.as_ref().map(|guest| &guest.ram))
    }),
    ("VmPin", |view, pid| pages(view.processes[&pid].vm_pin_pages)),
    ("page sets", page_sets),
    ("mappings", |view, _| debug_text(&view.mappings)),
    ("charged pages", |view, _| debug_text(&view.books.values().collect::<Vec<_>>())),
    ("devices", devices),
    ("descriptors in sockets", |view, _| debug_text(&view.in_flight)),
];

pub(super) fn restored(input: &PropertyInput<'_>) -> Judgement {
    let Status { quiescent: true, guest_owner: Some(guest_owner), .. } = input.status else {
        return Vacuous;
    };
    let mut first = input.base.processes.iter().filter(|(_, process)| process.guest.is_some());
    let Some((first, _)) = first.next() else { return Vacuous };
    for (aspect, of) in ASPECTS {
        let (before, now) = (of(input.base, *first), of(input.view, guest_owner));
        must!(before == now, "{aspect}: {now}; before the update {before}");
    }
    Holds
}

fn debug_text(value: &impl Debug) -> String {
    format!("{value:?}")
}

fn pages(count: Option<i64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| format!("{count} pages"))
}

/// Returns the number of descriptors of each kind, without those that only a handoff needs.
fn descriptors(view: &View, pid: Pid, which: fn(&DescriptorView) -> bool) -> String {
    let of_handoff = |kind| matches!(kind, FileKind::Socket | FileKind::Pidfd | FileKind::Image);
    let open = view.processes[&pid].descriptors.values();
    let mut kinds: BTreeMap<FileKind, usize> = BTreeMap::new();
    for open in open.filter(|open| !of_handoff(open.kind) && which(open)) {
        *kinds.entry(open.kind).or_default() += 1;
    }
    debug_text(&kinds)
}

fn page_sets(view: &View, pid: Pid) -> String {
    let sets = view.page_sets.iter().map(|set| {
        let is_own = set.owner == Some(pid) && set.owner_alive == Some(true);
        (set.memory, set.pinned_pages, set.charged_pages, is_own, set.awaits_address)
    });
    debug_text(&sets.collect::<Vec<_>>())
}

fn devices(view: &View, pid: Pid) -> String {
    let devices = view.devices.iter().map(|(name, device)| {
        let vectors = device.interrupts.iter().map(|vector| {
            let is_own = vector.irqfd.map(|owner| owner == pid);
            (vector.trigger, is_own)
        });
        let vectors: Vec<_> = vectors.collect();
        (name, device.bound, device.attached, device.bus_master, &device.reach, vectors)
    });
    debug_text(&devices.collect::<Vec<_>>())
}
