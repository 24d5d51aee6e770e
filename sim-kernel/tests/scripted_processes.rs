//! Changes that a replay makes without a call (`process/scripted`) have the same effect as calls.

use handoff_model::abi::call::{Call, FileCall, MemoryCall, ProcessCall, Reply};
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid, Uid};
use handoff_sim_kernel::{Machine, ProcessSpec, Profile};

/// Returns a process with a memfd at descriptor 3 that it has mapped, and an eventfd at 4.
fn parent() -> (Machine, Pid) {
    let mut machine = Machine::new(Profile::by_name("7.3").expect("a profile"));
    let spec = ProcessSpec { uid: Uid(7), cap_ipc_lock: false, memlock_bytes: PAGE_BYTES };
    let pid = machine.spawn(spec);
    let fd = Fd(3);
    for call in [
        Call::Memory(MemoryCall::Memfd { name: "ram".to_owned() }),
        Call::Memory(MemoryCall::Truncate { fd, length_bytes: PAGE_BYTES }),
        MemoryCall::mmap(Some(fd), 0, PAGE_BYTES),
        Call::File(FileCall::Eventfd),
        Call::File(FileCall::SetCloexec { fd: Fd(4), on: false }),
    ] {
        machine.call(pid, &call).expect("a process may do this");
    }
    (machine, pid)
}

#[track_caller]
fn check(machine: &Machine) {
    assert_eq!(machine.audit(), Ok(()));
}

#[test]
fn a_child_inherits_resources_and_its_exit_releases_none() {
    let (mut machine, parent) = parent();
    let before = machine.clone();
    let child = machine.fork(parent);
    check(&machine);
    let view = machine.view();
    let table = |pid| &view.processes[&pid].descriptors;
    assert_eq!(table(child), table(parent), "the same open files, the same CLOEXEC");
    assert_eq!(machine.call(child, &Call::Process(ProcessCall::GetUid)), Ok(Reply::Uid(Uid(7))));
    assert_eq!(
        machine.call(child, &Call::Process(ProcessCall::GetMemlock)),
        Ok(Reply::Memlock(PAGE_BYTES))
    );
    machine.kill(child);
    check(&machine);
    assert_eq!(machine.view().processes[&parent], before.view().processes[&parent]);
}

#[test]
fn a_file_survives_in_the_child() {
    let (mut machine, parent) = parent();
    let child = machine.fork(parent);
    machine.kill(parent);
    check(&machine);
    let length_bytes = PAGE_BYTES;
    let stat = machine.call(child, &Call::File(FileCall::Stat { fd: Fd(3) }));
    assert!(matches!(stat, Ok(Reply::Stat { length_bytes: found, .. }) if found == length_bytes));
}

#[test]
fn a_shared_file_is_one_file_under_two_numbers() {
    let (mut machine, parent) = parent();
    let child = machine.fork(parent);
    assert!(machine.share(parent, Fd(4), child, Fd(9), true));
    assert!(!machine.share(parent, Fd(8), child, Fd(10), true), "nothing is open at 8");
    check(&machine);
    let view = machine.view();
    let file = |pid, fd| view.processes[&pid].descriptors[&Fd(fd)];
    assert_eq!(file(child, 9).file, file(parent, 4).file);
    assert!(file(child, 9).cloexec && !file(parent, 4).cloexec);
}

#[test]
fn credentials_and_limits_are_set_without_permission() {
    let (mut machine, pid) = parent();
    machine.set_credentials(pid, Uid(0), true);
    machine.set_limit(pid, 0);
    assert_eq!(machine.call(pid, &Call::Process(ProcessCall::GetUid)), Ok(Reply::Uid(Uid(0))));
    assert_eq!(
        machine.call(pid, &Call::Process(ProcessCall::GetCapIpcLock)),
        Ok(Reply::Flag(true))
    );
    assert_eq!(machine.call(pid, &Call::Process(ProcessCall::GetMemlock)), Ok(Reply::Memlock(0)));
}
