//! IOAS_ALLOC, DESTROY and IOVA_RANGES.

use super::{BAD, EDU, MOCK, NONE, space};
use crate::suite::fixture::{BASE, Setup, map, map_file};
use crate::suite::rows::iova::last_long;
use crate::suite::rows::mock::{Mock, word};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES};
use handoff_model::abi::request as nr;

const MTTY: &[Capability] = &[Capability::Has(Device::Mtty)];

fn ranges(iommufd: Fd, ioas: ObjectId, room: u32, reserved: u32, bytes: usize) -> Call {
    let head = sized().id(ioas).u32(room).u32(reserved).pointer(&vec![0; bytes]);
    head.u64(0).on(iommufd, nr::IOMMU_IOAS_IOVA_RANGES)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "ioas/alloc",
        "IOAS_ALLOC refuses flags, and frees an id that it cannot report",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let alloc = |flags| sized().u32(flags).u32(0);
            b.refuses(p, &alloc(1).on(iommufd, nr::IOMMU_IOAS_ALLOC), Errno::EOPNOTSUPP)?;
            let untold = alloc(0).read_only().on(iommufd, nr::IOMMU_IOAS_ALLOC);
            b.refuses(p, &untold, Errno::EFAULT)?;
            let first = b.ioas(p, iommufd)?;
            b.same("the first id", &first, &ObjectId(1))?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: first }))?;
            let again = b.ioas(p, iommufd)?;
            b.same("the lowest free id", &again, &first)
        },
    ),
    row(
        "ioas/destroy",
        "DESTROY fails with EBUSY for an object in use, with ENOENT for an unknown id",
        EDU,
        |b| {
            let p = b.process();
            let Setup { iommufd, ioas, device_id, hwpt, .. } = b.set_up(p, 1)?;
            b.all_refused(
                p,
                &[
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: NONE }), Errno::ENOENT),
                    (
                        Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(0) }),
                        Errno::ENOENT,
                    ),
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY),
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }), Errno::EBUSY),
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: device_id }), Errno::EBUSY),
                ],
            )
        },
    ),
    row("ioas/destroy-mapped", "an IOAS with areas can be destroyed", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        let memfd = b.memfd(p, 1)?;
        b.ok(p, &map_file(iommufd, ioas, memfd, BASE, 1))?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
    }),
    row("ioas/destroy-refused", "a failed MAP_FILE holds no reference to its IOAS", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        b.refuses(p, &map_file(iommufd, ioas, BAD, BASE, 1), Errno::EBADF)?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
    }),
    row("ioas/destroy-unmaps", "DESTROY of an IOAS removes its mappings", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, device, .. } = b.set_up(p, 1)?;
        let va = b.mmap(p, None, 1)?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0), 1))?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        let take = IommufdCall::change_process(iommufd);
        b.refuses(p, &take, Errno::EINVAL)?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }))?;
        b.ok(p, &take).map(drop)
    }),
    row(
        "ioas/destroy-mdev",
        "an attached emulated device holds its access and its IOAS",
        MTTY,
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let (device, access) = b.bind(p, Device::Mtty, iommufd)?;
            b.attach(p, device, ioas)?;
            b.all_refused(
                p,
                &[
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: access }), Errno::EBUSY),
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY),
                ],
            )?;
            b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
        },
    ),
    row("ioas/destroy-mock", "DESTROY of the stdev removes the mock device", MOCK, |b| {
        let (p, iommufd, ioas) = space(b)?;
        let mock = Mock::on(b, p, iommufd, ioas)?;
        let numbers = [mock.stdev, mock.idev, mock.hwpt];
        b.same("stdev, device, domain", &numbers, &[2, 3, 4].map(ObjectId))?;
        b.refuses(
            p,
            &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.idev }),
            Errno::EBUSY,
        )?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.stdev }))?;
        for gone in numbers {
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: gone }),
                Errno::ENOENT,
            )?;
        }
        Ok(())
    }),
    row("ioas/ranges", "IOVA_RANGES returns all ranges, or EMSGSIZE with their number", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, .. } = b.set_up(p, 1)?;
        b.all_refused(
            p,
            &[
                (ranges(iommufd, NONE, 1, 1, 0), Errno::EOPNOTSUPP),
                (ranges(iommufd, NONE, 1, 0, 0), Errno::ENOENT),
                (ranges(iommufd, ioas, 1, 0, 0), Errno::EFAULT),
            ],
        )?;
        let short = b.ioctl_refused(p, &ranges(iommufd, ioas, 1, 0, 16), Errno::EMSGSIZE)?;
        b.same("the number of ranges", &word(&short, 8), &2)?;
        let told = b.ioctl(p, &ranges(iommufd, ioas, 3, 0, 48))?;
        b.same("the number of ranges", &word(&told, 8), &2)?;
        b.same("the alignment", &last_long(&told), &PAGE_BYTES)
    }),
];
