//! Descriptors in flight, eventfds, seals, and deaths of their holders.

use crate::suite::fixture::{BASE, Fixture, ROOT, Setup, map_file};
use crate::suite::{Fact, FactResult, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid};

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];

const BAD: Fd = Fd(99);

/// `F_SEAL_*`.
const SEAL: u32 = 1;
const SHRINK: u32 = 2;
const GROW: u32 = 4;
const WRITE: u32 = 8;
const FUTURE_WRITE: u32 = 16;
const EXEC: u32 = 32;

fn seals(fd: Fd, seals: u32) -> Call {
    Call::Memory(MemoryCall::AddSeals { fd, seals })
}

fn mmap(fd: Fd) -> Call {
    MemoryCall::mmap(Some(fd), 0, PAGE_BYTES)
}

fn write(fd: Fd) -> Call {
    FileCall::write_at(fd, 0, vec![1])
}

fn punch(fd: Fd) -> Call {
    MemoryCall::punch_hole(fd, 0, PAGE_BYTES)
}

/// Sends descriptors to a process that receives at most `room`. Returns the reply.
fn pass_few(b: &mut Fixture<'_>, from: Pid, to: Pid, fds: &[Fd], room: usize) -> FactResult<Reply> {
    let (there, here) = b.arm().socketpair(from, to);
    b.ok(from, &SocketCall::send(there, vec![1], fds.to_vec()))?;
    b.ok(to, &Call::Socket(SocketCall::ReceiveFew { fd: here, fds_max: room }))
}

/// Checks that a new file of the device can be bound.
fn is_free(b: &mut Fixture<'_>) -> FactResult {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    b.bind(p, Device::Edu, iommufd).map(drop)
}

/// Checks that a new file of the device cannot be bound.
fn is_taken(b: &mut Fixture<'_>) -> FactResult {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let device = b.open(p, Device::Edu)?;
    b.refuses(p, &Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EINVAL)
}

pub(super) const ROWS: &[Fact] = &[
    row("files/eventfd", "an eventfd adds writes, and fails with EAGAIN on overflow", &[], |b| {
        let p = b.process();
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        let write = |fd, count| Call::File(FileCall::WriteEvent { fd, count });
        b.refuses(p, &Call::File(FileCall::ReadEvent { fd: e }), Errno::EAGAIN)?;
        for count in [0, 2, 3] {
            b.ok(p, &write(e, count))?;
        }
        let seen = b.ok(p, &Call::File(FileCall::ReadEvent { fd: e }))?;
        b.same("the count", &seen, &Reply::Count(5))?;
        b.refuses(p, &write(e, u64::MAX), Errno::EINVAL)?;
        b.ok(p, &write(e, u64::MAX - 1))?;
        b.refuses(p, &write(e, 1), Errno::EAGAIN)?;
        b.refuses(p, &write(BAD, 1), Errno::EBADF)
    }),
    row(
        "files/no-eventfd",
        "only an eventfd can be read or written as one",
        &[Capability::Simulated("a host reads and writes other files")],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            b.refuses(
                p,
                &Call::File(FileCall::WriteEvent { fd: iommufd, count: 1 }),
                Errno::EINVAL,
            )?;
            b.refuses(p, &Call::File(FileCall::ReadEvent { fd: iommufd }), Errno::EINVAL)
        },
    ),
    row("files/map-iommufd", "mmap of an iommufd without a viommu fails with ENXIO", &[], |b| {
        let p = b.process();
        let fd = Some(b.iommufd(p)?);
        let map = MemoryCall::mmap(fd, 0, PAGE_BYTES);
        b.refuses(p, &map, Errno::ENXIO)
    }),
    row("files/ctrunc", "descriptors without room are closed, and set MSG_CTRUNC", EDU, |b| {
        let (p, q) = (b.process(), b.process());
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        for (room, fds) in [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)] {
            match pass_few(b, p, q, &[e, e, e], room)? {
                Reply::Message { fds: came, truncated, .. } => {
                    b.same("the number of descriptors", &came.len(), &fds)?;
                    b.same("truncated", &truncated, &(fds < 3))?;
                }
                other => unreachable!("{other:?}"),
            }
        }
        let (_, here) = b.arm().socketpair(p, q);
        b.refuses(
            q,
            &Call::Socket(SocketCall::ReceiveFew { fd: here, fds_max: 1 }),
            Errno::EAGAIN,
        )?;
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        pass_few(b, p, q, &[e, d], 1)?;
        b.ok(p, &Call::Device(DeviceCall::Info { device: d }))?;
        b.kill(p);
        is_free(b)
    }),
    row("files/ctrunc-device", "a device that is truncated off a message is closed", EDU, |b| {
        let (p, q) = (b.process(), b.process());
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        let (there, here) = b.arm().socketpair(p, q);
        b.ok(p, &SocketCall::send(there, vec![1], vec![iommufd, d]))?;
        b.kill(p);
        is_taken(b)?;
        b.ok(q, &Call::Socket(SocketCall::ReceiveFew { fd: here, fds_max: 1 }))?;
        is_free(b)
    }),
    row("files/in-flight", "a device in flight is open while it can be received", EDU, |b| {
        let (p, q) = (b.process(), b.process());
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        let (there, here) = b.arm().socketpair(p, q);
        b.ok(p, &SocketCall::send(there, vec![1], vec![d]))?;
        b.kill(p);
        is_taken(b)?;
        b.ok(q, &Call::File(FileCall::Close { fd: here }))?;
        is_free(b)
    }),
    row(
        "files/only-device",
        "with only the device passed, its context lives but is unreachable",
        EDU,
        |b| {
            let (p, q) = (b.process(), b.process());
            let Setup { device, .. } = b.set_up(p, 4)?;
            let [device] = b.pass(p, q, &[device])?[..] else { unreachable!("one was sent") };
            b.kill(p);
            b.ok(q, &Call::Device(DeviceCall::Info { device }))?;
            is_taken(b)?;
            b.ok(q, &Call::File(FileCall::Close { fd: device }))?;
            is_free(b)
        },
    ),
    row(
        "files/only-context",
        "with only the context passed, areas remain and the device's id is free",
        EDU,
        |b| {
            let (p, q) = (b.process(), b.process());
            let Setup { iommufd, ioas, device_id, hwpt, .. } = b.set_up(p, 4)?;
            let [iommufd] = b.pass(p, q, &[iommufd])?[..] else { unreachable!("one was sent") };
            b.kill(p);
            b.refuses(
                q,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }),
                Errno::ENOENT,
            )?;
            let memfd = b.memfd(q, 1)?;
            b.refuses(q, &map_file(iommufd, ioas, memfd, BASE, 1), Errno::EEXIST)?;
            let (device, id) = b.bind(q, Device::Edu, iommufd)?;
            b.same("its id", &id, &device_id)?;
            b.attach(q, device, ioas).map(drop)
        },
    ),
    row("files/child", "the exit of a child releases no device", EDU, |b| {
        let p = b.process();
        let Setup { device, .. } = b.set_up(p, 4)?;
        let child = b.fork(p);
        b.ok(child, &Call::Device(DeviceCall::Info { device }))?;
        b.kill(child);
        b.ok(p, &Call::Device(DeviceCall::Info { device }))?;
        is_taken(b)
    }),
    row(
        "files/seals",
        "seals refuse changes, and adding one fails with EBUSY or EPERM on a conflict",
        &[],
        |b| {
            let p = b.process();
            let m = b.memfd(p, 2)?;
            let iommufd = b.iommufd(p)?;
            let reader = b.fd(p, &Call::Memory(MemoryCall::ReopenReadOnly { fd: m }))?;
            b.all_refused(
                p,
                &[
                    (seals(BAD, SHRINK), Errno::EBADF),
                    (seals(reader, 1 << 20), Errno::EPERM),
                    (seals(m, 1 << 20), Errno::EINVAL),
                    (seals(iommufd, SHRINK), Errno::EINVAL),
                    (Call::Memory(MemoryCall::ReopenReadOnly { fd: BAD }), Errno::ENOENT),
                ],
            )?;
            let Reply::Va(va) = b.ok(p, &mmap(m))? else {
                unreachable!("a mapping returns its address")
            };
            b.refuses(p, &seals(m, WRITE), Errno::EBUSY)?;
            b.ok(p, &seals(m, SHRINK))?;
            b.ok(p, &Call::Memory(MemoryCall::Truncate { fd: m, length_bytes: 3 * PAGE_BYTES }))?;
            b.refuses(
                p,
                &Call::Memory(MemoryCall::Truncate { fd: m, length_bytes: PAGE_BYTES }),
                Errno::EPERM,
            )?;
            b.ok(p, &seals(m, GROW))?;
            b.refuses(
                p,
                &Call::Memory(MemoryCall::Truncate { fd: m, length_bytes: 4 * PAGE_BYTES }),
                Errno::EPERM,
            )?;
            b.ok(p, &Call::Memory(MemoryCall::Munmap { va, length_bytes: PAGE_BYTES }))?;
            b.ok(p, &seals(m, WRITE | SEAL))?;
            b.all_refused(
                p,
                &[
                    (write(m), Errno::EPERM),
                    (punch(m), Errno::EPERM),
                    (mmap(m), Errno::EPERM),
                    (seals(m, GROW), Errno::EPERM),
                ],
            )
        },
    ),
    row("files/future-write", "F_SEAL_FUTURE_WRITE keeps existing mappings", &[], |b| {
        let p = b.process();
        let m = b.memfd(p, 1)?;
        b.ok(p, &mmap(m))?;
        b.ok(p, &seals(m, FUTURE_WRITE))?;
        b.all_refused(
            p,
            &[(write(m), Errno::EPERM), (mmap(m), Errno::EPERM), (seals(m, EXEC), Errno::EBUSY)],
        )
    }),
    row(
        "files/read-only",
        "a memfd that is opened read-only can be read but not changed",
        &[],
        |b| {
            let p = b.process();
            let m = b.memfd(p, 1)?;
            b.ok(p, &write(m))?;
            let r = b.fd(p, &Call::Memory(MemoryCall::ReopenReadOnly { fd: m }))?;
            let seen = b.ok(p, &FileCall::read_at(r, 0, 1))?;
            b.same("the byte read", &seen, &Reply::Bytes(vec![1]))?;
            let (one, other) = (
                b.ok(p, &Call::File(FileCall::Stat { fd: m }))?,
                b.ok(p, &Call::File(FileCall::Stat { fd: r }))?,
            );
            b.same("the file", &one, &other)?;
            b.all_refused(
                p,
                &[
                    (write(r), Errno::EBADF),
                    (punch(r), Errno::EBADF),
                    (mmap(r), Errno::EACCES),
                    (Call::Memory(MemoryCall::Truncate { fd: r, length_bytes: 0 }), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &Call::File(FileCall::Close { fd: m }))?;
            let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
            b.refuses(p, &Call::Memory(MemoryCall::ReopenReadOnly { fd: e }), Errno::EACCES)?;
            let root = b.spawn(ROOT);
            let e = b.fd(root, &Call::File(FileCall::Eventfd))?;
            b.refuses(root, &Call::Memory(MemoryCall::ReopenReadOnly { fd: e }), Errno::ENXIO)?;
            let (socket, _) = b.arm().socketpair(p, root);
            b.refuses(p, &Call::Memory(MemoryCall::ReopenReadOnly { fd: socket }), Errno::ENXIO)
        },
    ),
    row("files/sealed-dma", "MAP_FILE ignores seals and the access mode of the file", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, memfd, device, .. } = b.set_up(p, 1)?;
        b.refuses(p, &seals(memfd, WRITE), Errno::EBUSY)?;
        b.ok(p, &seals(memfd, SHRINK | GROW))?;
        let reader = b.fd(p, &Call::Memory(MemoryCall::ReopenReadOnly { fd: memfd }))?;
        let next = |page: u64| handoff_model::abi::ids::Iova(BASE.0 + page * PAGE_BYTES);
        b.ok(p, &map_file(iommufd, ioas, reader, next(1), 1))?;
        let sealed = b.memfd(p, 1)?;
        b.ok(p, &seals(sealed, WRITE))?;
        b.ok(p, &map_file(iommufd, ioas, sealed, next(2), 1))?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        b.ok(p, &seals(memfd, WRITE)).map(drop)
    }),
];
