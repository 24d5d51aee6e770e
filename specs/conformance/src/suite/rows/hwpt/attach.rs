//! Attach and replace: manual and automatic HWPTs, domains with dirty tracking, PASIDs.

use super::{
    Alloc, DIRTY_TRACKING, FOR_PASIDS, MOCK, NO_DIRTY, NONE, WITH_PASIDS, flagged, mocked, replace,
    with_flags,
};
use crate::suite::rows::mock::{Mock, on, test, word};
use crate::suite::{Fact, row};
use handoff_model::abi::call::{Call, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId};

fn pasid(iommufd: Fd, op: u32, stdev: ObjectId, pasid: u32, pt: ObjectId) -> Call {
    on(test(op, stdev.0).u32(pasid).id(pt), iommufd)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "hwpt/replace",
        "MOCK_DOMAIN_REPLACE moves a device; it destroys an automatic HWPT, not a manual one",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let manual = Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
            b.refuses(p, &replace(iommufd, mock.stdev, NONE), Errno::ENOENT)?;
            b.refuses(p, &replace(iommufd, mock.stdev, mock.idev), Errno::EINVAL)?;
            b.refuses(p, &replace(iommufd, mock.idev, manual), Errno::ENOENT)?;
            b.ok(p, &replace(iommufd, mock.stdev, manual))?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual }),
                Errno::EBUSY,
            )?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.hwpt }),
                Errno::ENOENT,
            )?;
            b.ok(p, &replace(iommufd, mock.stdev, manual))?;
            let outcome = b.ioctl(p, &replace(iommufd, mock.stdev, ioas))?;
            b.same("a new automatic HWPT", &word(&outcome, 16), &mock.hwpt.0)?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual })).and_then(
                |_| b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.stdev })),
            )?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
        },
    ),
    row("hwpt/no-dirty", "a device without dirty tracking refuses a domain with it", MOCK, |b| {
        let (p, iommufd, ioas, mock) = mocked(b)?;
        let tracking = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING);
        let hwpt = tracking.make(b, p, iommufd)?;
        Mock::on(b, p, iommufd, hwpt)?;
        b.refuses(p, &with_flags(iommufd, hwpt, NO_DIRTY), Errno::EINVAL)?;
        b.refuses(p, &with_flags(iommufd, ioas, 2), Errno::EINVAL)?;
        let other = flagged(b, p, iommufd, ioas, NO_DIRTY)?;
        let tracking = Alloc::over(other.idev, ioas).flags(DIRTY_TRACKING);
        b.refuses(p, &tracking.call(iommufd), Errno::EOPNOTSUPP)
    }),
    row(
        "hwpt/pasid",
        "a PASID attaches only to a domain for PASIDs, on a device that uses one, too",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let mock = flagged(b, p, iommufd, ioas, WITH_PASIDS)?;
            let [plain, one, two] = [0, FOR_PASIDS, FOR_PASIDS]
                .map(|flags| Alloc::over(mock.idev, ioas).flags(flags).make(b, p, iommufd));
            let (plain, one, two) = (plain?, one?, two?);
            let [attach, swap, detach, check] = [18, 19, 20, 21]
                .map(|op| move |number, pt| pasid(iommufd, op, mock.stdev, number, pt));
            b.refuses(p, &attach(100, one), Errno::EINVAL)?;
            b.ok(p, &replace(iommufd, mock.stdev, one))?;
            b.ok(p, &detach(100, ObjectId(0)))?;
            b.all_refused(
                p,
                &[
                    (pasid(iommufd, 18, NONE, 100, one), Errno::ENOENT),
                    (attach(100, NONE), Errno::ENOENT),
                    (attach(100, plain), Errno::EINVAL),
                    (attach(100, ioas), Errno::EINVAL),
                    (attach(1 << 20, one), Errno::EINVAL),
                    (attach(0, one), Errno::EBUSY),
                    (swap(100, one), Errno::EINVAL),
                    (check(100, one), Errno::EINVAL),
                    (check(100, NONE), Errno::ENOENT),
                    (check(100, ioas), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &attach(100, one))?;
            b.ok(p, &check(100, one))?;
            b.all_refused(
                p,
                &[
                    (attach(100, two), Errno::EBUSY),
                    (check(100, ObjectId(0)), Errno::EINVAL),
                    (replace(iommufd, mock.stdev, plain), Errno::EINVAL),
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: one }), Errno::EBUSY),
                    (swap(100, ioas), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &swap(100, two))?;
            b.ok(p, &check(100, two))?;
            b.ok(p, &detach(100, ObjectId(0)))?;
            b.ok(p, &check(100, ObjectId(0)))?;
            b.ok(p, &attach(1024, one))?;
            b.refuses(p, &swap(1024, two), Errno::ENOMEM)?;
            b.ok(p, &check(1024, one))?;
            b.ok(p, &swap(1024, two))?;
            b.ok(p, &detach(1024, ObjectId(0))).map(drop)
        },
    ),
];
