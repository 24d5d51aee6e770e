//! Descriptors: each of them kept once, none leaked, none inherited.

use super::Judgement::{Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{DescriptorView, FileKind, FileRef, View};

/// How many descriptors of a process are open on a file.
pub(super) fn holds(view: &View, pid: Pid, file: FileRef) -> usize {
    let table = view.processes.get(&pid).map(|process| process.descriptors.values());
    table.into_iter().flatten().filter(|descriptor| descriptor.file == file).count()
}

pub(super) fn descriptors_kept(case: &PropertyInput<'_>) -> Judgement {
    let Status { quiescent, handed_over, .. } = case.status;
    let Some(keeper) = case.status.guest_owner else { return nobody_holds(case) };
    for file in case.preserved {
        let count = holds(case.view, keeper, *file);
        let kind = kind_of(case.base, *file);
        must!(count == 1, "process {keeper} holds {count} descriptors of {kind}");
        if quiescent {
            let others = case.view.processes.keys().filter(|pid| **pid != keeper);
            let strangers: Vec<_> =
                others.filter(|pid| holds(case.view, **pid, *file) > 0).collect();
            must!(strangers.is_empty(), "process {} still holds {kind}", strangers[0]);
        }
    }
    if !quiescent {
        return Holds;
    }
    must!(!case.status.left_over, "a process that has not the guest lives on");
    must!(case.view.in_flight.is_empty(), "descriptors are left in a socket");
    let more = |descriptor: &&DescriptorView| {
        let others = match descriptor.kind {
            FileKind::Other | FileKind::Vm => true,
            // Programs that were opened for a handoff that did not happen.
            FileKind::Image => !handed_over,
            _ => false,
        };
        !others && !case.preserved.contains(&descriptor.file)
    };
    let machines = virtual_machines(case.view, keeper);
    let expected = usize::from(has_virtual_machine(case.base));
    must!(
        machines == expected,
        "process {keeper} holds {machines} virtual machines, and had {expected}"
    );
    let table = case.view.processes.get(&keeper).map(|process| process.descriptors.values());
    let extra = table.into_iter().flatten().find(more);
    must!(
        extra.is_none(),
        "process {keeper} is left with a {} that belongs to nothing",
        extra.copied().map(kind).unwrap_or_default()
    );
    Holds
}

fn virtual_machines(view: &View, pid: Pid) -> usize {
    let table = view.processes.get(&pid).map(|process| process.descriptors.values());
    table.into_iter().flatten().filter(|descriptor| descriptor.kind == FileKind::Vm).count()
}

/// The guest runs in KVM.
pub(super) fn has_virtual_machine(base: &View) -> bool {
    base.processes.keys().any(|pid| virtual_machines(base, *pid) > 0)
}

/// A guest whose process is gone leaves nothing behind.
fn nobody_holds(case: &PropertyInput<'_>) -> Judgement {
    if !case.status.quiescent {
        return Vacuous;
    }
    for file in case.preserved {
        let holder = case.view.processes.keys().find(|pid| holds(case.view, **pid, *file) > 0);
        let kind = kind_of(case.base, *file);
        must!(
            holder.is_none(),
            "the guest is lost, and process {} holds {kind}",
            holder.map_or(0, |pid| pid.0)
        );
    }
    must!(case.view.in_flight.is_empty(), "descriptors are left in a socket");
    Holds
}

fn kind_of(view: &View, file: FileRef) -> String {
    let descriptors = view.processes.values().flat_map(|process| process.descriptors.values());
    let found = descriptors.into_iter().find(|descriptor| descriptor.file == file);
    found.map_or_else(|| "a file".to_owned(), |found| format!("file {} ({})", file.0, kind(*found)))
}

fn kind(descriptor: DescriptorView) -> String {
    format!("{:?}", descriptor.kind).to_lowercase()
}

pub(super) fn window_closed(case: &PropertyInput<'_>) -> Judgement {
    if case.status.window_open {
        return Vacuous;
    }
    for (pid, process) in &case.view.processes {
        let open = process
            .descriptors
            .iter()
            .find(|(_, d)| !d.cloexec && case.preserved.contains(&d.file));
        must!(
            open.is_none(),
            "descriptor {} of process {pid} would be inherited",
            open.map(|(fd, _)| fd.0).unwrap_or_default()
        );
    }
    Holds
}
