//! Tests of workers on any Linux: without iommufd, devices or privileges.
//!
//! The program is its own worker. It has no test harness, so that it is single-threaded when it
//! forks.

use handoff_model::abi::call::{
    Call, CallResult, FileCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Uid};
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;
use handoff_real_backend::socket;
use handoff_testbed::family;
use handoff_testbed::worker::{Worker, WorkerCredentials, WorkerError, Zygote, live, live_on};
use libtest_mimic::{Arguments, Trial};
use std::ffi::OsString;
use std::process::ExitCode;

/// The arguments that mark the program as a worker. No test has such a name.
const WORKER: &str = "as-a-worker";
const AGAIN: &str = "as-a-worker-again";

const DONE: CallResult = Ok(Reply::Done);

fn main() -> ExitCode {
    let again = ["workers", AGAIN];
    let lived = match std::env::args().nth(1).as_deref() {
        Some(WORKER) => live(&again),
        Some(AGAIN) => live_on(&again),
        _ => return libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    };
    if lived.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 6] = [
        ("a_worker_has_standard_streams_and_its_own_descriptors", has_what_it_opens),
        ("a_child_shares_the_files_of_its_parent", child_shares_files),
        ("exec_keeps_what_is_not_cloexec", exec_keeps_what_is_not_cloexec),
        ("descriptors_are_given_and_sent", descriptors_are_given_and_sent),
        ("a_worker_ends_by_exit_or_by_a_signal", ends_by_exit_or_signal),
        ("a_file_that_is_not_a_device_is_not_driven", file_is_no_device),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

fn zygote() -> Zygote {
    let image = std::env::current_exe().expect("a program");
    Zygote::start(&image, &["workers", WORKER].map(OsString::from)).expect("it starts")
}

/// The calling user and its limit, which any process may take on.
fn own_credentials() -> WorkerCredentials {
    let mut host = Host::new(Vec::new(), Memory::default(), Box::new(NoGuest));
    let uid = family::own_user();
    match host.call(&Call::Process(ProcessCall::GetMemlock)) {
        Ok(Reply::Memlock(memlock_bytes)) => {
            WorkerCredentials { uid, cap_ipc_lock: uid == Uid(0), memlock_bytes }
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn call(worker: &mut Worker, call: &Call) -> CallResult {
    worker.call(call, None).expect("it lives")
}

#[track_caller]
fn fd(worker: &mut Worker, made_by: &Call) -> Fd {
    match call(worker, made_by) {
        Ok(Reply::Fd(fd)) => fd,
        other => panic!("{made_by:?}: {other:?}"),
    }
}

fn memfd() -> Call {
    Call::Memory(MemoryCall::Memfd { name: "test".to_owned() })
}

fn has_what_it_opens() {
    let (mut zygote, credentials) = (zygote(), own_credentials());
    for _ in 0..2 {
        let mut worker = zygote.spawn(credentials).expect("room");
        assert_eq!(
            call(&mut worker, &Call::Process(ProcessCall::GetUid)),
            Ok(Reply::Uid(credentials.uid))
        );
        assert_eq!(fd(&mut worker, &memfd()), Fd(3), "the lowest number is free");
        assert_eq!(fd(&mut worker, &Call::File(FileCall::Eventfd)), Fd(4));
        assert_eq!(worker.locked_pages(), Ok((0, 0)));
    }
}

fn child_shares_files() {
    let mut parent = zygote().spawn(own_credentials()).expect("room");
    let file = fd(&mut parent, &memfd());
    let mut child = parent.fork().expect("room");
    assert_ne!(child.pid(), parent.pid());
    let write = FileCall::write_at(file, 0, b"here".to_vec());
    assert_eq!(call(&mut parent, &write), Ok(Reply::Length(4)));
    let read = FileCall::read_at(file, 0, 4);
    assert_eq!(call(&mut child, &read), Ok(Reply::Bytes(b"here".to_vec())));
    child.kill().expect("it ends");
    assert_eq!(call(&mut parent, &Call::File(FileCall::Close { fd: file })), DONE);
}

fn exec_keeps_what_is_not_cloexec() {
    let mut worker = zygote().spawn(own_credentials()).expect("room");
    let (kept, closed) = (fd(&mut worker, &memfd()), fd(&mut worker, &memfd()));
    assert_eq!(call(&mut worker, &Call::File(FileCall::SetCloexec { fd: kept, on: false })), DONE);
    let pid = worker.pid();
    worker.exec().expect("its program exists");
    assert_eq!(worker.pid(), pid);
    assert!(call(&mut worker, &Call::File(FileCall::Stat { fd: kept })).is_ok());
    assert_eq!(call(&mut worker, &Call::File(FileCall::Stat { fd: closed })), Err(Errno::EBADF));
    worker.exec().expect("and once more");
    assert_eq!(fd(&mut worker, &memfd()), closed, "no other descriptor is open");
}

fn descriptors_are_given_and_sent() {
    let mut zygote = zygote();
    let mut workers = [0, 1].map(|_| zygote.spawn(own_credentials()).expect("room"));
    let (left, right) = socket::pair().expect("room");
    let [a, b] = &mut workers;
    let ends = [a.send_fd(&left).expect("taken"), b.send_fd(&right).expect("taken")];
    assert_eq!(ends, [Fd(3), Fd(3)]);
    let file = fd(a, &memfd());
    let send = SocketCall::send(ends[0], vec![7], vec![file]);
    assert_eq!(call(a, &send), DONE);
    let receive = Call::Socket(SocketCall::Receive { fd: ends[1], wait: true });
    let message = Reply::Message { bytes: vec![7], fds: vec![Fd(4)], truncated: false };
    assert_eq!(call(b, &receive), Ok(message));
}

fn ends_by_exit_or_signal() {
    let mut zygote = zygote();
    let [mut first, mut second] = [0, 1].map(|_| zygote.spawn(own_credentials()).expect("room"));
    let pidfd = second.open_pidfd(first.pid()).expect("it lives");
    assert_eq!(call(&mut second, &Call::Process(ProcessCall::Kill { pidfd })), DONE);
    assert_eq!(call(&mut second, &Call::Process(ProcessCall::AwaitExit { pidfd })), DONE);
    let gone = first.call(&Call::Process(ProcessCall::GetUid), None);
    assert!(
        matches!(gone, Err(WorkerError::Died | WorkerError::System(_, Errno::EPIPE))),
        "{gone:?}"
    );
    assert_eq!(call(&mut second, &Call::Process(ProcessCall::Exit { status: 0 })), DONE);
    second.kill().expect("killing a dead worker succeeds");
}

fn file_is_no_device() {
    let mut worker = zygote().spawn(own_credentials()).expect("room");
    let file = fd(&mut worker, &memfd());
    assert_eq!(worker.raise(file), Ok(Err(Errno::ENOTTY)));
    assert_eq!(worker.raise(Fd(100)), Ok(Err(Errno::EBADF)));
}
