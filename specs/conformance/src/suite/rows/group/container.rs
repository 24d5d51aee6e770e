//! Containers: extensions, SET_IOMMU, lifetime.

use super::{
    TYPE1, UPDATE_VADDR, V1, V2, device_fd, extension, join, leave, map, open_container,
    open_group, ready, set_iommu,
};
use crate::suite::structure::value;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::request as nr;

const TWO: &[Capability] =
    &[Capability::Type1, Capability::Has(Device::Edu), Capability::Has(Device::OtherEdu)];

/// Numbers of extensions.
const DMA_CC_IOMMU: u64 = 4;
const UNMAP_ALL: u64 = 9;

pub(crate) const ROWS: &[Fact] = &[
    row(
        "container/extensions",
        "CHECK_EXTENSION reports the extensions before and after SET_IOMMU",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
            let version = b.ioctl(p, &value(container, nr::VFIO_GET_API_VERSION, 0))?;
            b.same("version", &version.result, &Ok(0))?;
            let always = [(V1, 1), (V2, 1), (UNMAP_ALL, 1), (2, 0), (77, 0), (1 << 32 | V1, 0)];
            for (which, expected) in
                always.into_iter().chain([(UPDATE_VADDR, 0), (DMA_CC_IOMMU, 0)])
            {
                extension(b, p, container, which, expected)?;
            }
            b.ok(p, &join(group, container))?;
            extension(b, p, container, UPDATE_VADDR, 0)?;
            b.ok(p, &set_iommu(container, V2))?;
            for (which, expected) in always.into_iter().chain([(UPDATE_VADDR, 1)]) {
                extension(b, p, container, which, expected)?;
            }
            Ok(())
        },
    ),
    row(
        "container/coherency",
        "without real devices all DMA is coherent",
        &[Capability::Type1, Capability::Has(Device::Mtty)],
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Mtty, V2)?;
            extension(b, p, at.container, DMA_CC_IOMMU, 1)
        },
    ),
    row(
        "container/set-iommu",
        "SET_IOMMU succeeds once, in a container with a group, for a known type",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
            let va = b.mmap(p, None, 1)?;
            b.refuses(p, &set_iommu(container, V2), Errno::EINVAL)?;
            b.refuses(p, &map(container, va, 1), Errno::EINVAL)?;
            b.ok(p, &join(group, container))?;
            b.refuses(p, &set_iommu(container, 42), Errno::ENODEV)?;
            b.refuses(p, &map(container, va, 1), Errno::EINVAL)?;
            b.ok(p, &set_iommu(container, V1))?;
            b.refuses(p, &set_iommu(container, V2), Errno::EINVAL)?;
            b.refuses(p, &value(container, nr::VFIO_IOMMU_ENABLE, 0), Errno::ENOTTY)?;
            b.ok(p, &map(container, va, 1)).map(drop)
        },
    ),
    row(
        "container/last-group",
        "a container loses its IOMMU and its mappings with its last group",
        TWO,
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Edu, V2)?;
            let other = open_group(b, p, Device::OtherEdu)?;
            b.ok(p, &join(other, at.container))?;
            let va = b.mmap(p, None, 4)?;
            b.ok(p, &map(at.container, va, 4))?;
            b.vm_lck(p, 4)?;
            b.ok(p, &leave(at.group))?;
            b.vm_lck(p, 4)?;
            b.ok(p, &Call::File(FileCall::Close { fd: other }))?;
            b.vm_lck(p, 0)?;
            b.refuses(p, &map(at.container, va, 4), Errno::EINVAL)?;
            b.ok(p, &join(at.group, at.container))?;
            b.ok(p, &set_iommu(at.container, V1)).map(drop)
        },
    ),
    row(
        "container/outlives-its-file",
        "a container lives while its file is open or a group is in it",
        TYPE1,
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Edu, V2)?;
            let va = b.mmap(p, None, 2)?;
            b.ok(p, &map(at.container, va, 2))?;
            b.ok(p, &Call::File(FileCall::Close { fd: at.container }))?;
            b.vm_lck(p, 2)?;
            device_fd(b, p, at.group, Device::Edu)?;
            b.ok(p, &Call::File(FileCall::Close { fd: at.group }))?;
            b.vm_lck(p, 2)?;
            b.kill(p);
            let q = b.process();
            open_group(b, q, Device::Edu).map(drop)
        },
    ),
];
