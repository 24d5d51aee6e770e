//! Tests of a stream that is well-formed but false: an inventory that the kernel does not confirm
//! is detected before any state is changed, and the guest continues in the old process.

use handoff_model::abi::call::UNLIMITED;
use handoff_model::abi::ids::{Iova, ObjectId, PAGE_BYTES, Pid};
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::role::Role;
use handoff_model::role::incoming::{Incoming, IncomingTransport};
use handoff_model::role::outgoing::{Outgoing, OutgoingOutcome, OutgoingTransport};
use handoff_model::vm::launch::launch;
use handoff_model::vm::{Device, Mapping, Vm};
use handoff_sim_kernel::{DeviceKind, DeviceSpec, Machine, ProcessSpec};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::library::built_in;

const OLD: Pid = Pid(1);
const NEW: Pid = Pid(2);

/// Makes one call of a role if it can step; collects its errors.
fn step(machine: &mut Machine, pid: Pid, role: &mut impl Role, told: &mut Vec<String>) -> bool {
    let Some(call) =
        role.next_call().filter(|call| machine.alive(pid) && !machine.would_block(pid, call))
    else {
        return false;
    };
    let answer = machine.call(pid, &call);
    if machine.alive(pid) {
        told.extend(role.complete(answer).map(|error| error.to_string()));
    }
    true
}

fn machine(scenario: &Scenario) -> Machine {
    let mut machine = Machine::new(scenario.kernel);
    for device in &scenario.plan.devices {
        let kind = DeviceKind::Pci { can_reset: false };
        machine.plug(DeviceSpec::new(&device.name, &device.path, kind));
    }
    for process in [scenario.old, scenario.new] {
        let (uid, cap_ipc_lock, memlock_bytes) =
            (process.uid, process.cap_ipc_lock, process.memlock_bytes);
        machine.spawn(ProcessSpec { uid, cap_ipc_lock, memlock_bytes });
    }
    machine
}

/// Hands over an inventory that `lie` has changed after the launch. Returns the outcome and the
/// errors.
fn hand_over(lie: impl FnOnce(&mut Vm)) -> (Option<OutgoingOutcome>, String) {
    let mut scenario = built_in("transfer").expect("a built-in scenario");
    for process in [&mut scenario.old, &mut scenario.new] {
        process.memlock_bytes = UNLIMITED;
    }
    let mut machine = machine(&scenario);
    let (mut vm, descriptors) = launch(&scenario.plan, &mut machine.handle(OLD)).expect("a launch");
    let (socket, peer) = machine.socketpair(OLD, NEW);
    let way = OutgoingTransport::Transfer { socket, pidfd: machine.pidfd(OLD, NEW) };
    machine.boot_guest(OLD);
    machine.settle();
    let before = machine.view();
    lie(&mut vm);
    let protocol = Protocol::safe(Mode::Transfer);
    let mut old = Outgoing::new(&protocol, &vm, &descriptors, way);
    let mut new = Incoming::new(&protocol, IncomingTransport::Transfer { socket: peer });
    let mut told = Vec::new();
    while step(&mut machine, OLD, &mut old, &mut told)
        || step(&mut machine, NEW, &mut new, &mut told)
    {}
    let after = machine.view();
    if old.end() == Some(OutgoingOutcome::RolledBack) {
        assert!(machine.guest_runs(OLD));
        assert_eq!((after.mappings, after.page_sets), (before.mappings, before.page_sets));
        assert_eq!((after.devices, after.books), (before.devices, before.books));
    }
    (old.end(), told.join("; "))
}

/// Checks that the handoff is rolled back, and that its errors contain all `words`.
#[track_caller]
fn check(lie: impl FnOnce(&mut Vm), words: &[&str]) {
    let (outcome, told) = hand_over(lie);
    assert_eq!(outcome, Some(OutgoingOutcome::RolledBack), "{told}");
    for word in words {
        assert!(told.contains(word), "{told:?} does not contain {word:?}");
    }
}

#[test]
fn a_true_inventory_is_handed_over() {
    assert_eq!(hand_over(|_| {}), (Some(OutgoingOutcome::HandedOver), String::new()));
}

#[test]
fn every_id_and_length_is_compared_with_the_kernel() {
    const NONE: ObjectId = ObjectId(99);
    fn mapping(vm: &mut Vm) -> &mut Mapping {
        &mut vm.contexts[0].spaces[0].mappings[0]
    }
    fn nic(vm: &mut Vm) -> &mut Device {
        &mut vm.devices[0]
    }
    check(|vm| mapping(vm).iova = Iova(0x40_0000), &["0x400000", "a mapping", "no such mapping"]);
    check(|vm| mapping(vm).iova = Iova(0xfee0_0000), &["0xfee00000", "no such mapping"]);
    check(
        |vm| {
            vm.ram[0].length_bytes += PAGE_BYTES;
            mapping(vm).length_bytes += PAGE_BYTES;
        },
        &["no such mapping"],
    );
    check(
        |vm| {
            vm.contexts[0].spaces[0].ioas = NONE;
            vm.devices.iter_mut().for_each(|device| device.ioas = NONE);
        },
        &["IOAS", "99", "no such object"],
    );
    check(|vm| nic(vm).hwpt = Some(NONE), &["HWPT", "99", "no such object"]);
    check(|vm| nic(vm).id = NONE, &["device", "99", "no device bound"]);
    check(|vm| nic(vm).info.1 += 1, &["device info"]);
    check(|vm| nic(vm).inode += 1, &["device node"]);
    check(|vm| vm.ram[1].inode += 1, &["inode of a RAM file"]);
    check(|vm| vm.ram[1].length_bytes += PAGE_BYTES, &["length of a RAM file"]);
}
