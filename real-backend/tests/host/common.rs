//! A door to the kernel, a child process, and tests that have a process to themselves.

use handoff_model::abi::call::{Call, Reply, SocketCall};
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
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

/// A shell that waits for more on its inherited socket, and this process's end of that.
///
/// It has said that it is ready, so its loader has closed what it opened; what the shell itself has
/// open for a moment is waited for. What was inherited does not go away, and is there after 10 s.
pub(crate) fn waiting_child() -> (Fd, Spawned) {
    let (mine, theirs) = socket::pair().expect("room");
    let mine = Fd(mine.into_raw_fd());
    let argv = ["sh", "-c", "echo ready >&0; read line"].map(OsString::from);
    let child = spawn::spawn(Path::new("/bin/sh"), &argv, theirs).expect("it starts");
    let ready = host().call(&Call::Socket(SocketCall::Receive { fd: mine, wait: true }));
    assert!(matches!(ready, Ok(Reply::Message { bytes, .. }) if bytes == b"ready\n"));
    let settled = || descriptors::table(child.pid).is_ok_and(|table| table.len() == 3);
    for _ in (0..10_000).take_while(|_| !settled()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    (mine, child)
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
