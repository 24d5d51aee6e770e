//! Equal states are equal values: an operation that is undone leaves no trace.

use crate::common::{BASE, EDU, MTTY, NEW, OLD, Rig, Setup, copy, map, map_file, unmap};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall};
use handoff_model::abi::ids::{Iova, PAGE_BYTES};
use std::hash::{DefaultHasher, Hash, Hasher};

fn hash(rig: &Rig) -> u64 {
    let mut hasher = DefaultHasher::new();
    rig.machine.hash(&mut hasher);
    hasher.finish()
}

/// Checks that undoing `act` restores the machine, its hash and its view, and that the machine and
/// its hash differ in between.
#[track_caller]
fn check(start: &Rig, act: impl FnOnce(&mut Rig) -> Vec<Call>) {
    let mut rig = start.clone();
    let undo = act(&mut rig);
    assert_ne!(rig.machine, start.machine);
    assert_ne!(hash(&rig), hash(start));
    for call in undo {
        rig.ok(OLD, call);
    }
    assert_eq!(rig.machine, start.machine);
    assert_eq!(hash(&rig), hash(start));
    assert_eq!(rig.machine.view(), start.machine.view());
}

#[test]
fn do_and_undo() {
    let mut start = Rig::default();
    let Setup { iommufd, ioas, memfd, device, device_id, .. } = start.set_up(2);
    let va = start.mmap(OLD, None, 2);
    let rig = &start;
    check(rig, |rig| vec![Call::File(FileCall::Close { fd: rig.iommufd(OLD) })]);
    check(rig, |rig| vec![Call::File(FileCall::Close { fd: rig.open(OLD, EDU) })]);
    check(rig, |rig| vec![Call::File(FileCall::Close { fd: rig.memfd(OLD, 3) })]);
    check(rig, |rig| {
        vec![Call::File(FileCall::Close { fd: rig.fd(OLD, Call::File(FileCall::Eventfd)) })]
    });
    check(rig, |rig| {
        vec![Call::File(FileCall::Close {
            fd: rig.fd(OLD, Call::File(FileCall::Dup { fd: device })),
        })]
    });
    check(rig, |rig| vec![Call::File(FileCall::Close { fd: rig.machine.pidfd(OLD, NEW) })]);
    check(rig, |rig| vec![Call::File(FileCall::Close { fd: rig.machine.image(OLD, 3) })]);
    check(rig, |rig| {
        let va = rig.mmap(OLD, Some(memfd), 2);
        vec![Call::Memory(MemoryCall::Munmap { va, length_bytes: 2 * PAGE_BYTES })]
    });
    check(rig, |rig| {
        vec![Call::Iommufd(IommufdCall::Destroy { iommufd, id: rig.ioas(OLD, iommufd) })]
    });
    check(rig, |rig| {
        let id = rig.id(OLD, IommufdCall::hwpt_alloc(iommufd, device_id, ioas));
        vec![Call::Iommufd(IommufdCall::Destroy { iommufd, id })]
    });
    check(rig, |rig| {
        rig.ok(OLD, map_file(iommufd, ioas, memfd, Iova(0), 2));
        vec![unmap(iommufd, ioas, Iova(0), 2)]
    });
    check(rig, |rig| {
        rig.ok(OLD, map(iommufd, ioas, va, Iova(0), 2));
        vec![unmap(iommufd, ioas, Iova(0), 2)]
    });
    check(rig, |rig| {
        rig.ok(OLD, copy(iommufd, (ioas, BASE), (ioas, Iova(0)), 1));
        vec![unmap(iommufd, ioas, Iova(0), 1)]
    });
    check(rig, |rig| {
        rig.ok(OLD, Call::File(FileCall::SetCloexec { fd: memfd, on: false }));
        vec![Call::File(FileCall::SetCloexec { fd: memfd, on: true })]
    });
    check(rig, |rig| {
        rig.ok(OLD, FileCall::write_at(memfd, 5000, vec![9]));
        vec![FileCall::write_at(memfd, 5000, vec![0])]
    });
}

#[test]
fn an_emulated_device_attached_and_detached() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let page_table = rig.ioas(OLD, iommufd);
    let (device, _) = rig.bind(OLD, MTTY, iommufd);
    let before = rig.machine.clone();
    rig.attach(OLD, device, page_table);
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device }));
    rig.machine.settle();
    assert_eq!(rig.machine, before);
}

#[test]
fn messages_received_and_closed() {
    let mut rig = Rig::default();
    let fd = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let before = rig.machine.clone();
    for fd in rig.pass(&[fd]) {
        rig.ok(NEW, Call::File(FileCall::Close { fd }));
    }
    assert_eq!(rig.machine, before);
}

#[test]
fn clones_do_not_see_each_other() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(2);
    let before = rig.machine.clone();
    let view = before.view();
    rig.machine.kill(OLD);
    assert_eq!(before.view(), view);
    assert_eq!(before.dma("edu", BASE).expect("mapped").index, 0);
    assert_eq!(set_up.ioas.0, 1);
}
