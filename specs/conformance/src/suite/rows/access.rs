//! Kernel accesses, as in the kernel's selftests, and dma-bufs.

use super::mock::{Mock, on, test, word};
use crate::suite::fixture::{FactResult, Fixture, map, map_file, unmap};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, FileCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

const MOCK: &[Capability] = &[Capability::Mock];
const MOCK_6_13: &[Capability] = &[Capability::Mock, Capability::Release("6.13")];
/// Mocks of 7.2, whose exporter returns its descriptor; that of 7.3.4 does not.
const MOCK_7_2: &[Capability] = &[Capability::Mock, Capability::Release("7.2")];
const MOCK_EDU: &[Capability] = &[Capability::Mock, Capability::Has(Device::Edu)];
const BASE: u64 = 0x100_0000;
const NONE: ObjectId = ObjectId(77);
const BAD: Fd = Fd(99);
const TOP: u64 = u64::MAX;
const EBADE: Errno = Errno::Other(52);
const PINS: u32 = 1;
const WRITE: u32 = 1;
const SLOWLY: u32 = 4;
const BY_AREA: u32 = 1 << 16;

/// A process with a context, an IOAS over four pages of memory, and a pinning access.
#[derive(Clone, Copy)]
struct Looking {
    p: Pid,
    iommufd: Fd,
    ioas: ObjectId,
    va: Va,
    access: Fd,
}

fn create(iommufd: Fd, ioas: ObjectId, flags: u32) -> Call {
    on(test(5, ioas.0).u32(0).u32(flags), iommufd)
}

fn looking(b: &mut Fixture<'_>) -> FactResult<Looking> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    let va = b.mmap(p, None, 4)?;
    b.ok(p, &map(iommufd, ioas, va, Iova(BASE), 4))?;
    let outcome = b.ioctl(p, &create(iommufd, ioas, PINS))?;
    let access = Fd(word(&outcome, 16).cast_signed());
    Ok(Looking { p, iommufd, ioas, va, access })
}

impl Looking {
    fn of(&self, op: u32) -> crate::suite::structure::Fields {
        test(op, self.access.0.cast_unsigned())
    }

    fn pages(&self, flags: u32, iova: u64, length: u64, va: u64) -> Call {
        let fields = self.of(7).u32(flags).u32(0).u64(iova).u64(length).u64(va);
        on(fields, self.iommufd)
    }

    fn rw(&self, flags: u32, iova: u64, length: u64, buffer: &[u8]) -> Call {
        on(self.of(8).u64(iova).u64(length).pointer(buffer).u32(flags), self.iommufd)
    }

    fn give_back(&self, item: u32) -> Call {
        on(self.of(6).u32(item), self.iommufd)
    }

    fn replace(&self, ioas: ObjectId) -> Call {
        on(self.of(11).id(ioas), self.iommufd)
    }

    /// Returns a check that pages are pinned this many times.
    fn refs(&self, pages: u64, times: u32) -> Call {
        let fields = test(4, 0).u64(pages * PAGE_BYTES).u64(self.va.0).u32(times);
        on(fields, self.iommufd)
    }

    fn misaligned(&self) -> Call {
        let map = sized().u32(7).id(self.ioas).u32(0).u64(self.va.0).u64(1).u64(0x10);
        map.on(self.iommufd, nr::IOMMU_IOAS_MAP)
    }

    fn elsewhere(self, access: Fd) -> Self {
        Self { access, ..self }
    }
}

fn dma_buf(iommufd: Fd, length: u32) -> Call {
    on(test(22, 0).u32(length).u32(0), iommufd)
}

fn revoke(iommufd: Fd, fd: Fd, revoked: u32) -> Call {
    on(test(23, 0).fd(fd).u32(revoked), iommufd)
}

pub(super) const ROWS: &[Fact] = &[
    row("access/holds", "an access holds its IOAS until its last close", MOCK, |b| {
        let l = looking(b)?;
        let Looking { p, iommufd, ioas, access, .. } = l;
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY)?;
        let other = b.fd(p, &Call::File(FileCall::Dup { fd: access }))?;
        b.ok(p, &Call::File(FileCall::Close { fd: access }))?;
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: other }))?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
    }),
    row("access/create-refused", "creating an access checks flags, IOAS and areas", MOCK, |b| {
        let l = looking(b)?;
        b.refuses(l.p, &create(l.iommufd, l.ioas, 2), Errno::EOPNOTSUPP)?;
        b.refuses(l.p, &create(l.iommufd, NONE, 0), Errno::ENOENT)?;
        b.ok(l.p, &Call::File(FileCall::Close { fd: l.access }))?;
        b.ok(l.p, &l.misaligned())?;
        b.refuses(l.p, &create(l.iommufd, l.ioas, PINS), Errno::EADDRINUSE)?;
        b.ok(l.p, &create(l.iommufd, l.ioas, 0))?;
        while b.call(l.p, &Call::File(FileCall::Dup { fd: l.iommufd })).is_ok() {}
        b.refuses(l.p, &create(l.iommufd, l.ioas, 0), Errno::ENOMEM)
    }),
    row(
        "access/one-pin",
        "domains and accesses share one pin and one charge of a page",
        MOCK,
        |b| {
            let l = looking(b)?;
            let two = 2 * PAGE_BYTES;
            b.ok(l.p, &l.pages(WRITE, BASE, two, l.va.0))?;
            b.ok(l.p, &l.pages(WRITE, BASE + PAGE_BYTES, two, 0))?;
            b.vm_pin(l.p, 3)?;
            b.ok(l.p, &l.refs(3, 1))?;
            let mock = Mock::on(b, l.p, l.iommufd, l.ioas)?;
            b.vm_pin(l.p, 4)?;
            b.ok(l.p, &l.refs(4, 1))?;
            b.ok(l.p, &l.give_back(0))?;
            b.vm_pin(l.p, 4)?;
            b.ok(l.p, &Call::Iommufd(IommufdCall::Destroy { iommufd: l.iommufd, id: mock.stdev }))?;
            b.vm_pin(l.p, 2)?;
            b.refuses(l.p, &l.refs(2, 0), Errno::EIO)?;
            b.refuses(l.p, &l.give_back(0), Errno::ENOENT)?;
            b.ok(l.p, &l.give_back(1))?;
            b.vm_pin(l.p, 0)
        },
    ),
    row("access/unmapped", "UNMAP revokes an access's pins in the area", MOCK, |b| {
        let l = looking(b)?;
        let behind = Iova(BASE + 4 * PAGE_BYTES);
        b.ok(l.p, &map(l.iommufd, l.ioas, l.va, behind, 4))?;
        b.ok(l.p, &l.pages(WRITE, BASE + 3 * PAGE_BYTES, 2 * PAGE_BYTES, 0))?;
        b.ok(l.p, &l.pages(WRITE, BASE, PAGE_BYTES, 0))?;
        b.vm_pin(l.p, 3)?;
        b.ok(l.p, &unmap(l.iommufd, l.ioas, behind, 4))?;
        b.vm_pin(l.p, 1)?;
        b.refuses(l.p, &l.give_back(0), Errno::ENOENT)?;
        b.ok(l.p, &l.give_back(1)).map(drop)
    }),
    row("access/pin-refused", "ACCESS_PAGES checks its arguments in order", MOCK, |b| {
        let l = looking(b)?;
        let outcome = b.ioctl(l.p, &create(l.iommufd, l.ioas, 0))?;
        let plain = l.elsewhere(Fd(word(&outcome, 16).cast_signed()));
        let read_only = sized().u32(5).id(l.ioas).u32(0).u64(l.va.0).u64(PAGE_BYTES).u64(0x8000);
        b.ok(l.p, &read_only.on(l.iommufd, nr::IOMMU_IOAS_MAP))?;
        b.ok(l.p, &map(l.iommufd, l.ioas, Va(0x1000), Iova(0x20000), 1))?;
        let page = PAGE_BYTES;
        b.all_refused(
            l.p,
            &[
                (l.pages(2, BASE, (16 << 20) + 1, 0), Errno::ENOMEM),
                (l.elsewhere(BAD).pages(2, BASE, page, 0), Errno::EOPNOTSUPP),
                (l.elsewhere(BAD).pages(WRITE, BASE, page, 0), Errno::EBADFD),
                (l.elsewhere(l.iommufd).pages(WRITE, BASE, page, 0), Errno::EBADFD),
                (plain.pages(WRITE, BASE, page, 0), Errno::EOPNOTSUPP),
                (l.pages(WRITE, BASE, 0, 0), Errno::EINVAL),
                (l.pages(WRITE, TOP - 0xfff, 2 * page, 0), Errno::EOVERFLOW),
                (l.pages(WRITE, BASE + 1, 1, 0), Errno::EINVAL),
                (l.pages(WRITE, 0, page, 0), Errno::ENOENT),
                (l.pages(WRITE, BASE, 5 * page, 0), Errno::ENOENT),
                (l.pages(WRITE, 0x8000, page, 0), Errno::EPERM),
                (l.pages(WRITE, 0x20000, page, 0), Errno::EFAULT),
                (l.pages(WRITE, BASE, page, l.va.0 + page), EBADE),
                (l.pages(WRITE, BASE, page, 0x1000), Errno::EFAULT),
            ],
        )?;
        b.vm_pin(l.p, 0)?;
        b.ok(l.p, &l.pages(0, 0x8000, page, 0)).map(drop)
    }),
    row("access/untold", "an item id that cannot be reported is used up", MOCK, |b| {
        let l = looking(b)?;
        let fields = l.of(7).u32(WRITE).u32(0).u64(BASE).u64(PAGE_BYTES).u64(0).padded(72);
        b.refuses(l.p, &fields.read_only().on(l.iommufd, nr::IOMMU_TEST_CMD), Errno::EFAULT)?;
        b.vm_pin(l.p, 0)?;
        let outcome = b.ioctl(l.p, &l.pages(WRITE, BASE, PAGE_BYTES, 0))?;
        b.same("the next id", &word(&outcome, 20), &1)
    }),
    row("access/rw", "reads and writes cross areas, and leave no pin", MOCK, |b| {
        let l = looking(b)?;
        let memfd = b.memfd(l.p, 2)?;
        b.ok(l.p, &map_file(l.iommufd, l.ioas, memfd, Iova(BASE + 4 * PAGE_BYTES), 2))?;
        let edge = BASE + 4 * PAGE_BYTES - 2;
        for flags in [0, SLOWLY] {
            b.ok(l.p, &l.rw(WRITE | flags, edge, 4, &[1, 2, 3, 4]))?;
            let outcome = b.ioctl(l.p, &l.rw(flags, edge, 4, &[0; 4]))?;
            b.same("the bytes read", &outcome.pointees[0].0, &vec![1, 2, 3, 4])?;
        }
        b.ok(l.p, &l.rw(BY_AREA, 1, 1, &[0]))?;
        b.vm_pin(l.p, 0)
    }),
    row("access/rw-refused", "ACCESS_RW checks its arguments in order", MOCK, |b| {
        let l = looking(b)?;
        b.ok(l.p, &map(l.iommufd, l.ioas, Va(0x1000), Iova(0x20000), 2))?;
        let write_only = sized().u32(3).id(l.ioas).u32(0).u64(l.va.0).u64(PAGE_BYTES).u64(0x8000);
        b.ok(l.p, &write_only.on(l.iommufd, nr::IOMMU_IOAS_MAP))?;
        b.all_refused(
            l.p,
            &[
                (l.rw(2, BASE, (16 << 20) + 1, &[]), Errno::ENOMEM),
                (l.elsewhere(BAD).rw(2, BASE, 1, &[0]), Errno::EOPNOTSUPP),
                (l.elsewhere(BAD).rw(0, BASE, 1, &[0]), Errno::EBADFD),
                (l.rw(0, BASE, 0, &[]), Errno::EINVAL),
                (l.rw(0, TOP, 2, &[0; 2]), Errno::EOVERFLOW),
                (l.rw(0, 0, 1, &[0]), Errno::ENOENT),
                (l.rw(0, BASE + 4 * PAGE_BYTES - 1, 2, &[0; 2]), Errno::ENOENT),
                (l.rw(0, 0x8000, 1, &[0]), Errno::EPERM),
                (l.rw(0, 0x20000, 1, &[0]), Errno::EFAULT),
                (l.rw(SLOWLY, 0x20000, 1, &[0]), Errno::EFAULT),
                (l.rw(WRITE | SLOWLY, 0x20fff, 2, &[0; 2]), Errno::EFAULT),
                (l.rw(BY_AREA, 7, 1, &[0]), Errno::ENOENT),
            ],
        )
    }),
    row("access/rw-no-buffer", "ACCESS_RW fails with EFAULT for an unmapped buffer", MOCK, |b| {
        let l = looking(b)?;
        let nowhere = |flags| on(l.of(8).u64(BASE).u64(2).u64(0x1000).u32(flags), l.iommufd);
        b.refuses(l.p, &nowhere(WRITE), Errno::EFAULT)?;
        b.refuses(l.p, &nowhere(0), Errno::EFAULT)
    }),
    row("access/owner-gone", "memory of a dead owner is reached if it is pinned", MOCK, |b| {
        let l = looking(b)?;
        let new = b.process();
        let passed = b.pass(l.p, new, &[l.access, l.iommufd])?;
        let there = Looking { access: passed[0], iommufd: passed[1], ..l };
        b.ok(l.p, &l.pages(WRITE, BASE, PAGE_BYTES, 0))?;
        b.ok(l.p, &l.rw(WRITE, BASE, 1, &[7]))?;
        b.kill(l.p);
        let outcome = b.ioctl(new, &there.rw(0, BASE, 1, &[0]))?;
        b.same("the byte read", &outcome.pointees[0].0, &vec![7])?;
        b.refuses(new, &there.rw(0, BASE + PAGE_BYTES, 1, &[0]), Errno::EFAULT)?;
        b.refuses(new, &on(test(2, l.ioas.0), there.iommufd), Errno::EFAULT)
    }),
    row("access/replace", "an access that changes its IOAS releases its pins", MOCK, |b| {
        let l = looking(b)?;
        let other = b.ioas(l.p, l.iommufd)?;
        b.ok(l.p, &l.pages(WRITE, BASE, PAGE_BYTES, 0))?;
        b.refuses(l.p, &l.replace(NONE), Errno::ENOENT)?;
        b.refuses(l.p, &l.elsewhere(BAD).replace(other), Errno::EBADFD)?;
        b.ok(l.p, &l.replace(l.ioas))?;
        b.vm_pin(l.p, 1)?;
        b.ok(l.p, &l.replace(other))?;
        b.vm_pin(l.p, 0)?;
        b.ok(l.p, &l.misaligned())?;
        b.refuses(l.p, &l.replace(l.ioas), Errno::EADDRINUSE)?;
        b.ok(l.p, &Call::Iommufd(IommufdCall::Destroy { iommufd: l.iommufd, id: l.ioas })).map(drop)
    }),
    row(
        "access/change-process",
        "pages that an access has pinned are charged to the new owner",
        MOCK,
        |b| {
            let l = looking(b)?;
            let new = b.process();
            let memfd = b.memfd(l.p, 4)?;
            b.ok(l.p, &unmap(l.iommufd, l.ioas, Iova(BASE), 4))?;
            b.ok(l.p, &map_file(l.iommufd, l.ioas, memfd, Iova(BASE), 4))?;
            b.ok(l.p, &l.pages(WRITE, BASE, PAGE_BYTES, 0))?;
            let iommufd = b.pass(l.p, new, &[l.iommufd])?[0];
            b.ok(new, &IommufdCall::change_process(iommufd))?;
            b.vm_pin(l.p, 0)?;
            b.vm_pin(new, 1)?;
            b.ok(l.p, &l.give_back(0))?;
            b.vm_pin(new, 0)
        },
    ),
    row("mock/refused", "test operations refuse invalid arguments", MOCK, |b| {
        let l = looking(b)?;
        let check = |hwpt: ObjectId, row: [u64; 3]| {
            on(
                row.into_iter().fold(test(3, hwpt.0), crate::suite::structure::Fields::u64),
                l.iommufd,
            )
        };
        let mock = Mock::on(b, l.p, l.iommufd, l.ioas)?;
        let half = PAGE_BYTES / 2;
        b.ok(l.p, &check(mock.hwpt, [BASE, 4 * PAGE_BYTES, l.va.0]))?;
        b.ok(l.p, &check(mock.hwpt, [BASE + half, half, l.va.0 + half]))?;
        b.ok(l.p, &on(test(9, 0).u32(12), l.iommufd))?;
        b.ok(l.p, &on(test(10, mock.stdev.0).id(mock.hwpt), l.iommufd))?;
        b.all_refused(
            l.p,
            &[
                (on(test(99, 0), l.iommufd), Errno::EOPNOTSUPP),
                (on(test(2, NONE.0), l.iommufd), Errno::ENOENT),
                (on(test(2, mock.stdev.0), l.iommufd), Errno::EINVAL),
                (on(test(12, l.ioas.0).u32(0).u32(0).u32(0).u32(2), l.iommufd), Errno::EINVAL),
                (on(test(10, NONE.0).id(mock.hwpt), l.iommufd), Errno::ENOENT),
                (on(test(10, mock.stdev.0).id(NONE), l.iommufd), Errno::ENOENT),
                (on(test(9, 0).u32(11), l.iommufd), Errno::EINVAL),
                (check(l.ioas, [0; 3]), Errno::ENOENT),
                (check(mock.hwpt, [BASE + 1, half, l.va.0]), Errno::EINVAL),
                (check(mock.hwpt, [BASE, half, TOP - half + 1]), Errno::EINVAL),
                (check(mock.hwpt, [BASE, half, l.va.0 + half]), Errno::EINVAL),
                (check(mock.hwpt, [BASE, half, 0x1000]), Errno::EFAULT),
                (on(test(4, 0).u64(1).u64(l.va.0).u32(1), l.iommufd), Errno::EINVAL),
                (on(test(4, 0).u64(PAGE_BYTES).u64(0x1000).u32(0), l.iommufd), Errno::EFAULT),
            ],
        )
    }),
    row(
        "mock/other-driver",
        "a mock device refuses a domain of another driver with EINVAL",
        MOCK_EDU,
        |b| {
            let l = looking(b)?;
            let (device, _) = b.bind(l.p, Device::Edu, l.iommufd)?;
            let hwpt = b.attach(l.p, device, l.ioas)?;
            b.refuses(l.p, &on(test(2, hwpt.0), l.iommufd), Errno::EINVAL)?;
            b.refuses(l.p, &on(test(3, hwpt.0), l.iommufd), Errno::EINVAL)
        },
    ),
    row("dma-buf/refused", "the mock exporter refuses invalid arguments", MOCK, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        b.all_refused(
            p,
            &[
                (dma_buf(iommufd, 0), Errno::EINVAL),
                (dma_buf(iommufd, 513 * 4096), Errno::EINVAL),
                (revoke(iommufd, BAD, 1), Errno::EBADF),
                (revoke(iommufd, iommufd, 1), Errno::EINVAL),
            ],
        )
    }),
    row("dma-buf/not-yet", "6.13 has no dma-bufs", MOCK_6_13, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        b.refuses(p, &dma_buf(iommufd, 4096), Errno::EOPNOTSUPP)?;
        b.refuses(p, &revoke(iommufd, BAD, 1), Errno::EOPNOTSUPP)
    }),
    row("dma-buf/untold", "7.3.4 does not return the new descriptor", MOCK, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let outcome = b.ioctl(p, &dma_buf(iommufd, 4096))?;
        b.same("the result", &outcome.result, &Ok(0))?;
        b.ok(p, &revoke(iommufd, Fd(iommufd.0 + 1), 1)).map(drop)
    }),
    row(
        "dma-buf/mapped",
        "a dma-buf can be mapped, pins no page, and prevents CHANGE_PROCESS",
        MOCK_7_2,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let outcome = b.ioctl(p, &dma_buf(iommufd, 0x4000))?;
            let buffer = Fd(outcome.result.unwrap_or_default().cast_signed());
            let mapped = map_file(iommufd, ioas, buffer, Iova(BASE), 4);
            let access = b.ioctl(p, &create(iommufd, ioas, PINS))?;
            let l = Looking {
                p,
                iommufd,
                ioas,
                va: Va(0),
                access: Fd(word(&access, 16).cast_signed()),
            };
            b.ok(p, &mapped)?;
            Mock::on(b, p, iommufd, ioas)?;
            b.vm_pin(p, 0)?;
            b.all_refused(
                p,
                &[
                    (map_file(iommufd, ioas, buffer, Iova(BASE + 0x8000), 5), Errno::EINVAL),
                    (l.pages(WRITE, BASE, PAGE_BYTES, 0), Errno::EINVAL),
                    (l.rw(0, BASE, 1, &[0]), Errno::EINVAL),
                    (IommufdCall::change_process(iommufd), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &revoke(iommufd, buffer, 1))?;
            b.refuses(p, &map_file(iommufd, ioas, buffer, Iova(BASE + 0x8000), 4), Errno::ENODEV)?;
            b.ok(p, &unmap(iommufd, ioas, Iova(BASE), 4))?;
            b.ok(p, &IommufdCall::change_process(iommufd)).map(drop)
        },
    ),
];
