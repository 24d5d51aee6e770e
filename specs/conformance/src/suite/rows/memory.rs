//! Errors of calls on descriptors, memfds and mappings.

use crate::suite::{Fact, row};
use crate::target::Capability;
use handoff_model::abi::call::{Call, FileCall, MemoryCall, Reply, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Va};

const BAD: Fd = Fd(99);

/// The lowest offset or length that is negative as a signed number, and the highest that is not.
const NEGATIVE: u64 = 1 << 63;
const HIGHEST: u64 = NEGATIVE - 1;

fn truncate(fd: Fd, length_bytes: u64) -> Call {
    Call::Memory(MemoryCall::Truncate { fd, length_bytes })
}

fn punch(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    MemoryCall::punch_hole(fd, offset_bytes, length_bytes)
}

fn write(fd: Fd, offset_bytes: u64) -> Call {
    FileCall::write_at(fd, offset_bytes, vec![1])
}

fn read(fd: Fd, offset_bytes: u64) -> Call {
    FileCall::read_at(fd, offset_bytes, 1)
}

fn mmap(fd: Option<Fd>, offset_bytes: u64, length_bytes: u64) -> Call {
    MemoryCall::mmap(fd, offset_bytes, length_bytes)
}

fn munmap(va: u64, length_bytes: u64) -> Call {
    Call::Memory(MemoryCall::Munmap { va: Va(va), length_bytes })
}

pub(super) const ROWS: &[Fact] = &[
    row("memory/descriptors", "calls on an unknown descriptor fail with EBADF", &[], |b| {
        let p = b.process();
        b.all_refused(
            p,
            &[
                (
                    Call::File(FileCall::Open { path: "/dev/vfio/devices/vfio99".to_owned() }),
                    Errno::ENOENT,
                ),
                (Call::File(FileCall::Close { fd: BAD }), Errno::EBADF),
                (Call::File(FileCall::Dup { fd: BAD }), Errno::EBADF),
                (Call::File(FileCall::Stat { fd: BAD }), Errno::EBADF),
                (Call::File(FileCall::SetCloexec { fd: BAD, on: true }), Errno::EBADF),
                (Call::File(FileCall::SetCloexec { fd: BAD, on: false }), Errno::EBADF),
                (Call::File(FileCall::SetNonblock { fd: BAD, on: true }), Errno::EBADF),
                (Call::File(FileCall::ReadEvent { fd: BAD }), Errno::EBADF),
                (Call::Socket(SocketCall::ReceiveFew { fd: BAD, fds_max: 1 }), Errno::EBADF),
            ],
        )
    }),
    row(
        "memory/table",
        "a full descriptor table fails with EMFILE",
        &[Capability::Simulated("a host determines the number of descriptors of its processes")],
        |b| {
            let p = b.process();
            let memfd = b.memfd(p, 1)?;
            while b.call(p, &Call::File(FileCall::Dup { fd: memfd })).is_ok() {}
            b.all_refused(
                p,
                &[
                    (Call::File(FileCall::Dup { fd: memfd }), Errno::EMFILE),
                    (Call::File(FileCall::Eventfd), Errno::EMFILE),
                    (Call::File(FileCall::Open { path: "/dev/iommu".to_owned() }), Errno::EMFILE),
                ],
            )
        },
    ),
    row(
        "memory/opath",
        "a program that is open with O_PATH can be examined and duplicated, not used",
        &[Capability::Simulated("no call opens a program in a host's processes")],
        |b| {
            let p = b.process();
            let image = b.arm().image(p).unwrap_or(BAD);
            b.ok(p, &Call::File(FileCall::Stat { fd: image }))?;
            b.ok(p, &Call::File(FileCall::Dup { fd: image }))?;
            b.all_refused(
                p,
                &[
                    (truncate(image, 0), Errno::EBADF),
                    (read(image, 0), Errno::EBADF),
                    (mmap(Some(image), 0, 1), Errno::EBADF),
                    (Call::Memory(MemoryCall::SealSize { fd: image }), Errno::EBADF),
                    (Call::File(FileCall::SetNonblock { fd: image, on: true }), Errno::EBADF),
                ],
            )
        },
    ),
    row("memory/memfd", "calls on a memfd check offset and length", &[], |b| {
        let p = b.process();
        let memfd = b.memfd(p, 1)?;
        let iommufd = b.iommufd(p)?;
        let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.all_refused(
            p,
            &[
                (truncate(BAD, NEGATIVE), Errno::EINVAL),
                (truncate(BAD, 0), Errno::EBADF),
                (truncate(event, 0), Errno::EINVAL),
                (punch(BAD, 0, 1), Errno::EBADF),
                (punch(memfd, 0, 0), Errno::EINVAL),
                (punch(memfd, NEGATIVE, 1), Errno::EINVAL),
                (punch(event, 0, 1), Errno::ENODEV),
                (punch(memfd, HIGHEST, HIGHEST), Errno::EFBIG),
                (write(BAD, NEGATIVE), Errno::EINVAL),
                (write(BAD, 0), Errno::EBADF),
                (write(memfd, HIGHEST), Errno::EINVAL),
                (write(event, 0), Errno::ESPIPE),
                (write(iommufd, 0), Errno::EINVAL),
                (read(BAD, NEGATIVE), Errno::EINVAL),
                (read(BAD, 0), Errno::EBADF),
                (read(memfd, HIGHEST), Errno::EINVAL),
                (read(event, 0), Errno::ESPIPE),
                (read(iommufd, 0), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &Call::Memory(MemoryCall::SealSize { fd: memfd }))?;
        b.refuses(p, &write(memfd, PAGE_BYTES), Errno::EPERM)?;
        let read = FileCall::read_at(memfd, PAGE_BYTES - 2, 9);
        let seen = b.ok(p, &read)?;
        b.same("shorter at the end", &seen, &Reply::Bytes(vec![0, 0]))
    }),
    row("memory/mappings", "mmap and munmap check file, offset and length", &[], |b| {
        let p = b.process();
        let memfd = b.memfd(p, 1)?;
        let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.all_refused(
            p,
            &[
                (mmap(Some(BAD), 1, 0), Errno::EINVAL),
                (mmap(Some(BAD), 0, 0), Errno::EBADF),
                (mmap(Some(memfd), 0, 0), Errno::EINVAL),
                (mmap(Some(memfd), 0, HIGHEST), Errno::ENOMEM),
                (mmap(None, 0, 0x7fff_ffff_e000), Errno::ENOMEM),
                (mmap(Some(memfd), u64::MAX - 0xfff, PAGE_BYTES), Errno::EOVERFLOW),
                (mmap(Some(event), 0, 1), Errno::ENODEV),
                (munmap(1, PAGE_BYTES), Errno::EINVAL),
                (munmap(0, 0), Errno::EINVAL),
                (munmap(HIGHEST, 1), Errno::EINVAL),
            ],
        )
    }),
];
