//! Descriptors, open files, eventfds (`fs`, `fs/eventfd`).

use crate::common::{BAD, BASE, EDU, MTTY, NEW, OLD, Rig, map_file};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova};
use handoff_model::abi::view::FileKind;
use handoff_sim_kernel::Placement;

#[test]
fn refusals() {
    let mut rig = Rig::default();
    let memfd = rig.memfd(OLD, 1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let image = rig.machine.image(OLD, 7);
    let socket = rig.old_end;
    let rows = [
        (Call::File(FileCall::Open { path: "/dev/vfio/devices/vfio9".into() }), Errno::ENOENT),
        (Call::File(FileCall::Close { fd: BAD }), Errno::EBADF),
        (Call::File(FileCall::Dup { fd: BAD }), Errno::EBADF),
        (Call::File(FileCall::SetCloexec { fd: BAD, on: true }), Errno::EBADF),
        (Call::File(FileCall::Stat { fd: BAD }), Errno::EBADF),
        (Call::File(FileCall::ReadEvent { fd: BAD }), Errno::EBADF),
        (Call::File(FileCall::ReadEvent { fd: image }), Errno::EBADF),
        (Call::File(FileCall::ReadEvent { fd: memfd }), Errno::EINVAL),
        (Call::File(FileCall::ReadEvent { fd: socket }), Errno::EINVAL),
        (Call::File(FileCall::ReadEvent { fd: event }), Errno::EAGAIN),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

#[test]
fn the_lowest_free_descriptor_is_given_and_it_is_cloexec() {
    let mut rig = Rig::default();
    assert_eq!(rig.old_end, Fd(3));
    let [a, b, c] = [(); 3].map(|()| rig.fd(OLD, Call::File(FileCall::Eventfd)));
    assert_eq!([a, b, c], [4, 5, 6].map(Fd));
    rig.ok(OLD, Call::File(FileCall::Close { fd: b }));
    assert_eq!(rig.fd(OLD, Call::File(FileCall::Dup { fd: a })), b);
    let view = rig.machine.view();
    let descriptors = &view.processes[&OLD].descriptors;
    assert!(descriptors.values().all(|descriptor| descriptor.cloexec));
    assert_eq!(descriptors[&a].file, descriptors[&b].file, "dup shares the open file");
    assert_ne!(descriptors[&a].file, descriptors[&c].file);
}

#[test]
fn cloexec_belongs_to_the_descriptor() {
    let mut rig = Rig::default();
    let fd = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let other = rig.fd(OLD, Call::File(FileCall::Dup { fd }));
    rig.ok(OLD, Call::File(FileCall::SetCloexec { fd, on: false }));
    let view = rig.machine.view();
    assert!(!view.processes[&OLD].descriptors[&fd].cloexec);
    assert!(view.processes[&OLD].descriptors[&other].cloexec);
}

#[test]
fn a_full_descriptor_table_fails_with_emfile() {
    let mut rig = Rig::default();
    for _ in 4..1024 {
        rig.machine.call(OLD, &Call::File(FileCall::Eventfd)).expect("room");
    }
    for call in [
        Call::File(FileCall::Eventfd),
        Call::Memory(MemoryCall::Memfd { name: String::new() }),
        Call::File(FileCall::Dup { fd: Fd(4) }),
    ] {
        rig.refuses(OLD, call, Errno::EMFILE);
    }
    rig.refuses(OLD, Call::File(FileCall::Open { path: "/dev/iommu".into() }), Errno::EMFILE);
}

#[test]
fn recorded_numbers_are_reused_if_free() {
    let mut rig = Rig::default();
    let at = |fd| Placement { fd: Some(Fd(fd)), ..Placement::default() };
    for (wanted, given) in [(40, 40), (40, 4), (12, 12)] {
        let answer = rig.machine.call_placed(OLD, &Call::File(FileCall::Eventfd), &at(wanted));
        assert_eq!(answer, Ok(Reply::Fd(Fd(given))));
    }
}

#[test]
fn only_memfds_are_distinguished_by_inode() {
    let mut rig = Rig::default();
    let [a, b] = [2, 3].map(|pages| rig.memfd(OLD, pages));
    let twin = rig.fd(OLD, Call::File(FileCall::Dup { fd: a }));
    let [stat_a, stat_b, stat_twin] =
        [a, b, twin].map(|fd| rig.ok(OLD, Call::File(FileCall::Stat { fd })));
    assert_eq!(stat_a, stat_twin);
    assert_ne!(stat_a, stat_b);
    assert!(matches!(stat_a, Reply::Stat { length_bytes: 0x2000, inode: 1.. }));
    let socket = rig.old_end;
    assert_eq!(
        rig.ok(OLD, Call::File(FileCall::Stat { fd: socket })),
        Reply::Stat { inode: 0, length_bytes: 0 }
    );
}

#[test]
fn reading_an_eventfd_resets_its_count() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let fd = rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.ok(OLD, DeviceCall::set_irqs(set_up.device, 1, vec![fd]));
    for _ in 0..3 {
        assert!(rig.machine.raise("edu", 0));
    }
    assert_eq!(rig.ok(OLD, Call::File(FileCall::ReadEvent { fd })), Reply::Count(3));
    rig.refuses(OLD, Call::File(FileCall::ReadEvent { fd }), Errno::EAGAIN);
}

/// An ioctl on a kind of file that does not support it.
#[test]
fn ioctls_on_the_wrong_kind_of_file() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let unbound = rig.open(OLD, MTTY);
    let second = rig.open(OLD, EDU);
    let memfd = set_up.memfd;
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let pidfd = rig.machine.pidfd(OLD, NEW);
    let image = rig.machine.image(OLD, 1);
    let socket = rig.old_end;
    let strangers = [memfd, event, pidfd, socket].map(|fd| (fd, Errno::ENOTTY));
    let common = [strangers.to_vec(), vec![(BAD, Errno::EBADF), (image, Errno::EBADF)]].concat();
    let unbound = [(unbound, Errno::EINVAL), (second, Errno::EINVAL)];

    let bound = [(set_up.device, Errno::ENOTTY)];
    for (fd, errno) in common.iter().chain(&unbound).chain(&bound) {
        for call in iommufd_calls(*fd) {
            rig.refuses(OLD, call, *errno);
        }
    }
    let iommufd = [(set_up.iommufd, Errno::ENOTTY)];
    for (fd, errno) in common.iter().chain(&unbound).chain(&iommufd) {
        for call in device_calls(*fd) {
            rig.refuses(OLD, call, *errno);
        }
    }
}

fn iommufd_calls(iommufd: Fd) -> Vec<Call> {
    use handoff_model::abi::ids::ObjectId;
    let (ioas, device, hwpt) = (ObjectId(1), ObjectId(2), ObjectId(3));
    vec![
        Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }),
        Call::Iommufd(IommufdCall::IoasAlloc { iommufd }),
        Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas }),
        map_file(iommufd, ioas, Fd(5), Iova(0), 1),
        crate::common::map(iommufd, ioas, handoff_model::abi::ids::Va(0), Iova(0), 1),
        crate::common::copy(iommufd, (ioas, BASE), (ioas, BASE), 1),
        crate::common::unmap(iommufd, ioas, BASE, 1),
        IommufdCall::change_process(iommufd),
        Call::Iommufd(IommufdCall::GetRlimitMode { iommufd }),
        Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }),
        IommufdCall::hwpt_alloc(iommufd, device, ioas),
        Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt }),
        Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device }),
    ]
}

fn device_calls(device: Fd) -> Vec<Call> {
    use handoff_model::abi::ids::ObjectId;
    vec![
        Call::Device(DeviceCall::Attach { device, page_table: ObjectId(1) }),
        Call::Device(DeviceCall::Detach { device }),
        Call::Device(DeviceCall::Info { device }),
        Call::Device(DeviceCall::RegionInfo { device, index: 0 }),
        Call::Device(DeviceCall::IrqInfo { device, index: 0 }),
        DeviceCall::set_irqs(device, 1, vec![]),
        Call::Device(DeviceCall::Reset { device }),
    ]
}

#[test]
fn kinds_are_seen() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let rows = [
        (rig.old_end, FileKind::Socket),
        (set_up.iommufd, FileKind::Iommufd),
        (set_up.device, FileKind::Device),
        (set_up.memfd, FileKind::Memfd),
        (rig.fd(OLD, Call::File(FileCall::Eventfd)), FileKind::Eventfd),
        (rig.machine.pidfd(OLD, NEW), FileKind::Pidfd),
        (rig.machine.image(OLD, 1), FileKind::Image),
    ];
    let view = rig.machine.view();
    for (fd, kind) in rows {
        assert_eq!(view.processes[&OLD].descriptors[&fd].kind, kind);
    }
}
