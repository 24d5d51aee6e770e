//! The initial state of a scenario: both processes, the launched VM, its running guest.

use crate::properties::Names;
use crate::scenario::{Credentials, Scenario};
use crate::state::State;
use crate::state::action::{NEW, NEW_IMAGE, OLD, OLD_IMAGE};
use crate::state::constants::{Constants, Phases, RecordingHandle};
use crate::state::parts::Participation;
use handoff_model::abi::call::{CompletedCall, FileCall};
use handoff_model::abi::ids::Fd;
use handoff_model::abi::view::{FileKind, FileRef, View};
use handoff_model::protocol::Mode;
use handoff_model::role::incoming::{Incoming, IncomingTransport};
use handoff_model::role::outgoing::{Outgoing, OutgoingTransport};
use handoff_model::vm::launch::{DevicePlan, HwptPlan, LaunchError, Plan, launch};
use handoff_model::vm::{Descriptors, DeviceKind, Key, Kind, Vm};
use handoff_sim_kernel::{self as sim, DeviceSpec, Machine, ProcessSpec};
use std::collections::BTreeMap;
/// Sets a scenario up on its simulated kernel.
pub fn set_up(scenario: &Scenario) -> Result<(Constants, State), LaunchError> {
    let mut machine = Machine::new(scenario.kernel);
    for device in &scenario.plan.devices {
        machine.plug(spec(device));
    }
    let spawn = |machine: &mut Machine, process: Credentials| {
        machine.spawn(ProcessSpec {
            uid: process.uid,
            cap_ipc_lock: process.cap_ipc_lock,
            memlock_bytes: process.memlock_bytes,
        })
    };
    spawn(&mut machine, scenario.old);
    let plan: &Plan = &scenario.plan;
    let mut handle = RecordingHandle { machine: &mut machine, made: Vec::new() };
    let (mut vm, mut descriptors) = launch(plan, &mut handle)?;
    if let Some(corruption) = scenario.corruption {
        corruption.leave(&mut handle, &descriptors);
    }
    let mut opening = handle.made;
    let preserved = vm.keys().iter().filter_map(|key| descriptors.get(key)).collect::<Vec<_>>();
    let protocol = scenario.protocol();
    let (transport, new_socket) = match scenario.mode {
        Mode::Transfer => {
            spawn(&mut machine, scenario.new);
            let (socket, peer) = machine.socketpair(OLD, NEW);
            (OutgoingTransport::Transfer { socket, pidfd: machine.pidfd(OLD, NEW) }, Some(peer))
        }
        Mode::Exec => {
            let new_image = machine.image(OLD, NEW_IMAGE);
            (OutgoingTransport::Exec { new_image, old_image: machine.image(OLD, OLD_IMAGE) }, None)
        }
    };
    machine.boot_guest(OLD);
    let devices = vm.devices.iter().filter(|device| device.kind == DeviceKind::Pci);
    for device in devices.filter_map(|d| descriptors.get(&Key::new(Kind::Device, &d.name, 0))) {
        opening.push(enable_dma(&mut machine, device));
    }
    machine.settle();
    let base = machine.view();
    let table = &base.processes[&OLD].descriptors;
    let constants = Constants {
        devices: plan.devices.iter().map(|device| device.name.clone()).collect(),
        preserved: preserved.iter().filter_map(|fd| table.get(fd)).map(|d| d.file).collect(),
        expected: scenario.expected(),
        corruption: scenario.corruption,
        opening,
        names: names(scenario.mode, &base, &vm, &descriptors),
        launched: (vm.clone(), descriptors.clone()),
        later: plan.devices.last().map(|last| last.later.clone()).filter(|it| !it.is_empty()),
        fail_calls: scenario.fault_budget.fail_calls > 0,
        kvm: plan.kvm,
        stream: descriptors.get(&Key::new(Kind::Stream, "", 0)),
        old_image: old_image(transport),
        base,
        phases: Phases::new(&protocol),
        protocol,
    };
    let by_socket =
        |socket| Incoming::new(&constants.protocol, IncomingTransport::Transfer { socket });
    let incoming =
        new_socket.map_or(Participation::Absent, |it| Participation::Acting(by_socket(it)));
    if let Some(corruption) = scenario.corruption {
        corruption.corrupt_inventory(&mut vm, &mut descriptors);
    }
    let outgoing = Outgoing::new(&constants.protocol, &vm, &descriptors, transport);
    let state = State::new(scenario, machine, outgoing, incoming);
    Ok((constants, state))
}

/// Returns the program to fall back to, or a descriptor that is never open.
fn old_image(transport: OutgoingTransport) -> Fd {
    match transport {
        OutgoingTransport::Exec { old_image, .. } => old_image,
        OutgoingTransport::Transfer { .. } => Fd(-1),
    }
}

/// Returns the names of processes, open files and RAM blocks.
fn names(mode: Mode, base: &View, vm: &Vm, descriptors: &Descriptors) -> Names {
    let processes: &[_] = match mode {
        Mode::Transfer => &[(OLD, "the old VMM"), (NEW, "the new VMM")],
        Mode::Exec => &[(OLD, "the VMM")],
    };
    Names {
        processes: processes.iter().copied().collect(),
        files: names_of_files(base, descriptors),
        blocks: (vm.ram.iter().filter(|block| block.inode != 0))
            .map(|block| (block.inode, block.name.clone()))
            .collect(),
    }
}

fn names_of_files(base: &View, descriptors: &Descriptors) -> BTreeMap<FileRef, String> {
    let table = &base.processes[&OLD].descriptors;
    let mut names: BTreeMap<FileRef, String> = descriptors
        .iter()
        .filter_map(|(k, fd)| Some((table.get(&fd)?.file, descriptor_name(k))))
        .collect();
    let others = [(FileKind::Socket, "the socket"), (FileKind::Pidfd, "the pidfd of the new VMM")];
    for open in base.processes.values().flat_map(|process| process.descriptors.values()) {
        let other = others.iter().find(|(kind, _)| *kind == open.kind);
        names.extend(other.map(|(_, name)| (open.file, (*name).to_owned())));
    }
    names
}

/// Enables bus mastering in the PCI command register, as the guest's driver does first.
fn enable_dma(machine: &mut Machine, device: Fd) -> CompletedCall {
    let bytes = sim::BUS_MASTER.to_le_bytes().to_vec();
    let call = FileCall::write_at(device, sim::COMMAND_OFFSET, bytes);
    let answer = machine.call(OLD, &call);
    assert!(answer.is_ok(), "a bound device has a command register");
    CompletedCall { pid: OLD, call, answer }
}

/// Returns the name of a descriptor, for counterexamples.
fn descriptor_name(key: &Key) -> String {
    match key.kind {
        Kind::Stream => "the stream".to_owned(),
        Kind::Guest => "the saved guest".to_owned(),
        Kind::Kvm => "the virtual machine".to_owned(),
        Kind::Interrupt => format!("eventfd {} of {}", key.index, key.name),
        Kind::Group => format!("the group of {}", key.name),
        Kind::Iommufd | Kind::Container | Kind::Ram | Kind::Device => key.name.clone(),
    }
}

/// Returns QEMU's `edu` or a mediated device, with as many MSI vectors as are armed, behind an
/// IOMMU that supports nesting if its HWPT needs that.
fn spec(device: &DevicePlan) -> DeviceSpec {
    let kind = match device.kind {
        DeviceKind::Pci => sim::DeviceKind::Pci { can_reset: false },
        // A mediated device may need KVM; the old process has it, but it is not simulated.
        DeviceKind::Mdev { .. } => sim::DeviceKind::Mdev { needs_kvm: false },
    };
    let vectors = device
        .interrupts
        .iter()
        .chain(&device.later)
        .map(|armed| u32::from(armed.vectors))
        .max()
        .unwrap_or(1);
    let irqs = vec![1, vectors, 0, 0, 1];
    let (address, exports_bars) = (device.group.1.clone(), device.bar.is_some());
    let nests = device.hwpt == HwptPlan::NestParent;
    let usual = DeviceSpec::new(&device.name, &device.path, kind);
    DeviceSpec { irqs, address, exports_bars, nests, ..usual }
}
