//! BIND, ATTACH and DETACH: their checks in order, and the DMA owner of a group.

use super::{BAD, CONFIG, EDU, MTTY, OLD_KERNEL, info, mmap, read, write};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, PAGE_BYTES};
use handoff_model::abi::request as nr;

const EDU_AND_MTTY: &[Capability] = &[Capability::Has(Device::Edu), Capability::Has(Device::Mtty)];
const GROUP: &[Capability] = &[Capability::Has(Device::Edu), Capability::Has(Device::Sibling)];
const OF_6_2: &[Capability] = &[Capability::Has(Device::Edu), Capability::Release("6.2")];

fn bind(flags: u32, iommufd: Fd) -> Fields {
    sized().u32(flags).fd(iommufd).u32(0).u64(0)
}

fn with_token(iommufd: Fd) -> Fields {
    sized().u32(1).fd(iommufd).u32(0).pointer(&[7; 16])
}

pub(crate) const ROWS: &[Fact] = &[
    row("device/not-yet", "before 6.6 a device has no file of its own", OF_6_2, |b| {
        let p = b.process();
        let path = b.arm().path(Device::Edu);
        b.refuses(p, &Call::File(FileCall::Open { path }), Errno::ENOENT)
    }),
    row("device/before-bind", "before BIND every other call fails with EINVAL", EDU, |b| {
        let p = b.process();
        let d = b.open(p, Device::Edu)?;
        b.all_refused(
            p,
            &[
                (info(d, 6), Errno::EINVAL),
                (value(d, nr::VFIO_DEVICE_RESET, 0), Errno::EINVAL),
                (value(d, 0x3bff, 0), Errno::EINVAL),
                (read(d, CONFIG, 4), Errno::EINVAL),
                (read(d, CONFIG, 0), Errno::EINVAL),
                (write(d, CONFIG + 4, &[7]), Errno::EINVAL),
                (mmap(d, 0, PAGE_BYTES), Errno::EINVAL),
            ],
        )
    }),
    row("device/bind", "BIND checks size, flags, token and iommufd in order", EDU, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let (d, other) = (b.open(p, Device::Edu)?, b.open(p, Device::Edu)?);
        let memfd = b.memfd(p, 1)?;
        let long = bind(0, iommufd).u64(1);
        let number = nr::VFIO_DEVICE_BIND_IOMMUFD;
        b.all_refused(
            p,
            &[
                (value(d, number, 0), Errno::EFAULT),
                (bind(0, iommufd).with_size(15).plain(d, number), Errno::EINVAL),
                (long.on(d, number), Errno::E2BIG),
                (bind(2, BAD).on(d, number), Errno::EINVAL),
                (bind(0, Fd(-1)).on(d, number), Errno::EINVAL),
                (bind(1, BAD).on(d, number), Errno::EFAULT),
                (with_token(BAD).on(d, number), Errno::EINVAL),
                (bind(0, BAD).on(d, number), Errno::EBADF),
                (bind(0, memfd).on(d, number), Errno::EBADFD),
                (bind(0, iommufd).read_only().on(d, number), Errno::EFAULT),
                (Call::Device(DeviceCall::Bind { device: memfd, iommufd }), Errno::ENOTTY),
            ],
        )?;
        let short = sized().u32(0).fd(iommufd).u32(0);
        b.ok(p, &short.on(d, number))?;
        b.all_refused(
            p,
            &[
                (bind(0, BAD).on(d, number), Errno::EINVAL),
                (bind(0, iommufd).on(other, number), Errno::EINVAL),
            ],
        )?;
        let context = b.iommufd(p)?;
        b.refuses(p, &bind(0, context).on(other, number), Errno::EINVAL)
    }),
    row(
        "device/bind-old",
        "6.13 knows no flag of BIND and ATTACH, and ignores further fields",
        OLD_KERNEL,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let d = b.open(p, Device::Edu)?;
            let number = nr::VFIO_DEVICE_BIND_IOMMUFD;
            b.refuses(p, &bind(1, iommufd).on(d, number), Errno::EINVAL)?;
            b.ok(p, &bind(0, iommufd).u64(1).on(d, number))?;
            let pasid = sized().u32(1).u32(1).u32(1);
            b.refuses(p, &pasid.on(d, nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT), Errno::EINVAL)
        },
    ),
    row(
        "device/bind-mtty",
        "BIND with a token fails with EINVAL if the driver has no tokens",
        MTTY,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let d = b.open(p, Device::Mtty)?;
            b.refuses(p, &bind(1, iommufd).on(d, nr::VFIO_DEVICE_BIND_IOMMUFD), Errno::EINVAL)
        },
    ),
    row(
        "device/dma-owner",
        "BIND fails with EPERM if another context owns the DMA of the group",
        GROUP,
        |b| {
            let p = b.process();
            let (one, two) = (b.iommufd(p)?, b.iommufd(p)?);
            let (d, _) = b.bind(p, Device::Edu, one)?;
            let sibling = b.open(p, Device::Sibling)?;
            b.refuses(
                p,
                &Call::Device(DeviceCall::Bind { device: sibling, iommufd: two }),
                Errno::EPERM,
            )?;
            b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
            b.ok(p, &Call::Device(DeviceCall::Bind { device: sibling, iommufd: two }))?;
            b.ok(p, &Call::File(FileCall::Close { fd: sibling }))?;
            let (_, _) = (b.bind(p, Device::Edu, one)?, b.bind(p, Device::Sibling, one)?);
            Ok(())
        },
    ),
    row("device/attach", "ATTACH and DETACH check size, flags and PASID", EDU_AND_MTTY, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        let (m, _) = b.bind(p, Device::Mtty, iommufd)?;
        let (attach, detach) =
            (nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT, nr::VFIO_DEVICE_DETACH_IOMMUFD_PT);
        let to = |flags: u32, id: ObjectId| sized().u32(flags).id(id);
        b.all_refused(
            p,
            &[
                (value(d, attach, 0), Errno::EFAULT),
                (to(0, ioas).with_size(11).plain(d, attach), Errno::EINVAL),
                (to(2, ioas).on(d, attach), Errno::EINVAL),
                (to(1, ioas).on(d, attach), Errno::EINVAL),
                (to(1, ioas).with_size(16).plain(d, attach), Errno::EFAULT),
                (to(1, ObjectId(77)).u32(1).on(d, attach), Errno::ENOENT),
                (to(1, ioas).u32(1).on(d, attach), Errno::EINVAL),
                (to(1, ioas).u32(1).on(m, attach), Errno::EOPNOTSUPP),
                (to(0, ioas).read_only().on(d, attach), Errno::EFAULT),
                (value(d, detach, 0), Errno::EFAULT),
                (sized().u32(0).with_size(7).plain(d, detach), Errno::EINVAL),
                (sized().u32(2).on(d, detach), Errno::EINVAL),
                (sized().u32(1).on(d, detach), Errno::EINVAL),
                (sized().u32(1).u32(1).on(m, detach), Errno::EOPNOTSUPP),
            ],
        )?;
        b.ok(p, &sized().u32(1).u32(1).on(d, detach))?;
        b.ok(p, &sized().u32(0).on(d, detach))?;
        b.ok(p, &to(0, ioas).on(d, attach))?;
        b.ok(p, &to(0, ioas).on(m, attach)).map(drop)
    }),
];
