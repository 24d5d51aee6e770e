//! A scenario, set up on its simulated kernel: both processes, the launched VM, its running guest, and
//! what is the same in every state from there on.

use crate::action::{NEW, OLD};
use crate::parts::Part;
use crate::property::Due;
use crate::scenario::{Process, Scenario};
use crate::world::{NEW_IMAGE, OLD_IMAGE, World};
use crate::wrong::Wrong;
use handoff_model::call::{Answer, Call, Made};
use handoff_model::ids::Fd;
use handoff_model::incoming::{Incoming, Origin};
use handoff_model::kernel::Kernel;
use handoff_model::launch::{self, DevicePlan, HwptPlan, LaunchError, Plan, launch};
use handoff_model::outgoing::{Outgoing, Way};
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::view::{DescriptorView, FileKind, FileRef, InterruptView, View};
use handoff_model::vm::{Descriptors, DeviceKind, Interrupts, Key, Kind, Vm};
use handoff_sim_kernel::{self as sim, DeviceSpec, Machine, ProcessSpec};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What is the same in every state of a check.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The protocol of both roles.
    pub protocol: Protocol,
    /// The devices' names.
    pub devices: Vec<String>,
    /// The view before anything happened.
    pub base: View,
    /// The open files that must be handed over, each exactly once.
    pub preserved: BTreeSet<FileRef>,
    /// What the protocol must make of it.
    pub due: Due,
    /// What is told that is not so.
    pub wrong: Option<&'static Wrong>,
    /// The calls by which it came to be.
    pub opening: Vec<Made>,
    /// What stories call the open files.
    pub names: BTreeMap<FileRef, String>,
    /// The virtual machine as it was launched, and its descriptors.
    pub launched: (Vm, Descriptors),
    /// What the guest may have armed while it runs: interrupts of the last device.
    later: Option<Vec<Interrupts>>,
    /// Calls may fail.
    pub(crate) fail_calls: bool,
    /// KVM takes interrupts from the eventfds, and no guest reads any.
    pub(crate) kvm: bool,
    /// Where the new program finds the stream, by exec.
    pub(crate) stream: Option<Fd>,
    /// The program to go back to, by exec.
    pub(crate) old_image: Fd,
}

impl Setting {
    /// Whether the guest may have an interrupt armed.
    pub(crate) fn may_arm(&self) -> bool {
        self.later.is_some()
    }

    /// Whether the interrupt of a device is armed later, if at all.
    pub(crate) fn is_later(&self, device: u8) -> bool {
        self.later.is_some() && usize::from(device) + 1 == self.devices.len()
    }

    /// The calls by which the old VMM arms the interrupt of the last device; none where there is nothing to arm.
    pub(crate) fn arm(&self, machine: &mut Machine) -> Vec<Made> {
        let Some(interrupts) = &self.later else { return Vec::new() };
        let (mut next, (mut vm, mut descriptors)) = (machine.clone(), self.launched.clone());
        let mut door = Noted { machine: &mut next, made: Vec::new() };
        // What a variant has broken before may make it fail; then nothing is armed.
        if launch::arm(interrupts, &mut vm, &mut descriptors, &mut door).is_err() {
            return Vec::new();
        }
        let made = door.made;
        *machine = next;
        made
    }

    /// The inventory with that interrupt in it, by its eventfd.
    pub(crate) fn with_armed(&self, eventfd: Fd) -> Option<(Vm, Descriptors)> {
        let interrupts = self.later.as_ref()?;
        let (mut vm, mut descriptors) = self.launched.clone();
        let device = vm.devices.last_mut()?;
        device.interrupts.clone_from(interrupts);
        device.interrupt_keys().for_each(|(_, key)| descriptors.insert(key, eventfd));
        if let Some(wrong) = self.wrong {
            wrong.tell_inventory(&mut vm, &mut descriptors);
        }
        Some((vm, descriptors))
    }

    /// What it should look like, and which files must be handed over, where the guest has armed an interrupt, whose eventfd this is.
    pub(crate) fn due_with(
        &self,
        armed: Option<FileRef>,
    ) -> (Cow<'_, View>, Cow<'_, BTreeSet<FileRef>>) {
        let (mut base, mut preserved) = (Cow::Borrowed(&self.base), Cow::Borrowed(&self.preserved));
        if let (Some(file), Some(name)) = (armed, self.devices.last()) {
            preserved.to_mut().insert(file);
            let irqfd = self.kvm.then_some(OLD);
            let vector =
                InterruptView { trigger: armed, raised: 0, delivered: 0, pending: 0, irqfd };
            let base = base.to_mut();
            if let Some(device) = base.devices.get_mut(name) {
                device.interrupts = vec![vector];
            }
            let open = DescriptorView { file, kind: FileKind::Eventfd, cloexec: true };
            if let Some(old) = base.processes.get_mut(&OLD) {
                old.descriptors.insert(Fd(i32::MAX), open);
            }
        }
        (base, preserved)
    }
}

/// Sets a scenario up: both processes, the launched VM, its running guest.
pub fn set_up(scenario: &Scenario) -> Result<(Setting, World), LaunchError> {
    let mut machine = Machine::new(scenario.kernel);
    for device in &scenario.plan.devices {
        machine.plug(spec(device));
    }
    let spawn = |machine: &mut Machine, process: Process| {
        machine.spawn(ProcessSpec {
            uid: process.uid,
            cap_ipc_lock: process.cap_ipc_lock,
            memlock_bytes: process.memlock_bytes,
        })
    };
    spawn(&mut machine, scenario.old);
    let plan: &Plan = &scenario.plan;
    let mut door = Noted { machine: &mut machine, made: Vec::new() };
    let (mut vm, mut descriptors) = launch(plan, &mut door)?;
    if let Some(wrong) = scenario.wrong {
        wrong.leave(&mut door, &descriptors);
    }
    let mut opening = door.made;
    let preserved = vm.keys().iter().filter_map(|key| descriptors.get(key)).collect::<Vec<_>>();
    let protocol = scenario.protocol();
    let (way, new_socket) = match scenario.mode {
        Mode::Transfer => {
            spawn(&mut machine, scenario.new);
            let (socket, peer) = machine.socketpair(OLD, NEW);
            (Way::Transfer { socket, pidfd: machine.pidfd(OLD, NEW) }, Some(peer))
        }
        Mode::Exec => {
            let new_image = machine.image(OLD, NEW_IMAGE);
            (Way::Exec { new_image, old_image: machine.image(OLD, OLD_IMAGE) }, None)
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
    let setting = Setting {
        devices: plan.devices.iter().map(|device| device.name.clone()).collect(),
        preserved: preserved.iter().filter_map(|fd| table.get(fd)).map(|d| d.file).collect(),
        due: scenario.due(),
        wrong: scenario.wrong,
        opening,
        names: names(&base, &descriptors),
        launched: (vm.clone(), descriptors.clone()),
        later: plan.devices.last().map(|last| last.later.clone()).filter(|it| !it.is_empty()),
        fail_calls: scenario.may.fail_calls > 0,
        kvm: plan.kvm,
        stream: descriptors.get(&Key::new(Kind::Stream, "", 0)),
        old_image: match way {
            Way::Exec { old_image, .. } => old_image,
            Way::Transfer { .. } => Fd(-1),
        },
        base,
        protocol,
    };
    let incoming = match new_socket {
        Some(socket) => Part::Acting(Incoming::new(&setting.protocol, Origin::Transfer { socket })),
        None => Part::Absent,
    };
    if let Some(wrong) = scenario.wrong {
        wrong.tell_inventory(&mut vm, &mut descriptors);
    }
    let outgoing = Outgoing::new(&setting.protocol, &vm, &descriptors, way);
    let world = World::new(scenario, machine, outgoing, incoming);
    Ok((setting, world))
}

/// What stories call the open files.
fn names(base: &View, descriptors: &Descriptors) -> BTreeMap<FileRef, String> {
    let table = &base.processes[&OLD].descriptors;
    let mut names: BTreeMap<FileRef, String> =
        descriptors.iter().filter_map(|(k, fd)| Some((table.get(&fd)?.file, word(k)))).collect();
    let others = [(FileKind::Socket, "the socket"), (FileKind::Pidfd, "the new process")];
    for open in base.processes.values().flat_map(|process| process.descriptors.values()) {
        let other = others.iter().find(|(kind, _)| *kind == open.kind);
        names.extend(other.map(|(_, name)| (open.file, (*name).to_owned())));
    }
    names
}

/// The old process's door, with everything that goes through it written down.
struct Noted<'a> {
    machine: &'a mut Machine,
    made: Vec<Made>,
}

impl Kernel for Noted<'_> {
    fn call(&mut self, call: &Call) -> Answer {
        let answer = self.machine.call(OLD, call);
        self.made.push(Made { pid: OLD, call: call.clone(), answer: answer.clone() });
        answer
    }
}

/// What the guest's driver does first: bus mastering, in the PCI command register.
fn enable_dma(machine: &mut Machine, device: Fd) -> Made {
    let bytes = sim::BUS_MASTER.to_le_bytes().to_vec();
    let call = Call::WriteAt { fd: device, offset_bytes: sim::COMMAND_OFFSET, bytes };
    let answer = machine.call(OLD, &call);
    assert!(answer.is_ok(), "a bound device has a command register");
    Made { pid: OLD, call, answer }
}

/// What a story calls a descriptor.
fn word(key: &Key) -> String {
    match key.kind {
        Kind::Stream => "the stream".to_owned(),
        Kind::Guest => "the saved guest".to_owned(),
        Kind::Kvm => "the virtual machine".to_owned(),
        Kind::Interrupt => format!("the eventfd {}.{} of a device", key.name, key.index),
        Kind::Group => format!("the group of {}", key.name),
        Kind::Iommufd | Kind::Container | Kind::Ram | Kind::Device => key.name.clone(),
    }
}

/// QEMU's `edu`, or a mediated device, with as many MSI vectors as are armed, behind an IOMMU that nests if its HWPT needs that.
fn spec(device: &DevicePlan) -> DeviceSpec {
    let kind = match device.kind {
        DeviceKind::Pci => sim::DeviceKind::Pci { can_reset: false },
        // The KVM that a mediated device may need is there in the old process, but not simulated.
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
