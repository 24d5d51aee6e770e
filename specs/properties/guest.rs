//! The guest: it runs in one process, keeps its progress, its devices and its interrupts.

use super::Judgement::{Fails, Holds, Vacuous};
use super::descriptors::{has_virtual_machine, holds};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::ProcessView;

fn runs_guest(process: &ProcessView) -> bool {
    process.guest.as_ref().is_some_and(|guest| guest.running)
}

pub(super) fn devices_untouched(input: &PropertyInput<'_>) -> Judgement {
    if input.status.guest_owner.is_none() {
        return Vacuous;
    }
    for (name, before) in &input.base.devices {
        let Some(now) = input.view.devices.get(name) else {
            return Fails(format!("{name} no longer exists"));
        };
        must!(now.disruptions == 0, "{name} was reset, disabled, detached or closed");
        must!(now.bound, "{name} is no longer bound to an iommufd or a container");
        must!(now.attached == before.attached, "{name} is attached to another address space");
        must!(now.bus_master == before.bus_master, "bus mastering of {name} was disabled");
    }
    Holds
}

pub(super) fn one_guest(input: &PropertyInput<'_>) -> Judgement {
    let count = input.view.processes.values().filter(|process| runs_guest(process)).count();
    must!(count <= 1, "{count} processes run the guest");
    if count == 1 { Holds } else { Vacuous }
}

pub(super) fn guest_survives(input: &PropertyInput<'_>) -> Judgement {
    let Some(guest_owner) = input.status.guest_owner else {
        let killed = input.status.guest_owner_was_killed;
        must!(killed, "the process that had the guest exited, and the guest with it");
        return Vacuous;
    };
    if !input.status.quiescent {
        return Vacuous;
    }
    let runs = input.view.processes.get(&guest_owner).is_some_and(runs_guest);
    must!(runs, "the guest does not run in {}", input.names.process(guest_owner));
    Holds
}

pub(super) fn no_progress_lost(input: &PropertyInput<'_>) -> Judgement {
    let Some(most) = input.status.progress else { return Vacuous };
    let guests = input.view.processes.iter().filter_map(|(pid, p)| Some((pid, p.guest.as_ref()?)));
    let mut judgement = Vacuous;
    for (pid, guest) in guests.filter(|(_, guest)| guest.running) {
        let Some(progress) = guest.progress else { continue };
        must!(
            progress == most,
            "the guest runs in {} from step {progress}, and had reached step {most}",
            input.names.process(*pid)
        );
        if most > 0 {
            judgement = Holds;
        }
    }
    judgement
}

/// Interrupts that KVM holds for the guest are saved with its state: while no guest runs they may
/// exist in two virtual machines, or in none.
pub(super) fn no_interrupt_lost(input: &PropertyInput<'_>) -> Judgement {
    let Some(guest_owner) = input.status.guest_owner else { return Vacuous };
    let mut judgement = Vacuous;
    let taken_by_kvm = has_virtual_machine(input.base)
        && input.status.quiescent
        && input.view.processes.get(&guest_owner).is_some_and(runs_guest);
    let may_be_saved = has_virtual_machine(input.base)
        && !input.status.quiescent
        && !input.view.processes.values().any(runs_guest);
    for (name, device) in &input.view.devices {
        let before = input.base.devices.get(name).map_or(&[][..], |device| &device.interrupts[..]);
        for (vector, (now, before)) in device.interrupts.iter().zip(before).enumerate() {
            must!(
                now.trigger == before.trigger,
                "vector {vector} of {name} no longer triggers its eventfd"
            );
            let injected = injected(input, guest_owner, name, vector);
            let found = now.delivered + now.pending + injected;
            must!(
                may_be_saved || now.raised == found,
                "vector {vector} of {name} was raised {} times; {} were delivered, {} are pending",
                now.raised,
                now.delivered,
                now.pending + injected
            );
            must!(
                now.pending == 0 || !taken_by_kvm,
                "vector {vector} of {name} is pending in its eventfd, which has no irqfd"
            );
            let held = now.trigger.is_none_or(|file| holds(input.view, guest_owner, file) == 1);
            must!(
                held,
                "{} does not hold the eventfd of vector {vector} of {name}",
                input.names.process(guest_owner)
            );
            if now.raised > 0 {
                judgement = Holds;
            }
        }
    }
    judgement
}

pub(super) fn irqfds_before_running(input: &PropertyInput<'_>) -> Judgement {
    let Status { was_stopped: true, guest_owner: Some(guest_owner), .. } = input.status else {
        return Vacuous;
    };
    if !input.view.processes.get(&guest_owner).is_some_and(runs_guest) {
        return Vacuous;
    }
    for (name, before) in &input.base.devices {
        let now = input.view.devices.get(name).map_or(&[][..], |device| &device.interrupts[..]);
        for (vector, _) in before.interrupts.iter().enumerate().filter(|(_, v)| v.irqfd.is_some()) {
            let has = now.get(vector).and_then(|vector| vector.irqfd) == Some(guest_owner);
            must!(has, "the guest runs, but vector {vector} of {name} has no irqfd");
        }
    }
    Holds
}

/// Returns how many interrupts of a vector KVM holds for the guest of a process.
fn injected(input: &PropertyInput<'_>, pid: Pid, device: &str, vector: usize) -> u64 {
    let guest = input.view.processes.get(&pid).and_then(|process| process.guest.as_ref());
    let all = guest.into_iter().flat_map(|guest| &guest.injected);
    let of = all.filter(|of| of.device == device && usize::from(of.vector) == vector);
    of.map(|of| of.count).sum()
}

/// Returns true if the handoff is over and the guest runs, or its process was killed from outside.
pub(super) fn has_ended_well(input: &PropertyInput<'_>) -> bool {
    input.status.quiescent && !matches!(guest_survives(input), Fails(_))
}
