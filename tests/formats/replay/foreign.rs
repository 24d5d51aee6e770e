//! Tests of small traces with the process and descriptor handling of foreign programs, and of
//! invalid traces.

use super::adds_up;
use handoff_conformance::replay::{Report, replay};
use handoff_model::trace::Header;

/// Replays a trace of these records by these processes, in order.
#[track_caller]
fn foreign(records: &[(u32, &str)]) -> Report {
    let event = |(at, (pid, record)): (usize, &(u32, &str))| {
        let seq = at + 1;
        format!(r#"{{"seq":{seq},"t_ns":{seq}0,"pid":{pid},"tid":{pid},{record}}}"#)
    };
    let lines = records.iter().enumerate().map(event);
    let header = Header::new("ptrace", "6.18.2-arch1").line();
    let report = replay(std::iter::once(header).chain(lines)).expect("a trace");
    adds_up(&report);
    report
}

/// Asserts that every event agrees or is accepted without comparison.
#[track_caller]
fn is_followed(records: &[(u32, &str)]) {
    let report = foreign(records);
    assert_eq!(report.told + report.agreeing, records.len(), "{report}");
    assert_eq!(report.profile, "6.13");
}

const OPEN_AT_4: &str = r#""sys":"open","path":"/dev/iommu","flags":2,"ret":4"#;
const DEVICE_AT_5: &str = r#""sys":"open","path":"/dev/vfio/devices/vfio0","flags":2,"ret":5"#;
const BIND_5_TO_4: &str = concat!(
    r#""sys":"ioctl","fd":5,"req":15222,"in":"180000000000000004000000000000000000000000000000","#,
    r#""out":"180000000000000004000000010000000000000000000000","ret":0"#,
);
const BIND_REFUSED: &str = concat!(
    r#""sys":"ioctl","fd":5,"req":15222,"in":"180000000000000004000000000000000000000000000000","#,
    r#""out":"180000000000000004000000000000000000000000000000","ret":-1,"errno":"EINVAL""#,
);
const ALLOC_AT_1: &str = concat!(
    r#""sys":"ioctl","fd":1,"req":15233,"in":"0c0000000000000000000000","#,
    r#""out":"0c0000000000000001000000","ret":0"#,
);

#[test]
fn dup2_closes_what_was_there() {
    is_followed(&[
        (1, OPEN_AT_4),
        (1, r#""sys":"memfd","name":"x","flags":0,"ret":1"#),
        (1, r#""sys":"dup","fd":4,"cloexec":false,"ret":1"#),
        (1, r#""sys":"close","fd":4,"ret":0"#),
        (1, ALLOC_AT_1),
    ]);
}

#[test]
fn close_range_and_exec_close_what_they_say() {
    is_followed(&[
        (1, OPEN_AT_4),
        (1, r#""sys":"dup","fd":4,"cloexec":false,"ret":1"#),
        (1, r#""sys":"dup","fd":4,"cloexec":true,"ret":7"#),
        (1, r#""sys":"close_range","first":3,"last":6,"flags":0,"ret":0"#),
        (1, r#""sys":"close","fd":4,"ret":-1,"errno":"EBADF""#),
        (1, r#""sys":"exec","path":"/bin/x","uid":0,"euid":0,"cap_ipc_lock":true,"ret":0"#),
        (1, r#""sys":"close","fd":7,"ret":-1,"errno":"EBADF""#),
        (1, ALLOC_AT_1),
    ]);
}

/// The device stays bound until its last holder exits; the child holds it, too.
#[test]
fn a_device_is_released_when_its_last_holder_exits() {
    is_followed(&[
        (1, OPEN_AT_4),
        (1, DEVICE_AT_5),
        (1, BIND_5_TO_4),
        (1, r#""sys":"clone","child":2,"flags":17,"thread":false,"ret":2"#),
        (1, r#""sys":"exit","status":0"#),
        (3, OPEN_AT_4),
        (3, DEVICE_AT_5),
        (3, BIND_REFUSED),
        (2, r#""sys":"exit","signal":"SIGSEGV""#),
        (3, BIND_5_TO_4),
    ]);
}

/// After an unmodelled ioctl that may have changed a device, an answer about that device may
/// differ.
#[test]
fn only_state_that_may_have_changed_may_differ() {
    let eventfds_of_index_9 = concat!(
        r#""sys":"ioctl","fd":5,"req":15214,"in":"1400000021000000090000000000000000000000","#,
        r#""ret":0"#,
    );
    let version = r#""sys":"ioctl","fd":5,"req":15204,"arg":0,"ret":0"#;
    let feature = concat!(
        r#""sys":"ioctl","fd":5,"req":15221,"name":"VFIO_DEVICE_FEATURE","#,
        r#""in":"10000000ff0001000000000000000000","ret":0"#,
    );
    for (before, differing) in [(version, 1), (feature, 0)] {
        let report = foreign(&[
            (1, OPEN_AT_4),
            (1, DEVICE_AT_5),
            (1, BIND_5_TO_4),
            (1, before),
            (1, eventfds_of_index_9),
        ]);
        assert_eq!(report.differing, differing, "{report}");
    }
}

/// Passes descriptors over a byte stream, connected by path, where the receiver returns before the
/// sender.
#[test]
fn descriptors_cross_a_stream_in_their_order() {
    let two = |pid: u32, seq: u32, enter: u32, record: &str| {
        format!(
            r#"{{"seq":{seq},"t_ns":{seq}0,"enter_ns":{enter},"pid":{pid},"tid":{pid},{record}}}"#
        )
    };
    let lines = [
        two(1, 1, 1, r#""sys":"socket","ret":3"#),
        two(1, 2, 11, r#""sys":"bind","fd":3,"path":"/run/s","ret":0"#),
        two(2, 3, 21, OPEN_AT_4),
        two(2, 4, 31, r#""sys":"memfd","name":"x","flags":0,"ret":5"#),
        two(2, 5, 41, r#""sys":"socket","ret":3"#),
        two(2, 6, 51, r#""sys":"connect","fd":3,"path":"/run/s","ret":0"#),
        two(1, 7, 52, r#""sys":"accept","fd":3,"ret":6"#),
        two(2, 8, 71, r#""sys":"sendmsg","fd":3,"bytes":"00","fds":[5],"ret":1"#),
        two(1, 9, 72, r#""sys":"recvmsg","fd":6,"bytes":"00","fds":[8],"ret":1"#),
        two(1, 10, 91, r#""sys":"recvmsg","fd":6,"bytes":"00","fds":[1],"ret":1"#),
        two(2, 11, 92, r#""sys":"sendmsg","fd":3,"bytes":"00","fds":[4],"ret":1"#),
        two(2, 12, 112, r#""sys":"exit","status":0"#),
        two(1, 13, 121, ALLOC_AT_1),
        two(1, 14, 131, r#""sys":"truncate","fd":8,"length":4096,"ret":0"#),
    ];
    let lines = std::iter::once(Header::new("ptrace", "7.2.13").line()).chain(lines);
    let report = replay(lines).expect("a trace");
    assert_eq!((report.agreeing, report.told), (4, 10), "{report}");
}

// ---- invalid traces ----------------------------------------------------------------------------

#[track_caller]
fn is_refused(lines: &[&str], why: &str) {
    let error = replay(lines.iter().map(|line| (*line).to_owned())).expect_err(why);
    assert!(error.to_string().starts_with(why), "{error}");
}

#[test]
fn bad_traces_are_refused_with_the_line() {
    let header = Header::new("host", "7.3.4").line();
    let large = header.replace("4096", "65536");
    is_refused(&[], "line 1: not a handoff trace");
    is_refused(&[&header, "{"], "line 2: truncated");
    is_refused(&[&header, "x", ""], "line 2: not JSON: ");
    is_refused(&[&large], "line 1: pages of 65536 bytes, but the simulator supports only 4096");
    for kernel in ["5.10.1", "6.8.0", "unknown"] {
        let line = header.replace("7.3.4", kernel);
        is_refused(&[&line], &format!("line 1: no simulated kernel stands for kernel {kernel:?}"));
    }
}

// ---- memory ------------------------------------------------------------------------------------

const ALLOC_ON_4: &str = concat!(
    r#""sys":"ioctl","fd":4,"req":15233,"in":"0c0000000000000000000000","#,
    r#""out":"0c0000000000000001000000","ret":0"#,
);
const MOCK_ON_1: &str = concat!(
    r#""sys":"ioctl","fd":4,"req":15264,"#,
    r#""in":"480000000200000001000000000000000000000000000000000000000000000000000000000000000000"#,
    r#"000000000000000000000000000000000000000000000000000000000000","#,
    r#""out":"48000000020000000100000000000000020000000400000003000000000000000000000000000000000"#,
    r#"0000000000000000000000000000000000000000000000000000000000000","ret":0"#,
);

/// `IOMMU_IOAS_MAP` of a page at this address, at an IOVA that the kernel chooses.
fn map(va: u64, end: &str) -> String {
    let va = format!("{:016x}", va.swap_bytes());
    let head = format!("28000000060000000100000000000000{va}0010000000000000");
    let iova = if end.contains("errno") { "0000000000000000" } else { "0000000100000000" };
    let (before, after) = (format!("{head}0000000000000000"), format!("{head}{iova}"));
    format!(r#""sys":"ioctl","fd":4,"req":15237,"in":"{before}","out":"{after}",{end}"#)
}

/// Memory that no record covers (heap, stack, pages that mprotect made writable) is assumed to
/// exist where the recorded kernel accepted it. Memory that a record covers is known.
#[test]
fn memory_that_no_record_covers_exists_if_the_kernel_accepted_it() {
    let (taken, refused) = (r#""ret":0"#, r#""ret":-1,"errno":"EFAULT""#);
    let mapped = concat!(
        r#""sys":"mmap","addr":0,"length":4096,"prot":3,"flags":34,"fd":-1,"offset":0,"#,
        r#""ret":93823560581120"#,
    );
    let only_read = mapped.replace(r#""prot":3"#, r#""prot":1"#);
    for (before, end, differing) in [
        (None, taken, 0),
        (None, refused, 0),
        (Some(mapped), taken, 0),
        (Some(mapped), refused, 1),
        (Some(only_read.as_str()), refused, 0),
        (Some(only_read.as_str()), taken, 0),
    ] {
        let map = map(0x5555_0000_0000, end);
        let rows = [OPEN_AT_4, ALLOC_ON_4, MOCK_ON_1].into_iter().chain(before).chain([&*map]);
        let rows: Vec<(u32, &str)> = rows.map(|row| (1, row)).collect();
        let report = foreign(&rows);
        assert_eq!(report.differing, differing, "{report}");
        assert_eq!(report.told + report.agreeing, rows.len() - differing, "{report}");
    }
}

/// A program's own files are irrelevant to a handoff: their calls are accepted without comparison.
#[test]
fn irrelevant_files_are_accepted_without_comparison() {
    let report = foreign(&[
        (1, r#""sys":"open","path":"/tmp/log","flags":0,"ret":4"#),
        (1, r#""sys":"dup","fd":4,"cloexec":false,"ret":5"#),
        (1, r#""sys":"write","fd":5,"bytes":"61","length":1,"ret":1"#),
        (1, r#""sys":"write","fd":2,"bytes":"61","length":1,"ret":1"#),
        (1, r#""sys":"mmap","addr":0,"length":1,"prot":3,"flags":2,"fd":4,"offset":0,"ret":4096"#),
        (1, r#""sys":"memfd","name":"x","flags":5,"ret":6"#),
        (1, r#""sys":"exec","path":"/none","ret":-1,"errno":"ENOENT""#),
        (1, r#""sys":"close","fd":4,"ret":0"#),
    ]);
    assert_eq!(report.told, report.seen, "{report}");
}

/// The bytes that the kernel wrote are compared even if the call failed.
#[test]
fn every_byte_of_a_structure_is_compared() {
    let told = ALLOC_ON_4.replace(r#""out":"0c0000000000000001"#, r#""out":"0c0000000000000002"#);
    let report = foreign(&[(1, OPEN_AT_4), (1, &told)]);
    let story = report.stories[0].to_string();
    assert!(story.ends_with("structure, bytes 8 to 8: recorded 02, simulated 01"), "{story}");
}

/// A selftest ioctl that compares an IOVA with an address reveals where the process maps the file
/// behind that IOVA.
#[test]
fn an_unrecorded_mapping_of_a_file_is_learnt_from_the_ioctl_that_compares_it() {
    let map_file = concat!(
        r#""sys":"ioctl","fd":4,"req":15247,"#,
        r#""in":"28000000060000000100000005000000000000000000000000100000000000000000000000000000"#,
        r#"","#,
        r#""out":"2800000006000000010000000500000000000000000000000010000000000000000000010000000"#,
        r#"0","ret":0"#,
    );
    let check = concat!(
        r#""sys":"ioctl","fd":4,"req":15264,"#,
        r#""in":"480000000300000004000000000000000000000100000000001000000000000000d0dec3627f0000"#,
        r#"0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""out":"480000000300000004000000000000000000000100000000001000000000000000d0dec3627f000"#,
        r#"00000000000000000000000000000000000000000000000000000000000000000","ret":0"#,
    );
    let memfd = r#""sys":"memfd","name":"x","flags":0,"ret":5"#;
    is_followed(&[
        (1, OPEN_AT_4),
        (1, ALLOC_ON_4),
        (1, MOCK_ON_1),
        (1, memfd),
        (1, map_file),
        (1, check),
    ]);
}
