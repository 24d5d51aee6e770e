//! The variables of the abstract spec, read from a machine and computed once for each.

use crate::state::action::Side;
use crate::state::constants::Constants;
use handoff_model::abi::view::{
    DescriptorView, DeviceView, FileKind, FileRef, GuestView, InjectedView, PageRun, View,
};
use std::collections::BTreeSet;

/// The part of a machine that the abstract spec observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    pub(crate) sides: [SideObservation; 2],
    /// The living process that owns every page set.
    pub(crate) owner: Option<Side>,
    /// True if every device is unchanged and reaches the same memory.
    pub(crate) devices_unchanged: bool,
}

/// The part of a process that the abstract spec observes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideObservation {
    pub(crate) alive: bool,
    /// Its guest: whether it runs, and its progress.
    pub(crate) guest: Option<(bool, Option<u64>)>,
    /// True if every device's file is open in it or in flight to it.
    pub(crate) holds: bool,
    /// True if its guest's RAM includes all memory that devices reach.
    pub(crate) sees: bool,
}

impl Observation {
    /// Extracts the observation from a view.
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
            let is_unchanged =
                |now| is_as_before(now, before) && has_all_interrupts(name, now, before, view);
            view.devices.get(name).is_some_and(is_unchanged)
        });
        Self { sides: Side::BOTH.map(of_side), owner, devices_unchanged: as_before }
    }
}

/// Returns true if these pages include all memory that devices reach.
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
    // An interrupt that the guest arms later has a trigger, too.
    as_it_was(now) == as_it_was(before) && triggers(now).starts_with(&triggers(before))
}

/// Returns true if each interrupt was delivered, or is pending once. KVM's pending interrupts of a
/// stopped guest are copied with its state: two processes may have the same one, and one that was
/// lost with a process is in the other's copy, or in the stream. So these are counted only when a
/// guest runs.
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
