//! Helpers: a kernel, a child process, and tests that need a process of their own.

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

/// The argument that marks a process as started to run one test. No test has that name.
const ALONE: &str = "alone-in-this-process";

/// A kernel without a guest whose `Exec` passes `argv`.
pub(crate) fn host_for(argv: &[&str]) -> Host {
    let argv = argv.iter().map(OsString::from).collect();
    Host::new(argv, Memory::default(), Box::new(NoGuest))
}

/// A kernel without a guest.
pub(crate) fn host() -> Host {
    host_for(&[])
}

/// A shell that waits for input on its inherited socket, and this process's end of that socket.
///
/// The shell has reported that it is ready, so its loader has closed its files. A descriptor that
/// the shell itself opens briefly is waited for; an inherited one would still be open after 10 s.
pub(crate) fn waiting_child() -> (Fd, Spawned) {
    let (mine, theirs) = socket::pair().expect("room");
    let mine = Fd(mine.into_raw_fd());
    let argv = ["sh", "-c", "echo ready >&0; read line"].map(OsString::from);
    let child = spawn::spawn(Path::new("/bin/sh"), &argv, theirs).expect("it starts");
    let ready = host().call(&Call::Socket(SocketCall::Receive { fd: mine, wait: true }));
    assert!(matches!(ready, Ok(Reply::Message { bytes, .. }) if bytes == b"ready\n"));
    let only_streams = || descriptors::table(child.pid).is_ok_and(|table| table.len() == 3);
    for _ in (0..10_000).take_while(|_| !only_streams()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    (mine, child)
}

/// Runs `body` in a new process and returns its status and output, or `None` in that process.
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

/// Like [`alone`], and asserts that the body succeeds.
#[track_caller]
pub(crate) fn succeeds_alone(test: &str, body: impl FnOnce()) {
    if let Some(output) = alone(test, body) {
        let output_text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{output_text}\n{errors}", output.status);
        assert!(output_text.contains("1 passed"), "there is no test {test}\n{output_text}");
    }
}

/// True if this process was started to run one test.
pub(crate) fn is_alone() -> bool {
    std::env::args().any(|argument| argument == ALONE)
}

/// The arguments with which this program runs one test alone.
pub(crate) fn alone_arguments(test: &str) -> [&str; 4] {
    ["--exact", "--nocapture", test, ALONE]
}
