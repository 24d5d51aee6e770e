//! Viommus and vdevices: VIOMMU_ALLOC, VDEVICE_ALLOC, invalidations through a viommu.

use super::{
    CACHE, EDU, Guest, KIND, MOCK, NONE, destroy, fail, guest, invalidate, made, vdevice, viommu,
};
use crate::suite::rows::hwpt::{Alloc, SELFTEST, replace};
use crate::suite::rows::mock::{Mock, on, test};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::errno::Errno;

pub(crate) const ROWS: &[Fact] = &[
    row(
        "viommu/alloc",
        "VIOMMU_ALLOC checks flags, type, device, driver, domain, nesting parent and data",
        MOCK,
        |b| {
            let g = guest(b)?;
            let Guest { p, iommufd, ioas, mock, parent, viommu: id } = g;
            let plain = Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
            let of = |head, device, hwpt, data: &[u8]| viommu(iommufd, head, device, hwpt, data);
            b.all_refused(
                p,
                &[
                    (of([1, KIND], mock.idev, parent, &[]), Errno::EOPNOTSUPP),
                    (of([0, 0], mock.idev, parent, &[]), Errno::EOPNOTSUPP),
                    (of([0, KIND], NONE, parent, &[]), Errno::ENOENT),
                    (of([0, 1], mock.idev, parent, &[]), Errno::EOPNOTSUPP),
                    (of([0, KIND], mock.idev, NONE, &[]), Errno::ENOENT),
                    (of([0, KIND], mock.idev, plain, &[]), Errno::EINVAL),
                    (of([0, KIND], mock.idev, parent, &[0; 7]), Errno::EINVAL),
                    (destroy(iommufd, parent), Errno::EBUSY),
                ],
            )?;
            let mut data = [0u8; 24];
            data[0] = 9;
            let outcome = b.ioctl(p, &of([0, KIND], mock.idev, parent, &data))?;
            b.same("looped back", &outcome.pointees[0].0[4], &9)?;
            b.same("to map", &outcome.pointees[0].0[17], &0x20)?;
            let nested = Alloc::over(mock.idev, id).data(SELFTEST, &CACHE);
            b.refuses(p, &nested.flags(1).call(iommufd), Errno::EOPNOTSUPP)?;
            b.refuses(p, &Alloc::over(mock.idev, id).call(iommufd), Errno::EOPNOTSUPP)?;
            let nested = nested.make(b, p, iommufd)?;
            b.refuses(p, &destroy(iommufd, id), Errno::EBUSY)?;
            b.refuses(p, &replace(iommufd, mock.stdev, nested), Errno::ENOENT)
        },
    ),
    row("viommu/vtd", "QEMU's VT-d has no viommus, and its devices are in none", EDU, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let (_, idev) = b.bind(p, Device::Edu, iommufd)?;
        b.refuses(p, &viommu(iommufd, [0, KIND], idev, ioas, &[]), Errno::EOPNOTSUPP)
    }),
    row(
        "viommu/other-iommu",
        "a device behind another IOMMU cannot be in a viommu",
        &[Capability::Mock, Capability::Has(Device::Edu)],
        |b| {
            let g = guest(b)?;
            let (_, idev) = b.bind(g.p, Device::Edu, g.iommufd)?;
            b.refuses(g.p, &vdevice(g.iommufd, g.viommu, idev, 1), Errno::EINVAL)?;
            let nested = Alloc::over(idev, g.viommu).data(SELFTEST, &CACHE);
            b.refuses(g.p, &nested.call(g.iommufd), Errno::EINVAL)?;
            let nested = Alloc::over(idev, g.parent).data(SELFTEST, &CACHE);
            b.refuses(g.p, &nested.call(g.iommufd), Errno::EINVAL)?;
            let cache = on(test(15, 0).id(idev).u32(0).u32(0).u32(0).u64(0), g.iommufd);
            b.refuses(g.p, &cache, Errno::EINVAL)
        },
    ),
    row(
        "vdevice/alloc",
        "a device has one vdevice, with a unique number; unbinding leaves a tombstone",
        MOCK,
        |b| {
            let Guest { p, iommufd, ioas, mock, viommu: id, .. } = guest(b)?;
            let other = Mock::on(b, p, iommufd, ioas)?;
            b.refuses(p, &vdevice(iommufd, NONE, mock.idev, 0x99), Errno::ENOENT)?;
            b.refuses(p, &vdevice(iommufd, id, NONE, 0x99), Errno::ENOENT)?;
            let first = made(b, p, &vdevice(iommufd, id, mock.idev, 0x99), 12)?;
            b.refuses(p, &vdevice(iommufd, id, mock.idev, 0x98), Errno::EEXIST)?;
            b.refuses(p, &vdevice(iommufd, id, other.idev, 0x99), Errno::EEXIST)?;
            b.refuses(p, &destroy(iommufd, id), Errno::EBUSY)?;
            b.ok(p, &destroy(iommufd, first))?;
            let again = made(b, p, &vdevice(iommufd, id, mock.idev, 0x99), 12)?;
            b.same("the id", &again, &first)?;
            b.ok(p, &destroy(iommufd, mock.stdev))?;
            b.refuses(p, &destroy(iommufd, again), Errno::ENOENT)?;
            let taken = [mock.stdev, mock.idev];
            for expected in taken {
                let id = b.ioas(p, iommufd)?;
                b.same("a free id", &id, &expected)?;
            }
            let id = b.ioas(p, iommufd)?;
            b.same("behind the tombstone", &(id > again), &true)
        },
    ),
    row(
        "viommu/invalidate",
        "an invalidation through a viommu copies all entries before it processes them",
        MOCK,
        |b| {
            let Guest { p, iommufd, mock, viommu: id, .. } = guest(b)?;
            b.ok(p, &vdevice(iommufd, id, mock.idev, 0x99))?;
            let check = |index, number| on(test(16, mock.idev.0).u32(index).u32(number), iommufd);
            let call = |kind, shape, data: &[u32]| invalidate(iommufd, id, kind, shape, data);
            fail(
                b,
                p,
                &[
                    (call(1, [12, 0], &[]), Errno::EINVAL, 0),
                    (call(KIND, [16, 1], &[0, 0x99, 0, 1]), Errno::E2BIG, 0),
                    (call(KIND, [12, 2], &[0, 0x99, 0]), Errno::EFAULT, 0),
                    (call(KIND, [12, 1], &[2, 0x99, 0]), Errno::EOPNOTSUPP, 0),
                    (call(KIND, [12, 1], &[0, 0x99, 4]), Errno::EINVAL, 0),
                    (call(KIND, [12, 1], &[0, 0x98, 0]), Errno::EINVAL, 0),
                    (call(KIND, [12, 2], &[0, 0x99, 0, 2, 0x99, 0]), Errno::EOPNOTSUPP, 1),
                ],
            )?;
            b.ok(p, &call(KIND, [12, 0], &[]))?;
            b.ok(p, &check(0, 0))?;
            b.ok(p, &check(1, 0x00ba_ddad))?;
            b.refuses(p, &check(1, 0), Errno::EINVAL)?;
            b.refuses(p, &on(test(16, NONE.0).u32(0).u32(0), iommufd), Errno::ENOENT)?;
            b.ok(p, &call(KIND, [16, 1], &[1, 0x99, 2, 0]))?;
            b.ok(p, &check(3, 0)).map(drop)
        },
    ),
];
