//! MAP and MAP_FILE, with a domain and without.

use super::{BAD, EDU, FIXED_RW, NONE, TOP, map_at, map_fields, space};
use crate::suite::fixture::{BASE, Setup, map_file, unmap};
use crate::suite::structure::{Fields, sized};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Va};
use handoff_model::abi::request as nr;

const SINCE_6_13: &[Capability] = &[];

fn file_at(iommufd: Fd, (flags, ioas): (u32, ObjectId), fd: Fd, row: [u64; 3]) -> Call {
    let head = sized().u32(flags).id(ioas).fd(fd);
    row.into_iter().fold(head, Fields::u64).on(iommufd, nr::IOMMU_IOAS_MAP_FILE)
}

pub(crate) const ROWS: &[Fact] = &[
    row("ioas/map-refused", "MAP checks flags, overflow, object and range in order", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        b.ok(p, &map_at(iommufd, ioas, [0x1000, 0x1000, 0x5000]))?;
        let raw = |flags, id, reserved| {
            map_fields(flags, id, reserved, [0, 0, TOP]).on(iommufd, nr::IOMMU_IOAS_MAP)
        };
        let none = map_fields(1, NONE, 0, [0, 0, 0]).on(iommufd, nr::IOMMU_IOAS_MAP);
        b.all_refused(
            p,
            &[
                (raw(FIXED_RW | 8, NONE, 0), Errno::EOPNOTSUPP),
                (raw(FIXED_RW, NONE, 1), Errno::EOPNOTSUPP),
                (raw(1, NONE, 0), Errno::EOVERFLOW),
                (map_at(iommufd, NONE, [0, TOP, 0]), Errno::EOVERFLOW),
                (none, Errno::EINVAL),
                (map_at(iommufd, NONE, [TOP, 1, 0]), Errno::ENOENT),
                (map_at(iommufd, ioas, [TOP, 1, 0]), Errno::EOVERFLOW),
                (map_at(iommufd, ioas, [0, 0, 0]), Errno::EINVAL),
                (map_at(iommufd, ioas, [0, TOP - 1, 0]), Errno::EINVAL),
                (map_at(iommufd, ioas, [0, 3, TOP - 1]), Errno::EOVERFLOW),
                (map_at(iommufd, ioas, [0, 1, 0x5fff]), Errno::EEXIST),
            ],
        )
    }),
    row("ioas/map-untold", "a MAP that cannot report its IOVA keeps the mapping", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        let fields = map_fields(FIXED_RW, ioas, 0, [0x1000, 0x1000, 0x5000]).read_only();
        b.refuses(p, &fields.on(iommufd, nr::IOMMU_IOAS_MAP), Errno::EFAULT)?;
        b.ok(p, &unmap(iommufd, ioas, Iova(0x5000), 1)).map(drop)
    }),
    row(
        "ioas/map-pins",
        "with a domain, MAP validates the memory, and a failure leaves no mapping",
        EDU,
        |b| {
            let p = b.process();
            let Setup { iommufd, ioas, .. } = b.set_up(p, 1)?;
            let va = b.mmap(p, None, 2)?.0;
            b.ok(
                p,
                &Call::Memory(MemoryCall::Munmap {
                    va: Va(va + PAGE_BYTES),
                    length_bytes: PAGE_BYTES,
                }),
            )?;
            b.all_refused(
                p,
                &[
                    (map_at(iommufd, ioas, [va, 1, 0x20000]), Errno::EINVAL),
                    (map_at(iommufd, ioas, [va, 0x1000, 0x20800]), Errno::EINVAL),
                    (map_at(iommufd, ioas, [va + 1, 0x1000, 0x20000]), Errno::EINVAL),
                    (map_at(iommufd, ioas, [va, 0x1000, 0xfee0_0000]), Errno::EINVAL),
                    (map_at(iommufd, ioas, [va, 0x1000, 0x80_0000_0000]), Errno::EINVAL),
                    (map_at(iommufd, ioas, [va, 0x2000, 0x20000]), Errno::EFAULT),
                ],
            )?;
            b.vm_pin(p, 1)?;
            b.ok(p, &map_at(iommufd, ioas, [va, 0x1000, 0x20000]))?;
            b.vm_pin(p, 2)
        },
    ),
    row(
        "ioas/map-file-refused",
        "MAP_FILE checks flags, object, range and file in order",
        SINCE_6_13,
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let file = |how, row| file_at(iommufd, how, BAD, row);
            b.all_refused(
                p,
                &[
                    (file((8, NONE), [0, 0, TOP]), Errno::EOPNOTSUPP),
                    (file((1, NONE), [0, 0, TOP]), Errno::EOVERFLOW),
                    (file((1, NONE), [0, 0, 0]), Errno::EINVAL),
                    (file((FIXED_RW, NONE), [0, 0, 0]), Errno::ENOENT),
                    (file((FIXED_RW, ioas), [TOP, 0, 0]), Errno::EINVAL),
                    (file((FIXED_RW, ioas), [TOP, 2, 0]), Errno::EOVERFLOW),
                    (file((FIXED_RW, ioas), [TOP, 1, 0]), Errno::EBADF),
                ],
            )
        },
    ),
    row(
        "ioas/map-file-lazy",
        "without a domain, MAP_FILE accepts any file at any offset",
        SINCE_6_13,
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            for (fd, iova) in [(event, 0), (iommufd, 0x1000)] {
                b.ok(p, &file_at(iommufd, (FIXED_RW, ioas), fd, [1 << 40, 0x1000, iova]))?;
            }
            Ok(())
        },
    ),
    row(
        "ioas/map-file-pins",
        "with a domain, MAP_FILE fails with EINVAL beyond a memfd, or for another file",
        EDU,
        |b| {
            let p = b.process();
            let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 2)?;
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            let file =
                |fd, offset| file_at(iommufd, (FIXED_RW, ioas), fd, [offset, 0x1000, 0x40000]);
            b.all_refused(
                p,
                &[
                    (file(event, 0), Errno::EINVAL),
                    (file(memfd, 0x2000), Errno::EINVAL),
                    (file(memfd, 0x1001), Errno::EINVAL),
                    (file(memfd, TOP & !0xfff), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &file(memfd, 0x1000)).map(drop)
        },
    ),
    row(
        "ioas/lazy-errors",
        "HWPT_ALLOC and ATTACH report the errors that a lazy MAP did not",
        EDU,
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let memfd = b.memfd(p, 1)?;
            let (device, device_id) = b.bind(p, Device::Edu, iommufd)?;
            let attach = Call::Device(DeviceCall::Attach { device, page_table: ioas });
            let alloc = IommufdCall::hwpt_alloc(iommufd, device_id, ioas);
            b.ok(p, &map_at(iommufd, ioas, [0x1000, 0x1000, 0x1000]))?;
            b.refuses(p, &attach, Errno::EFAULT)?;
            b.refuses(p, &alloc, Errno::EFAULT)?;
            b.ok(p, &unmap(iommufd, ioas, Iova(0x1000), 1))?;
            b.ok(p, &map_file(iommufd, ioas, memfd, BASE, 2))?;
            b.refuses(p, &attach, Errno::EINVAL)?;
            b.refuses(p, &alloc, Errno::EINVAL)?;
            b.ok(p, &unmap(iommufd, ioas, BASE, 2))?;
            b.ok(p, &map_at(iommufd, ioas, [0x1000, 0x801, 0x1000]))?;
            b.refuses(p, &attach, Errno::EADDRINUSE)?;
            b.vm_pin(p, 0)
        },
    ),
];
