//! CHANGE_PROCESS: transfer of page ownership, and its hazards (`iommufd/change_process`).

use crate::common::{
    BASE, NEW, NIC, OLD, Rig, Setup, copy, map, map_file, process, unlimited, unmap,
};
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, ProcessCall, SocketCall, errno_of,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Pid, Uid};
use handoff_model::abi::uapi::rfc_v1::{Move, change_addresses};
use handoff_model::abi::view::Account;
use handoff_sim_kernel::ProcessSpec;

const CHANGE: fn(Fd) -> Call = |iommufd| IommufdCall::change_process(iommufd);

/// Pages that the old process mapped and pinned; both processes have the context and the memfd.
struct Shared {
    rig: Rig,
    ioas: ObjectId,
    iommufd: Fd,
    /// The descriptor of the context in the new process.
    passed: Fd,
    passed_memfd: Fd,
}

fn shared(kernel: &str, old: ProcessSpec, new: ProcessSpec, pages: u64) -> Shared {
    let mut rig = Rig::new(kernel, old, new);
    let Setup { iommufd, ioas, memfd, device, .. } = rig.set_up(pages);
    let [passed, passed_memfd, _] = rig.pass(&[iommufd, memfd, device])[..] else {
        panic!("three descriptors")
    };
    Shared { rig, ioas, iommufd, passed, passed_memfd }
}

/// As [`shared`], but both processes have user 0 and the accounting is per process.
fn per_process(kernel: &str, pages: u64) -> Shared {
    let root = process(0, false, pages);
    let mut rig = Rig::new(kernel, root, root);
    let iommufd = rig.iommufd(OLD);
    rig.ok(OLD, Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }));
    let ioas = rig.ioas(OLD, iommufd);
    let (device, _) = rig.bind(OLD, NIC, iommufd);
    rig.attach(OLD, device, ioas);
    let memfd = rig.memfd(OLD, pages);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, pages));
    let [passed, passed_memfd, _] = rig.pass(&[iommufd, memfd, device])[..] else {
        panic!("three descriptors")
    };
    Shared { rig, ioas, iommufd, passed, passed_memfd }
}

fn user(uid: u32) -> Account {
    Account::User(Uid(uid))
}

fn mm(pid: Pid) -> Account {
    Account::Process(pid)
}

#[test]
fn empty_contexts_and_owners_themselves_succeed_and_change_nothing() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    for _ in 0..2 {
        let before = rig.machine.clone();
        rig.change_process(OLD, iommufd);
        assert_eq!(rig.machine, before);
        let ioas = rig.ioas(OLD, iommufd);
        let memfd = rig.memfd(OLD, 1);
        rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 1));
    }
}

#[test]
fn only_ownership_moves_and_moves_back() {
    let new = process(1001, false, 4);
    let Shared { mut rig, iommufd, passed, .. } = shared("7.3", unlimited(), new, 4);
    let before = rig.machine.clone();
    let seen = |rig: &Rig| rig.machine.view().devices;
    rig.change_process(NEW, passed);
    assert_eq!(seen(&rig), before.view().devices);
    let set = rig.page_set();
    assert_eq!((set.owner, set.account, set.charged_pages), (Some(NEW), Some(user(1001)), 4));
    assert_eq!((rig.locked(user(1000)), rig.locked(user(1001))), (0, 4));
    assert_eq!((rig.machine.vm_pin_pages(OLD), rig.machine.vm_pin_pages(NEW)), (0, 4));
    rig.change_process(OLD, iommufd);
    assert_eq!(rig.machine, before);
}

#[test]
fn mappings_by_address_fail_without_a_change() {
    let Shared { mut rig, iommufd, passed, ioas, .. } = shared("7.3", unlimited(), unlimited(), 2);
    let other = rig.ioas(OLD, iommufd);
    rig.ok(OLD, copy(iommufd, (ioas, BASE), (other, BASE), 2));
    let va = rig.mmap(OLD, None, 1);
    rig.ok(OLD, map(iommufd, other, va, Iova(0), 1));
    rig.refuses(NEW, CHANGE(passed), Errno::EINVAL);
    rig.ok(OLD, unmap(iommufd, other, Iova(0), 1));
    rig.ok(NEW, CHANGE(passed));
}

#[test]
fn copies_are_charged_once_against_the_new_owners_limit() {
    for (limit_pages, answer) in [(3, Err(Errno::ENOMEM)), (4, Ok(()))] {
        let new = process(1001, false, limit_pages);
        let Shared { mut rig, iommufd, passed, ioas, .. } = shared("7.3", unlimited(), new, 4);
        rig.ok(OLD, copy(iommufd, (ioas, BASE), (ioas, Iova(0)), 4));
        match answer {
            Ok(()) => rig.change_process(NEW, passed),
            Err(errno) => rig.refuses(NEW, CHANGE(passed), errno),
        }
    }
}

#[test]
fn lazy_pages_change_owner_without_a_charge() {
    let mut rig = Rig::new("7.3", unlimited(), process(1001, false, 0));
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let memfd = rig.memfd(OLD, 2);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 2));
    let iommufd = rig.pass(&[iommufd])[0];
    rig.change_process(NEW, iommufd);
    assert_eq!(rig.page_set().owner, Some(NEW));
    assert!(rig.machine.view().books.is_empty());
}

/// H1: within one user the transfer needs twice the limit; on a fixed kernel it needs no more than
/// the charge itself.
#[test]
fn double_charge() {
    #[track_caller]
    fn check(kernel: &str, limit_pages: u64, answer: Result<(), Errno>) {
        let both = process(1000, false, limit_pages);
        let Shared { mut rig, passed, .. } = shared(kernel, both, both, 64);
        match answer {
            Ok(()) => {
                rig.change_process(NEW, passed);
                assert_eq!(rig.locked(user(1000)), 64);
                assert_eq!((rig.machine.vm_pin_pages(OLD), rig.machine.vm_pin_pages(NEW)), (0, 64));
            }
            Err(errno) => rig.refuses(NEW, CHANGE(passed), errno),
        }
    }
    for kernel in ["6.13", "7.2", "7.3"] {
        check(kernel, 96, Err(Errno::ENOMEM));
        check(kernel, 127, Err(Errno::ENOMEM));
        check(kernel, 128, Ok(()));
    }
    check("fixed", 64, Ok(()));
}

#[test]
fn per_process_accounting_has_no_double_charge() {
    let Shared { mut rig, passed, .. } = per_process("7.3", 64);
    rig.change_process(NEW, passed);
    assert_eq!((rig.locked(mm(OLD)), rig.locked(mm(NEW))), (0, 64));
}

/// H2: uncharged pages leave their VmPin behind.
#[test]
fn pinned_drift() {
    for (kernel, after_change, after_unmap) in
        [("7.3", (64, 0), (64, -64)), ("fixed", (0, 64), (0, 0))]
    {
        let old = process(1000, true, 0);
        let Shared { mut rig, passed, ioas, .. } = shared(kernel, old, unlimited(), 64);
        rig.change_process(NEW, passed);
        let pins = |rig: &Rig| (rig.machine.vm_pin_pages(OLD), rig.machine.vm_pin_pages(NEW));
        assert_eq!(pins(&rig), after_change);
        rig.ok(NEW, unmap(passed, ioas, BASE, 64));
        assert_eq!(pins(&rig), after_unmap);
    }
}

/// H3: fails with `EINVAL` although all pages were transferred; the charge is leaked permanently.
#[test]
fn a_dead_owner_leaks_the_new_owners_charge() {
    for (kernel, answer, leaked) in [("7.3", Err(Errno::EINVAL), 4), ("fixed", Ok(()), 0)] {
        let Shared { mut rig, passed, ioas, .. } = per_process(kernel, 4);
        rig.machine.kill(OLD);
        let call = CHANGE(passed);
        assert_eq!(rig.machine.call(NEW, &call).map(|_| ()), answer);
        assert_eq!(rig.page_set().owner, Some(NEW));
        assert_eq!(rig.locked(mm(NEW)), 4);
        rig.ok(NEW, call);
        rig.ok(NEW, unmap(passed, ioas, BASE, 4));
        assert_eq!((rig.locked(mm(NEW)), rig.machine.vm_pin_pages(NEW)), (leaked, leaked));
    }
}

/// H3 after an exec: the process is the same, its memory map is not.
#[test]
fn an_exec_leaks_like_a_death() {
    for (kernel, answer, leaked) in [("7.3", Err(Errno::EINVAL), 4), ("fixed", Ok(()), 0)] {
        let Shared { mut rig, iommufd, ioas, .. } = per_process(kernel, 4);
        rig.ok(OLD, Call::File(FileCall::SetCloexec { fd: iommufd, on: false }));
        let image = rig.machine.image(OLD, 1);
        rig.ok(OLD, Call::Process(ProcessCall::Exec { image }));
        assert_eq!(rig.machine.call(OLD, &CHANGE(iommufd)).map(|_| ()), answer);
        assert_eq!(rig.page_set().owner_alive, Some(true));
        rig.ok(OLD, unmap(iommufd, ioas, BASE, 4));
        assert_eq!(rig.locked(mm(OLD)), leaked);
    }
}

/// H3, repeated: the next process to take over is not charged, and its counter underflows.
#[test]
fn the_owner_after_a_leak_underflows() {
    for (kernel, after_take, after_unmap) in [("7.3", (0, 0), (0, -4)), ("fixed", (0, 4), (0, 0))] {
        let Shared { mut rig, passed, ioas, .. } = per_process(kernel, 4);
        rig.machine.kill(OLD);
        _ = rig.machine.call(NEW, &CHANGE(passed));
        let third = rig.machine.spawn(process(0, false, 4));
        let (ours, theirs) = rig.machine.socketpair(NEW, third);
        rig.ok(NEW, SocketCall::send(ours, vec![1], vec![passed]));
        rig.ok(third, Call::Socket(SocketCall::Receive { fd: theirs, wait: true }));
        let iommufd = Fd(theirs.0 + 1);
        rig.change_process(third, iommufd);
        let locked = |rig: &Rig| (rig.locked(mm(NEW)), rig.locked(mm(third)));
        assert_eq!(locked(&rig), after_take);
        rig.ok(third, unmap(iommufd, ioas, BASE, 4));
        assert_eq!(locked(&rig), after_unmap);
        assert_eq!(rig.machine.vm_lck_pages(third), after_unmap.1);
    }
}

/// H4: the accounting mode is that of the process that mapped, whatever the new owner's privileges.
#[test]
fn the_accounting_mode_sticks() {
    let Shared { mut rig, passed, .. } =
        shared("7.3", process(1000, true, 0), process(1001, false, 0), 4);
    rig.change_process(NEW, passed);
    assert_eq!(rig.page_set().account, None, "an unprivileged taker inherits uncharged pages");

    let Shared { rig, passed, .. } = shared("7.3", unlimited(), process(1001, true, 0), 4);
    rig.refuses(NEW, CHANGE(passed), Errno::ENOMEM);
}

/// H5 and H1: a dead owner's charge still counts when its pages are taken over.
#[test]
fn taking_over_from_a_dead_owner_of_the_same_user_needs_twice_the_limit() {
    for (limit_pages, answer) in [(7, Err(Errno::ENOMEM)), (8, Ok(()))] {
        let both = process(1000, false, limit_pages);
        let Shared { mut rig, passed, .. } = shared("7.3", both, both, 4);
        rig.machine.kill(OLD);
        match answer {
            Ok(()) => rig.change_process(NEW, passed),
            Err(errno) => rig.refuses(NEW, CHANGE(passed), errno),
        }
    }
}

/// H8: each page set has its own owner, not the context.
#[test]
fn each_page_set_has_its_own_owner() {
    let Shared { mut rig, iommufd, passed, passed_memfd, ioas, .. } =
        shared("7.3", unlimited(), process(1001, false, 9), 4);
    rig.ok(NEW, map_file(passed, ioas, passed_memfd, Iova(0), 3));
    assert_eq!((rig.locked(user(1000)), rig.locked(user(1001))), (4, 3));
    rig.change_process(NEW, passed);
    assert_eq!((rig.locked(user(1000)), rig.locked(user(1001))), (0, 7));
    rig.ok(OLD, unmap(iommufd, ioas, Iova(0), 3));
    assert_eq!(rig.locked(user(1001)), 4);
}

#[test]
fn a_probe_with_the_reserved_field_has_no_effect() {
    let Shared { rig, passed, .. } = shared("7.3", unlimited(), process(1001, false, 0), 4);
    rig.refuses(NEW, IommufdCall::probe_change_process(passed), Errno::EOPNOTSUPP);
    let mut rig = Rig::new("6.12", unlimited(), unlimited());
    let iommufd = rig.iommufd(OLD);
    rig.refuses(OLD, IommufdCall::probe_change_process(iommufd), Errno::ENOTTY);
}

/// The first proposal of CHANGE_PROCESS: the new owner lists the new addresses of the pages. An
/// address that it does not list is invalid.
#[test]
fn listed_addresses_resolve_to_the_pages() {
    for (is_told, attached) in [(true, None), (false, Some(Errno::EFAULT))] {
        let mut rig = Rig::new("rfc-v1", unlimited(), unlimited());
        let iommufd = rig.iommufd(OLD);
        let ioas = rig.ioas(OLD, iommufd);
        let old = rig.mmap(OLD, None, 2);
        rig.ok(OLD, map(iommufd, ioas, old, BASE, 2));
        let fd = rig.pass(&[iommufd])[0];
        let gap = rig.mmap(NEW, None, 2);
        let new = rig.mmap(NEW, None, 2);
        rig.ok(NEW, Call::Memory(MemoryCall::Munmap { va: gap, length_bytes: 2 * 4096 }));
        let moved = Move { old, new, length_bytes: 2 * 4096 };
        let list = if is_told { vec![moved] } else { vec![] };
        let taken = rig.ok(NEW, Call::Ioctl { fd, ioctl: change_addresses(&list) });
        assert_eq!(errno_of(&Ok(taken)), None);
        assert_eq!((rig.page_set().owner, rig.page_set().pinned_pages), (Some(NEW), 0));
        let (device, _) = rig.bind(OLD, NIC, iommufd);
        let answer =
            rig.machine.call(OLD, &Call::Device(DeviceCall::Attach { device, page_table: ioas }));
        assert_eq!(errno_of(&answer), attached);
        assert_eq!(rig.page_set().pinned_pages, if is_told { 2 } else { 0 });
    }
}
