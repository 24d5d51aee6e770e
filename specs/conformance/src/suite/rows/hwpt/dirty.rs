//! Dirty tracking: SET_DIRTY_TRACKING, GET_DIRTY_BITMAP, the test operation DIRTY.

use super::{APERTURE, Alloc, DIRTY_TRACKING, MOCK, NONE, mocked, set_tracking};
use crate::suite::fixture::{Fixture, map};
use crate::suite::rows::mock::{on, test, word};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::Capability;
use handoff_model::abi::call::Call;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId};
use handoff_model::abi::request as nr;

fn bitmap(iommufd: Fd, (hwpt, flags, reserved): (ObjectId, u32, u32), at: [u64; 3]) -> Call {
    let head = sized().id(hwpt).u32(flags).u32(reserved);
    let head = at.into_iter().fold(head, crate::suite::structure::Fields::u64);
    head.pointer(&[0; 8]).on(iommufd, nr::IOMMU_HWPT_GET_DIRTY_BITMAP)
}

fn mark(iommufd: Fd, hwpt: ObjectId, at: [u64; 3], marks: &[u8]) -> Call {
    let head = test(13, hwpt.0).u32(0).u32(0);
    let head = at.into_iter().fold(head, crate::suite::structure::Fields::u64);
    on(head.pointer(marks), iommufd)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "hwpt/dirty-checks",
        "SET_DIRTY_TRACKING and GET_DIRTY_BITMAP check flags, object, range and tracking",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            let good = [APERTURE.0, 0x8000, 0x800];
            let of = |hwpt, flags, reserved, at| bitmap(iommufd, (hwpt, flags, reserved), at);
            b.all_refused(
                p,
                &[
                    (set_tracking(iommufd, hwpt, 2), Errno::EOPNOTSUPP),
                    (set_tracking(iommufd, NONE, 1), Errno::ENOENT),
                    (set_tracking(iommufd, mock.hwpt, 1), Errno::EOPNOTSUPP),
                    (of(hwpt, 2, 0, good), Errno::EOPNOTSUPP),
                    (of(hwpt, 0, 1, good), Errno::EOPNOTSUPP),
                    (of(NONE, 0, 0, good), Errno::ENOENT),
                    (of(hwpt, 0, 0, [u64::MAX - 1, 4, 1]), Errno::EOVERFLOW),
                    (of(hwpt, 0, 0, [APERTURE.0 + 1, 0x800, 0x800]), Errno::EINVAL),
                    (of(hwpt, 0, 0, [APERTURE.0, 0x800, 0]), Errno::EINVAL),
                    (of(hwpt, 0, 0, [APERTURE.0, 0x800, 0x1000]), Errno::EINVAL),
                    (of(mock.hwpt, 0, 0, good), Errno::EOPNOTSUPP),
                ],
            )?;
            b.ok(p, &of(hwpt, 0, 0, good)).map(drop)
        },
    ),
    row(
        "hwpt/dirty-empty",
        "GET_DIRTY_BITMAP fails with EINVAL for an empty range in 7.3",
        &[Capability::Mock, Capability::Release("7.3")],
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            let call = bitmap(iommufd, (hwpt, 0, 0), [APERTURE.0, 0, 0x800]);
            b.refuses(p, &call, Errno::EINVAL)
        },
    ),
    row(
        "hwpt/dirty-mark",
        "the test operation DIRTY checks its range, the domain, and its dirty tracking",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            let good = [APERTURE.0, 0x4000, 0x800];
            b.all_refused(
                p,
                &[
                    (mark(iommufd, hwpt, [APERTURE.0, 0x4000, 0], &[1]), Errno::EINVAL),
                    (mark(iommufd, hwpt, [APERTURE.0, 0x4000, 0x3000], &[1]), Errno::EINVAL),
                    (mark(iommufd, hwpt, [APERTURE.0, 1 << 40, 0x800], &[1]), Errno::EOVERFLOW),
                    (mark(iommufd, NONE, good, &[1]), Errno::ENOENT),
                    (mark(iommufd, hwpt, good, &[1]), Errno::EINVAL),
                ],
            )
        },
    ),
    row(
        "hwpt/dirty-bitmap",
        "7.3 reports written pages whole and once, and forgets them when tracking restarts",
        &[Capability::Mock, Capability::Release("7.3")],
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let va = b.mmap(p, None, 8)?;
            b.ok(p, &map(iommufd, ioas, va, APERTURE, 8))?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            b.ok(p, &set_tracking(iommufd, hwpt, 1))?;
            let at = [APERTURE.0, 0x8000, 0x800];
            let read = |b: &mut Fixture<'_>, flags| {
                let outcome = b.ioctl(p, &bitmap(iommufd, (hwpt, flags, 0), at))?;
                Ok::<u8, crate::suite::Mismatch>(outcome.pointees[0].0[0])
            };
            let outcome = b.ioctl(p, &mark(iommufd, hwpt, at, &[0x11, 0]))?;
            b.same("bits set", &word(&outcome, 56), &2)?;
            let seen = [read(b, 1)?, read(b, 0)?, read(b, 0)?];
            b.same("bitmaps: kept, cleared, clean", &seen, &[0x33, 0x33, 0])?;
            b.ok(p, &mark(iommufd, hwpt, at, &[0x01, 0]))?;
            b.ok(p, &set_tracking(iommufd, hwpt, 0))?;
            b.ok(p, &set_tracking(iommufd, hwpt, 1))?;
            let seen = read(b, 0)?;
            b.same("after a restart", &seen, &0)
        },
    ),
];
