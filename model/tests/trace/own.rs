//! Our own runs: every call survives a round trip.

use crate::variants::{variant, variants};
use crate::{header, read};
use handoff_model::abi::argument::Ioctl;
use handoff_model::abi::call::{
    Call, CallResult, CompletedCall, ContainerCall, DeviceCall, FileCall, GuestCall, IommufdCall,
    KvmCall, MemoryCall, ProcessCall, Reply, Rights, SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, Pid, Uid, Va};
use handoff_model::abi::request;
use handoff_model::trace::{PassedFd, Record, Stamps, event_of, event_of_record, made_of};
use std::collections::BTreeSet;

const FD: Fd = Fd(7);
const ID: ObjectId = ObjectId(3);
const STAMPS: Stamps = Stamps { seq: 1, enter_ns: 10, t_ns: 12 };

/// Calls on files, memory and processes, each with a successful answer.
fn system_calls() -> Vec<(Call, Reply)> {
    let bytes = vec![0xab; 100];
    vec![
        (Call::File(FileCall::Open { path: "/dev/iommu".into() }), Reply::Fd(FD)),
        (Call::File(FileCall::Close { fd: FD }), Reply::Done),
        (Call::File(FileCall::Dup { fd: FD }), Reply::Fd(Fd(8))),
        (Call::File(FileCall::SetCloexec { fd: FD, on: true }), Reply::Done),
        (Call::File(FileCall::SetCloexec { fd: FD, on: false }), Reply::Done),
        (Call::File(FileCall::SetNonblock { fd: FD, on: true }), Reply::Done),
        (Call::File(FileCall::SetNonblock { fd: FD, on: false }), Reply::Done),
        (Call::File(FileCall::Stat { fd: FD }), Reply::Stat { inode: 1 << 60, length_bytes: 4096 }),
        (Call::Memory(MemoryCall::Memfd { name: "ram \"0\"".into() }), Reply::Fd(FD)),
        (Call::Memory(MemoryCall::Truncate { fd: FD, length_bytes: 1 << 40 }), Reply::Done),
        (Call::Memory(MemoryCall::SealSize { fd: FD }), Reply::Done),
        (Call::Memory(MemoryCall::AddSeals { fd: FD, seals: 8 }), Reply::Done),
        (Call::Memory(MemoryCall::ReopenReadOnly { fd: FD }), Reply::Fd(Fd(8))),
        (MemoryCall::punch_hole(FD, 4096, 8192), Reply::Done),
        (FileCall::write_at(FD, 9, bytes.clone()), Reply::Length(99)),
        (FileCall::read_at(FD, 9, 200), Reply::Bytes(bytes.clone())),
        (MemoryCall::mmap(Some(FD), 4096, 8192), Reply::Va(Va(0x7f12_3456_7000))),
        (MemoryCall::mmap(None, 0, 1), Reply::Va(Va(0x1000))),
        (Call::Memory(MemoryCall::Munmap { va: Va(0x1000), length_bytes: 1 }), Reply::Done),
        (Call::File(FileCall::Eventfd), Reply::Fd(FD)),
        (Call::File(FileCall::ReadEvent { fd: FD }), Reply::Count(u64::MAX - 1)),
        (Call::File(FileCall::WriteEvent { fd: FD, count: 3 }), Reply::Done),
        (Call::File(FileCall::Read { fd: FD, length_bytes: 40 }), Reply::Bytes(vec![1; 40])),
        (Call::File(FileCall::Write { fd: FD, bytes: vec![2; 16] }), Reply::Length(16)),
        (Call::Process(ProcessCall::GetMemlock), Reply::Memlock(8 << 20)),
        (Call::Process(ProcessCall::GetMemlock), Reply::Memlock(UNLIMITED)),
        (Call::Process(ProcessCall::SetMemlock { limit_bytes: 0 }), Reply::Done),
        (Call::Process(ProcessCall::SetMemlock { limit_bytes: UNLIMITED }), Reply::Done),
        (Call::Process(ProcessCall::GetUid), Reply::Uid(Uid(1000))),
        (Call::Process(ProcessCall::SetUid { uid: Uid(1000) }), Reply::Done),
        (Call::Process(ProcessCall::SetUid { uid: Uid(0) }), Reply::Done),
        (Call::Process(ProcessCall::GetCapIpcLock), Reply::Flag(true)),
        (Call::Process(ProcessCall::GetCapIpcLock), Reply::Flag(false)),
        (Call::Process(ProcessCall::DropCapIpcLock), Reply::Done),
        (Call::Process(ProcessCall::Exec { image: FD }), Reply::Done),
        (Call::Process(ProcessCall::Kill { pidfd: FD }), Reply::Done),
        (Call::Process(ProcessCall::AwaitExit { pidfd: FD }), Reply::Done),
        (SocketCall::send(FD, bytes.clone(), vec![Fd(1), Fd(2)]), Reply::Done),
        (
            Call::Socket(SocketCall::Receive { fd: FD, wait: true }),
            Reply::Message { bytes, fds: vec![Fd(5)], truncated: true },
        ),
        (
            Call::Socket(SocketCall::Receive { fd: FD, wait: false }),
            Reply::Message { bytes: vec![], fds: vec![], truncated: false },
        ),
        (
            Call::Socket(SocketCall::ReceiveFew { fd: FD, fds_max: 1 }),
            Reply::Message { bytes: vec![1], fds: vec![Fd(5)], truncated: true },
        ),
        (Call::Socket(SocketCall::ShutdownReceive { fd: FD }), Reply::Done),
        (Call::Guest(GuestCall::Stop), Reply::Done),
        (Call::Guest(GuestCall::Save { fd: FD }), Reply::Done),
        (Call::Guest(GuestCall::Load { fd: FD }), Reply::Done),
        (Call::Guest(GuestCall::Start), Reply::Done),
    ]
}

/// The ioctls, each with a successful answer.
#[expect(clippy::too_many_lines, reason = "a table")]
fn ioctls() -> Vec<(Call, Reply)> {
    let range = IovaRange { first: Iova(0), last: Iova(0xfedf_ffff) };
    let (iommufd, device, ioas, rights) = (FD, FD, ID, Rights::ReadWrite);
    let (iova, length_bytes) = (Iova(0x10_0000), 0x2000);
    let ioctl = Ioctl::of(request::IOMMU_VFIO_IOAS, vec![12, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0]);
    let outcome = ioctl.argument.untouched(Err(Errno::EOPNOTSUPP));
    let ioctl_of_a_value = Ioctl::with_value(request::VFIO_CHECK_EXTENSION, 3);
    let value_outcome = ioctl_of_a_value.argument.untouched(Ok(1));
    vec![
        (Call::Iommufd(IommufdCall::Destroy { iommufd, id: ID }), Reply::Done),
        (Call::Iommufd(IommufdCall::IoasAlloc { iommufd }), Reply::Object(ID)),
        (
            Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas }),
            Reply::IovaRanges { ranges: vec![range, range], alignment_bytes: 4096 },
        ),
        (IommufdCall::map(iommufd, ioas, Va(0x7000), iova, length_bytes, rights), Reply::Done),
        (
            IommufdCall::map_file(iommufd, ioas, (Fd(9), 0x1000), iova, length_bytes, Rights::Read),
            Reply::Done,
        ),
        (
            IommufdCall::copy(iommufd, (ID, iova), (ObjectId(4), Iova(0)), length_bytes, rights),
            Reply::Done,
        ),
        (IommufdCall::unmap(iommufd, ioas, Iova(0), u64::MAX), Reply::Length(0x4000)),
        (IommufdCall::change_process(iommufd), Reply::Done),
        (IommufdCall::probe_change_process(iommufd), Reply::Done),
        (Call::Iommufd(IommufdCall::GetRlimitMode { iommufd }), Reply::Flag(true)),
        (Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }), Reply::Done),
        (IommufdCall::hwpt_alloc(iommufd, ID, ioas), Reply::Object(ObjectId(5))),
        (IommufdCall::hwpt_alloc_nest_parent(iommufd, ID, ioas), Reply::Object(ObjectId(5))),
        (Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt: ID }), Reply::Done),
        (
            Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device: ID, hwpt: ObjectId(5) }),
            Reply::Done,
        ),
        (
            Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device: ID }),
            Reply::HwInfo { data_type: 1, capabilities: 8 },
        ),
        (Call::Device(DeviceCall::Bind { device, iommufd: Fd(9) }), Reply::Object(ID)),
        (Call::Device(DeviceCall::Attach { device, page_table: ID }), Reply::Object(ObjectId(5))),
        (Call::Device(DeviceCall::Detach { device }), Reply::Done),
        (
            Call::Device(DeviceCall::Info { device }),
            Reply::DeviceInfo { flags: 3, regions: 9, irqs: 5 },
        ),
        (
            Call::Device(DeviceCall::RegionInfo { device, index: 7 }),
            Reply::RegionInfo { flags: 3, length_bytes: 256, offset_bytes: 7 << 40 },
        ),
        (
            Call::Device(DeviceCall::IrqInfo { device, index: 1 }),
            Reply::IrqInfo { flags: 9, count: 1 },
        ),
        (DeviceCall::set_irqs(device, 1, vec![Fd(10), Fd(11)]), Reply::Done),
        (DeviceCall::set_irqs(device, 1, vec![]), Reply::Done),
        (Call::Device(DeviceCall::Reset { device }), Reply::Done),
        (
            Call::Container(ContainerCall::SetContainer { group: device, container: Fd(9) }),
            Reply::Done,
        ),
        (Call::Container(ContainerCall::SetIommu { container: FD }), Reply::Done),
        (
            Call::Container(ContainerCall::GroupDevice {
                group: device,
                address: "0000:00:05.0".into(),
            }),
            Reply::Fd(Fd(7)),
        ),
        (Call::Container(ContainerCall::CanUpdateVaddr { container: FD }), Reply::Flag(true)),
        (Call::Container(ContainerCall::CanUpdateVaddr { container: FD }), Reply::Flag(false)),
        (
            Call::Container(ContainerCall::MapDma {
                container: FD,
                user_va: Va(0x7000),
                length_bytes,
                iova,
                rights,
            }),
            Reply::Done,
        ),
        (
            Call::Container(ContainerCall::GiveVaddr {
                container: FD,
                user_va: Va(0x7000),
                length_bytes,
                iova,
            }),
            Reply::Done,
        ),
        (Call::Container(ContainerCall::ForgetVaddrs { container: FD }), Reply::Length(0x4000)),
        (Call::Kvm(KvmCall::CreateVm { kvm: device }), Reply::Fd(Fd(7))),
        (Call::Kvm(KvmCall::CreateIrqchip { vm: device }), Reply::Done),
        (KvmCall::irqfd(device, Fd(8), 24, true), Reply::Done),
        (Call::Ioctl { fd: iommufd, ioctl }, Reply::Ioctl(outcome)),
        (Call::Ioctl { fd: iommufd, ioctl: ioctl_of_a_value }, Reply::Ioctl(value_outcome)),
    ]
}

fn every_call() -> Vec<(Call, Reply)> {
    let exit = (Call::Process(ProcessCall::Exit { status: 3 }), Reply::Done);
    [system_calls(), ioctls(), vec![exit]].concat()
}

#[track_caller]
fn survives(call: &Call, answer: CallResult) {
    let made = CompletedCall { pid: Pid(42), call: call.clone(), answer };
    let line = event_of(&made, STAMPS).line();
    let events = read(&[&header(), &line]).expect("our own line");
    assert_eq!(events[0].line(), line, "the event is written as the same line");
    assert_eq!(made_of(&events[0]), Ok(made), "{line}");
}

#[test]
fn every_call_survives_a_round_trip() {
    let tested: BTreeSet<_> = every_call().iter().filter_map(|(call, _)| variant(call)).collect();
    assert_eq!(tested, variants(), "the table has every variant");
    for (call, reply) in every_call() {
        survives(&call, Ok(reply));
    }
}

/// Returns true if an answer can be an errno: exit does not return, and an ioctl as bytes always
/// has an outcome.
fn can_fail(call: &Call) -> bool {
    !matches!(call, Call::Process(ProcessCall::Exit { .. }) | Call::Ioctl { .. })
}

#[test]
fn every_failed_call_survives_a_round_trip() {
    for (call, _) in every_call().into_iter().filter(|(call, _)| can_fail(call)) {
        survives(&call, Err(Errno::EBUSY));
        survives(&call, Err(Errno::Other(133)));
    }
}

#[test]
fn a_line_has_the_documented_format() {
    let line = |call: Call, answer: CallResult| {
        event_of(&CompletedCall { pid: Pid(42), call, answer }, STAMPS).line()
    };
    let start = r#"{"seq":1,"t_ns":12,"enter_ns":10,"pid":42,"tid":42,"#;
    assert_eq!(
        line(Call::File(FileCall::Close { fd: FD }), Err(Errno::EBADF)),
        start.to_owned() + r#""sys":"close","fd":7,"ret":-1,"errno":"EBADF"}"#
    );
    assert_eq!(
        line(Call::Iommufd(IommufdCall::IoasAlloc { iommufd: FD }), Ok(Reply::Object(ID))),
        start.to_owned()
            + r#""sys":"ioctl","fd":7,"req":15233,"name":"IOMMU_IOAS_ALLOC","#
            + r#""in":"0c0000000000000000000000","out":"0c0000000000000003000000","ret":0}"#
    );
    assert_eq!(
        line(Call::Process(ProcessCall::SetMemlock { limit_bytes: UNLIMITED }), Ok(Reply::Done)),
        start.to_owned() + r#""sys":"rlimit","resource":"MEMLOCK","cur":-1,"max":-1,"ret":0}"#
    );
    assert_eq!(
        header(),
        r#"{"format":"handoff-trace","version":1,"source":"sim","kernel":"7.3.4","page_size":4096}"#
    );
}

#[test]
fn initial_descriptors_survive_a_round_trip() {
    for what in [
        PassedFd::Socket { peer: Pid(2), peer_fd: Fd(3) },
        PassedFd::Pidfd { target: Pid(2) },
        PassedFd::Image { path: "/usr/bin/vmm".into() },
    ] {
        let record = Record::Given { fd: FD, what, cloexec: true };
        let event = event_of_record(Pid(1), record, STAMPS);
        assert_eq!(read(&[&header(), &event.line()]), Ok(vec![event]));
    }
}
