//! Random calls by two processes in any order: the machine never panics, keeps its invariants after
//! each step, and a failed call changes nothing except where Linux is not atomic.

use crate::common::{BASE, EDU, MTTY, NEW, NIC, OLD, Rig, process};
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, GuestCall, IommufdCall, MemoryCall, ProcessCall, Rights, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Uid, Va};
use handoff_sim_kernel::Machine;
use proptest::prelude::*;

/// A step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Call(Pid, Call),
    Kill(Pid),
    Raise(&'static str, usize),
    Deliver(Pid, usize),
    Boot(Pid),
}

fn fd() -> impl Strategy<Value = Fd> {
    (3..14).prop_map(Fd)
}

fn fds() -> impl Strategy<Value = Vec<Fd>> {
    prop::collection::vec(fd(), 0..3)
}

fn id() -> impl Strategy<Value = ObjectId> {
    (0u32..7).prop_map(ObjectId)
}

fn iova() -> impl Strategy<Value = Iova> {
    prop_oneof![
        8 => (0u64..6).prop_map(|page| Iova(BASE.0 + page * PAGE_BYTES)),
        1 => prop::sample::select(vec![0, 0x123, 0xfee0_0000, u64::MAX - 1, u64::MAX])
            .prop_map(Iova),
    ]
}

fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (1u64..5).prop_map(|pages| pages * PAGE_BYTES),
        1 => prop::sample::select(vec![0, 1, 5000, u64::MAX - 1, u64::MAX]),
    ]
}

/// Generates an offset that is usually 0.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 2 => bytes()]
}

fn va() -> impl Strategy<Value = Va> {
    (0u64..6).prop_map(|page| Va(0x7f00_0000_0000 + page * PAGE_BYTES))
}

fn rights() -> impl Strategy<Value = Rights> {
    prop::sample::select(vec![Rights::Read, Rights::ReadWrite])
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["/dev/iommu", EDU, NIC, MTTY]).prop_map(String::from)
}

fn file_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        path().prop_map(|path| Call::File(FileCall::Open { path })),
        fd().prop_map(|fd| Call::File(FileCall::Close { fd })),
        fd().prop_map(|fd| Call::File(FileCall::Dup { fd })),
        (fd(), any::<bool>()).prop_map(|(fd, on)| Call::File(FileCall::SetCloexec { fd, on })),
        Just(Call::File(FileCall::Eventfd)),
        fd().prop_map(|fd| Call::File(FileCall::ReadEvent { fd })),
        (fd(), fds()).prop_map(|(fd, fds)| SocketCall::send(fd, vec![1], fds)),
        fd().prop_map(|fd| Call::Socket(SocketCall::Receive { fd, wait: false })),
        fd().prop_map(|fd| Call::Socket(SocketCall::ShutdownReceive { fd })),
    ]
}

fn memory_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::Memory(MemoryCall::Memfd { name: "ram".into() })),
        (fd(), offset())
            .prop_map(|(fd, length_bytes)| Call::Memory(MemoryCall::Truncate { fd, length_bytes })),
        fd().prop_map(|fd| Call::Memory(MemoryCall::SealSize { fd })),
        (fd(), offset(), bytes()).prop_map(|(fd, offset_bytes, length_bytes)| {
            MemoryCall::punch_hole(fd, offset_bytes, length_bytes)
        }),
        (fd(), 0u64..9000, 0usize..9000).prop_map(|(fd, offset_bytes, length)| FileCall::write_at(
            fd,
            offset_bytes,
            vec![1; length]
        )),
        (fd(), offset(), bytes()).prop_map(|(fd, offset_bytes, length_bytes)| FileCall::read_at(
            fd,
            offset_bytes,
            length_bytes
        )),
        (prop::option::of(fd()), offset(), bytes()).prop_map(|(fd, offset_bytes, length_bytes)| {
            MemoryCall::mmap(fd, offset_bytes, length_bytes)
        }),
        (va(), bytes())
            .prop_map(|(va, length_bytes)| Call::Memory(MemoryCall::Munmap { va, length_bytes })),
    ]
}

fn process_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => Just(Call::Process(ProcessCall::DropCapIpcLock)),
        4 => offset()
            .prop_map(|limit_bytes| Call::Process(ProcessCall::SetMemlock { limit_bytes })),
        2 => Just(Call::Process(ProcessCall::SetUid { uid: Uid(1000) })),
        4 => fd().prop_map(|image| Call::Process(ProcessCall::Exec { image })),
        1 => Just(Call::Process(ProcessCall::Exit { status: 0 })),
        1 => fd().prop_map(|pidfd| Call::Process(ProcessCall::Kill { pidfd })),
        4 => Just(Call::Guest(GuestCall::Stop)),
        4 => Just(Call::Guest(GuestCall::Start)),
        4 => fd().prop_map(|fd| Call::Guest(GuestCall::Save { fd })),
        4 => fd().prop_map(|fd| Call::Guest(GuestCall::Load { fd })),
    ]
}

fn map_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        (fd(), id(), va(), bytes(), iova(), rights()).prop_map(
            |(iommufd, ioas, user_va, length_bytes, iova, rights)| {
                IommufdCall::map(iommufd, ioas, user_va, iova, length_bytes, rights)
            }
        ),
        (fd(), id(), fd(), offset(), bytes(), iova(), rights()).prop_map(
            |(iommufd, ioas, fd, offset_bytes, length_bytes, iova, rights)| IommufdCall::map_file(
                iommufd,
                ioas,
                (fd, offset_bytes),
                iova,
                length_bytes,
                rights
            )
        ),
        (fd(), id(), iova(), id(), iova(), bytes(), rights()).prop_map(
            |(
                iommufd,
                source,
                source_iova,
                destination,
                destination_iova,
                length_bytes,
                rights,
            )| {
                IommufdCall::copy(
                    iommufd,
                    (source, source_iova),
                    (destination, destination_iova),
                    length_bytes,
                    rights,
                )
            }
        ),
        (fd(), id(), iova(), bytes()).prop_map(|(iommufd, ioas, iova, length_bytes)| {
            IommufdCall::unmap(iommufd, ioas, iova, length_bytes)
        }),
    ]
}

fn iommufd_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        fd().prop_map(|iommufd| Call::Iommufd(IommufdCall::IoasAlloc { iommufd })),
        (fd(), id()).prop_map(|(iommufd, id)| Call::Iommufd(IommufdCall::Destroy { iommufd, id })),
        (fd(), id()).prop_map(|(iommufd, ioas)| Call::Iommufd(IommufdCall::IoasIovaRanges {
            iommufd,
            ioas
        })),
        (fd(), any::<bool>()).prop_map(|(iommufd, on)| Call::Iommufd(IommufdCall::SetRlimitMode {
            iommufd,
            per_process: on
        })),
        (fd(), id(), id())
            .prop_map(|(iommufd, device, ioas)| IommufdCall::hwpt_alloc(iommufd, device, ioas)),
        fd().prop_map(IommufdCall::change_process),
    ]
}

fn device_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        (fd(), fd())
            .prop_map(|(device, iommufd)| Call::Device(DeviceCall::Bind { device, iommufd })),
        (fd(), id()).prop_map(|(device, page_table)| Call::Device(DeviceCall::Attach {
            device,
            page_table
        })),
        fd().prop_map(|device| Call::Device(DeviceCall::Detach { device })),
        (fd(), 0u32..6, fds())
            .prop_map(|(device, index, eventfds)| DeviceCall::set_irqs(device, index, eventfds)),
        fd().prop_map(|device| Call::Device(DeviceCall::Reset { device })),
    ]
}

fn pid() -> impl Strategy<Value = Pid> {
    prop::sample::select(vec![OLD, NEW])
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        3 => file_call(),
        2 => memory_call(),
        1 => process_call(),
        5 => map_call(),
        4 => iommufd_call(),
        4 => device_call(),
    ];
    prop_oneof![
        200 => (pid(), call).prop_map(|(pid, call)| Step::Call(pid, call)),
        1 => pid().prop_map(Step::Kill),
        8 => (prop::sample::select(vec!["edu", "nic", "mtty"]), 0usize..3)
            .prop_map(|(device, vector)| Step::Raise(device, vector)),
        4 => (pid(), 0usize..2).prop_map(|(pid, vector)| Step::Deliver(pid, vector)),
        1 => pid().prop_map(Step::Boot),
    ]
}

/// Returns true if the call must not have changed the machine when it failed with `errno`.
fn is_atomic(call: &Call, errno: Errno) -> bool {
    let partly = matches!(
        call,
        Call::Iommufd(IommufdCall::IoasUnmap { .. } | IommufdCall::ChangeProcess { .. })
            | Call::Device(DeviceCall::SetIrqs { .. })
    );
    !partly && errno != Errno::ECONNRESET
}

fn make(machine: &mut Machine, pid: Pid, call: &Call) -> Result<(), TestCaseError> {
    let before = machine.clone();
    if let Err(errno) = machine.call(pid, call)
        && is_atomic(call, errno)
    {
        prop_assert_eq!(&*machine, &before, "{:?} changed something", call);
    }
    Ok(())
}

fn take(machine: &mut Machine, step: &Step) -> Result<(), TestCaseError> {
    match step {
        Step::Call(pid, _) | Step::Boot(pid) | Step::Deliver(pid, _) if !machine.alive(*pid) => {}
        Step::Call(pid, call) => make(machine, *pid, call)?,
        Step::Kill(pid) => machine.kill(*pid),
        Step::Raise(device, vector) => _ = machine.raise(device, *vector),
        Step::Deliver(pid, vector) => _ = machine.deliver(*pid, "edu", *vector),
        Step::Boot(pid) => machine.boot_guest(*pid),
    }
    Ok(())
}

/// Returns a machine halfway through a handoff: it has every kind of object, and both processes
/// hold descriptors of them.
fn busy(kernel: &str) -> Machine {
    let mut rig = Rig::new(kernel, process(0, true, 12), process(0, false, 12));
    let set_up = rig.set_up(3);
    let (nic, _) = rig.bind(OLD, NIC, set_up.iommufd);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.ok(OLD, DeviceCall::set_irqs(nic, 1, vec![event]));
    let image = rig.machine.image(OLD, 1);
    rig.pass(&[set_up.iommufd, set_up.device, set_up.memfd, nic, event, image]);
    rig.mmap(NEW, Some(Fd(6)), 3);
    rig.machine.settle();
    rig.machine
}

fn walk(mut machine: Machine, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        take(&mut machine, step)?;
        machine.audit().map_err(|broken| TestCaseError::fail(format!("{step:?}: {broken}")))?;
        let view = machine.view();
        prop_assert!(view.devices.values().all(|device| device.reach.is_some()));
    }
    for pid in [OLD, NEW] {
        machine.kill(pid);
    }
    machine.audit().map_err(TestCaseError::fail)?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn from_nothing(kernel in prop::sample::select(vec!["6.12", "7.3", "fixed"]),
                    steps in prop::collection::vec(step(), 1..120)) {
        let start = Rig::new(kernel, process(0, false, 12), process(1000, false, 12));
        walk(start.machine, &steps)?;
    }

    #[test]
    fn from_the_middle_of_a_handoff(kernel in prop::sample::select(vec!["7.3", "fixed"]),
                                    steps in prop::collection::vec(step(), 1..120)) {
        walk(busy(kernel), &steps)?;
    }
}
