//! OPTION, and the number of pages that a mapping pins and charges.

use super::{EDU, FIXED_RW, MOCK, TOP, copy_at, map_at, space, unmap_at};
use crate::suite::fixture::{Fixture, ORDINARY, ROOT, Setup, map, map_file, unmap};
use crate::suite::rows::iova::last_long;
use crate::suite::rows::mock::Mock;
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use handoff_model::abi::call::Call;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES};
use handoff_model::abi::request as nr;

fn option(iommufd: Fd, id: u32, op: u16, object: ObjectId, value: u64) -> Call {
    sized().u32(id).u16(op).u16(0).id(object).u64(value).on(iommufd, nr::IOMMU_OPTION)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "ioas/options-refused",
        "OPTION checks id, operation, object and value in order",
        &[],
        |b| {
            let p = b.spawn(ROOT);
            let iommufd = b.iommufd(p)?;
            let reserved = sized().u32(9).u16(0).u16(1).u32(0).u64(0).on(iommufd, nr::IOMMU_OPTION);
            let none = ObjectId(0);
            b.all_refused(
                p,
                &[
                    (reserved, Errno::EOPNOTSUPP),
                    (option(iommufd, 9, 0, none, 0), Errno::EOPNOTSUPP),
                    (option(iommufd, 0, 0, ObjectId(1), 0), Errno::EOPNOTSUPP),
                    (option(iommufd, 0, 2, none, 0), Errno::EOPNOTSUPP),
                    (option(iommufd, 0, 0, none, 2), Errno::EINVAL),
                    (option(iommufd, 1, 0, ObjectId(1), 0), Errno::ENOENT),
                ],
            )?;
            let ioas = b.ioas(p, iommufd)?;
            b.all_refused(
                p,
                &[
                    (option(iommufd, 0, 0, none, 2), Errno::EBUSY),
                    (option(iommufd, 1, 2, ioas, 0), Errno::EOPNOTSUPP),
                    (option(iommufd, 1, 0, ioas, 2), Errno::EINVAL),
                ],
            )?;
            let untold = sized().u32(0).u16(1).u16(0).u32(0).u64(7).read_only();
            b.refuses(p, &untold.on(iommufd, nr::IOMMU_OPTION), Errno::EFAULT)
        },
    ),
    row("ioas/option-may-not", "setting the accounting mode needs CAP_SYS_RESOURCE", &[], |b| {
        let p = b.spawn(ORDINARY);
        let iommufd = b.iommufd(p)?;
        b.refuses(p, &option(iommufd, 0, 0, ObjectId(0), 1), Errno::EPERM)
    }),
    row(
        "ioas/huge-pages",
        "huge pages can be disabled if areas are whole pages and no domain is mapped",
        MOCK,
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let value = |b: &mut Fixture<'_>| {
                b.ioctl(p, &option(iommufd, 1, 1, ioas, 7)).map(|outcome| last_long(&outcome))
            };
            let off = option(iommufd, 1, 0, ioas, 0);
            let on = option(iommufd, 1, 0, ioas, 1);
            let before = value(b)?;
            b.same("before", &before, &1)?;
            b.ok(p, &map_at(iommufd, ioas, [0x1000, 0x800, 0x100_0000]))?;
            b.refuses(p, &off, Errno::EADDRINUSE)?;
            b.ok(p, &unmap_at(iommufd, ioas, 0, TOP))?;
            b.ok(p, &off)?;
            let after = value(b)?;
            b.same("after", &after, &0)?;
            b.refuses(p, &map_at(iommufd, ioas, [0x1000, 0x800, 0x100_0000]), Errno::EINVAL)?;
            b.ok(p, &off)?;
            b.ok(p, &on)?;
            let memfd = b.memfd(p, 1)?;
            Mock::on(b, p, iommufd, ioas)?;
            b.ok(p, &map_file(iommufd, ioas, memfd, Iova(0x100_0000), 1))?;
            b.refuses(p, &off, Errno::EINVAL)
        },
    ),
    row("ioas/sub-pages", "two halves of a page are pinned and charged once", MOCK, |b| {
        let (p, iommufd, ioas) = space(b)?;
        let va = b.mmap(p, None, 1)?.0;
        Mock::on(b, p, iommufd, ioas)?;
        let half = PAGE_BYTES / 2;
        let second = Iova(0x200_0000);
        b.ok(p, &map_at(iommufd, ioas, [va, PAGE_BYTES, 0x100_0000]))?;
        for at in [0, half] {
            let row = [half, second.0 + at, 0x100_0000 + at];
            b.ok(p, &copy_at(iommufd, (FIXED_RW, ioas, ioas), row))?;
        }
        b.vm_pin(p, 1)?;
        b.ok(p, &unmap(iommufd, ioas, Iova(0x100_0000), 1))?;
        b.ok(p, &unmap_at(iommufd, ioas, second.0, half))?;
        b.vm_pin(p, 1)?;
        b.ok(p, &unmap_at(iommufd, ioas, second.0 + half, half))?;
        b.vm_pin(p, 0)
    }),
    row("ioas/maps-apart", "two maps of the same memory are pinned and charged twice", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 2)?;
        let va = b.mmap(p, Some(memfd), 2)?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0x40000), 2))?;
        b.vm_pin(p, 4)
    }),
];
