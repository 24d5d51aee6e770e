//! Traces of other programs: decoded if they match a variant of `Call`, otherwise not modelled.

use crate::{header, read};
use handoff_model::abi::argument::{Argument, Ioctl, Pointee};
use handoff_model::abi::call::{
    Call, CallResult, CompletedCall, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::hex::decode;
use handoff_model::abi::ids::{Fd, ObjectId, Pid, Va};
use handoff_model::trace::{Event, made_of};

/// An event as a recorder writes it.
fn foreign(fields: &str) -> Event {
    let line = format!(r#"{{"seq":1,"t_ns":5,"enter_ns":4,"pid":9,"tid":10,"sys":{fields}}}"#);
    read(&[&header(), &line]).expect("a well-formed line").remove(0)
}

#[track_caller]
fn is_call(fields: &str, call: &Call, answer: CallResult) {
    let made = CompletedCall { pid: Pid(9), call: call.clone(), answer };
    assert_eq!(made_of(&foreign(fields)), Ok(made), "{fields}");
}

#[track_caller]
fn is_not_modelled(fields: &str, name: &str) {
    let why = made_of(&foreign(fields)).expect_err(fields);
    assert_eq!(why.name, name, "{fields}");
}

#[test]
fn equivalent_structures_decode_to_a_variant() {
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
        &MemoryCall::mmap(Some(Fd(12)), 0, 8),
        Ok(Reply::Va(Va(4096))),
    );
    is_call(
        r#""mmap","addr":0,"length":112,"prot":3,"flags":33,"fd":-1,"offset":0,"ret":4096"#,
        &MemoryCall::mmap(None, 0, 112),
        Ok(Reply::Va(Va(4096))),
    );
    // CHANGE_PROCESS, one byte longer and zero there.
    is_call(
        concat!(
            r#""ioctl","fd":4,"req":15250,"in":"090000000000000000","out":"090000000000000000","#,
            r#""ret":0"#,
        ),
        &IommufdCall::change_process(Fd(4)),
        done.clone(),
    );
    // GET_HW_INFO with a buffer for the data.
    is_call(
        concat!(
            r#""ioctl","fd":21,"req":15242,"#,
            r#""in":"28000000000000000100000028000000804a2d3dfd7f00000000000000000000000000000000"#,
            r#"0000","#,
            r#""out":"28000000000000000100000018000000804a2d3dfd7f0000010000000000000008000000000"#,
            r#"00000","mem":[{"field":"data_uptr","in":"","out":""}],"ret":0"#,
        ),
        &Call::Iommufd(IommufdCall::GetHwInfo { iommufd: Fd(21), device: ObjectId(1) }),
        Ok(Reply::HwInfo { data_type: 1, capabilities: 8 }),
    );
    // ATTACH with the PASID field.
    is_call(
        concat!(
            r#""ioctl","fd":22,"req":15223,"in":"10000000000000000300000000000000","#,
            r#""out":"10000000000000000300000000000000","ret":0"#,
        ),
        &Call::Device(DeviceCall::Attach { device: Fd(22), page_table: ObjectId(3) }),
        Ok(Reply::Object(ObjectId(3))),
    );
    is_call(
        r#""ioctl","fd":22,"req":15215,"name":"VFIO_DEVICE_RESET","arg":0,"ret":0"#,
        &Call::Device(DeviceCall::Reset { device: Fd(22) }),
        done,
    );
}

/// An ioctl as bytes, with its answer.
fn bytes(fd: i32, request: u32, input: &str, result: Result<u32, Errno>) -> (Call, CallResult) {
    let input = decode(input).expect("hex digits");
    let ioctl = match input.len() {
        0 => Ioctl::with_value(request, 0),
        _ => Ioctl::of(request, input),
    };
    let answer = Ok(Reply::Ioctl(ioctl.argument.untouched(result)));
    (Call::Ioctl { fd: Fd(fd), ioctl }, answer)
}

#[test]
fn ioctls_without_a_variant_are_bytes() {
    let auto = "2800000006000000010000000000000000002090ca7f000000100000000000000000000000000000";
    for (input, request, errno) in [
        // DESTROY: too short, too long with a non-zero tail, and without a readable argument.
        ("0700000000000000", 15232, Errno::EINVAL),
        ("0900000000000000ff", 15232, Errno::E2BIG),
        ("", 15232, Errno::EFAULT),
        // MAP where the kernel chooses the IOVA.
        (auto, 15237, Errno::ENOSPC),
    ] {
        let (call, answer) = bytes(4, request, input, Err(errno));
        is_call(
            &format!(
                r#""ioctl","fd":4,"req":{request},"in":"{input}","out":"{input}",{}"#,
                format_args!(r#""ret":-1,"errno":"{errno}""#)
            ),
            &call,
            answer,
        );
    }
    let (call, answer) = bytes(11, 0x4068_aea3, "", Ok(0));
    is_call(r#""ioctl","fd":11,"req":1080602275,"ret":0"#, &call, answer);
}

#[test]
fn memory_is_assigned_to_its_pointer_by_name() {
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
        concat!(
            r#""ioctl","fd":21,"req":15236,"#,
            r#""in":"2000000002000000010000000000000000000000000000000000000000000000","#,
            r#""out":"2000000002000000010000000200000000000000000000000000000000000000","#,
            r#""mem":[{"field":"allowed_iovas","in":"00000000000000000000000000000000","#,
            r#""out":"0000000000000000ff00000000000000"}],"ret":-1,"errno":"EMSGSIZE""#,
        ),
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
