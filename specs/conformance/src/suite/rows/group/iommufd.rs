//! Groups that join an iommufd instead of a container.

use super::{
    TYPE1, V2, device_call, device_fd, info, join, leave, map, open_container, open_group,
    set_iommu, status,
};
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::{Call, FileCall, IommufdCall};
use handoff_model::abi::errno::Errno;

pub(crate) const ROWS: &[Fact] = &[
    row(
        "group/iommufd",
        "a group in an iommufd attaches its devices to the compat IOAS",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, iommufd) = (open_group(b, p, Device::Edu)?, b.iommufd(p)?);
            b.ok(p, &join(group, iommufd))?;
            b.refuses(p, &join(group, iommufd), Errno::EINVAL)?;
            status(b, p, group, 3)?;
            let va = b.mmap(p, None, 2)?;
            b.ok(p, &set_iommu(iommufd, V2))?;
            b.ok(p, &map(iommufd, va, 2))?;
            b.vm_pin(p, 0)?;
            let device = device_fd(b, p, group, Device::Edu)?;
            b.vm_pin(p, 2)?;
            b.ok(p, &info(device))?;
            let second = device_fd(b, p, group, Device::Edu)?;
            b.ok(p, &Call::File(FileCall::Close { fd: second }))?;
            b.vm_pin(p, 2)?;
            b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
            b.vm_pin(p, 0)
        },
    ),
    row(
        "group/iommufd-left",
        "a group can leave an iommufd, or close, while its devices are open",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, iommufd) = (open_group(b, p, Device::Edu)?, b.iommufd(p)?);
            b.ok(p, &join(group, iommufd))?;
            let device = device_fd(b, p, group, Device::Edu)?;
            b.ok(p, &leave(group))?;
            b.ok(p, &info(device))?;
            status(b, p, group, 0)?;
            let container = open_container(b, p)?;
            b.refuses(p, &join(group, container), Errno::EPERM)?;
            b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
            b.ok(p, &info(device))?;
            let group = open_group(b, p, Device::Edu)?;
            b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
            status(b, p, group, 1)?;
            b.ok(p, &join(group, container)).map(drop)
        },
    ),
    row(
        "group/iommufd-without-space",
        "GET_DEVICE_FD fails with ENODEV if the iommufd has lost its compat IOAS",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, iommufd) = (open_group(b, p, Device::Edu)?, b.iommufd(p)?);
            b.ok(p, &join(group, iommufd))?;
            b.ok(
                p,
                &Call::Iommufd(IommufdCall::Destroy {
                    iommufd,
                    id: handoff_model::abi::ids::ObjectId(1),
                }),
            )?;
            let get = device_call(b, group, Device::Edu);
            b.refuses(p, &get, Errno::ENODEV)
        },
    ),
];
