//! What an abstract spec sees of a machine, computed once for each machine.

use crate::state::action::Side;
use crate::state::constants::Constants;
use handoff_model::abi::view::{
    DescriptorView, DeviceView, FileKind, FileRef, GuestView, InjectedView, PageRun, View,
};
use std::collections::BTreeSet;

/// What can be seen of a machine, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    pub(crate) sides: [SideObservation; 2],
    /// The living process that owns every page set.
    pub(crate) owner: Option<Side>,
    /// Every device is as it was, and reaches what it reached.
    pub(crate) devices_unchanged: bool,
}

/// What can be seen of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideObservation {
    pub(crate) alive: bool,
    /// Its guest: whether it runs, and how far it has come.
    pub(crate) guest: Option<(bool, Option<u64>)>,
    /// It has every device's file, or that is on its way to it.
    pub(crate) holds: bool,
    /// What devices reach is what its guest sees.
    pub(crate) sees: bool,
}

impl Observation {
    /// What a view shows.
    pub fn of(view: &View, constants: &Constants) -> Self {
        let base = &constants.base;
        let open = base.processes.values().flat_map(|process| process.descriptors.values());
        let is_device = |file: &DescriptorView| file.kind == FileKind::Device;
        let devices: BTreeSet<_> =
            open.filter(|file| is_device(file)).map(|file| file.file).collect();
        let of_side = |side: Side| {
            let Some(process) = view.processes.get(&side.pid()) else {
                return SideObservation::default();
            };
            let has = |file: &FileRef| {
                let is_coming = side == Side::New && view.in_flight.contains(file);
                is_coming || process.descriptors.values().any(|own| own.file == *file)
            };
            let guest = process.guest.as_ref();
            SideObservation {
                alive: process.alive,
                guest: guest.map(|guest| (guest.running, guest.progress)),
                holds: devices.iter().all(has),
                sees: guest.is_none_or(|guest| sees(&guest.ram, view)),
            }
        };
        let owns = |side: &Side| {
            let is_own = |owner, alive| owner == Some(side.pid()) && alive == Some(true);
            view.page_sets.iter().all(|set| is_own(set.owner, set.owner_alive))
        };
        let owner = Side::BOTH.into_iter().find(owns).filter(|_| !view.page_sets.is_empty());
        let as_before = base.devices.iter().all(|(name, before)| {
            let is_so =
                |now| is_as_before(now, before) && has_all_interrupts(name, now, before, view);
            view.devices.get(name).is_some_and(is_so)
        });
        Self { sides: Side::BOTH.map(of_side), owner, devices_unchanged: as_before }
    }
}

/// Whether whatever devices reach is among these pages.
fn sees(ram: &[PageRun], view: &View) -> bool {
    let is_in = |run: &PageRun, reached: &PageRun| {
        let (here, there) = (run.first, reached.first);
        (here.inode, here.generation) == (there.inode, there.generation)
            && here.index <= there.index
            && there.index + reached.pages <= here.index + run.pages
    };
    let mut reached = view.devices.values().flat_map(|device| device.reach.iter().flatten());
    reached.all(|reach| ram.iter().any(|run| is_in(run, &reach.memory)))
}

fn is_as_before(now: &DeviceView, before: &DeviceView) -> bool {
    let as_it_was = |device: &DeviceView| {
        (device.bound, device.attached, device.bus_master, device.disruptions, device.reach.clone())
    };
    let triggers = |device: &DeviceView| -> Vec<_> {
        device.interrupts.iter().map(|interrupt| interrupt.trigger).collect()
    };
    // What the guest arms later triggers something, too.
    as_it_was(now) == as_it_was(before) && triggers(now).starts_with(&triggers(before))
}

/// Whether each interrupt was taken, or waits once. What KVM has for a guest that stands is copied
/// with its state: two processes may have the same, and what died with one of them is in the
/// other's copy, or on its way. So there it is counted once a guest runs.
fn has_all_interrupts(name: &str, now: &DeviceView, before: &DeviceView, view: &View) -> bool {
    let guests = || view.processes.values().filter_map(|process| process.guest.as_ref());
    let injected = |vector: usize| {
        let is_of = |of: &&InjectedView| of.device == name && usize::from(of.vector) == vector;
        let of_guest =
            |guest: &GuestView| guest.injected.iter().filter(is_of).map(|of| of.count).sum();
        guests().map(of_guest).max().unwrap_or(0)
    };
    let runs = guests().any(|guest| guest.running);
    now.interrupts.iter().zip(&before.interrupts).enumerate().all(
        |(vector, (interrupt, before))| {
            let seen = interrupt.delivered + interrupt.pending;
            let is_elsewhere = before.irqfd.is_some() && !runs;
            interrupt.raised >= seen
                && (interrupt.raised <= seen + injected(vector) || is_elsewhere)
        },
    )
}
