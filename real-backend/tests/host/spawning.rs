//! Tests that a new process inherits only the standard streams, with the socket as standard input.

use crate::calls::{DONE, check, memfd, no};
use crate::common::{alone_arguments, host, is_alone, waiting_child};
use handoff_model::abi::call::{Call, FileCall, ProcessCall, Reply, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::abi::view::FileKind;
use handoff_real_backend::spawn::{self, Spawned};
use handoff_real_backend::{descriptors, socket};
use rustix::fd::{AsRawFd, IntoRawFd};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Starts `argv`; returns this process's end of the socket, and the new process.
fn start(image: &Path, argv: &[&str]) -> (Fd, Spawned) {
    let (mine, theirs) = socket::pair().expect("room");
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let spawned = spawn::spawn(image, &argv, theirs).expect("it starts");
    (Fd(mine.into_raw_fd()), spawned)
}

/// Receives until the peer closes the socket.
fn everything(socket: Fd) -> String {
    let mut text = String::new();
    loop {
        match host().call(&Call::Socket(SocketCall::Receive { fd: socket, wait: true })) {
            Ok(Reply::Message { bytes, .. }) if bytes.is_empty() => return text,
            Ok(Reply::Message { bytes, .. }) => text += &String::from_utf8_lossy(&bytes),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_the_socket_and_standard_streams_are_inherited() {
    let mut host = host();
    let careless = memfd(&mut host, 0);
    check(&mut host, &[(Call::File(FileCall::SetCloexec { fd: careless, on: false }), DONE)]);
    let (_mine, mut child) = waiting_child();
    let table = descriptors::table(child.pid).expect("it lives");
    assert_eq!(table.iter().map(|entry| entry.fd).collect::<Vec<_>>(), [Fd(0), Fd(1), Fd(2)]);
    assert_eq!(table[0].kind, FileKind::Socket);
    let pidfd = Fd(child.pidfd.as_raw_fd());
    check(
        &mut host,
        &[
            (Call::Process(ProcessCall::Kill { pidfd }), DONE),
            (Call::Process(ProcessCall::AwaitExit { pidfd }), DONE),
        ],
    );
    child.wait(SOON).expect("waits").expect("ends");
}

#[test]
fn the_new_process_moves_its_socket_away_from_standard_input() {
    if is_alone() {
        return take_and_report();
    }
    let test = "spawning::the_new_process_moves_its_socket_away_from_standard_input";
    let program = std::env::current_exe().expect("a program");
    let argv: Vec<&str> = std::iter::once("test").chain(alone_arguments(test)).collect();
    let (socket, mut child) = start(&program, &argv);
    let report = everything(socket);
    assert_eq!(report, "socket true, standard input Other\n");
    assert!(child.wait(SOON).expect("waits").expect("ends").success());
}

fn take_and_report() {
    let socket = spawn::take_inherited().expect("inherited");
    let of = |fd| descriptors::own(fd).expect("open");
    let cloexec = of(socket).cloexec && of(socket).kind == FileKind::Socket && socket.0 > 2;
    let report = format!("socket {cloexec}, standard input {:?}\n", of(spawn::INHERITED).kind);
    check(&mut host(), &[(SocketCall::send(socket, report.into_bytes(), vec![]), DONE)]);
}

#[test]
fn a_process_is_killed_once_by_its_pidfd() {
    let (_, mut child) = start(Path::new("/bin/sleep"), &["sleep", "60"]);
    assert_eq!(child.wait(Duration::ZERO), Ok(None));
    let pidfd = Fd(child.pidfd.as_raw_fd());
    let of = descriptors::own(pidfd).expect("open");
    assert!(of.cloexec && of.kind == FileKind::Pidfd);
    check(&mut host(), &[(Call::Process(ProcessCall::Kill { pidfd }), DONE)]);
    let status = child.wait(SOON).expect("waits").expect("ends");
    assert_eq!(status.signal(), Some(9));
    check(&mut host(), &[(Call::Process(ProcessCall::Kill { pidfd }), no(Errno::ESRCH))]);
    assert_eq!(descriptors::table(Pid(child.pid.0)), Err(Errno::ENOENT));
}

#[test]
fn a_program_that_cannot_be_executed_fails_at_once() {
    let rows = [
        ("/no/such/program", &["x"][..], Errno::ENOENT),
        ("/etc/passwd", &["x"], Errno::EACCES),
        ("/bin/sh", &[], Errno::EINVAL),
    ];
    for (image, argv, expected) in rows {
        let (_mine, theirs) = socket::pair().expect("room");
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let error = spawn::spawn(Path::new(image), &argv, theirs).map(|child| child.pid);
        assert_eq!(error, Err(expected), "{image}");
    }
}
