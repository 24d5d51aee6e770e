//! A VM that moves from process to process, and the state that must be the same after each update.

use handoff_model::abi::call::{Call, CallResult, FileCall, IommufdCall, ProcessCall, Reply};
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::abi::view::{DeviceView, FileKind, MappingView, PageSetView, View};
use handoff_model::protocol::phase::OutPhase;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::role::Role;
use handoff_model::role::incoming::{Incoming, IncomingOutcome, IncomingTransport};
use handoff_model::role::outgoing::{Outgoing, OutgoingOutcome, OutgoingTransport};
use handoff_model::stream::envelope;
use handoff_model::vm::launch::{LaunchError, launch};
use handoff_model::vm::{Descriptors, DeviceKind, Key, Kind, Vm};
use handoff_sim_kernel::{self as sim, DeviceSpec, Machine, ProcessSpec};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::library::built_in;
use std::collections::BTreeMap;

/// A VM, and the process that currently has it.
#[derive(Clone)]
pub(super) struct Fleet {
    pub(super) machine: Machine,
    pub(super) scenario: Scenario,
    pub(super) home: Pid,
    pub(super) vm: Vm,
    pub(super) descriptors: Descriptors,
    /// The number of programs so far, which is the number of the latest.
    pub(super) programs: u8,
    /// The protocol for transfers.
    pub(super) by: Protocol,
}

/// The features of a newer build's stream, as in its envelope.
#[derive(Clone, Copy)]
pub(super) struct Features {
    /// Features that a reader must know.
    pub(super) incompatible: u32,
    /// Features that a reader may ignore.
    pub(super) compatible: u32,
}

pub(super) const NO_FEATURES: Features = Features { incompatible: 0, compatible: 0 };

/// A process of the simulated machine.
pub(super) struct Door<'a>(&'a mut Machine, Pid);

impl Kernel for Door<'_> {
    fn call(&mut self, call: &Call) -> CallResult {
        self.0.call(self.1, call)
    }
}

/// The state that must be the same after each update, independent of the process that has the VM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    descriptors: BTreeMap<FileKind, usize>,
    page_sets: Vec<PageSetView>,
    mappings: Vec<MappingView>,
    charged_pages: Vec<i64>,
    devices: BTreeMap<String, DeviceView>,
    pinned_pages: Option<i64>,
    in_flight: usize,
    others: usize,
}

impl Fleet {
    pub(super) fn start(name: &str) -> Self {
        let scenario = built_in(name).expect("built in");
        let mut machine = Machine::new(scenario.kernel);
        for device in &scenario.plan.devices {
            let kind = match device.kind {
                DeviceKind::Pci => sim::DeviceKind::Pci { can_reset: false },
                DeviceKind::Mdev { .. } => sim::DeviceKind::Mdev { needs_kvm: false },
            };
            machine.plug(DeviceSpec::new(&device.name, &device.path, kind));
        }
        let home = spawn(&mut machine, &scenario);
        let (vm, descriptors) =
            launch(&scenario.plan, &mut Door(&mut machine, home)).expect("it starts");
        machine.boot_guest(home);
        machine.settle();
        Self {
            machine,
            scenario,
            home,
            vm,
            descriptors,
            programs: 1,
            by: Protocol::safe(Mode::Transfer),
        }
    }

    pub(super) fn settled(&self) -> Settled {
        let View { processes, in_flight, page_sets, mappings, books, devices } =
            self.machine.view();
        let owner = |set: PageSetView| {
            let is_own = set.owner == Some(self.home) && set.owner_alive == Some(true);
            PageSetView { owner: is_own.then_some(Pid(0)), ..set }
        };
        let device = |(name, device): (String, DeviceView)| {
            let mut device = device;
            assert!(device.holders.iter().all(|pid| *pid == self.home), "{name} has one holder");
            device.holders = device.holders.iter().map(|_| Pid(0)).collect();
            for vector in &mut device.interrupts {
                vector.irqfd = vector.irqfd.filter(|pid| *pid == self.home).map(|_| Pid(0));
            }
            (name, device)
        };
        let home = &processes[&self.home];
        assert!(home.guest.as_ref().is_some_and(|guest| guest.running), "the guest runs");
        let mut descriptors = BTreeMap::new();
        for open in home.descriptors.values() {
            assert!(open.cloexec, "every descriptor is CLOEXEC");
            *descriptors.entry(open.kind).or_default() += 1;
        }
        Settled {
            descriptors,
            page_sets: page_sets.into_iter().map(owner).collect(),
            mappings,
            charged_pages: books.into_values().collect(),
            devices: devices.into_iter().map(device).collect(),
            pinned_pages: home.vm_pin_pages,
            in_flight: in_flight.len(),
            others: processes.values().filter(|process| process.alive).count() - 1,
        }
    }

    /// Changes the VM while its guest runs.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut Vm, &mut Descriptors, &mut Door<'_>) -> Result<(), LaunchError>,
    ) {
        let mut handle = Door(&mut self.machine, self.home);
        change(&mut self.vm, &mut self.descriptors, &mut handle).expect("it can be changed");
    }

    /// Checks whether the first iommufd has an HWPT: `EINVAL` or `EOPNOTSUPP` if it does.
    pub(super) fn probe(&mut self, hwpt: ObjectId) -> CallResult {
        let key = Key::new(Kind::Iommufd, &self.vm.contexts[0].name, 0);
        let iommufd = self.descriptors.get(&key).expect("listed");
        self.machine.call(self.home, &Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt }))
    }

    /// Updates to a new process, which is killed after `kill_after` calls.
    pub(super) fn transfer(&mut self, kill_after: Option<usize>) -> OutgoingOutcome {
        self.transfer_with(NO_FEATURES, kill_after)
    }

    /// Like [`Fleet::transfer`], from a build whose stream has these features.
    pub(super) fn transfer_with(
        &mut self,
        features: Features,
        kill_after: Option<usize>,
    ) -> OutgoingOutcome {
        let protocol = self.by.clone();
        let new = spawn(&mut self.machine, &self.scenario);
        let (socket, peer) = self.machine.socketpair(self.home, new);
        let pidfd = self.machine.pidfd(self.home, new);
        let way = OutgoingTransport::Transfer { socket, pidfd };
        let mut outgoing = Outgoing::new(&protocol, &self.vm, &self.descriptors, way);
        let mut incoming = Incoming::new(&protocol, IncomingTransport::Transfer { socket: peer });
        let mut calls_of_new = 0;
        loop {
            if kill_after == Some(calls_of_new) {
                self.machine.kill(new);
            }
            if outgoing.phase() == OutPhase::SendFds {
                self.write_features(features);
            }
            let by_old = step(&mut self.machine, self.home, &mut outgoing);
            let by_new = step(&mut self.machine, new, &mut incoming);
            calls_of_new += usize::from(by_new);
            if !by_old && !by_new {
                break;
            }
        }
        let outcome = outgoing.end().expect("it has ended");
        if incoming.end() == Some(IncomingOutcome::TookOver) {
            assert_eq!(outcome, OutgoingOutcome::HandedOver);
            (self.vm, self.descriptors) = incoming.inventory().expect("it has the VM");
            self.home = new;
        }
        outcome
    }

    /// Writes features into the envelope of the snapshot stream.
    fn write_features(&mut self, Features { incompatible, compatible }: Features) {
        let stream = self.descriptors.get(&Key::new(Kind::Stream, "", 0)).expect("listed");
        let read = FileCall::read_at(stream, 0, 1 << 20);
        let Ok(Reply::Bytes(mut frame)) = self.machine.call(self.home, &read) else { panic!() };
        frame[12..16].copy_from_slice(&incompatible.to_le_bytes());
        frame[16..20].copy_from_slice(&compatible.to_le_bytes());
        envelope::attest(&mut frame);
        let write = FileCall::write_at(stream, 0, frame);
        self.machine.call(self.home, &write).expect("a memfd takes it");
    }

    /// Updates to a new program.
    pub(super) fn exec(&mut self) {
        let protocol = Protocol::safe(Mode::Exec);
        let old_image = self.machine.image(self.home, self.programs);
        self.programs += 1;
        let new_image = self.machine.image(self.home, self.programs);
        let way = OutgoingTransport::Exec { new_image, old_image };
        let mut outgoing = Outgoing::new(&protocol, &self.vm, &self.descriptors, way);
        while self.machine.running_image(self.home) != Some(self.programs) {
            assert!(step(&mut self.machine, self.home, &mut outgoing), "it reaches the execve");
        }
        let stream: Option<Fd> = self.descriptors.get(&Key::new(Kind::Stream, "", 0));
        let origin = IncomingTransport::Exec { stream: stream.expect("listed"), old_image };
        let mut incoming = Incoming::new(&protocol, origin);
        while step(&mut self.machine, self.home, &mut incoming) {}
        assert_eq!(incoming.end(), Some(IncomingOutcome::TookOver));
        (self.vm, self.descriptors) = incoming.inventory().expect("it has the VM");
    }
}

/// The settled state without objects that exist only for a handoff, and without undelivered
/// interrupts.
pub(super) fn at_rest(fleet: &Fleet) -> Settled {
    let mut settled = fleet.settled();
    let of_handoff = [FileKind::Socket, FileKind::Pidfd, FileKind::Image];
    settled.descriptors.retain(|kind, _| !of_handoff.contains(kind));
    for vector in settled.devices.values_mut().flat_map(|device| &mut device.interrupts) {
        (vector.raised, vector.delivered, vector.pending) = (0, 0, 0);
    }
    Settled { others: 0, ..settled }
}

fn spawn(machine: &mut Machine, scenario: &Scenario) -> Pid {
    let handoff_specs::scenario::Credentials { uid, cap_ipc_lock, memlock_bytes } = scenario.old;
    machine.spawn(ProcessSpec { uid, cap_ipc_lock, memlock_bytes })
}

/// Makes a role's next call if it has one and does not block.
fn step(machine: &mut Machine, pid: Pid, role: &mut impl Role) -> bool {
    let is_alive = machine.view().processes[&pid].alive;
    let Some(call) = role.next_call().filter(|_| is_alive) else { return false };
    if machine.would_block(pid, &call) {
        return false;
    }
    let answer = machine.call(pid, &call);
    if !matches!(
        (&call, &answer),
        (Call::Process(ProcessCall::Exit { .. } | ProcessCall::Exec { .. }), Ok(_))
    ) {
        role.complete(answer);
    }
    true
}
