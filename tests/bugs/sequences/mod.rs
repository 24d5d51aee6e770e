//! Updates one after the other: A to B to C, with attempts in between that fail. Whatever came
//! before, everything is as it was after the start, so that nothing grows and the next one begins
//! as the first did.

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

/// The new process is killed before each of its calls, one attempt after the other: until it has
/// the guest everything is as before, and a good update follows.
#[test]
fn attempts_that_fail_leave_nothing_behind() {
    for name in ["transfer", "kvm-transfer"] {
        let mut fleet = Fleet::start(name);
        let before = fleet.settled();
        let mut failed = 0;
        loop {
            let mut attempt = fleet.clone();
            // Killed with the guest, the new process takes it along.
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

/// What a world's update has left: the VM, and the process that has it. `None` where it is lost, or
/// something is under way.
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

/// In how many ways an update can end with the guest alive: by the machines that differ.
const ENDS: &[(&str, usize)] =
    &[("kvm-transfer", 31), ("two-iommufds", 22), ("exec", 56), ("kvm-exec", 40)];

/// Every way in which an update can end with the guest alive, by whatever failure, kill or cancel,
/// is followed by a good one, by transfer and by exec; and after that everything is as after the
/// start.
#[test]
fn whatever_came_of_an_update_a_good_one_follows() {
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

/// Back to a build that knows fewer features: what it must know it refuses, what it may ignore it
/// ignores. Either way nothing is left behind.
#[test]
fn a_build_that_knows_fewer_features_takes_over_or_leaves_everything_as_it_was() {
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
/// another one: as if it had never been there.
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
