//! Tests that calls on files, memfds and eventfds fail with the errnos of the system calls.

use crate::calls::{DONE, check, fd, memfd, no};
use crate::common::{host, succeeds_alone};
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::descriptors;
use rustix::event::EventfdFlags;
use rustix::fd::AsRawFd;

/// A number that no process has open.
const CLOSED: Fd = Fd(1_000_000);

#[test]
fn a_number_that_is_not_open_is_ebadf() {
    let calls = |fd| {
        vec![
            Call::File(FileCall::Close { fd }),
            Call::File(FileCall::Dup { fd }),
            Call::File(FileCall::SetCloexec { fd, on: true }),
            Call::File(FileCall::SetNonblock { fd, on: true }),
            Call::File(FileCall::Stat { fd }),
            Call::Memory(MemoryCall::Truncate { fd, length_bytes: 0 }),
            Call::Memory(MemoryCall::SealSize { fd }),
            MemoryCall::punch_hole(fd, 0, 4096),
            FileCall::write_at(fd, 0, vec![1]),
            FileCall::read_at(fd, 0, 1),
            MemoryCall::mmap(Some(fd), 0, 4096),
            Call::File(FileCall::ReadEvent { fd }),
            Call::Process(ProcessCall::Kill { pidfd: fd }),
            SocketCall::send(fd, vec![1], vec![]),
            Call::Socket(SocketCall::Receive { fd, wait: false }),
            Call::Socket(SocketCall::ShutdownReceive { fd }),
            Call::Iommufd(IommufdCall::IoasAlloc { iommufd: fd }),
            Call::Device(DeviceCall::Reset { device: fd }),
        ]
    };
    for closed in [Fd(-1), Fd(i32::MIN), CLOSED] {
        let rows: Vec<_> = calls(closed).into_iter().map(|call| (call, no(Errno::EBADF))).collect();
        check(&mut host(), &rows);
    }
}

#[test]
fn open_fails_with_the_errno_of_the_path() {
    let open = |path: &str| Call::File(FileCall::Open { path: path.to_owned() });
    let mut host = host();
    check(
        &mut host,
        &[
            (open("/dev/vfio/devices/no-such"), no(Errno::ENOENT)),
            (open("/proc/self/status/x"), no(Errno::Other(20))),
            (open("/tmp"), no(Errno::Other(21))),
            (open("a\0b"), no(Errno::EINVAL)),
        ],
    );
    let null = fd(&mut host, &open("/dev/null"));
    assert!(descriptors::own(null).expect("open").cloexec);
}

#[test]
fn a_number_is_closed_once() {
    // Runs alone: otherwise another thread could be given the same number in between.
    succeeds_alone("files::a_number_is_closed_once", || {
        let mut host = host();
        let event = fd(&mut host, &Call::File(FileCall::Eventfd));
        let close = Call::File(FileCall::Close { fd: event });
        check(&mut host, &[(close.clone(), DONE), (close, no(Errno::EBADF))]);
        assert_eq!(fd(&mut host, &Call::File(FileCall::Eventfd)), event, "the lowest that is free");
    });
}

#[test]
fn ioctls_on_a_file_without_any_are_enotty() {
    let mut host = host();
    let null = fd(&mut host, &Call::File(FileCall::Open { path: "/dev/null".to_owned() }));
    check(
        &mut host,
        &[
            (Call::Iommufd(IommufdCall::IoasAlloc { iommufd: null }), no(Errno::ENOTTY)),
            (IommufdCall::probe_change_process(null), no(Errno::ENOTTY)),
            (Call::Device(DeviceCall::Info { device: null }), no(Errno::ENOTTY)),
            (Call::Device(DeviceCall::Reset { device: null }), no(Errno::ENOTTY)),
            (DeviceCall::set_irqs(null, 1, vec![null]), no(Errno::ENOTTY)),
        ],
    );
}

#[test]
fn a_memfd_is_written_read_and_sealed() {
    let mut host = host();
    let fd = memfd(&mut host, 8192);
    let write = |offset_bytes, bytes: &[u8]| FileCall::write_at(fd, offset_bytes, bytes.to_vec());
    let read = |offset_bytes, length_bytes| FileCall::read_at(fd, offset_bytes, length_bytes);
    let bytes = |bytes: &[u8]| Ok(Reply::Bytes(bytes.to_vec()));
    check(
        &mut host,
        &[
            (write(4094, b"abcd"), Ok(Reply::Length(4))),
            (read(4095, 2), bytes(b"bc")),
            (read(8190, 100), bytes(b"\0\0")),
            (read(8192, 1), bytes(b"")),
            (MemoryCall::punch_hole(fd, 4096, 4096), DONE),
            (read(4094, 4), bytes(b"ab\0\0")),
            (MemoryCall::punch_hole(fd, 0, 0), no(Errno::EINVAL)),
            (Call::Memory(MemoryCall::Truncate { fd, length_bytes: 4096 }), DONE),
            (Call::Memory(MemoryCall::SealSize { fd }), DONE),
            (Call::Memory(MemoryCall::SealSize { fd }), DONE),
            (Call::Memory(MemoryCall::Truncate { fd, length_bytes: 8192 }), no(Errno::EPERM)),
            (Call::Memory(MemoryCall::Truncate { fd, length_bytes: 0 }), no(Errno::EPERM)),
            (write(4096, b"x"), no(Errno::EPERM)),
            (write(4095, b"x"), Ok(Reply::Length(1))),
        ],
    );
}

#[test]
fn stat_returns_the_same_inode_for_the_same_file() {
    let mut host = host();
    let one = memfd(&mut host, 4096);
    let other = memfd(&mut host, 4096);
    let dup = fd(&mut host, &Call::File(FileCall::Dup { fd: one }));
    let mut stat = |fd| match host.call(&Call::File(FileCall::Stat { fd })) {
        Ok(Reply::Stat { inode, length_bytes }) => (inode, length_bytes),
        other => panic!("{other:?}"),
    };
    assert_eq!(stat(one), stat(dup));
    assert_eq!(stat(one).1, 4096);
    assert_ne!(stat(one).0, stat(other).0);
}

#[test]
fn every_new_descriptor_is_cloexec_until_that_is_cleared() {
    let mut host = host();
    let memfd = memfd(&mut host, 0);
    let event = fd(&mut host, &Call::File(FileCall::Eventfd));
    let dup = fd(&mut host, &Call::File(FileCall::Dup { fd: memfd }));
    let cloexec = |fd| descriptors::own(fd).expect("open").cloexec;
    assert!(cloexec(memfd) && cloexec(event) && cloexec(dup));
    check(&mut host, &[(Call::File(FileCall::SetCloexec { fd: memfd, on: false }), DONE)]);
    assert!(!cloexec(memfd) && cloexec(dup), "the flag belongs to the descriptor");
    check(&mut host, &[(Call::File(FileCall::SetCloexec { fd: memfd, on: true }), DONE)]);
    assert!(cloexec(memfd));
}

#[test]
fn an_eventfd_counts_and_is_reset_by_a_read() {
    let mut host = host();
    let made = fd(&mut host, &Call::File(FileCall::Eventfd));
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let owned = rustix::event::eventfd(0, flags).expect("room");
    let event = Fd(owned.as_raw_fd());
    let waiting = |fd| descriptors::own(fd).expect("open").event_count;
    assert_eq!((waiting(made), waiting(event)), (Some(0), Some(0)));
    check(
        &mut host,
        &[
            (Call::File(FileCall::ReadEvent { fd: made }), no(Errno::EAGAIN)),
            (Call::File(FileCall::ReadEvent { fd: event }), no(Errno::EAGAIN)),
        ],
    );
    for count in [2_u64, 10] {
        rustix::io::write(&owned, &count.to_ne_bytes()).expect("room");
    }
    assert_eq!(waiting(event), Some(12));
    check(
        &mut host,
        &[
            (Call::File(FileCall::ReadEvent { fd: event }), Ok(Reply::Count(12))),
            (Call::File(FileCall::ReadEvent { fd: event }), no(Errno::EAGAIN)),
        ],
    );
    let identity = |fd| descriptors::own(fd).expect("open").identity;
    assert_ne!(identity(made), identity(event), "they share an inode but differ by their ids");
}
