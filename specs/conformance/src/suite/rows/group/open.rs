//! Group files: opening, status, SET_CONTAINER.

use super::{TYPE1, join, leave, open_container, open_group, open_of, status};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::{Call, DeviceCall, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;

pub(crate) const ROWS: &[Fact] = &[
    row("group/one-file", "opening a group that is open fails with EBUSY", TYPE1, |b| {
        let (p, q) = (b.process(), b.process());
        let group = open_group(b, p, Device::Edu)?;
        let again = open_of(b, Device::Edu);
        b.refuses(p, &again, Errno::EBUSY)?;
        b.refuses(q, &again, Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
        open_group(b, q, Device::Edu).map(drop)
    }),
    row("group/or-device-file", "a group and a bound device file exclude each other", TYPE1, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let (device, _) = b.bind(p, Device::Edu, iommufd)?;
        let open = open_of(b, Device::Edu);
        b.refuses(p, &open, Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
        let group = b.fd(p, &open)?;
        let device = b.open(p, Device::Edu)?;
        b.refuses(p, &Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
        b.ok(p, &Call::Device(DeviceCall::Bind { device, iommufd })).map(drop)
    }),
    row("group/status", "GET_STATUS reports whether a group has a container", TYPE1, |b| {
        let p = b.process();
        let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
        let status_as = |size| sized().u32(0).with_size(size);
        b.all_refused(
            p,
            &[
                (status_as(7).plain(group, nr::VFIO_GROUP_GET_STATUS), Errno::EINVAL),
                (sized().on(group, nr::VFIO_GROUP_GET_STATUS), Errno::EFAULT),
                (value(group, nr::VFIO_IOMMU_DIRTY_PAGES, 0), Errno::ENOTTY),
            ],
        )?;
        status(b, p, group, 1)?;
        b.ok(p, &join(group, container))?;
        status(b, p, group, 3)?;
        b.ok(p, &leave(group))?;
        status(b, p, group, 1)
    }),
    row(
        "group/set-container",
        "a group joins one container or iommufd, and no other file",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            let short = Fields::default().u16(3).plain(group, nr::VFIO_GROUP_SET_CONTAINER);
            b.all_refused(
                p,
                &[
                    (short, Errno::EFAULT),
                    (join(group, Fd(-1)), Errno::EBADF),
                    (join(group, Fd(99)), Errno::EBADF),
                    (join(group, event), Errno::EBADFD),
                    (join(group, group), Errno::EBADFD),
                    (leave(group), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &join(group, container))?;
            b.refuses(p, &join(group, container), Errno::EINVAL)?;
            b.refuses(p, &join(group, event), Errno::EINVAL)?;
            b.ok(p, &leave(group))?;
            b.refuses(p, &leave(group), Errno::EINVAL)
        },
    ),
];
