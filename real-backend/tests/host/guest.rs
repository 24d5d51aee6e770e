//! Tests of a process without a guest, and of the recorder.

use crate::calls::{check, no};
use crate::common::host;
use handoff_model::abi::call::{Call, CompletedCall, FileCall, GuestCall, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::recorder::Recorder;

#[test]
fn a_process_without_a_guest_refuses_the_guest_calls() {
    let fd = Fd(0);
    check(
        &mut host(),
        &[
            (Call::Guest(GuestCall::Stop), no(Errno::ENODEV)),
            (Call::Guest(GuestCall::Save { fd }), no(Errno::ENODEV)),
            (Call::Guest(GuestCall::Load { fd }), no(Errno::ENODEV)),
            (Call::Guest(GuestCall::Start), no(Errno::ENODEV)),
        ],
    );
}

#[test]
fn every_call_is_recorded_with_its_answer_and_its_time() {
    let mut recorded: Vec<(CompletedCall, u64, u64)> = Vec::new();
    let mut host_recorder = Recorder::new(host(), Pid(9), |made, enter_ns, leave_ns| {
        recorded.push((made, enter_ns, leave_ns));
    });
    let rows = [
        Call::Process(ProcessCall::GetUid),
        Call::File(FileCall::Close { fd: Fd(-1) }),
        Call::Process(ProcessCall::Exec { image: Fd(-1) }),
    ];
    let answers: Vec<_> = rows.iter().map(|call| host_recorder.call(call)).collect();
    let made = |at: usize, answer| CompletedCall { pid: Pid(9), call: rows[at].clone(), answer };
    let expected = [
        made(0, answers[0].clone()),
        made(1, answers[1].clone()),
        made(2, Ok(Reply::Done)),
        made(2, answers[2].clone()),
    ];
    assert!(answers[2].is_err(), "it returned, so it failed");
    assert_eq!(recorded.iter().map(|(made, _, _)| made.clone()).collect::<Vec<_>>(), expected);
    assert!(recorded.iter().all(|(_, enter_ns, leave_ns)| enter_ns <= leave_ns));
    assert!(recorded.is_sorted_by_key(|(_, _, leave_ns)| *leave_ns));
}
