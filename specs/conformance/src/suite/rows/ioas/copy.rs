//! COPY: its checks in order, and the pages that copies share.

use super::{EDU, FIXED_RW, MOCK, NONE, TOP, copy_at, map_fields, space};
use crate::suite::fixture::{BASE, Setup, copy, map_file, unmap};
use crate::suite::rows::iova::last_long;
use crate::suite::rows::mock::word;
use crate::suite::{Fact, row};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Iova;
use handoff_model::abi::request as nr;

pub(crate) const ROWS: &[Fact] = &[
    row("ioas/copy-refused", "COPY checks flags, ranges, objects and areas in order", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        let memfd = b.memfd(p, 4)?;
        b.ok(p, &map_file(iommufd, ioas, memfd, Iova(0), 2))?;
        b.ok(p, &map_file(iommufd, ioas, memfd, Iova(0x3000), 1))?;
        b.ok(p, &map_fields(5, ioas, 0, [0x1000, 0x1000, 0x9000]).on(iommufd, nr::IOMMU_IOAS_MAP))?;
        let at = |how, row| copy_at(iommufd, how, row);
        let good = (FIXED_RW, ioas, ioas);
        b.all_refused(
            p,
            &[
                (at((8, NONE, NONE), [TOP, 0, 0]), Errno::EOPNOTSUPP),
                (at((1, NONE, NONE), [TOP, 0, 0]), Errno::EOVERFLOW),
                (at((1, NONE, NONE), [0, TOP, 0]), Errno::EOVERFLOW),
                (at((1, NONE, NONE), [0, 0, TOP]), Errno::EOVERFLOW),
                (at((1, NONE, NONE), [0, 0, 0]), Errno::EINVAL),
                (at((FIXED_RW, NONE, NONE), [0, 0, 0]), Errno::ENOENT),
                (at((FIXED_RW, NONE, ioas), [0, 0, 0]), Errno::EINVAL),
                (at((FIXED_RW, NONE, ioas), [3, 0, TOP - 1]), Errno::EOVERFLOW),
                (at((FIXED_RW, NONE, ioas), [0x4000, 0, 0]), Errno::ENOENT),
                (at((FIXED_RW, NONE, ioas), [0x1000, 0, 0x2000]), Errno::ENOENT),
                (at((FIXED_RW, NONE, ioas), [0x1000, 0, 0]), Errno::ENOENT),
                (at(good, [0x1000, 0x1800, 0]), Errno::EEXIST),
                (at(good, [0x1000, TOP - 1, 0]), Errno::EOVERFLOW),
                (at(good, [0x1000, 0x20000, 0x9000]), Errno::EPERM),
            ],
        )
    }),
    row(
        "ioas/copy-shares",
        "a copy shares the pins and charges of its source, and outlives it",
        EDU,
        |b| {
            let p = b.process();
            let Setup { iommufd, ioas, .. } = b.set_up(p, 4)?;
            b.ok(p, &copy(iommufd, (ioas, BASE), (ioas, Iova(0x80000)), 4))?;
            b.vm_pin(p, 4)?;
            b.ok(p, &unmap(iommufd, ioas, BASE, 4))?;
            b.vm_pin(p, 4)?;
            b.ok(p, &unmap(iommufd, ioas, Iova(0x80000), 4))?;
            b.vm_pin(p, 0)
        },
    ),
    row("ioas/copy-by-area", "a test flag makes COPY name its source area by index", MOCK, |b| {
        let (p, iommufd, ioas) = space(b)?;
        let memfd = b.memfd(p, 4)?;
        b.ok(p, &map_file(iommufd, ioas, memfd, Iova(0x4000), 2))?;
        let by_area = FIXED_RW | 1 << 16;
        let second_page = 0x1000 << 32;
        let outcome =
            b.ioctl(p, &copy_at(iommufd, (by_area, ioas, ioas), [0x1000, 0, second_page]))?;
        b.same("the flags", &word(&outcome, 4), &FIXED_RW)?;
        b.same("the source", &last_long(&outcome), &0x5000)?;
        b.all_refused(
            p,
            &[
                (copy_at(iommufd, (by_area, ioas, NONE), [0x1000, 0, 0]), Errno::ENOENT),
                (copy_at(iommufd, (by_area, ioas, ioas), [0x3000, 0x9000, 7]), Errno::ENOENT),
            ],
        )
    }),
];
