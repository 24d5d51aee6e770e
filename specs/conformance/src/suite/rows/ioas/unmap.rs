//! UNMAP: its checks in order, and the area at which it stops.

use super::{NONE, TOP, space, unmap_at};
use crate::suite::fixture::map_file;
use crate::suite::rows::iova::last_long;
use crate::suite::{Fact, row};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Iova;

pub(crate) const ROWS: &[Fact] = &[
    row("ioas/unmap-refused", "UNMAP checks object, overflow and length in order", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        b.all_refused(
            p,
            &[
                (unmap_at(iommufd, NONE, 0, TOP), Errno::ENOENT),
                (unmap_at(iommufd, ioas, TOP, 0), Errno::EOVERFLOW),
                (unmap_at(iommufd, ioas, 1, TOP), Errno::EOVERFLOW),
                (unmap_at(iommufd, ioas, 0, 0), Errno::EINVAL),
                (unmap_at(iommufd, ioas, TOP - 1, 3), Errno::EOVERFLOW),
                (unmap_at(iommufd, ioas, 0, 0x1000), Errno::ENOENT),
            ],
        )?;
        let outcome = b.ioctl(p, &unmap_at(iommufd, ioas, 0, TOP))?;
        b.same("the unmapped length of an empty range", &last_long(&outcome), &0)
    }),
    row(
        "ioas/unmap-stops",
        "UNMAP stops at an area that it would split, and is not rolled back",
        &[],
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let memfd = b.memfd(p, 4)?;
            for iova in [0, 0x2000, 0x4000] {
                b.ok(p, &map_file(iommufd, ioas, memfd, Iova(iova), 2))?;
            }
            let outcome = b.ioctl_refused(p, &unmap_at(iommufd, ioas, 0, 0x3000), Errno::ENOENT)?;
            b.same("the unchanged length", &last_long(&outcome), &0x3000)?;
            b.refuses(p, &unmap_at(iommufd, ioas, 0, 0x2000), Errno::ENOENT)?;
            b.refuses(p, &unmap_at(iommufd, ioas, 0x3000, 0x3000), Errno::ENOENT)?;
            let outcome = b.ioctl(p, &unmap_at(iommufd, ioas, 0, TOP))?;
            b.same("the rest", &last_long(&outcome), &0x4000)
        },
    ),
];
