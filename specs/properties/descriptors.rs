//! Descriptors: none is lost, none is left behind, none is inherited by a stranger.

use super::Judgement::{Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{DescriptorView, FileKind, FileRef, View};

/// Returns how many descriptors of a process refer to an open file.
pub(super) fn holds(view: &View, pid: Pid, file: FileRef) -> usize {
    let table = view.processes.get(&pid).map(|process| process.descriptors.values());
    table.into_iter().flatten().filter(|descriptor| descriptor.file == file).count()
}

pub(super) fn descriptors_kept(input: &PropertyInput<'_>) -> Judgement {
    let Status { quiescent, handed_over, .. } = input.status;
    let Some(guest_owner) = input.status.guest_owner else { return released_with_guest(input) };
    let name = || input.names.process(guest_owner);
    for file in input.preserved {
        let count = holds(input.view, guest_owner, *file);
        must!(count == 1, "{} holds {count} descriptors of {}", name(), named(input, *file));
        if quiescent {
            let others = input.view.processes.keys().filter(|pid| **pid != guest_owner);
            let strangers: Vec<_> =
                others.filter(|pid| holds(input.view, **pid, *file) > 0).collect();
            must!(
                strangers.is_empty(),
                "{} still holds {}",
                input.names.process(*strangers[0]),
                named(input, *file)
            );
        }
    }
    if !quiescent {
        return Holds;
    }
    must!(!input.status.left_over, "a process that does not have the guest still exists");
    must!(input.view.in_flight.is_empty(), "descriptors are left in a socket");
    let more = |descriptor: &&DescriptorView| {
        let others = match descriptor.kind {
            FileKind::Other | FileKind::Vm => true,
            // Program images that were opened for an update that failed.
            FileKind::Image => !handed_over,
            _ => false,
        };
        !others && !input.preserved.contains(&descriptor.file)
    };
    let machines = virtual_machines(input.view, guest_owner);
    let expected = usize::from(has_virtual_machine(input.base));
    must!(machines == expected, "{} holds {machines} KVM VMs, and had {expected}", name());
    let table = input.view.processes.get(&guest_owner).map(|process| process.descriptors.values());
    let extra = table.into_iter().flatten().find(more);
    must!(
        extra.is_none(),
        "{} is left with an open {} that the guest does not use",
        name(),
        extra.copied().map(kind).unwrap_or_default()
    );
    Holds
}

fn virtual_machines(view: &View, pid: Pid) -> usize {
    let table = view.processes.get(&pid).map(|process| process.descriptors.values());
    table.into_iter().flatten().filter(|descriptor| descriptor.kind == FileKind::Vm).count()
}

/// Returns true if the guest runs in KVM.
pub(super) fn has_virtual_machine(base: &View) -> bool {
    base.processes.keys().any(|pid| virtual_machines(base, *pid) > 0)
}

/// Fails if a process still holds a descriptor of a guest whose process has exited.
fn released_with_guest(input: &PropertyInput<'_>) -> Judgement {
    if !input.status.quiescent {
        return Vacuous;
    }
    for file in input.preserved {
        let holder = input.view.processes.keys().find(|pid| holds(input.view, **pid, *file) > 0);
        must!(
            holder.is_none(),
            "the guest is lost, and {} still holds {}",
            holder.map_or_else(String::new, |pid| input.names.process(*pid)),
            named(input, *file)
        );
    }
    must!(input.view.in_flight.is_empty(), "descriptors are left in a socket");
    Holds
}

/// Returns the name of an open file, with its kind where that tells more.
fn named(input: &PropertyInput<'_>, file: FileRef) -> String {
    let name = input.names.file(file);
    let processes = input.base.processes.values();
    let mut descriptors = processes.flat_map(|process| process.descriptors.values());
    let found = descriptors.find(|descriptor| descriptor.file == file).copied().map(kind);
    match found.filter(|kind| !name.contains(kind.as_str())) {
        Some(kind) => format!("{name} ({kind})"),
        None => name,
    }
}

fn kind(descriptor: DescriptorView) -> String {
    format!("{:?}", descriptor.kind).to_lowercase()
}

pub(super) fn cloexec_outside_window(input: &PropertyInput<'_>) -> Judgement {
    if input.status.window_open {
        return Vacuous;
    }
    for (pid, process) in &input.view.processes {
        let mut descriptors = process.descriptors.iter();
        let open = descriptors.find(|(_, d)| !d.cloexec && input.preserved.contains(&d.file));
        must!(
            open.is_none(),
            "{} lets {} be inherited",
            input.names.process(*pid),
            open.map_or_else(String::new, |(_, d)| named(input, d.file))
        );
    }
    Holds
}
