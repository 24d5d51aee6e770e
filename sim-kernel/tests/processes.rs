//! Exec, exit, kill, users, limits, guests (`process`, `process/guest`).

use crate::common::{BAD, EDU, NEW, OLD, Rig, process, unlimited};
use handoff_model::abi::call::{
    Call, FileCall, GuestCall, MemoryCall, ProcessCall, Reply, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Uid};
use handoff_model::abi::view::GuestView;

fn limit(limit_bytes: u64) -> Call {
    Call::Process(ProcessCall::SetMemlock { limit_bytes })
}

#[test]
fn refusals() {
    let mut rig = Rig::new("7.3", process(1000, false, 8), process(1001, false, 8));
    let memfd = rig.memfd(OLD, 1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let stranger = rig.machine.pidfd(OLD, NEW);
    let rows = [
        (limit(9 * PAGE_BYTES), Errno::EPERM),
        (Call::Process(ProcessCall::SetUid { uid: Uid(0) }), Errno::EPERM),
        (Call::Process(ProcessCall::SetUid { uid: Uid(1001) }), Errno::EPERM),
        (Call::Process(ProcessCall::Exec { image: BAD }), Errno::ENOENT),
        (Call::Process(ProcessCall::Exec { image: event }), Errno::EACCES),
        (Call::Process(ProcessCall::Exec { image: memfd }), Errno::Other(8)),
        (Call::Process(ProcessCall::Kill { pidfd: BAD }), Errno::EBADF),
        (Call::Process(ProcessCall::Kill { pidfd: memfd }), Errno::EBADF),
        (Call::Process(ProcessCall::Kill { pidfd: stranger }), Errno::EPERM),
        (Call::Process(ProcessCall::AwaitExit { pidfd: BAD }), Errno::EBADF),
        (Call::Process(ProcessCall::AwaitExit { pidfd: memfd }), Errno::EBADF),
        (Call::Process(ProcessCall::AwaitExit { pidfd: stranger }), Errno::EINTR),
        (Call::Guest(GuestCall::Start), Errno::EINVAL),
        (Call::Guest(GuestCall::Save { fd: BAD }), Errno::EBADF),
        (Call::Guest(GuestCall::Save { fd: event }), Errno::EINVAL),
        (Call::Guest(GuestCall::Save { fd: memfd }), Errno::EINVAL),
        (Call::Guest(GuestCall::Load { fd: BAD }), Errno::EBADF),
        (Call::Guest(GuestCall::Load { fd: event }), Errno::EINVAL),
        (Call::Guest(GuestCall::Load { fd: memfd }), Errno::EINVAL),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    rig.machine.kill(NEW);
    rig.refuses(OLD, Call::Process(ProcessCall::Kill { pidfd: stranger }), Errno::ESRCH);
}

#[test]
fn limits_and_users() {
    let mut rig = Rig::new("7.3", process(0, true, 8), process(1000, true, 8));
    assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetMemlock)), Reply::Memlock(8 * PAGE_BYTES));
    rig.ok(OLD, limit(UNLIMITED));
    assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetMemlock)), Reply::Memlock(UNLIMITED));
    rig.ok(NEW, limit(PAGE_BYTES));
    rig.refuses(NEW, limit(2 * PAGE_BYTES), Errno::EPERM);

    rig.ok(NEW, Call::Process(ProcessCall::SetUid { uid: Uid(1000) }));
    assert_eq!(rig.ok(NEW, Call::Process(ProcessCall::GetCapIpcLock)), Reply::Flag(true));
    rig.ok(OLD, Call::Process(ProcessCall::SetUid { uid: Uid(0) }));
    assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetCapIpcLock)), Reply::Flag(true));
    rig.ok(OLD, Call::Process(ProcessCall::SetUid { uid: Uid(7) }));
    assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetUid)), Reply::Uid(Uid(7)));
    assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetCapIpcLock)), Reply::Flag(false));
    rig.refuses(OLD, Call::Process(ProcessCall::SetUid { uid: Uid(0) }), Errno::EPERM);
}

#[test]
fn exec_replaces_the_memory_map_and_closes_cloexec_descriptors() {
    let mut rig = Rig::default();
    let kept = rig.memfd(OLD, 1);
    let lost = rig.memfd(OLD, 1);
    rig.ok(OLD, Call::File(FileCall::SetCloexec { fd: kept, on: false }));
    rig.mmap(OLD, Some(kept), 1);
    rig.machine.boot_guest(OLD);
    let image = rig.machine.image(OLD, 7);
    assert_eq!(rig.machine.running_image(OLD), None);
    rig.ok(OLD, Call::Process(ProcessCall::Exec { image }));
    assert_eq!(rig.machine.running_image(OLD), Some(7));
    let view = rig.machine.view();
    let process = &view.processes[&OLD];
    assert!(process.alive && process.guest.is_none());
    assert_eq!(process.descriptors.keys().copied().collect::<Vec<Fd>>(), [kept]);
    rig.refuses(OLD, Call::File(FileCall::Close { fd: lost }), Errno::EBADF);
}

#[test]
fn only_user_0_gets_the_capability_back_at_exec() {
    for (uid, regained) in [(0, true), (1000, false)] {
        let mut rig = Rig::new("7.3", process(uid, true, 8), unlimited());
        rig.ok(OLD, Call::Process(ProcessCall::DropCapIpcLock));
        assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetCapIpcLock)), Reply::Flag(false));
        let image = rig.machine.image(OLD, 1);
        rig.ok(OLD, Call::Process(ProcessCall::Exec { image }));
        assert_eq!(rig.ok(OLD, Call::Process(ProcessCall::GetCapIpcLock)), Reply::Flag(regained));
    }
}

#[test]
fn a_dead_process_leaves_no_state() {
    let ends: [fn(&mut Rig); 3] = [
        |rig| rig.machine.kill(OLD),
        |rig| _ = rig.ok(OLD, Call::Process(ProcessCall::Exit { status: 1 })),
        |rig| {
            let pidfd = rig.machine.pidfd(NEW, OLD);
            rig.ok(NEW, Call::Process(ProcessCall::Kill { pidfd }));
            rig.ok(NEW, Call::File(FileCall::Close { fd: pidfd }));
        },
    ];
    let died: Vec<_> = (ends.iter())
        .map(|end| {
            let mut rig = Rig::default();
            rig.set_up(2);
            rig.machine.boot_guest(OLD);
            end(&mut rig);
            rig.machine.audit().expect("invariants");
            rig.machine.kill(OLD);
            let view = rig.machine.view();
            assert!(!rig.machine.alive(OLD) && rig.machine.alive(NEW));
            assert!(view.page_sets.is_empty() && view.mappings.is_empty() && view.books.is_empty());
            assert!(!view.devices["edu"].bound);
            rig.machine
        })
        .collect();
    assert!(died.windows(2).all(|pair| pair[0] == pair[1]), "all deaths are alike");
}

#[test]
fn await_exit_blocks_until_the_exit() {
    let mut rig = Rig::default();
    let pidfd = rig.machine.pidfd(NEW, OLD);
    let call = Call::Process(ProcessCall::AwaitExit { pidfd });
    assert!(rig.machine.would_block(NEW, &call));
    rig.machine.kill(OLD);
    assert!(!rig.machine.would_block(NEW, &call));
    rig.ok(NEW, call);
    assert!(!rig.machine.would_block(NEW, &Call::Process(ProcessCall::AwaitExit { pidfd: BAD })));
}

#[test]
#[should_panic(expected = "a dead process makes no calls")]
fn dead_processes_make_no_calls() {
    let mut rig = Rig::default();
    rig.machine.kill(OLD);
    _ = rig.machine.call(OLD, &Call::Process(ProcessCall::GetUid));
}

fn guest(rig: &Rig, pid: handoff_model::abi::ids::Pid) -> Option<GuestView> {
    rig.machine.view().processes[&pid].guest.clone()
}

#[test]
fn a_guest_is_saved_in_its_current_state() {
    let mut rig = Rig::default();
    let state = rig.memfd(OLD, 0);
    rig.machine.boot_guest(OLD);
    assert!(rig.machine.guest_work(OLD) && rig.machine.guest_work(OLD));
    rig.ok(OLD, Call::Guest(GuestCall::Save { fd: state }));
    assert!(rig.machine.guest_work(OLD), "it goes on running");
    rig.ok(OLD, Call::Guest(GuestCall::Stop));
    rig.ok(OLD, Call::Guest(GuestCall::Stop));
    assert!(!rig.machine.guest_work(OLD), "it stands");
    assert_eq!(guest(&rig, OLD).expect("a guest").progress, Some(3));

    let [fd] = rig.pass(&[state])[..] else { panic!("one descriptor") };
    rig.ok(NEW, Call::Guest(GuestCall::Load { fd }));
    let loaded = guest(&rig, NEW).expect("a guest");
    assert_eq!((loaded.running, loaded.progress), (false, Some(2)));
    rig.refuses(NEW, Call::Guest(GuestCall::Load { fd }), Errno::EINVAL);
    rig.ok(NEW, Call::Guest(GuestCall::Start));
    assert!(rig.machine.guest_work(NEW));
}

#[test]
fn saved_state_is_ordinary_bytes() {
    let mut rig = Rig::default();
    rig.machine.boot_guest(OLD);
    let sealed = rig.memfd(OLD, 0);
    rig.ok(OLD, Call::Memory(MemoryCall::SealSize { fd: sealed }));
    rig.refuses(OLD, Call::Guest(GuestCall::Save { fd: sealed }), Errno::EPERM);
    let spoil: [fn(Fd) -> Call; 3] = [
        |fd| Call::Memory(MemoryCall::Truncate { fd, length_bytes: 12 }),
        |fd| FileCall::write_at(fd, 0, vec![0]),
        |fd| MemoryCall::punch_hole(fd, 0, PAGE_BYTES),
    ];
    for spoil in spoil {
        let mut rig = rig.clone();
        let state = rig.memfd(OLD, 0);
        rig.ok(OLD, Call::Guest(GuestCall::Save { fd: state }));
        let [fd] = rig.pass(&[state])[..] else { panic!("one descriptor") };
        rig.ok(NEW, spoil(fd));
        rig.refuses(NEW, Call::Guest(GuestCall::Load { fd }), Errno::EINVAL);
    }
}

#[test]
fn stopping_without_a_guest_succeeds() {
    let mut rig = Rig::default();
    rig.ok(OLD, Call::Guest(GuestCall::Stop));
    assert!(!rig.machine.guest_work(OLD));
    let fd = rig.open(OLD, EDU);
    rig.ok(OLD, Call::File(FileCall::Close { fd }));
}
