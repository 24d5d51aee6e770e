//! Updates one after the other: A to B to C, with attempts in between that fail. Whatever came before, everything is as it was after the
//! start, so that nothing grows and the next one begins as the first did.

use handoff_checker::search::{Exploration, Limits, StateIndex, explore};
use handoff_model::abi::call::{Answer, Call, FileCall, IommufdCall, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::abi::view::{DeviceView, FileKind, MappingView, PageSetView, View};
use handoff_model::protocol::phase::OutPhase;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::role::Role;
use handoff_model::role::incoming::{Arrival, Incoming, Origin};
use handoff_model::role::outgoing::{Outcome, Outgoing, Way};
use handoff_model::stream::envelope;
use handoff_model::variants;
use handoff_model::vm::launch::{DevicePlan, HwptPlan, LaunchError, launch, plug, unplug};
use handoff_model::vm::{Descriptors, DeviceKind, Key, Kind, Vm};
use handoff_sim_kernel::{self as sim, DeviceSpec, Machine, ProcessSpec};
use handoff_specs::check::packed::{Packed, PackedSystem};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::library::built_in;
use handoff_specs::state::system::System;
use std::collections::{BTreeMap, BTreeSet};

/// A VM, and the process that has it now.
#[derive(Clone)]
struct Fleet {
    machine: Machine,
    scenario: Scenario,
    home: Pid,
    vm: Vm,
    descriptors: Descriptors,
    /// Programs so far, each of which has its number.
    programs: u8,
    /// What it is transferred by.
    by: Protocol,
}

/// What a newer build's stream has, as its envelope says.
#[derive(Clone, Copy)]
struct Features {
    /// A reader must know these.
    incompatible: u32,
    /// A reader may ignore these.
    compatible: u32,
}

const NO_FEATURES: Features = Features { incompatible: 0, compatible: 0 };

/// A process's door.
struct Door<'a>(&'a mut Machine, Pid);

impl Kernel for Door<'_> {
    fn call(&mut self, call: &Call) -> Answer {
        self.0.call(self.1, call)
    }
}

/// What must be the same after each update, whoever has the VM.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
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
    fn start(name: &str) -> Self {
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

    fn settled(&self) -> Settled {
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
            assert!(open.cloexec, "nothing can be inherited");
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

    /// What a VMM changes while its guest runs.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Vm, &mut Descriptors, &mut Door<'_>) -> Result<(), LaunchError>,
    ) {
        let mut door = Door(&mut self.machine, self.home);
        change(&mut self.vm, &mut self.descriptors, &mut door).expect("it can be changed");
    }

    /// Whether the first iommufd has an HWPT: EINVAL or EOPNOTSUPP where it has.
    fn probe(&mut self, hwpt: ObjectId) -> Answer {
        let key = Key::new(Kind::Iommufd, &self.vm.contexts[0].name, 0);
        let iommufd = self.descriptors.get(&key).expect("listed");
        self.machine.call(self.home, &Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt }))
    }

    /// An update to a new process, which is killed when it has made so many calls.
    fn transfer(&mut self, kill_after: Option<usize>) -> Outcome {
        self.transfer_with(NO_FEATURES, kill_after)
    }

    /// The same, from a build whose stream has these features.
    fn transfer_with(&mut self, features: Features, kill_after: Option<usize>) -> Outcome {
        let protocol = self.by.clone();
        let new = spawn(&mut self.machine, &self.scenario);
        let (socket, peer) = self.machine.socketpair(self.home, new);
        let pidfd = self.machine.pidfd(self.home, new);
        let way = Way::Transfer { socket, pidfd };
        let mut outgoing = Outgoing::new(&protocol, &self.vm, &self.descriptors, way);
        let mut incoming = Incoming::new(&protocol, Origin::Transfer { socket: peer });
        let mut calls_of_new = 0;
        loop {
            if kill_after == Some(calls_of_new) {
                self.machine.kill(new);
            }
            if outgoing.phase() == OutPhase::Hand {
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
        if incoming.end() == Some(Arrival::TookOver) {
            assert_eq!(outcome, Outcome::HandedOver);
            (self.vm, self.descriptors) = incoming.inventory().expect("it has the VM");
            self.home = new;
        }
        outcome
    }

    /// Puts features into the stream that was cut.
    fn write_features(&mut self, Features { incompatible, compatible }: Features) {
        let stream = self.descriptors.get(&Key::new(Kind::Stream, "", 0)).expect("listed");
        let read =
            Call::File(FileCall::ReadAt { fd: stream, offset_bytes: 0, length_bytes: 1 << 20 });
        let Ok(Reply::Bytes(mut frame)) = self.machine.call(self.home, &read) else { panic!() };
        frame[12..16].copy_from_slice(&incompatible.to_le_bytes());
        frame[16..20].copy_from_slice(&compatible.to_le_bytes());
        envelope::attest(&mut frame);
        let write = Call::File(FileCall::WriteAt { fd: stream, offset_bytes: 0, bytes: frame });
        self.machine.call(self.home, &write).expect("a memfd takes it");
    }

    /// An update to a new program.
    fn exec(&mut self) {
        let protocol = Protocol::safe(Mode::Exec);
        let old_image = self.machine.image(self.home, self.programs);
        self.programs += 1;
        let new_image = self.machine.image(self.home, self.programs);
        let way = Way::Exec { new_image, old_image };
        let mut outgoing = Outgoing::new(&protocol, &self.vm, &self.descriptors, way);
        while self.machine.running_image(self.home) != Some(self.programs) {
            assert!(step(&mut self.machine, self.home, &mut outgoing), "it comes to the execve");
        }
        let stream: Option<Fd> = self.descriptors.get(&Key::new(Kind::Stream, "", 0));
        let origin = Origin::Exec { stream: stream.expect("listed"), old_image };
        let mut incoming = Incoming::new(&protocol, origin);
        while step(&mut self.machine, self.home, &mut incoming) {}
        assert_eq!(incoming.end(), Some(Arrival::TookOver));
        (self.vm, self.descriptors) = incoming.inventory().expect("it has the VM");
    }
}

fn spawn(machine: &mut Machine, scenario: &Scenario) -> Pid {
    let handoff_specs::scenario::Process { uid, cap_ipc_lock, memlock_bytes } = scenario.old;
    machine.spawn(ProcessSpec { uid, cap_ipc_lock, memlock_bytes })
}

/// Makes a role's next call, where it has one and can.
fn step(machine: &mut Machine, pid: Pid, role: &mut impl Role) -> bool {
    let is_alive = machine.view().processes[&pid].alive;
    let Some(call) = role.next().filter(|_| is_alive) else { return false };
    if machine.would_block(pid, &call) {
        return false;
    }
    let answer = machine.call(pid, &call);
    if !matches!(
        (&call, &answer),
        (Call::Process(ProcessCall::Exit { .. } | ProcessCall::Exec { .. }), Ok(_))
    ) {
        role.took(answer);
    }
    true
}

#[test]
fn transfers_follow_each_other() {
    let early = variants::find("safe-early", Mode::Transfer).expect("a variant");
    for name in ["transfer", "separate-spaces", "two-iommufds", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        for by in [Protocol::safe(Mode::Transfer), Protocol::of(early)] {
            for _ in 0..2 {
                fleet.by.clone_from(&by);
                assert_eq!(fleet.transfer(None), Outcome::HandedOver, "{name}");
                assert_eq!(fleet.settled(), before, "{name}");
            }
        }
        assert_eq!(fleet.home, Pid(5));
    }
}

#[test]
fn programs_follow_each_other() {
    for name in ["exec", "kvm-exec"] {
        let mut fleet = Fleet::start(name);
        fleet.exec();
        // From here on a program runs that was executed itself.
        let before = fleet.settled();
        for _ in 0..3 {
            fleet.exec();
            assert_eq!(fleet.settled(), before, "{name}");
        }
    }
}

/// The new process is killed before each of its calls, one attempt after the other: until it has the guest everything is as before, and
/// a good update follows.
#[test]
fn attempts_that_fail_leave_nothing_behind() {
    for name in ["transfer", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        let mut failed = 0;
        loop {
            let mut attempt = fleet.clone();
            // Killed with the guest, the new process takes it along.
            if attempt.transfer(Some(failed)) == Outcome::HandedOver {
                break;
            }
            assert_eq!(attempt.settled(), before, "{name}, after {failed} calls");
            (fleet, failed) = (attempt, failed + 1);
        }
        assert!(failed > 10, "{name}: {failed}");
        assert_eq!(fleet.transfer(None), Outcome::HandedOver);
        assert_eq!(fleet.settled(), before, "{name}, after {failed} attempts");
    }
}

#[test]
fn transfer_and_exec_mix() {
    let mut fleet = Fleet::start("kvm-transfer");
    let before = fleet.settled();
    for _ in 0..3 {
        assert_eq!(fleet.transfer(None), Outcome::HandedOver);
        assert_eq!(fleet.settled(), before);
        fleet.exec();
        assert_eq!(fleet.settled(), before);
    }
}

/// What a world's update has left: the VM, and the process that has it. `None` where it is lost, or something is under way.
fn left(
    system: &System,
    packed: &PackedSystem<'_>,
    found: &Exploration<Packed>,
    at: StateIndex,
    scenario: &Scenario,
) -> Option<Fleet> {
    let world = packed.world(found.state(at));
    let home = world.keeper().filter(|_| world.is_quiescent())?;
    let mut before = std::iter::successors(Some(at), |at| found.parent(*at).map(|(at, _)| at));
    let is_moved = world.is_handed_over() || world.runs_again();
    let (vm, descriptors) = if is_moved {
        before.find_map(|at| packed.world(found.state(at)).adopted()).expect("it has read it")
    } else {
        system.setting().launched.clone()
    };
    let (mut machine, scenario) = (world.machine().clone(), scenario.clone());
    machine.settle();
    Some(Fleet {
        machine,
        scenario,
        home,
        vm,
        descriptors,
        programs: 9,
        by: Protocol::safe(Mode::Transfer),
    })
}

/// Without what only a handoff needs, and without interrupts that nobody has taken yet.
fn at_rest(fleet: &Fleet) -> Settled {
    let mut settled = fleet.settled();
    let of_handoff = [FileKind::Socket, FileKind::Pidfd, FileKind::Image];
    settled.descriptors.retain(|kind, _| !of_handoff.contains(kind));
    for vector in settled.devices.values_mut().flat_map(|device| &mut device.interrupts) {
        (vector.raised, vector.delivered, vector.pending) = (0, 0, 0);
    }
    Settled { others: 0, ..settled }
}

/// In how many ways an update can end with the guest alive: by the machines that differ.
const ENDS: &[(&str, usize)] =
    &[("kvm-transfer", 31), ("two-iommufds", 22), ("exec", 56), ("kvm-exec", 40)];

/// Every way in which an update can end with the guest alive, by whatever failure, kill or cancel, is followed by a good one, by transfer
/// and by exec; and after that everything is as after the start.
#[test]
fn whatever_came_of_an_update_a_good_one_follows() {
    let mut counted = Vec::new();
    for (name, _) in ENDS {
        let scenario = built_in(name).expect("built in");
        let system = System::new(&scenario).expect("it can be set up");
        let packed = PackedSystem::new(&system);
        let found = explore(&packed, &packed, Limits::default());
        let (vm, descriptors) = system.setting().launched.clone();
        let (machine, scenario) = (system.init().machine().clone(), scenario.clone());
        let start = Fleet {
            machine,
            scenario,
            home: Pid(1),
            vm,
            descriptors,
            programs: 9,
            by: Protocol::safe(Mode::Transfer),
        };
        let before = at_rest(&start);
        let mut seen = BTreeSet::new();
        for at in 0..found.states() {
            let Some(fleet) = left(&system, &packed, &found, at, &start.scenario) else { continue };
            if !seen.insert(format!("{:?}", (fleet.home, &fleet.machine))) {
                continue;
            }
            assert_eq!(at_rest(&fleet), before, "{name}: state {at}");
            let [mut by_transfer, mut by_exec] = [fleet.clone(), fleet];
            assert_eq!(by_transfer.transfer(None), Outcome::HandedOver, "{name}: state {at}");
            assert_eq!(at_rest(&by_transfer), before, "{name}: state {at}");
            by_exec.exec();
            assert_eq!(at_rest(&by_exec), before, "{name}: state {at}");
        }
        counted.push((*name, seen.len()));
    }
    assert_eq!(counted, ENDS);
}

/// Back to a build that knows fewer features: what it must know it refuses, what it may ignore it ignores. Either way nothing is left behind.
#[test]
fn a_build_that_knows_fewer_features_takes_over_or_leaves_everything_as_it_was() {
    for name in ["transfer", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        for _ in 0..3 {
            let must_know = Features { incompatible: 1, ..NO_FEATURES };
            assert_eq!(fleet.transfer_with(must_know, None), Outcome::RolledBack, "{name}");
            assert_eq!(fleet.settled(), before, "{name}");
        }
        let may_ignore = Features { compatible: 1, ..NO_FEATURES };
        for features in [may_ignore, NO_FEATURES] {
            assert_eq!(fleet.transfer_with(features, None), Outcome::HandedOver, "{name}");
            assert_eq!(fleet.settled(), before, "{name}");
        }
    }
}

/// A device is plugged between two updates, handed over with the others, and unplugged after another one: as if it had never been there.
#[test]
fn devices_come_and_go_between_updates() {
    for name in ["transfer", "kvm-transfer", "separate-spaces", "kvm-exec"] {
        let mut fleet = Fleet::start(name);
        let late = DevicePlan {
            name: "late".to_owned(),
            path: "/dev/vfio/devices/vfio9".to_owned(),
            group: ("/dev/vfio/9".to_owned(), "late".to_owned()),
            space: 0,
            ..fleet.scenario.plan.devices[0].clone()
        };
        let late = DevicePlan { hwpt: HwptPlan::Own, ..late };
        let pci = sim::DeviceKind::Pci { can_reset: false };
        fleet.machine.plug(DeviceSpec::new(&late.name, &late.path, pci));
        let before = at_rest(&fleet);
        for _ in 0..2 {
            fleet.change(|vm, descriptors, door| plug(&late, vm, descriptors, door));
            fleet.machine.settle();
            let with = at_rest(&fleet);
            assert_ne!(with, before, "{name}");
            assert_eq!(fleet.transfer(None), Outcome::HandedOver, "{name}");
            assert_eq!(at_rest(&fleet), with, "{name}");
            fleet.exec();
            assert_eq!(at_rest(&fleet), with, "{name}");
            let hwpt = fleet.vm.devices.last().and_then(|device| device.hwpt).expect("its own");
            fleet.change(|vm, descriptors, door| unplug(vm, descriptors, door));
            assert_eq!(fleet.probe(hwpt), Err(Errno::ENOENT), "{name}: its HWPT is destroyed");
            fleet.machine.settle();
            assert_eq!(at_rest(&fleet), before, "{name}");
            assert_eq!(fleet.transfer(None), Outcome::HandedOver, "{name}");
            assert_eq!(at_rest(&fleet), before, "{name}");
        }
    }
}
