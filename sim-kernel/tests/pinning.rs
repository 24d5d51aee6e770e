//! Pinned pages, and the accounts that are charged for them (`iommufd/pages`, `mm/accounting`).

use crate::common::{
    BASE, NEW, NIC, OLD, Rig, Setup, copy, map, map_file, process, unlimited, unmap,
};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, ProcessCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, PAGE_BYTES, Uid};
use handoff_model::abi::view::Account;

const USER: Account = Account::User(Uid(1000));
const OLD_MM: Account = Account::Process(OLD);

#[test]
fn pages_are_pinned_while_an_address_space_over_them_has_a_domain() {
    let mut rig = Rig::default();
    let Setup { iommufd, ioas, memfd, device, .. } = rig.set_up(4);
    assert_eq!((rig.page_set().pinned_pages, rig.locked(USER)), (4, 4));
    rig.ok(OLD, copy(iommufd, (ioas, BASE), (ioas, Iova(0x90000)), 2));
    assert_eq!((rig.page_set().pinned_pages, rig.locked(USER)), (4, 4), "pinned once");
    rig.ok(OLD, unmap(iommufd, ioas, BASE, 4));
    assert_eq!((rig.page_set().pinned_pages, rig.locked(USER)), (2, 2), "the copy keeps its slice");
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 4));
    assert_eq!(rig.locked(USER), 6, "a second map pins and charges a second time");
    assert_eq!(rig.machine.vm_pin_pages(OLD), 6);
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device }));
    assert_eq!(rig.locked(USER), 0);
    rig.attach(OLD, device, ioas);
    assert_eq!(rig.locked(USER), 6);
}

#[test]
fn a_second_domain_uses_the_pages_of_the_first() {
    let mut rig = Rig::default();
    let Setup { iommufd, ioas, .. } = rig.set_up(1);
    let va = rig.mmap(OLD, None, 1);
    rig.ok(OLD, map(iommufd, ioas, va, Iova(0x50000), 1));
    rig.ok(OLD, Call::Memory(MemoryCall::Munmap { va, length_bytes: PAGE_BYTES }));
    let other = rig.ioas(OLD, iommufd);
    rig.ok(OLD, copy(iommufd, (ioas, Iova(0x50000)), (other, BASE), 1));
    let (second, _) = rig.bind(OLD, NIC, iommufd);
    rig.attach(OLD, second, other);
    rig.enable_bus_master(OLD, second);
    assert_eq!(rig.machine.dma("nic", BASE), rig.machine.dma("edu", Iova(0x50000)));
    assert_eq!(rig.locked(USER), 2);
}

#[test]
fn the_mapper_decides_who_is_charged() {
    #[track_caller]
    fn check(cap_ipc_lock: bool, per_process: bool, account: Option<Account>) {
        let mut rig = Rig::new("7.3", process(0, cap_ipc_lock, 100), unlimited());
        let iommufd = rig.iommufd(OLD);
        rig.ok(OLD, Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process }));
        let ioas = rig.ioas(OLD, iommufd);
        let (device, _) = rig.bind(OLD, NIC, iommufd);
        rig.attach(OLD, device, ioas);
        let memfd = rig.memfd(OLD, 3);
        rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 3));
        let set = rig.page_set();
        assert_eq!((set.account, set.pinned_pages), (account, 3));
        assert_eq!(set.charged_pages, if account.is_some() { 3 } else { 0 });
        assert_eq!(
            rig.machine.view().books.into_keys().collect::<Vec<_>>(),
            Vec::from_iter(account)
        );
        assert_eq!(rig.machine.vm_pin_pages(OLD), 3);
    }
    let root = Account::User(Uid(0));
    check(false, false, Some(root));
    check(false, true, Some(OLD_MM));
    check(true, false, None);
    check(true, true, None);
}

#[test]
fn the_limit_is_that_of_the_owner_when_pages_are_pinned() {
    let mut rig = Rig::new("7.3", process(1000, false, 4), process(1000, false, 3));
    let Setup { iommufd, ioas, .. } = rig.set_up(3);
    let [memfd, small] = [2, 1].map(|pages| rig.memfd(OLD, pages));
    rig.refuses(OLD, map_file(iommufd, ioas, memfd, Iova(0), 2), Errno::ENOMEM);
    rig.ok(OLD, map_file(iommufd, ioas, small, Iova(0), 1));
    let passed = rig.pass(&[iommufd, small]);
    let theirs = map_file(passed[0], ioas, passed[1], Iova(0x8000), 1);
    rig.refuses(NEW, theirs.clone(), Errno::ENOMEM);
    rig.ok(OLD, unmap(iommufd, ioas, BASE, 3));
    rig.ok(NEW, theirs);
    assert_eq!(rig.locked(USER), 2, "all processes of a user together");
}

#[test]
fn pages_of_a_privileged_process_are_not_charged() {
    let mut rig = Rig::new("7.3", process(1000, true, 0), unlimited());
    rig.set_up(8);
    assert!(rig.machine.view().books.is_empty());
    assert_eq!(rig.machine.vm_pin_pages(OLD), 8);
}

/// H9: attaching charges the recorded owner, not the process that attaches.
#[test]
fn lazy_pages_are_charged_to_the_recorded_owner() {
    let mut rig = Rig::new("7.3", process(1000, false, 0), process(1001, false, 5));
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let (device, _) = rig.bind(OLD, NIC, iommufd);
    let memfd = rig.memfd(OLD, 5);
    let passed = rig.pass(&[iommufd, memfd]);
    rig.ok(NEW, map_file(passed[0], ioas, passed[1], BASE, 5));
    let attach = Call::Device(DeviceCall::Attach { device, page_table: ioas });

    let mut living = rig.clone();
    living.ok(OLD, attach.clone());
    assert_eq!(living.locked(Account::User(Uid(1001))), 5);

    rig.machine.kill(NEW);
    rig.ok(OLD, attach);
    let set = rig.page_set();
    assert_eq!((set.owner, set.owner_alive, set.charged_pages), (Some(NEW), Some(false), 5));
    assert_eq!(rig.locked(Account::User(Uid(1001))), 5, "also when it is dead");
}

#[test]
fn lazy_addresses_of_a_dead_memory_map_fault() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let va = rig.mmap(OLD, None, 1);
    rig.ok(OLD, map(iommufd, ioas, va, BASE, 1));
    let iommufd = rig.pass(&[iommufd])[0];
    let (device, _) = rig.bind(NEW, NIC, iommufd);
    rig.machine.kill(OLD);
    rig.refuses(NEW, Call::Device(DeviceCall::Attach { device, page_table: ioas }), Errno::EFAULT);
}

/// H5: a dead owner's charge counts against all processes of its user.
#[test]
fn a_dead_owners_user_stays_charged() {
    let mut rig = Rig::new("7.3", process(1000, false, 4), process(1000, false, 6));
    let Setup { iommufd, ioas, memfd, device, .. } = rig.set_up(4);
    let [iommufd, memfd, ..] = rig.pass(&[iommufd, memfd, device])[..] else { panic!("three") };
    rig.machine.kill(OLD);
    assert_eq!(rig.locked(USER), 4);
    rig.refuses(NEW, map_file(iommufd, ioas, memfd, Iova(0x90000), 4), Errno::ENOMEM);
    rig.ok(NEW, unmap(iommufd, ioas, BASE, 4));
    assert_eq!(rig.locked(USER), 0);
}

#[test]
fn a_memory_map_takes_its_counters_with_it() {
    let mut rig = Rig::new("7.3", process(0, false, 8), unlimited());
    let iommufd = rig.iommufd(OLD);
    rig.ok(OLD, Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }));
    let ioas = rig.ioas(OLD, iommufd);
    let (device, _) = rig.bind(OLD, NIC, iommufd);
    rig.attach(OLD, device, ioas);
    let memfd = rig.memfd(OLD, 3);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 3));
    assert_eq!((rig.locked(OLD_MM), rig.machine.vm_lck_pages(OLD)), (3, 3));
    for fd in [iommufd, device] {
        rig.ok(OLD, Call::File(FileCall::SetCloexec { fd, on: false }));
    }
    let image = rig.machine.image(OLD, 1);
    rig.ok(OLD, Call::Process(ProcessCall::Exec { image }));
    assert_eq!((rig.locked(OLD_MM), rig.machine.vm_pin_pages(OLD)), (0, 0));
    let set = rig.page_set();
    assert_eq!((set.owner, set.owner_alive, set.pinned_pages), (Some(OLD), Some(false), 3));
}
