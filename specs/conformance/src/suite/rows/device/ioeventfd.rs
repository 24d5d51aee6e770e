//! Ioeventfds: their checks, and their maximum number.

use super::{BAD, CONFIG, EDU, begin};
use crate::suite::structure::{sized, value};
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::{Call, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;

fn ioeventfd(d: Fd, flags: u32, offset: u64, fd: Fd) -> Call {
    let cmd = sized().u32(flags).u64(offset).u64(5).fd(fd).u32(0);
    cmd.on(d, nr::VFIO_DEVICE_IOEVENTFD)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "device/ioeventfd",
        "IOEVENTFD accepts one eventfd per write, and only writes to BARs",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            let (e, f) = (
                b.fd(p, &Call::File(FileCall::Eventfd))?,
                b.fd(p, &Call::File(FileCall::Eventfd))?,
            );
            let none = Fd(-1);
            b.all_refused(
                p,
                &[
                    (value(d, nr::VFIO_DEVICE_IOEVENTFD, 0), Errno::EFAULT),
                    (
                        sized()
                            .u32(4)
                            .u64(0)
                            .u64(0)
                            .u64(0)
                            .with_size(27)
                            .plain(d, nr::VFIO_DEVICE_IOEVENTFD),
                        Errno::EINVAL,
                    ),
                    (ioeventfd(d, 3, 8, e), Errno::EINVAL),
                    (ioeventfd(d, 16, 8, e), Errno::EINVAL),
                    (ioeventfd(d, 4, 8, Fd(-2)), Errno::EINVAL),
                    (ioeventfd(d, 4, (1 << 20) - 2, e), Errno::EINVAL),
                    (ioeventfd(d, 4, 1 << 40, e), Errno::EINVAL),
                    (ioeventfd(d, 4, CONFIG, e), Errno::EINVAL),
                    (ioeventfd(d, 4, 8, none), Errno::ENODEV),
                    (ioeventfd(d, 4, 8, BAD), Errno::EBADF),
                    (ioeventfd(d, 4, 8, d), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &ioeventfd(d, 4, 8, e))?;
            b.refuses(p, &ioeventfd(d, 4, 8, f), Errno::EEXIST)?;
            b.ok(p, &Call::File(FileCall::WriteEvent { fd: e, count: 1 }))?;
            b.refuses(p, &Call::File(FileCall::ReadEvent { fd: e }), Errno::EAGAIN)?;
            b.ok(p, &ioeventfd(d, 4, 8, none))?;
            b.ok(p, &Call::File(FileCall::WriteEvent { fd: e, count: 1 }))?;
            b.ok(p, &Call::File(FileCall::ReadEvent { fd: e }))?;
            b.ok(p, &ioeventfd(d, 4, 8, f))?;
            b.ok(p, &Call::File(FileCall::Close { fd: f }))?;
            b.refuses(p, &ioeventfd(d, 4, 8, e), Errno::EEXIST)?;
            b.ok(p, &ioeventfd(d, 4, 8, none))?;
            b.ok(p, &ioeventfd(d, 4, 8, e)).map(drop)
        },
    ),
    row("device/ioeventfds-end", "IOEVENTFD fails with ENOSPC beyond 1000 ioeventfds", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        for at in 0..1000 {
            b.ok(p, &ioeventfd(d, 4, 0x100 + 4 * at, e))?;
        }
        b.refuses(p, &ioeventfd(d, 4, 8, e), Errno::ENOSPC)
    }),
];
