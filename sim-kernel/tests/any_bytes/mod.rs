//! Arbitrary bytes: the machine answers any ioctl on any file.
//!
//! The random part is the caller's memory, not its intent: every known request number and those
//! close to it, on a file of every kind, with a number or any structure as argument, any memory
//! behind its pointers, writable or not. No call panics, the invariants hold, and a failed call
//! changes nothing except where Linux is not atomic.

mod calls;
mod header;

use crate::common::{EDU, MTTY, NEW, NIC, OLD, Rig, process};
use handoff_model::abi::argument::{Argument, Ioctl, IoctlOutcome};
use handoff_model::abi::call::{Call, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use handoff_sim_kernel::{DeviceKind, DeviceSpec, Machine};
use std::collections::BTreeSet;

const SPARE: &str = "/dev/vfio/devices/vfio3";
const IOMMUFD: Fd = Fd(4);
/// First descriptor number above those of a busy process.
const FD_END: i32 = 26;

fn ioctl(fd: Fd, request: u32, argument: Argument) -> Call {
    Call::Ioctl { fd, ioctl: Ioctl { request, argument } }
}

fn structure(bytes: Vec<u8>) -> Argument {
    Argument::of(bytes, Vec::new())
}

fn words(words: &[u32]) -> Argument {
    structure(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}

fn outcome(machine: &mut Machine, call: &Call) -> IoctlOutcome {
    match machine.call(OLD, call) {
        Ok(Reply::Ioctl(outcome)) => outcome,
        other => panic!("no outcome of {call:?}: {other:?}"),
    }
}

fn ok(rig: &mut Rig, fd: Fd, request: u32, argument: Argument) -> IoctlOutcome {
    let outcome = outcome(&mut rig.machine, &ioctl(fd, request, argument));
    assert_eq!(outcome.errno(), None, "{}", nr::name(request).unwrap_or("?"));
    outcome
}

fn made(outcome: &IoctlOutcome) -> Fd {
    Fd(outcome.result.expect("a descriptor").cast_signed())
}

/// Returns a machine with a process that has a file of every kind, with objects behind them.
fn busy(kernel: &str) -> Machine {
    let mut rig = Rig::new(kernel, process(0, true, 64), process(0, false, 64));
    let set_up = rig.set_up(3);
    rig.bind(OLD, NIC, set_up.iommufd);
    rig.open(OLD, EDU);
    rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.machine.image(OLD, 1);
    rig.machine.pidfd(OLD, NEW);
    let (mtty, _) = rig.bind(OLD, MTTY, set_up.iommufd);
    for state in [1, 3] {
        // VFIO_DEVICE_FEATURE_SET of MIG_DEVICE_STATE: stop, stop-copy.
        ok(&mut rig, mtty, nr::VFIO_DEVICE_FEATURE, words(&[16, 1 << 17 | 2, state, 0]));
    }
    let kvm = rig.open(OLD, "/dev/kvm");
    let vm = made(&ok(&mut rig, kvm, nr::KVM_CREATE_VM, Argument::Value(0)));
    ok(&mut rig, vm, nr::KVM_CREATE_IRQCHIP, Argument::Value(0));
    ok(&mut rig, vm, nr::KVM_CREATE_VCPU, Argument::Value(0));
    ok(&mut rig, vm, nr::KVM_CREATE_DEVICE, words(&[4, 0, 0]));
    let test = |op: u32, rest: &[u32]| {
        let mut all = vec![72, op];
        all.extend(rest);
        all.resize(18, 0);
        words(&all)
    };
    let iommufd = set_up.iommufd;
    let mocked = rig.ioas(OLD, iommufd);
    ok(&mut rig, iommufd, nr::IOMMU_TEST_CMD, test(2, &[mocked.0]));
    ok(&mut rig, iommufd, nr::IOMMU_TEST_CMD, test(5, &[mocked.0]));
    ok(&mut rig, iommufd, nr::IOMMU_FAULT_QUEUE_ALLOC, words(&[16, 0, 0, 0]));
    rig.machine.plug(DeviceSpec::new("spare", SPARE, DeviceKind::Pci { can_reset: true }));
    let container = rig.open(OLD, "/dev/vfio/vfio");
    let group = rig.open(OLD, "/dev/vfio/3");
    let known = words(&[container.0.cast_unsigned()]);
    ok(&mut rig, group, nr::VFIO_GROUP_SET_CONTAINER, known);
    ok(&mut rig, container, nr::VFIO_SET_IOMMU, Argument::Value(3));
    rig.mmap(OLD, None, 4);
    rig.machine.audit().expect("invariants");
    rig.machine
}

fn kinds(machine: &Machine) -> BTreeSet<FileKind> {
    let view = machine.view();
    let fds = view.processes.values().flat_map(|process| process.descriptors.values());
    fds.map(|fd| fd.kind).collect()
}

#[test]
fn a_busy_process_has_a_file_of_every_kind() {
    use FileKind::{
        Container, Device, Eventfd, Group, Image, Iommufd, Kvm, KvmVfio, Memfd, MigrationData,
        Other, Pidfd, Socket, Vcpu, Vm,
    };
    let all = [
        Container,
        Group,
        Device,
        Eventfd,
        Image,
        Iommufd,
        Kvm,
        KvmVfio,
        Memfd,
        MigrationData,
        Other,
        Pidfd,
        Socket,
        Vcpu,
        Vm,
    ];
    for kernel in ["7.3", "fixed"] {
        let machine = busy(kernel);
        assert_eq!(kinds(&machine), all.into());
        let last = Call::File(FileCall::Close { fd: Fd(FD_END - 1) });
        assert_eq!(machine.clone().call(OLD, &last), Err(Errno::EBADF), "some are closed");
    }
}
