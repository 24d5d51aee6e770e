//! A door to the kernel, answers taken apart, and tests that have a process to themselves.

use handoff_model::call::{Answer, Call, Reply};
use handoff_model::errno::Errno;
use handoff_model::ids::Fd;
use handoff_model::kernel::Kernel;
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;
use handoff_real_backend::spawn::{self, Spawned};
use handoff_real_backend::{descriptors, socket};
use rustix::fd::IntoRawFd;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// The argument by which a test knows that it is alone. No test has that name.
const ALONE: &str = "alone-in-this-process";

/// A door without a guest that would execute `argv`.
pub(crate) fn host_for(argv: &[&str]) -> Host {
    let argv = argv.iter().map(OsString::from).collect();
    Host::new(argv, Memory::default(), Box::new(NoGuest))
}

/// A door without a guest.
pub(crate) fn host() -> Host {
    host_for(&[])
}

/// Makes a call that must give a descriptor.
#[track_caller]
pub(crate) fn fd(host: &mut Host, call: &Call) -> Fd {
    match host.call(call) {
        Ok(Reply::Fd(fd)) => fd,
        other => panic!("{call:?}: {other:?}"),
    }
}

/// A memfd of a length.
#[track_caller]
pub(crate) fn memfd(host: &mut Host, length_bytes: u64) -> Fd {
    let fd = fd(host, &Call::Memfd { name: "test".to_owned() });
    check(host, &[(Call::Truncate { fd, length_bytes }, Ok(Reply::Done))]);
    fd
}

/// Makes calls in turn; each must be answered as its row says.
#[track_caller]
pub(crate) fn check(host: &mut Host, rows: &[(Call, Answer)]) {
    for (at, (call, expected)) in rows.iter().enumerate() {
        assert_eq!(&host.call(call), expected, "row {at}: {call:?}");
    }
}

/// A shell that waits for more on its inherited socket, and this process's end of that.
///
/// It has said that it is ready, so its loader has closed what it opened; what the shell itself has
/// open for a moment is waited for. What was inherited does not go away, and is there after 10 s.
pub(crate) fn waiting_child() -> (Fd, Spawned) {
    let (mine, theirs) = socket::pair().expect("room");
    let mine = Fd(mine.into_raw_fd());
    let argv = ["sh", "-c", "echo ready >&0; read line"].map(OsString::from);
    let child = spawn::spawn(Path::new("/bin/sh"), &argv, theirs).expect("it starts");
    let ready = host().call(&Call::ReceiveMessage { fd: mine, wait: true });
    assert!(matches!(ready, Ok(Reply::Message { bytes, .. }) if bytes == b"ready\n"));
    let settled = || descriptors::table(child.pid).is_ok_and(|table| table.len() == 3);
    for _ in (0..10_000).take_while(|_| !settled()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    (mine, child)
}

/// Short for a call that has nothing to tell.
pub(crate) const DONE: Answer = Ok(Reply::Done);

/// Short for a refusal.
pub(crate) const fn no(errno: Errno) -> Answer {
    Err(errno)
}

/// Runs `body` in a process of its own and gives its end and output, or `None` inside that process.
///
/// `test` is the path of the calling test within this program.
#[track_caller]
pub(crate) fn alone(test: &str, body: impl FnOnce()) -> Option<Output> {
    if is_alone() {
        body();
        return None;
    }
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program).args(alone_arguments(test)).output().expect("it starts");
    Some(output)
}

/// As [`alone`], and the body must succeed.
#[track_caller]
pub(crate) fn succeeds_alone(test: &str, body: impl FnOnce()) {
    if let Some(output) = alone(test, body) {
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{told}\n{errors}", output.status);
        assert!(told.contains("1 passed"), "there is no test {test}\n{told}");
    }
}

/// Whether this process was started to run one test.
pub(crate) fn is_alone() -> bool {
    std::env::args().any(|argument| argument == ALONE)
}

/// What this program takes to run one test alone.
pub(crate) fn alone_arguments(test: &str) -> [&str; 4] {
    ["--exact", "--nocapture", test, ALONE]
}
