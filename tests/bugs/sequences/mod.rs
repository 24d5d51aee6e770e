//! Tests sequences of updates: A to B to C, with failing attempts in between. After every update
//! the resources are the same as after the start, so that none leaks and the next update starts
//! from the same state as the first.

mod fleet;

use fleet::{Features, Fleet, NO_FEATURES, at_rest};
use handoff_checker::search::{Exploration, Limits, StateIndex, explore};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::role::outgoing::OutgoingOutcome;
use handoff_model::variants;
use handoff_model::vm::launch::{DevicePlan, HwptPlan, plug, unplug};
use handoff_sim_kernel::{self as sim, DeviceSpec};
use handoff_specs::check::packed::{Packed, PackedSystem};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::library::built_in;
use handoff_specs::state::system::System;
use std::collections::BTreeSet;

#[test]
fn transfers_follow_each_other() {
    let early = variants::find("safe-early", Mode::Transfer).expect("a variant");
    for name in ["transfer", "separate-spaces", "two-iommufds", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        for by in [Protocol::safe(Mode::Transfer), Protocol::of(early)] {
            for _ in 0..2 {
                fleet.by.clone_from(&by);
                assert_eq!(fleet.transfer(None), OutgoingOutcome::HandedOver, "{name}");
                assert_eq!(fleet.settled(), before, "{name}");
            }
        }
        assert_eq!(fleet.home, Pid(5));
    }
}

#[test]
fn execs_follow_each_other() {
    for name in ["exec", "kvm-exec"] {
        let mut fleet = Fleet::start(name);
        fleet.exec();
        // From here on the running program was itself executed by a program.
        let before = fleet.settled();
        for _ in 0..3 {
            fleet.exec();
            assert_eq!(fleet.settled(), before, "{name}");
        }
    }
}

/// Kills the new process before each of its calls, one attempt after the other. Until it has the
/// guest, each attempt leaves the state unchanged, and a successful update follows.
#[test]
fn failed_attempts_leak_no_resources() {
    for name in ["transfer", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        let mut failed = 0;
        loop {
            let mut attempt = fleet.clone();
            // If it is killed when it has the guest, the guest is lost.
            if attempt.transfer(Some(failed)) == OutgoingOutcome::HandedOver {
                break;
            }
            assert_eq!(attempt.settled(), before, "{name}, after {failed} calls");
            (fleet, failed) = (attempt, failed + 1);
        }
        assert!(failed > 10, "{name}: {failed}");
        assert_eq!(fleet.transfer(None), OutgoingOutcome::HandedOver);
        assert_eq!(fleet.settled(), before, "{name}, after {failed} attempts");
    }
}

#[test]
fn transfer_and_exec_mix() {
    let mut fleet = Fleet::start("kvm-transfer");
    let before = fleet.settled();
    for _ in 0..3 {
        assert_eq!(fleet.transfer(None), OutgoingOutcome::HandedOver);
        assert_eq!(fleet.settled(), before);
        fleet.exec();
        assert_eq!(fleet.settled(), before);
    }
}

/// The result of an update that ended in a state: the VM, and the process that has it. `None` if
/// the guest is lost or the state is not quiescent.
fn left(
    system: &System,
    packed: &PackedSystem<'_>,
    found: &Exploration<Packed>,
    at: StateIndex,
    scenario: &Scenario,
) -> Option<Fleet> {
    let world = packed.unpack(found.state(at));
    let home = world.guest_owner().filter(|_| world.is_quiescent())?;
    let mut before = std::iter::successors(Some(at), |at| found.parent(*at).map(|(at, _)| at));
    let is_moved = world.is_handed_over() || world.runs_again();
    let (vm, descriptors) = if is_moved {
        before.find_map(|at| packed.unpack(found.state(at)).adopted()).expect("it has read it")
    } else {
        system.constants().launched.clone()
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

/// Number of distinct machines with which an update can end with the guest alive.
const ENDS: &[(&str, usize)] =
    &[("kvm-transfer", 31), ("two-iommufds", 22), ("exec", 56), ("kvm-exec", 40)];

/// After every possible end of an update with the guest alive, despite failures, kills or cancels,
/// a further update succeeds, by transfer and by exec, and then the state is the same as after the
/// start.
#[test]
fn a_successful_update_follows_every_end_with_a_live_guest() {
    let mut counted = Vec::new();
    for (name, _) in ENDS {
        let scenario = built_in(name).expect("built in");
        let system = System::new(&scenario).expect("it can be set up");
        let packed = PackedSystem::new(&system);
        let found = explore(&packed, &packed, Limits::default());
        let (vm, descriptors) = system.constants().launched.clone();
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
            assert_eq!(
                by_transfer.transfer(None),
                OutgoingOutcome::HandedOver,
                "{name}: state {at}"
            );
            assert_eq!(at_rest(&by_transfer), before, "{name}: state {at}");
            by_exec.exec();
            assert_eq!(at_rest(&by_exec), before, "{name}: state {at}");
        }
        counted.push((*name, seen.len()));
    }
    assert_eq!(counted, ENDS);
}

/// Hands over to a build that knows fewer features: it refuses an incompatible feature and ignores
/// a compatible one. In both cases no resource is leaked.
#[test]
fn a_build_with_fewer_features_takes_over_or_leaves_the_state_unchanged() {
    for name in ["transfer", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        for _ in 0..3 {
            let must_know = Features { incompatible: 1, ..NO_FEATURES };
            assert_eq!(fleet.transfer_with(must_know, None), OutgoingOutcome::RolledBack, "{name}");
            assert_eq!(fleet.settled(), before, "{name}");
        }
        let may_ignore = Features { compatible: 1, ..NO_FEATURES };
        for features in [may_ignore, NO_FEATURES] {
            assert_eq!(fleet.transfer_with(features, None), OutgoingOutcome::HandedOver, "{name}");
            assert_eq!(fleet.settled(), before, "{name}");
        }
    }
}

/// A device is plugged between two updates, handed over with the others, and unplugged after
/// another update. Then the state is as if it had never existed.
#[test]
fn devices_are_plugged_and_unplugged_between_updates() {
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
            fleet.change(|vm, descriptors, handle| plug(&late, vm, descriptors, handle));
            fleet.machine.settle();
            let with = at_rest(&fleet);
            assert_ne!(with, before, "{name}");
            assert_eq!(fleet.transfer(None), OutgoingOutcome::HandedOver, "{name}");
            assert_eq!(at_rest(&fleet), with, "{name}");
            fleet.exec();
            assert_eq!(at_rest(&fleet), with, "{name}");
            let hwpt = fleet.vm.devices.last().and_then(|device| device.hwpt).expect("its own");
            fleet.change(|vm, descriptors, handle| unplug(vm, descriptors, handle));
            assert_eq!(fleet.probe(hwpt), Err(Errno::ENOENT), "{name}: its HWPT is destroyed");
            fleet.machine.settle();
            assert_eq!(at_rest(&fleet), before, "{name}");
            assert_eq!(fleet.transfer(None), OutgoingOutcome::HandedOver, "{name}");
            assert_eq!(at_rest(&fleet), before, "{name}");
        }
    }
}
