//! The guest and its devices: it runs once, from where it was, and its devices and interrupts go
//! on.

use super::Judgement::{Fails, Holds, Vacuous};
use super::descriptors::{has_virtual_machine, holds};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::ProcessView;

pub(super) fn devices_untouched(case: &PropertyInput<'_>) -> Judgement {
    if case.status.guest_owner.is_none() {
        return Vacuous;
    }
    for (name, before) in &case.base.devices {
        let Some(now) = case.view.devices.get(name) else {
            return Fails(format!("{name} is gone"));
        };
        must!(now.disruptions == 0, "{name} was reset, disabled, detached or closed");
        must!(now.bound, "{name} is not bound any more");
        must!(now.attached == before.attached, "{name} is not attached as it was");
        must!(now.bus_master == before.bus_master, "{name} may no longer do DMA");
    }
    Holds
}

pub(super) fn one_guest(case: &PropertyInput<'_>) -> Judgement {
    let running =
        |process: &&ProcessView| process.guest.as_ref().is_some_and(|guest| guest.running);
    let count = case.view.processes.values().filter(running).count();
    must!(count <= 1, "{count} processes run the guest");
    if count == 1 { Holds } else { Vacuous }
}

pub(super) fn runs_in_the_end(case: &PropertyInput<'_>) -> Judgement {
    let Status {
        guest_owner: keeper, guest_owner_was_killed: keeper_was_killed, quiescent, ..
    } = case.status;
    let Some(keeper) = keeper else {
        must!(keeper_was_killed, "the process that had the guest has ended by itself");
        return Vacuous;
    };
    if !quiescent {
        return Vacuous;
    }
    let guest = case.view.processes.get(&keeper).and_then(|process| process.guest.as_ref());
    must!(guest.is_some_and(|guest| guest.running), "no guest runs in process {keeper}");
    Holds
}

pub(super) fn no_progress_lost(case: &PropertyInput<'_>) -> Judgement {
    let Some(most) = case.status.progress else { return Vacuous };
    let guests = case.view.processes.iter().filter_map(|(pid, p)| Some((pid, p.guest.as_ref()?)));
    let mut seen = Vacuous;
    for (pid, guest) in guests.filter(|(_, guest)| guest.running) {
        let Some(progress) = guest.progress else { continue };
        must!(
            progress == most,
            "the guest in process {pid} runs from step {progress}, it had come to {most}"
        );
        if most > 0 {
            seen = Holds;
        }
    }
    seen
}

/// What a virtual machine has of interrupts that its guest has not taken is copied with its state:
/// while no guest runs it may stand in two virtual machines, or in none.
pub(super) fn no_interrupt_lost(case: &PropertyInput<'_>) -> Judgement {
    let Some(keeper) = case.status.guest_owner else { return Vacuous };
    let mut seen = Vacuous;
    let mut processes = case.view.processes.values();
    let runs = |process: &ProcessView| process.guest.as_ref().is_some_and(|guest| guest.running);
    let taken_by_kvm = has_virtual_machine(case.base)
        && case.status.quiescent
        && case.view.processes.get(&keeper).is_some_and(runs);
    let may_be_saved = has_virtual_machine(case.base)
        && !case.status.quiescent
        && !processes.any(|process| process.guest.as_ref().is_some_and(|guest| guest.running));
    for (name, device) in &case.view.devices {
        let before = case.base.devices.get(name).map_or(&[][..], |device| &device.interrupts[..]);
        for (vector, (now, before)) in device.interrupts.iter().zip(before).enumerate() {
            must!(
                now.trigger == before.trigger,
                "vector {vector} of {name} no longer triggers its eventfd"
            );
            let injected = injected(case, keeper, name, vector);
            let found = now.delivered + now.pending + injected;
            must!(
                may_be_saved || now.raised == found,
                "vector {vector} of {name} was raised {} times; {} were taken, {} wait",
                now.raised,
                now.delivered,
                now.pending + injected
            );
            must!(
                now.pending == 0 || !taken_by_kvm,
                "vector {vector} of {name} waits in its eventfd, from which KVM does not take it"
            );
            let held = now.trigger.is_none_or(|file| holds(case.view, keeper, file) == 1);
            must!(held, "process {keeper} does not hold the eventfd of vector {vector} of {name}");
            if now.raised > 0 {
                seen = Holds;
            }
        }
    }
    seen
}

pub(super) fn irqfds_before_running(case: &PropertyInput<'_>) -> Judgement {
    let Status { was_stopped: true, guest_owner: Some(keeper), .. } = case.status else {
        return Vacuous;
    };
    let guest = case.view.processes.get(&keeper).and_then(|process| process.guest.as_ref());
    if !guest.is_some_and(|guest| guest.running) {
        return Vacuous;
    }
    for (name, before) in &case.base.devices {
        let now = case.view.devices.get(name).map_or(&[][..], |device| &device.interrupts[..]);
        for (vector, _) in before.interrupts.iter().enumerate().filter(|(_, v)| v.irqfd.is_some()) {
            let has = now.get(vector).and_then(|vector| vector.irqfd) == Some(keeper);
            must!(has, "the guest runs, and KVM does not take vector {vector} of {name} for it");
        }
    }
    Holds
}

/// What KVM has of a vector for the guest of a process.
fn injected(case: &PropertyInput<'_>, pid: Pid, device: &str, vector: usize) -> u64 {
    let guest = case.view.processes.get(&pid).and_then(|process| process.guest.as_ref());
    let all = guest.into_iter().flat_map(|guest| &guest.injected);
    let of = all.filter(|of| of.device == device && usize::from(of.vector) == vector);
    of.map(|of| of.count).sum()
}

/// Whether this is a good end: nothing is under way, and the guest runs, unless its process was
/// killed from outside.
pub(super) fn has_ended_well(case: &PropertyInput<'_>) -> bool {
    case.status.quiescent && !matches!(runs_in_the_end(case), Fails(_))
}
