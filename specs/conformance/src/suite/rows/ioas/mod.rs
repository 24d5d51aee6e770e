//! Address spaces: MAP, MAP_FILE, COPY, UNMAP, IOVA_RANGES, options, DESTROY.

use super::iova::last_long;
use super::mock::{Mock, word};
use crate::suite::bench::{BASE, Bench, Done, ORDINARY, ROOT, Setup, copy, map, map_file, unmap};
use crate::suite::structure::{Fields, sized};
use crate::suite::{Row, row};
use crate::target::{Device, Need};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

const EDU: &[Need] = &[Need::Has(Device::Edu)];
const MTTY: &[Need] = &[Need::Has(Device::Mtty)];
const MOCK: &[Need] = &[Need::Mock];
const SINCE_6_13: &[Need] = &[];
const TOP: u64 = u64::MAX;
const NONE: ObjectId = ObjectId(77);
const BAD: Fd = Fd(99);
/// MAP flags: fixed, writable, readable.
const FIXED_RW: u32 = 7;

fn option(iommufd: Fd, id: u32, op: u16, object: ObjectId, value: u64) -> Call {
    sized().u32(id).u16(op).u16(0).id(object).u64(value).on(iommufd, nr::IOMMU_OPTION)
}

fn ranges(iommufd: Fd, ioas: ObjectId, room: u32, reserved: u32, bytes: usize) -> Call {
    let head = sized().id(ioas).u32(room).u32(reserved).pointer(&vec![0; bytes]);
    head.u64(0).on(iommufd, nr::IOMMU_IOAS_IOVA_RANGES)
}

fn map_fields(flags: u32, ioas: ObjectId, reserved: u32, [va, length, iova]: [u64; 3]) -> Fields {
    sized().u32(flags).id(ioas).u32(reserved).u64(va).u64(length).u64(iova)
}

fn map_at(iommufd: Fd, ioas: ObjectId, row: [u64; 3]) -> Call {
    map_fields(FIXED_RW, ioas, 0, row).on(iommufd, nr::IOMMU_IOAS_MAP)
}

fn file_at(iommufd: Fd, (flags, ioas): (u32, ObjectId), fd: Fd, row: [u64; 3]) -> Call {
    let head = sized().u32(flags).id(ioas).fd(fd);
    row.into_iter().fold(head, Fields::u64).on(iommufd, nr::IOMMU_IOAS_MAP_FILE)
}

fn copy_at(iommufd: Fd, (flags, to, from): (u32, ObjectId, ObjectId), row: [u64; 3]) -> Call {
    let head = sized().u32(flags).id(to).id(from);
    row.into_iter().fold(head, Fields::u64).on(iommufd, nr::IOMMU_IOAS_COPY)
}

fn unmap_at(iommufd: Fd, ioas: ObjectId, iova: u64, length: u64) -> Call {
    sized().id(ioas).u64(iova).u64(length).on(iommufd, nr::IOMMU_IOAS_UNMAP)
}

/// A process with a context and an address space.
fn space(b: &mut Bench<'_>) -> Done<(Pid, Fd, ObjectId)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    Ok((p, iommufd, ioas))
}

pub(super) const ROWS: &[Row] = &[
    row(
        "ioas/alloc",
        "flags are EOPNOTSUPP; a number that cannot be told is free again",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let alloc = |flags| sized().u32(flags).u32(0);
            b.refuses(p, &alloc(1).on(iommufd, nr::IOMMU_IOAS_ALLOC), Errno::EOPNOTSUPP)?;
            let untold = alloc(0).read_only().on(iommufd, nr::IOMMU_IOAS_ALLOC);
            b.refuses(p, &untold, Errno::EFAULT)?;
            let first = b.ioas(p, iommufd)?;
            b.same("the first number", &first, &ObjectId(1))?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: first }))?;
            let again = b.ioas(p, iommufd)?;
            b.same("the lowest free number", &again, &first)
        },
    ),
    row("ioas/destroy", "who is in use is EBUSY, what is not there ENOENT", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, device_id, hwpt, .. } = b.set_up(p, 1)?;
        b.all_refused(
            p,
            &[
                (Call::Iommufd(IommufdCall::Destroy { iommufd, id: NONE }), Errno::ENOENT),
                (Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(0) }), Errno::ENOENT),
                (Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY),
                (Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }), Errno::EBUSY),
                (Call::Iommufd(IommufdCall::Destroy { iommufd, id: device_id }), Errno::EBUSY),
            ],
        )
    }),
    row("ioas/destroy-mapped", "areas do not hold an address space", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        let memfd = b.memfd(p, 1)?;
        b.ok(p, &map_file(iommufd, ioas, memfd, BASE, 1))?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
    }),
    row("ioas/destroy-refused", "a MAP_FILE that is refused holds nothing", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        b.refuses(p, &map_file(iommufd, ioas, BAD, BASE, 1), Errno::EBADF)?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
    }),
    row("ioas/destroy-unmaps", "what is mapped goes with its address space", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, device, .. } = b.set_up(p, 1)?;
        let va = b.mmap(p, None, 1)?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0), 1))?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        let take = Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 0 });
        b.refuses(p, &take, Errno::EINVAL)?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }))?;
        b.ok(p, &take).map(drop)
    }),
    row(
        "ioas/destroy-mdev",
        "an emulated device holds its access and its address space",
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
    row("ioas/destroy-mock", "a mock device goes with its stdev", MOCK, |b| {
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
    row(
        "ioas/ranges",
        "what can be mapped, told in full or EMSGSIZE with their number",
        EDU,
        |b| {
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
            b.same("how many there are", &word(&short, 8), &2)?;
            let told = b.ioctl(p, &ranges(iommufd, ioas, 3, 0, 48))?;
            b.same("how many there are", &word(&told, 8), &2)?;
            b.same("the alignment", &last_long(&told), &PAGE_BYTES)
        },
    ),
    row("ioas/map-refused", "what a MAP refuses, in order", &[], |b| {
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
    row("ioas/map-untold", "a mapping that cannot be told is there", &[], |b| {
        let (p, iommufd, ioas) = space(b)?;
        let fields = map_fields(FIXED_RW, ioas, 0, [0x1000, 0x1000, 0x5000]).read_only();
        b.refuses(p, &fields.on(iommufd, nr::IOMMU_IOAS_MAP), Errno::EFAULT)?;
        b.ok(p, &unmap(iommufd, ioas, Iova(0x5000), 1)).map(drop)
    }),
    row(
        "ioas/map-pins",
        "with a domain a MAP asks for memory, and leaves nothing where it fails",
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
    row("ioas/map-file-refused", "what a MAP_FILE refuses, in order", SINCE_6_13, |b| {
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
    }),
    row(
        "ioas/map-file-lazy",
        "without a domain any file is taken, anywhere in it",
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
    row("ioas/map-file-pins", "with a domain it must be a memfd that reaches so far", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 2)?;
        let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
        let file = |fd, offset| file_at(iommufd, (FIXED_RW, ioas), fd, [offset, 0x1000, 0x40000]);
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
    }),
    row("ioas/lazy-errors", "what a lazy map hid, a domain tells", EDU, |b| {
        let (p, iommufd, ioas) = space(b)?;
        let memfd = b.memfd(p, 1)?;
        let (device, device_id) = b.bind(p, Device::Edu, iommufd)?;
        let attach = Call::Device(DeviceCall::Attach { device, page_table: ioas });
        let alloc = Call::Iommufd(IommufdCall::HwptAlloc {
            iommufd,
            device: device_id,
            ioas,
            nest_parent: false,
        });
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
    }),
    row("ioas/copy-refused", "what a COPY refuses, in order", &[], |b| {
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
        "a copy pins and charges nothing again, and outlives its source",
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
    row("ioas/copy-by-area", "tests name an area by its number", MOCK, |b| {
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
    row("ioas/unmap-refused", "what an UNMAP refuses, in order", &[], |b| {
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
        b.same("of nothing", &last_long(&outcome), &0)
    }),
    row(
        "ioas/unmap-stops",
        "an UNMAP stops at an area that it would cut, and does not take back",
        &[],
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let memfd = b.memfd(p, 4)?;
            for iova in [0, 0x2000, 0x4000] {
                b.ok(p, &map_file(iommufd, ioas, memfd, Iova(iova), 2))?;
            }
            let outcome = b.ioctl_refused(p, &unmap_at(iommufd, ioas, 0, 0x3000), Errno::ENOENT)?;
            b.same("the length is as it was", &last_long(&outcome), &0x3000)?;
            b.refuses(p, &unmap_at(iommufd, ioas, 0, 0x2000), Errno::ENOENT)?;
            b.refuses(p, &unmap_at(iommufd, ioas, 0x3000, 0x3000), Errno::ENOENT)?;
            let outcome = b.ioctl(p, &unmap_at(iommufd, ioas, 0, TOP))?;
            b.same("the rest", &last_long(&outcome), &0x4000)
        },
    ),
    row("ioas/options-refused", "what an OPTION refuses, in order", &[], |b| {
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
    }),
    row("ioas/option-may-not", "the accounting mode takes CAP_SYS_RESOURCE", &[], |b| {
        let p = b.spawn(ORDINARY);
        let iommufd = b.iommufd(p)?;
        b.refuses(p, &option(iommufd, 0, 0, ObjectId(0), 1), Errno::EPERM)
    }),
    row(
        "ioas/huge-pages",
        "switching huge pages off takes whole pages, and no mapped domain",
        MOCK,
        |b| {
            let (p, iommufd, ioas) = space(b)?;
            let value = |b: &mut Bench<'_>| {
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
    row("ioas/maps-apart", "two maps of one memory are pinned and charged twice", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 2)?;
        let va = b.mmap(p, Some(memfd), 2)?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0x40000), 2))?;
        b.vm_pin(p, 4)
    }),
];
