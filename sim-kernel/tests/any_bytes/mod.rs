//! Any bytes: whatever a process hands to an ioctl, on whatever file, the machine answers.
//!
//! What is random here is the memory of the caller, not its purpose: every request number that there
//! is and those beside it, on a file of every kind, with a number or any structure as argument, any
//! memory behind its pointers, writable or not. Nothing panics, the invariants hold, and what is refused
//! changes nothing but where Linux is not atomic.
//!
//! The second half are the rules of the header that all commands of iommufd share. They are stated
//! without regard to what a command does: whatever its body says,
//! * a header that is not there is EFAULT, one shorter than the oldest form EINVAL, before anything else;
//! * bytes behind what the kernel knows do not matter if they are zero, and are E2BIG if not;
//! * what a shorter form lacks is zero;
//! * the request is the number and the type together, and a command that is not there is ENOTTY.

use crate::common::{EDU, MTTY, NEW, NIC, OLD, Rig, process};
use handoff_model::abi::argument::{Argument, Ioctl, Outcome, Pointee, Structure};
use handoff_model::abi::call::{Call, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use handoff_sim_kernel::{DeviceKind, DeviceSpec, Machine};
use iommufd_bindings as io;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::mem::size_of;

const SPARE: &str = "/dev/vfio/devices/vfio3";
/// More descriptors than a busy process has.
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

fn outcome(machine: &mut Machine, call: &Call) -> Outcome {
    match machine.call(OLD, call) {
        Ok(Reply::Ioctl(outcome)) => outcome,
        other => panic!("no outcome of {call:?}: {other:?}"),
    }
}

fn ok(rig: &mut Rig, fd: Fd, request: u32, argument: Argument) -> Outcome {
    let outcome = outcome(&mut rig.machine, &ioctl(fd, request, argument));
    assert_eq!(outcome.errno(), None, "{}", nr::name(request).unwrap_or("?"));
    outcome
}

fn made(outcome: &Outcome) -> Fd {
    Fd(outcome.result.expect("a descriptor").cast_signed())
}

/// A process that has a file of every kind, and objects behind them.
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

/// A word as callers write them: sizes, flags, ids, descriptors, addresses, nonsense.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => Just(0u32),
        6 => 0u32..28,
        2 => 0u32..80,
        2 => (0u32..8).prop_map(|page| page << 12),
        2 => (0u32..5).prop_map(|page| 0x10000 + (page << 12)),
        2 => (0u32..32).prop_map(|bit| 1 << bit),
        1 => Just(u32::MAX),
        1 => any::<u32>(),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let sized = (prop::collection::vec(word(), 0..24), 0usize..4, 0u32..10).prop_map(
        |(mut words, cut, says)| {
            let length = words.len() * 4;
            if let Some(first) = words.first_mut().filter(|_| says > 1) {
                *first = u32::try_from(length).expect("a small length");
            }
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            if says == 0 {
                bytes.truncate(length.saturating_sub(cut));
            }
            bytes
        },
    );
    prop_oneof![9 => sized, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn pointees() -> impl Strategy<Value = Vec<Pointee>> {
    let pointee = ((0usize..12).prop_map(|at| at * 4), bytes());
    prop::collection::vec(pointee.prop_map(|(at, bytes)| Pointee { at, bytes }), 0..3)
}

fn argument() -> impl Strategy<Value = Argument> {
    let structure = (bytes(), prop::bool::weighted(0.1), pointees());
    prop_oneof![
        1 => (0u64..4).prop_map(Argument::Value),
        1 => any::<u64>().prop_map(Argument::Value),
        8 => structure.prop_map(|(bytes, read_only, pointees)| {
            Argument::Structure(Structure { bytes, read_only, pointees })
        }),
    ]
}

/// Every number that there is, and what is beside it.
fn request() -> impl Strategy<Value = u32> {
    let known = || prop::sample::select(nr::ALL).prop_map(|(number, _)| number);
    prop_oneof![
        12 => known(),
        1 => (known(), 1u32..4).prop_map(|(number, more)| number.wrapping_add(more)),
        1 => (known(), 0u32..32).prop_map(|(number, bit)| number ^ (1 << bit)),
        1 => any::<u32>(),
    ]
}

/// Anything, anywhere.
fn wild_call() -> impl Strategy<Value = Call> {
    ((3..FD_END).prop_map(Fd), request(), argument())
        .prop_map(|(fd, request, argument)| ioctl(fd, request, argument))
}

const IOMMUFD: Fd = Fd(4);
const MEMFD: u32 = 5;
const VFIO: Fd = Fd(6);
const CONTAINER: Fd = Fd(20);
const PAGE: u32 = 4096;
const AREA: u32 = 0x10000;

/// Calls that come to something in a busy machine, as words.
const SENSIBLE: &[(Fd, u32, &[u32])] = &[
    (IOMMUFD, nr::IOMMU_DESTROY, &[8, 7]),
    (IOMMUFD, nr::IOMMU_IOAS_ALLOC, &[12, 0, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_ALLOW_IOVAS, &[24, 1, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_MAP_FILE, &[40, 7, 1, MEMFD, 0, 0, PAGE, 0, 0x20000, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_MAP_FILE, &[40, 6, 1, MEMFD, 0, 0, PAGE, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_COPY, &[40, 7, 1, 1, PAGE, 0, 0x30000, 0, AREA, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_UNMAP, &[24, 1, AREA, 0, 3 * PAGE, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_UNMAP, &[24, 1, 0, 0, u32::MAX, u32::MAX]),
    (IOMMUFD, nr::IOMMU_IOAS_CHANGE_PROCESS, &[8, 0]),
    (IOMMUFD, nr::IOMMU_OPTION, &[24, 0, 1, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_OPTION, &[24, 1, 1, 1, 0, 0]),
    (IOMMUFD, nr::IOMMU_VFIO_IOAS, &[12, 1, 1]),
    (IOMMUFD, nr::IOMMU_HWPT_ALLOC, &[48, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_GET_HW_INFO, &[40, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_FAULT_QUEUE_ALLOC, &[16, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 2, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 1, 1, 0, 0, 5, PAGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 22, 0, 0, PAGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (CONTAINER, nr::VFIO_IOMMU_MAP_DMA, &[32, 3, 0, 0x7f00, 0, 0, PAGE, 0]),
    (CONTAINER, nr::VFIO_IOMMU_UNMAP_DMA, &[24, 2, 0, 0, 0, 0]),
    (CONTAINER, nr::VFIO_IOMMU_GET_INFO, &[24, 0, 0, 0, 0, 0]),
    (VFIO, nr::VFIO_DEVICE_GET_INFO, &[20, 0, 0, 0, 0]),
    (VFIO, nr::VFIO_DEVICE_GET_REGION_INFO, &[32, 0, 1, 0, 0, 0, 0, 0]),
    (VFIO, nr::VFIO_DEVICE_GET_IRQ_INFO, &[16, 0, 1, 0]),
    (VFIO, nr::VFIO_DEVICE_SET_IRQS, &[24, 0x24, 1, 0, 1, 9]),
    (VFIO, nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT, &[12, 0, 1]),
    (VFIO, nr::VFIO_DEVICE_DETACH_IOMMUFD_PT, &[8, 0]),
];

/// A sensible call with some words replaced.
fn altered_call() -> impl Strategy<Value = Call> {
    let places = prop::collection::vec((any::<prop::sample::Index>(), word()), 0..3);
    (prop::sample::select(SENSIBLE), places, pointees()).prop_map(
        |((fd, request, sensible), places, pointees)| {
            let mut words = sensible.to_vec();
            for (place, word) in places {
                *place.get_mut(&mut words) = word;
            }
            let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            ioctl(fd, request, Argument::of(bytes, pointees))
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![1 => wild_call(), 1 => altered_call()]
}

/// Which refused ioctls may have done something: those that go part by part, and those that have done
/// it when they find that they cannot tell (EFAULT).
fn is_atomic(call: &Call, errno: Errno) -> bool {
    const BY_PARTS: &[u32] = &[
        nr::IOMMU_IOAS_UNMAP,
        nr::IOMMU_IOAS_CHANGE_PROCESS,
        nr::VFIO_IOMMU_UNMAP_DMA,
        nr::VFIO_DEVICE_SET_IRQS,
    ];
    let Call::Ioctl { ioctl, .. } = call else { unreachable!("all calls here are ioctls") };
    errno != Errno::EFAULT && !BY_PARTS.contains(&ioctl.request)
}

#[test]
fn sensible_calls_succeed() {
    let machine = busy("7.3");
    for (fd, request, sensible) in SENSIBLE {
        let call = ioctl(*fd, *request, words(sensible));
        let refused = outcome(&mut machine.clone(), &call).errno();
        assert_eq!(refused, None, "{} {sensible:?}", nr::name(*request).unwrap_or("?"));
    }
}

/// A command of iommufd in 7.3: its request, the structure of today, and the oldest.
const COMMANDS: &[(u32, usize, usize)] = &[
    (nr::IOMMU_DESTROY, size_of::<io::iommu_destroy>(), 8),
    (nr::IOMMU_FAULT_QUEUE_ALLOC, size_of::<io::iommu_fault_alloc>(), 16),
    (nr::IOMMU_GET_HW_INFO, size_of::<io::iommu_hw_info>(), 32),
    (nr::IOMMU_HWPT_ALLOC, size_of::<io::iommu_hwpt_alloc>(), 24),
    (nr::IOMMU_HWPT_GET_DIRTY_BITMAP, size_of::<io::iommu_hwpt_get_dirty_bitmap>(), 48),
    (nr::IOMMU_HWPT_INVALIDATE, size_of::<io::iommu_hwpt_invalidate>(), 32),
    (nr::IOMMU_HWPT_SET_DIRTY_TRACKING, size_of::<io::iommu_hwpt_set_dirty_tracking>(), 16),
    (nr::IOMMU_IOAS_ALLOC, size_of::<io::iommu_ioas_alloc>(), 12),
    (nr::IOMMU_IOAS_ALLOW_IOVAS, size_of::<io::iommu_ioas_allow_iovas>(), 24),
    (nr::IOMMU_IOAS_CHANGE_PROCESS, size_of::<io::iommu_ioas_change_process>(), 8),
    (nr::IOMMU_IOAS_COPY, size_of::<io::iommu_ioas_copy>(), 40),
    (nr::IOMMU_IOAS_IOVA_RANGES, size_of::<io::iommu_ioas_iova_ranges>(), 32),
    (nr::IOMMU_IOAS_MAP, size_of::<io::iommu_ioas_map>(), 40),
    (nr::IOMMU_IOAS_MAP_FILE, size_of::<io::iommu_ioas_map_file>(), 40),
    (nr::IOMMU_IOAS_UNMAP, size_of::<io::iommu_ioas_unmap>(), 24),
    (nr::IOMMU_OPTION, size_of::<io::iommu_option>(), 24),
    (nr::IOMMU_VFIO_IOAS, size_of::<io::iommu_vfio_ioas>(), 12),
    (nr::IOMMU_VDEVICE_ALLOC, size_of::<io::iommu_vdevice_alloc>(), 24),
    (nr::IOMMU_VEVENTQ_ALLOC, size_of::<io::iommu_veventq_alloc>(), 28),
    (nr::IOMMU_VIOMMU_ALLOC, size_of::<io::iommu_viommu_alloc>(), 24),
    (nr::IOMMU_HW_QUEUE_ALLOC, size_of::<io::iommu_hw_queue_alloc>(), 40),
    (nr::IOMMU_NOIOMMU_GET_PA, 40, 40),
    (nr::IOMMU_TEST_CMD, 72, 68),
];

/// A header that says a size, and a body of that size, more or less.
fn headed(body: &[u8], says: usize, length: usize) -> Argument {
    let mut bytes = u32::try_from(says).expect("a small size").to_ne_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(length, 0);
    structure(bytes)
}

/// The answer to one call, and the machine after it.
fn after(machine: &Machine, request: u32, argument: Argument) -> (Outcome, Machine) {
    let mut machine = machine.clone();
    let outcome = outcome(&mut machine, &ioctl(IOMMUFD, request, argument));
    (outcome, machine)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(word(), 24);
    words.prop_map(|words| words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}

fn command() -> impl Strategy<Value = (u32, usize, usize)> {
    prop::sample::select(COMMANDS)
}

#[test]
fn the_table_names_every_command() {
    let named: BTreeSet<u32> = COMMANDS.iter().map(|(request, ..)| *request).collect();
    let all = nr::ALL.iter().filter(|(_, name)| name.starts_with("IOMMU_"));
    assert_eq!(named, all.map(|(request, _)| *request).collect());
}

#[test]
fn a_command_that_is_not_there_is_not_an_ioctl() {
    let machine = busy("7.3");
    let whole = || headed(&[], 72, 72);
    let rows = COMMANDS.iter().flat_map(|(request, ..)| {
        [request | 1 << 30, request | 1 << 31, request | 4 << 16, request ^ 1 << 8]
    });
    for request in rows.filter(|request| nr::name(*request).is_none()) {
        let (outcome, end) = after(&machine, request, whole());
        assert_eq!(outcome.errno(), Some(Errno::ENOTTY), "{request:#x}");
        assert_eq!(end, machine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_on_any_file_are_answered(kernel in prop::sample::select(vec!["7.3", "fixed"]),
                                          calls in prop::collection::vec(call(), 1..24)) {
        let mut machine = busy(kernel);
        for call in &calls {
            let before = machine.clone();
            let refused = outcome(&mut machine, call).errno();
            if refused.is_some_and(|errno| is_atomic(call, errno)) {
                prop_assert_eq!(&machine, &before, "{:?}: {:?}", call, refused);
            }
            machine.audit().map_err(|broken| TestCaseError::fail(format!("{call:?}: {broken}")))?;
        }
        for pid in [OLD, NEW] {
            machine.kill(pid);
        }
        machine.audit().map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_short_header_is_refused_before_all_else((request, _, min) in command(), body in body(),
                                                 says in 0usize..68, there in 0usize..4) {
        let machine = busy("7.3");
        let (nowhere, end) = after(&machine, request, headed(&body, min, there));
        prop_assert_eq!(nowhere.errno(), Some(Errno::EFAULT));
        prop_assert_eq!(&end, &machine);
        let says = says % min;
        let (short, end) = after(&machine, request, headed(&body, says, 72));
        prop_assert_eq!(short.errno(), Some(Errno::EINVAL));
        prop_assert_eq!(&end, &machine);
    }

    #[test]
    fn memory_that_ends_early_is_a_fault((request, size, min) in command(), body in body(),
                                         missing in 1usize..60) {
        let machine = busy("7.3");
        let there = size - 1 - missing % (size - 4);
        let (outcome, end) = after(&machine, request, headed(&body, size.max(min), there));
        prop_assert_eq!(outcome.errno(), Some(Errno::EFAULT));
        prop_assert_eq!(&end, &machine);
    }

    #[test]
    fn what_the_kernel_does_not_know_must_be_zero((request, size, _) in command(),
                                                  body in body(), more in 1usize..24,
                                                  at in 0usize..24, byte in 1u8..) {
        let machine = busy("7.3");
        let body = &body[..size - 4];
        let known = after(&machine, request, headed(body, size, size));
        let mut longer = after(&machine, request, headed(body, size + more, size + more));
        // Where a command tells its size, it is the caller's.
        longer.0.bytes[..4].copy_from_slice(&known.0.bytes[..4]);
        longer.0.bytes.truncate(size);
        prop_assert_eq!(&longer, &known);
        let mut dirty = body.to_vec();
        dirty.resize(size - 4 + more, 0);
        dirty[size - 4 + at % more] = byte;
        let (outcome, end) = after(&machine, request, headed(&dirty, size + more, size + more));
        prop_assert_eq!(outcome.errno(), Some(Errno::E2BIG));
        prop_assert_eq!(&end, &machine);
    }

    #[test]
    fn what_a_shorter_form_lacks_is_zero((request, size, min) in command(), body in body(),
                                         cut in 0usize..16) {
        let machine = busy("7.3");
        let says = size - cut % (size - min + 1);
        let body = &body[..says - 4];
        let mut whole = after(&machine, request, headed(body, size, size));
        let mut shorter = after(&machine, request, headed(body, says, says));
        for outcome in [&mut whole.0, &mut shorter.0] {
            outcome.bytes.truncate(says);
            outcome.bytes.drain(..4);
        }
        prop_assert_eq!(&shorter, &whole);
    }
}
