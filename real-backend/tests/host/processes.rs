//! Tests of limits, credentials, `execve` and exit, each in a process of its own.

use crate::calls::{DONE, check, fd, memfd, no};
use crate::common::{alone, host, host_for, succeeds_alone};
use handoff_model::abi::call::{Call, FileCall, MemoryCall, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Uid};
use handoff_model::abi::kernel::Kernel;
use rustix::fd::IntoRawFd;
use std::fs::File;
use std::sync::mpsc;

const NOBODY: Uid = Uid(65534);

fn is_root() -> bool {
    host().call(&Call::Process(ProcessCall::GetUid)) == Ok(Reply::Uid(Uid(0)))
}

#[test]
fn a_lowered_limit_cannot_be_raised_without_privilege() {
    let test = "processes::a_lowered_limit_cannot_be_raised_without_privilege";
    succeeds_alone(test, || {
        let mut host = host();
        let set = |limit_bytes| Call::Process(ProcessCall::SetMemlock { limit_bytes });
        check(
            &mut host,
            &[
                (set(65536), DONE),
                (Call::Process(ProcessCall::GetMemlock), Ok(Reply::Memlock(65536))),
            ],
        );
        if is_root() {
            check(&mut host, &[(Call::Process(ProcessCall::SetUid { uid: NOBODY }), DONE)]);
        }
        check(
            &mut host,
            &[
                (set(65537), no(Errno::EPERM)),
                (set(u64::MAX), no(Errno::EPERM)),
                (Call::Process(ProcessCall::GetMemlock), Ok(Reply::Memlock(65536))),
            ],
        );
    });
}

#[test]
fn changing_the_user_is_permanent_and_affects_every_thread() {
    succeeds_alone("processes::changing_the_user_is_permanent_and_affects_every_thread", || {
        let mut host = host();
        let uid = if is_root() { NOBODY } else { Uid(rustix::process::getuid().as_raw()) };
        let (ask, asked) = mpsc::channel();
        let other = std::thread::spawn(move || {
            asked.recv().expect("a question");
            rustix::process::geteuid().as_raw()
        });
        check(
            &mut host,
            &[
                (Call::Process(ProcessCall::SetUid { uid }), DONE),
                (Call::Process(ProcessCall::GetUid), Ok(Reply::Uid(uid))),
                (Call::Process(ProcessCall::GetCapIpcLock), Ok(Reply::Flag(false))),
                (Call::Process(ProcessCall::SetUid { uid: Uid(0) }), no(Errno::EPERM)),
                (Call::Process(ProcessCall::DropCapIpcLock), DONE),
            ],
        );
        ask.send(()).expect("it listens");
        assert_eq!(other.join().expect("it ended"), uid.0);
    });
}

#[test]
fn dropping_ipc_lock_drops_no_other_capability() {
    succeeds_alone("processes::dropping_ipc_lock_drops_no_other_capability", || {
        let before = rustix::thread::capabilities(None).expect("readable");
        check(
            &mut host(),
            &[
                (Call::Process(ProcessCall::DropCapIpcLock), DONE),
                (Call::Process(ProcessCall::GetCapIpcLock), Ok(Reply::Flag(false))),
                (Call::Process(ProcessCall::DropCapIpcLock), DONE),
            ],
        );
        let after = rustix::thread::capabilities(None).expect("readable");
        let lost = before.permitted - after.permitted;
        assert!((lost - rustix::thread::CapabilitySet::IPC_LOCK).is_empty(), "{lost:?}");
    });
}

#[test]
fn exit_ends_the_process_with_its_status() {
    let ended = alone("processes::exit_ends_the_process_with_its_status", || {
        let _ = host().call(&Call::Process(ProcessCall::Exit { status: 77 }));
    });
    if let Some(output) = ended {
        assert_eq!(output.status.code(), Some(77));
    }
}

#[test]
fn exec_keeps_descriptors_without_cloexec_and_passes_arguments() {
    let script = r#"
        echo "[$0 $1 $#]"
        for n in "$@"; do test -e /proc/$$/fd/$n && echo "has $n"; done
        exit 5"#;
    let test = "processes::exec_keeps_descriptors_without_cloexec_and_passes_arguments";
    let ended = alone(test, || {
        let mut host = host();
        let (kept, closed) = (memfd(&mut host, 0), memfd(&mut host, 0));
        check(&mut host, &[(Call::File(FileCall::SetCloexec { fd: kept, on: false }), DONE)]);
        let numbers = [kept.to_string(), closed.to_string()];
        print(&format!("kept {kept} closed {closed}"));
        let argv = ["shell", "-c", script, "name", &numbers[0], &numbers[1]];
        let image = program("/bin/sh");
        let failed = host_for(&argv).call(&Call::Process(ProcessCall::Exec { image }));
        panic!("{failed:?}");
    });
    if let Some(output) = ended {
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(5), "{printed}");
        let numbers = printed.lines().find_map(|line| line.strip_prefix("kept "));
        let (kept, closed) = numbers.and_then(|line| line.split_once(" closed ")).expect("printed");
        assert!(printed.contains(&format!("[name {kept} 2]")), "{printed}");
        assert!(printed.contains(&format!("has {kept}\n")), "{printed}");
        assert!(!printed.contains(&format!("has {closed}\n")), "{printed}");
    }
}

/// Prints past the test harness, which captures `println!`.
fn print(line: &str) {
    let line = format!("{line}\n");
    rustix::io::write(std::io::stdout(), line.as_bytes()).expect("an open output");
}

fn program(path: &str) -> Fd {
    Fd(File::open(path).expect("a program").into_raw_fd())
}

#[test]
fn exec_returns_if_it_fails() {
    let mut host = host_for(&["x"]);
    let memfd =
        fd(&mut host, &Call::Memory(MemoryCall::Memfd { name: "not a program".to_owned() }));
    let text = FileCall::write_at(memfd, 0, b"nonsense".to_vec());
    let image = program("/bin/sh");
    check(
        &mut host,
        &[
            (text, Ok(Reply::Length(8))),
            (Call::Process(ProcessCall::Exec { image: memfd }), no(Errno::Other(8))),
            (Call::Process(ProcessCall::Exec { image: program("/etc/passwd") }), no(Errno::EACCES)),
            (Call::Process(ProcessCall::Exec { image: Fd(1_000_000) }), no(Errno::ENOENT)),
        ],
    );
    check(&mut host_for(&[]), &[(Call::Process(ProcessCall::Exec { image }), no(Errno::EINVAL))]);
}
