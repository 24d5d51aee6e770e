//! An end is a beginning: whatever came of an update, the next one finds what the first one found.
//!
//! So what holds of one update holds of any number of them, in whatever order they fail and
//! succeed, as long as each process has the rights that the one before it had, and as far as what
//! can be seen of a machine decides what it does next. What is compared is told without the numbers
//! of processes, of which the next update has others. That nobody else has any of it is `FD-1`.

use super::Judgement::{Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{DescriptorView, FileKind, View};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What is compared, and how it is told of a process that has the guest, and of its machine.
type Part = (&'static str, fn(&View, Pid) -> String);

const PARTS: &[Part] = &[
    ("the descriptors", |view, pid| descriptors(view, pid, |_| true)),
    ("those that can be inherited", |view, pid| descriptors(view, pid, |open| !open.cloexec)),
    ("what the guest sees", |view, pid| {
        debug_text(&view.processes[&pid].guest.as_ref().map(|guest| &guest.ram))
    }),
    ("VmPin", |view, pid| debug_text(&view.processes[&pid].vm_pin_pages)),
    ("the page sets", page_sets),
    ("the mappings", |view, _| debug_text(&view.mappings)),
    ("the charges", |view, _| debug_text(&view.books.values().collect::<Vec<_>>())),
    ("the devices", devices),
    ("what is on its way", |view, _| debug_text(&view.in_flight)),
];

pub(super) fn as_at_the_beginning(case: &PropertyInput<'_>) -> Judgement {
    let Status { quiescent: true, guest_owner: Some(keeper), .. } = case.status else {
        return Vacuous;
    };
    let mut first = case.base.processes.iter().filter(|(_, process)| process.guest.is_some());
    let Some((first, _)) = first.next() else { return Vacuous };
    for (what, of) in PARTS {
        let (before, now) = (of(case.base, *first), of(case.view, keeper));
        must!(before == now, "{what}: {now}; at the beginning {before}");
    }
    Holds
}

fn debug_text(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// How many of each kind, but for those that only a handoff needs.
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
            let is_taken = vector.irqfd.map(|taker| taker == pid);
            (vector.trigger, is_taken)
        });
        let vectors: Vec<_> = vectors.collect();
        (name, device.bound, device.attached, device.bus_master, &device.reach, vectors)
    });
    debug_text(&devices.collect::<Vec<_>>())
}
