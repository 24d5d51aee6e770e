//! The trace format: what is written is read back, what others write is understood as far as it has
//! a form here, and what is no trace is refused with the line and the reason.

use handoff_model::abi::argument::{Argument, Ioctl, Pointee};
use handoff_model::abi::call::{
    Answer, Call, ContainerCall, DeviceCall, FileCall, GuestCall, IommufdCall, KvmCall, Made,
    MemoryCall, ProcessCall, Reply, Rights, SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::hex::decode;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, Pid, Uid, Va};
use handoff_model::abi::request;
use handoff_model::trace::{Event, Given, Header, Reader, Record, Stamps, event_of, made_of, told};
use std::collections::BTreeSet;

const FD: Fd = Fd(7);
const ID: ObjectId = ObjectId(3);
const STAMPS: Stamps = Stamps { seq: 1, enter_ns: 10, t_ns: 12 };

/// The header of every trace below.
fn header() -> String {
    Header::new("sim", "7.3.4").line()
}

fn read(lines: &[&str]) -> Result<Vec<Event>, String> {
    let lines = lines.iter().map(|line| (*line).to_owned());
    let reader = Reader::new(lines).map_err(|error| error.to_string())?;
    reader.map(|row| row.map(|(_, event)| event).map_err(|error| error.to_string())).collect()
}

// ---- our own runs ------------------------------------------------------------------------------

/// Calls on files, memory and processes, with an answer of success.
#[expect(clippy::too_many_lines, reason = "a table")]
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
        (
            Call::Memory(MemoryCall::PunchHole { fd: FD, offset_bytes: 4096, length_bytes: 8192 }),
            Reply::Done,
        ),
        (
            Call::File(FileCall::WriteAt { fd: FD, offset_bytes: 9, bytes: bytes.clone() }),
            Reply::Length(99),
        ),
        (
            Call::File(FileCall::ReadAt { fd: FD, offset_bytes: 9, length_bytes: 200 }),
            Reply::Bytes(bytes.clone()),
        ),
        (
            Call::Memory(MemoryCall::Mmap { fd: Some(FD), offset_bytes: 4096, length_bytes: 8192 }),
            Reply::Va(Va(0x7f12_3456_7000)),
        ),
        (
            Call::Memory(MemoryCall::Mmap { fd: None, offset_bytes: 0, length_bytes: 1 }),
            Reply::Va(Va(0x1000)),
        ),
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
        (
            Call::Socket(SocketCall::Send {
                fd: FD,
                bytes: bytes.clone(),
                fds: vec![Fd(1), Fd(2)],
            }),
            Reply::Done,
        ),
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

/// The ioctls, with an answer of success.
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
        (
            Call::Iommufd(IommufdCall::IoasMap {
                iommufd,
                ioas,
                user_va: Va(0x7000),
                length_bytes,
                iova,
                rights,
            }),
            Reply::Done,
        ),
        (
            Call::Iommufd(IommufdCall::IoasMapFile {
                iommufd,
                ioas,
                fd: Fd(9),
                offset_bytes: 0x1000,
                length_bytes,
                iova,
                rights: Rights::Read,
            }),
            Reply::Done,
        ),
        (
            Call::Iommufd(IommufdCall::IoasCopy {
                iommufd,
                source: ID,
                source_iova: iova,
                destination: ObjectId(4),
                destination_iova: Iova(0),
                length_bytes,
                rights,
            }),
            Reply::Done,
        ),
        (
            Call::Iommufd(IommufdCall::IoasUnmap {
                iommufd,
                ioas,
                iova: Iova(0),
                length_bytes: u64::MAX,
            }),
            Reply::Length(0x4000),
        ),
        (Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 0 }), Reply::Done),
        (Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 1 }), Reply::Done),
        (Call::Iommufd(IommufdCall::GetRlimitMode { iommufd }), Reply::Flag(true)),
        (Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }), Reply::Done),
        (
            Call::Iommufd(IommufdCall::HwptAlloc { iommufd, device: ID, ioas, nest_parent: false }),
            Reply::Object(ObjectId(5)),
        ),
        (
            Call::Iommufd(IommufdCall::HwptAlloc { iommufd, device: ID, ioas, nest_parent: true }),
            Reply::Object(ObjectId(5)),
        ),
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
        (
            Call::Device(DeviceCall::SetIrqs { device, index: 1, eventfds: vec![Fd(10), Fd(11)] }),
            Reply::Done,
        ),
        (Call::Device(DeviceCall::SetIrqs { device, index: 1, eventfds: vec![] }), Reply::Done),
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
        (
            Call::Kvm(KvmCall::Irqfd { vm: device, eventfd: Fd(8), gsi: 24, assign: true }),
            Reply::Done,
        ),
        (Call::Ioctl { fd: iommufd, ioctl }, Reply::Ioctl(outcome)),
        (Call::Ioctl { fd: iommufd, ioctl: ioctl_of_a_value }, Reply::Ioctl(value_outcome)),
    ]
}

fn every_call() -> Vec<(Call, Reply)> {
    let exit = (Call::Process(ProcessCall::Exit { status: 3 }), Reply::Done);
    [system_calls(), ioctls(), vec![exit]].concat()
}

/// The names of all variants, from the only place that has them all: the parser's complaint.
fn variants() -> BTreeSet<String> {
    let complaint = serde_json::from_str::<Call>("\"no such call\"").unwrap_err().to_string();
    complaint.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

fn variant(call: &Call) -> String {
    match serde_json::to_value(call).expect("a call has a JSON form") {
        serde_json::Value::String(name) => name,
        value => value.as_object().and_then(|map| map.keys().next()).expect("tagged").clone(),
    }
}

#[track_caller]
fn survives(call: &Call, answer: Answer) {
    let made = Made { pid: Pid(42), call: call.clone(), answer };
    let line = event_of(&made, STAMPS).line();
    let events = read(&[&header(), &line]).expect("our own line");
    assert_eq!(events[0].line(), line, "written again, it is the same line");
    assert_eq!(made_of(&events[0]), Ok(made), "{line}");
}

#[test]
fn every_call_survives_a_line_of_text() {
    let tested: BTreeSet<String> = every_call().iter().map(|(call, _)| variant(call)).collect();
    assert_eq!(tested, variants(), "the table has every variant");
    for (call, reply) in every_call() {
        survives(&call, Ok(reply));
    }
}

/// Exit does not return, and what came of an ioctl as bytes is more than an errno.
fn has_refusals(call: &Call) -> bool {
    !["exit", "ioctl"].contains(&variant(call).as_str())
}

#[test]
fn every_refusal_survives_a_line_of_text() {
    for (call, _) in every_call().into_iter().filter(|(call, _)| has_refusals(call)) {
        survives(&call, Err(Errno::EBUSY));
        survives(&call, Err(Errno::Other(133)));
    }
}

#[test]
fn a_line_is_what_the_format_says() {
    let line =
        |call: Call, answer: Answer| event_of(&Made { pid: Pid(42), call, answer }, STAMPS).line();
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

// ---- what others write -------------------------------------------------------------------------

/// An event as a recorder writes it.
fn foreign(fields: &str) -> Event {
    let line = format!(r#"{{"seq":1,"t_ns":5,"enter_ns":4,"pid":9,"tid":10,"sys":{fields}}}"#);
    read(&[&header(), &line]).expect("a well-formed line").remove(0)
}

#[track_caller]
fn is_call(fields: &str, call: &Call, answer: Answer) {
    let made = Made { pid: Pid(9), call: call.clone(), answer };
    assert_eq!(made_of(&foreign(fields)), Ok(made), "{fields}");
}

#[track_caller]
fn is_not_modelled(fields: &str, name: &str) {
    let why = made_of(&foreign(fields)).expect_err(fields);
    assert_eq!(why.name, name, "{fields}");
}

#[test]
fn foreign_forms_that_mean_a_call_of_ours() {
    let done = Ok(Reply::Done);
    is_call(
        r#""open","path":"/dev/iommu","flags":2,"ret":4"#,
        &Call::File(FileCall::Open { path: "/dev/iommu".into() }),
        Ok(Reply::Fd(Fd(4))),
    );
    is_call(
        r#""seal","fd":12,"seals":7,"ret":0"#,
        &Call::Memory(MemoryCall::SealSize { fd: Fd(12) }),
        done.clone(),
    );
    is_call(
        r#""mmap","addr":4096,"length":8,"prot":3,"flags":17,"fd":12,"offset":0,"ret":4096"#,
        &Call::Memory(MemoryCall::Mmap { fd: Some(Fd(12)), offset_bytes: 0, length_bytes: 8 }),
        Ok(Reply::Va(Va(4096))),
    );
    is_call(
        r#""mmap","addr":0,"length":112,"prot":3,"flags":33,"fd":-1,"offset":0,"ret":4096"#,
        &Call::Memory(MemoryCall::Mmap { fd: None, offset_bytes: 0, length_bytes: 112 }),
        Ok(Reply::Va(Va(4096))),
    );
    // CHANGE_PROCESS, one byte longer and zero there.
    is_call(
        r#""ioctl","fd":4,"req":15250,"in":"090000000000000000","out":"090000000000000000","ret":0"#,
        &Call::Iommufd(IommufdCall::ChangeProcess { iommufd: Fd(4), reserved: 0 }),
        done.clone(),
    );
    // GET_HW_INFO with a buffer for the data.
    is_call(
        r#""ioctl","fd":21,"req":15242,"in":"28000000000000000100000028000000804a2d3dfd7f000000000000000000000000000000000000","out":"28000000000000000100000018000000804a2d3dfd7f000001000000000000000800000000000000","mem":[{"field":"data_uptr","in":"","out":""}],"ret":0"#,
        &Call::Iommufd(IommufdCall::GetHwInfo { iommufd: Fd(21), device: ObjectId(1) }),
        Ok(Reply::HwInfo { data_type: 1, capabilities: 8 }),
    );
    // ATTACH with the PASID field.
    is_call(
        r#""ioctl","fd":22,"req":15223,"in":"10000000000000000300000000000000","out":"10000000000000000300000000000000","ret":0"#,
        &Call::Device(DeviceCall::Attach { device: Fd(22), page_table: ObjectId(3) }),
        Ok(Reply::Object(ObjectId(3))),
    );
    is_call(
        r#""ioctl","fd":22,"req":15215,"name":"VFIO_DEVICE_RESET","arg":0,"ret":0"#,
        &Call::Device(DeviceCall::Reset { device: Fd(22) }),
        done,
    );
}

/// An ioctl as bytes.
fn bytes(fd: i32, request: u32, input: &str, result: Result<u32, Errno>) -> (Call, Answer) {
    let input = decode(input).expect("hex digits");
    let ioctl = match input.len() {
        0 => Ioctl::with_value(request, 0),
        _ => Ioctl::of(request, input),
    };
    let answer = Ok(Reply::Ioctl(ioctl.argument.untouched(result)));
    (Call::Ioctl { fd: Fd(fd), ioctl }, answer)
}

#[test]
fn ioctls_without_a_form_of_their_own_are_bytes() {
    let auto = "2800000006000000010000000000000000002090ca7f000000100000000000000000000000000000";
    for (input, request, errno) in [
        // DESTROY, too short, too long with something there, and without a readable argument.
        ("0700000000000000", 15232, Errno::EINVAL),
        ("0900000000000000ff", 15232, Errno::E2BIG),
        ("", 15232, Errno::EFAULT),
        // MAP where the kernel chooses the IOVA.
        (auto, 15237, Errno::ENOSPC),
    ] {
        let (call, answer) = bytes(4, request, input, Err(errno));
        is_call(
            &format!(
                r#""ioctl","fd":4,"req":{request},"in":"{input}","out":"{input}","ret":-1,"errno":"{errno}""#
            ),
            &call,
            answer,
        );
    }
    let (call, answer) = bytes(11, 0x4068_aea3, "", Ok(0));
    is_call(r#""ioctl","fd":11,"req":1080602275,"ret":0"#, &call, answer);
}

#[test]
fn what_a_structure_points_to_is_found_by_the_name_of_its_pointer() {
    let input = "2000000002000000010000000000000000000000000000000000000000000000";
    let argument = Argument::of(
        decode(input).expect("hex digits"),
        vec![Pointee { at: 16, bytes: vec![0; 16] }],
    );
    let ioctl = Ioctl { request: 15236, argument };
    let mut outcome = ioctl.argument.untouched(Err(Errno::EMSGSIZE));
    outcome.bytes[12] = 2;
    outcome.pointees[0].0[8] = 0xff;
    is_call(
        r#""ioctl","fd":21,"req":15236,"in":"2000000002000000010000000000000000000000000000000000000000000000","out":"2000000002000000010000000200000000000000000000000000000000000000","mem":[{"field":"allowed_iovas","in":"00000000000000000000000000000000","out":"0000000000000000ff00000000000000"}],"ret":-1,"errno":"EMSGSIZE""#,
        &Call::Ioctl { fd: Fd(21), ioctl },
        Ok(Reply::Ioctl(outcome)),
    );
}

#[test]
fn everything_else_is_not_modelled_by_name() {
    for (fields, name) in [
        (r#""clone","child":602,"flags":18874385,"thread":false,"ret":602"#, "clone"),
        (r#""quux","fd":3,"ret":0"#, "quux"),
        (r#""write","fd":3,"bytes":"00","length":99,"ret":99"#, "write (other form)"),
        (r#""memfd","name":"huge","flags":5,"ret":9"#, "memfd (other form)"),
        (r#""eventfd","count":1,"flags":0,"ret":9"#, "eventfd (other form)"),
        (r#""shutdown","fd":30,"how":1,"ret":0"#, "shutdown (other form)"),
        (r#""sendmsg","fd":30,"bytes":"00","fds":[],"ret":32768"#, "sendmsg (other form)"),
        (r#""exec","path":"/usr/bin/true","ret":-1,"errno":"ENOENT""#, "exec (other form)"),
        (r#""exit","signal":"SIGKILL""#, "exit (other form)"),
        (r#""close","fd":3,"ret":-1,"errno":"EWHAT""#, "close (other form)"),
        (
            r#""mmap","addr":0,"length":8,"prot":0,"flags":34,"fd":-1,"offset":0,"ret":4096"#,
            "mmap (other form)",
        ),
    ] {
        is_not_modelled(fields, name);
    }
}

#[test]
fn what_a_process_starts_with_survives_a_line_of_text() {
    for what in [
        Given::Socket { peer: Pid(2), peer_fd: Fd(3) },
        Given::Pidfd { target: Pid(2) },
        Given::Image { path: "/usr/bin/vmm".into() },
    ] {
        let record = Record::Given { fd: FD, what, cloexec: true };
        let event = told(Pid(1), record, STAMPS);
        assert_eq!(read(&[&header(), &event.line()]), Ok(vec![event]));
    }
}

// ---- what is no trace --------------------------------------------------------------------------

#[track_caller]
fn is_refused(lines: &[&str], why: &str) {
    let error = read(lines).expect_err(why);
    assert!(error.starts_with(why), "{error}");
}

#[test]
fn bad_input_is_refused_with_its_line() {
    let header = header();
    let close = r#"{"seq":7,"pid":1,"tid":1,"sys":"close","fd":3,"ret":0}"#;
    let newer = header.replace(r#""version":1"#, r#""version":9"#);
    let none = header.replace(r#""version":1"#, r#""version":0"#);
    is_refused(&[], "line 1: not a handoff trace");
    is_refused(&["#!/bin/sh"], "line 1: not a handoff trace");
    is_refused(&[close], "line 1: not a handoff trace");
    is_refused(&[&none], "line 1: not a handoff trace");
    is_refused(&[&header.replace("handoff", "other")], "line 1: not a handoff trace");
    is_refused(&[&newer], "line 1: version 9 is newer than this reader's 1");
    is_refused(&[&header, close, "garbage"], "line 3: not JSON: expected value");
    is_refused(&[&header, &close[..30], close], "line 2: not JSON: EOF");
    is_refused(&[&header, &close[..30]], "line 2: cut off in the middle");
    is_refused(&[&header, ""], "line 2: cut off in the middle");
    is_refused(&[&header, close, close], "line 3: seq 7 does not follow 7");
    is_refused(&[&header, close, &close.replace('7', "6")], "line 3: seq 6 does not follow 7");
    for (from, to, why) in [
        (r#""fd":3,"#, "", "line 2: not a record: missing field `fd`"),
        (r#""pid":1,"#, "", "line 2: not a record: missing field `pid`"),
        (r#""fd":3"#, r#""fd":"3""#, "line 2: not a record: invalid type: string \"3\""),
        (r#""sys":"close","#, "", "line 2: not a record: missing field `sys`"),
    ] {
        is_refused(&[&header, &close.replace(from, to)], why);
    }
}

#[test]
fn unknown_fields_and_records_are_read_over() {
    let more = header().replace('{', r#"{"recorder":{"name":"x"},"#);
    let known = r#"{"seq":1,"pid":1,"tid":1,"sys":"close","fd":3,"cpu":2,"ret":0}"#;
    let unknown = r#"{"seq":2,"pid":1,"tid":1,"sys":"madvise","addr":0,"ret":0}"#;
    let events = read(&[&more, known, unknown]).expect("a trace");
    let names: Vec<String> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["close", "madvise"]);
}
