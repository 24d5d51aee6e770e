//! Placement of mappings: chosen, allowed and reserved IOVAs.

use crate::suite::fixture::{BASE, FactResult, Fixture, Setup, map_file, unmap};
use crate::suite::rows::mock::{Mock, on, test};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::{Call, DeviceCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Pid};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const MOCK: &[Capability] = &[Capability::Mock];
const TOP: u64 = u64::MAX;
const NONE: ObjectId = ObjectId(77);

/// A process with a context, an IOAS and a file of 2 MiB.
struct Space {
    p: Pid,
    iommufd: Fd,
    ioas: ObjectId,
    memfd: Fd,
}

fn space(b: &mut Fixture<'_>) -> FactResult<Space> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    let memfd = b.memfd(p, 512)?;
    Ok(Space { p, iommufd, ioas, memfd })
}

/// Returns a MAP_FILE at an IOVA that the kernel chooses.
fn anywhere(s: &Space, offset_bytes: u64, length_bytes: u64) -> Call {
    let file = sized().u32(6).id(s.ioas).fd(s.memfd).u64(offset_bytes).u64(length_bytes);
    file.u64(0x77).on(s.iommufd, nr::IOMMU_IOAS_MAP_FILE)
}

/// Returns the last 64-bit field of a structure.
pub(super) fn last_long(outcome: &IoctlOutcome) -> u64 {
    let bytes = outcome.bytes.last_chunk().expect("a structure");
    u64::from_ne_bytes(*bytes)
}

fn chosen(b: &mut Fixture<'_>, s: &Space, rows: &[(u64, u64, u64)]) -> FactResult {
    for (offset, length, expected) in rows {
        let outcome = b.ioctl(s.p, &anywhere(s, *offset, *length))?;
        b.same("the chosen IOVA", &last_long(&outcome), expected)?;
    }
    Ok(())
}

fn bytes(ranges: &[(u64, u64)]) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|(first, last)| [first.to_ne_bytes(), last.to_ne_bytes()])
        .flatten()
        .collect()
}

fn allow_in(s: &Space, ioas: ObjectId, count: u32, reserved: u32, ranges: &[(u64, u64)]) -> Call {
    let fields = sized().id(ioas).u32(count).u32(reserved).pointer(&bytes(ranges));
    fields.on(s.iommufd, nr::IOMMU_IOAS_ALLOW_IOVAS)
}

fn allow(s: &Space, ranges: &[(u64, u64)]) -> Call {
    allow_in(s, s.ioas, u32::try_from(ranges.len()).expect("few"), 0, ranges)
}

/// Returns a MAP_FILE from the start of the file, at a fixed IOVA.
fn fixed(s: &Space, iova: u64, length_bytes: u64) -> Call {
    let file = sized().u32(7).id(s.ioas).fd(s.memfd).u64(0).u64(length_bytes);
    file.u64(iova).on(s.iommufd, nr::IOMMU_IOAS_MAP_FILE)
}

fn reserve(s: &Space, first: u64, length: u64) -> Call {
    on(test(1, s.ioas.0).u64(first).u64(length), s.iommufd)
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "iova/chosen",
        "the kernel chooses the lowest IOVA that keeps the source's alignment, never 0",
        &[],
        |b| {
            let s = space(b)?;
            chosen(
                b,
                &s,
                &[
                    (0, 0x3000, 0x4000),
                    (0x1000, 0x1000, 0x1000),
                    (0x2000, 0x1000, 0x2000),
                    (0x1800, 0x800, 0x3800),
                    (0x1234, 4, 0x3234),
                    (0x10_0000, 0x10_0000, 0x10_0000),
                    (0, 0x20_0000, 0x20_0000),
                    (0, 0x20_0001, 0x40_0000),
                ],
            )
        },
    ),
    row("iova/chosen-of-memory", "a chosen IOVA has the page offset of the memory", &[], |b| {
        let s = space(b)?;
        let va = b.mmap(s.p, None, 1)?;
        let map = sized().u32(6).id(s.ioas).u32(0).u64(va.0 + 0x10).u64(0x20).u64(0);
        let outcome = b.ioctl(s.p, &map.on(s.iommufd, nr::IOMMU_IOAS_MAP))?;
        b.same("the chosen IOVA", &last_long(&outcome), &0x1010)
    }),
    row("iova/copied", "COPY can choose an IOVA, too", &[], |b| {
        let s = space(b)?;
        b.ok(s.p, &map_file(s.iommufd, s.ioas, s.memfd, Iova(0x10_0000), 4))?;
        let ids = sized().u32(6).id(s.ioas).id(s.ioas).u64(0x1000).u64(0x77).u64(0x10_1000);
        let outcome = b.ioctl(s.p, &ids.on(s.iommufd, nr::IOMMU_IOAS_COPY))?;
        b.same(
            "the destination",
            &outcome.bytes[24..32].to_vec(),
            &0x1000u64.to_ne_bytes().to_vec(),
        )
    }),
    row(
        "iova/chosen-in-vain",
        "MAP_FILE fails with ENOSPC without room, with EOVERFLOW for half of all IOVAs",
        &[],
        |b| {
            let s = space(b)?;
            b.refuses(s.p, &anywhere(&s, 0, TOP / 2), Errno::EOVERFLOW)?;
            b.ok(s.p, &allow(&s, &[(0x10_0000, 0x10_0fff), (0x20_0000, 0x20_1fff)]))?;
            chosen(b, &s, &[(0, 0x2000, 0x20_0000), (0, 0x1000, 0x10_0000)])?;
            b.refuses(s.p, &anywhere(&s, 0, 0x1000), Errno::ENOSPC)?;
            b.ok(s.p, &allow(&s, &[(0, 0xfff), (TOP - 0x20, TOP)]))?;
            b.refuses(s.p, &anywhere(&s, 0, 1), Errno::ENOSPC)?;
            b.ok(s.p, &allow(&s, &[]))?;
            chosen(b, &s, &[(0, 1, 0x1000)])
        },
    ),
    row(
        "iova/chosen-next-to-pages",
        "a source that is less aligned than the IOMMU's pages fails with EINVAL",
        MOCK,
        |b| {
            let s = space(b)?;
            Mock::on(b, s.p, s.iommufd, s.ioas)?;
            b.refuses(s.p, &anywhere(&s, 1, 2048), Errno::EINVAL)?;
            b.refuses(s.p, &anywhere(&s, 0, 2047), Errno::EINVAL)?;
            chosen(b, &s, &[(2048, 2048, 0x100_0800), (0, 4096, 0x100_1000)])
        },
    ),
    row("iova/allow-refused", "ALLOW_IOVAS checks object, memory and ranges in order", EDU, |b| {
        let s = space(b)?;
        let (device, _) = b.bind(s.p, Device::Edu, s.iommufd)?;
        b.attach(s.p, device, s.ioas)?;
        b.all_refused(
            s.p,
            &[
                (allow_in(&s, NONE, 1, 1, &[]), Errno::EOPNOTSUPP),
                (allow_in(&s, NONE, 1, 0, &[]), Errno::ENOENT),
                (allow_in(&s, s.ioas, 1, 0, &[]), Errno::EFAULT),
                (allow(&s, &[(4, 4)]), Errno::EINVAL),
                (allow(&s, &[(4, 3)]), Errno::EINVAL),
                (allow_in(&s, s.ioas, 3, 0, &[(0, 8), (8, 9)]), Errno::EINVAL),
                (allow_in(&s, s.ioas, 2, 0, &[(0, 8)]), Errno::EFAULT),
                (allow(&s, &[(0, 8), (0xfedf_f000, 0xfee0_0000)]), Errno::EADDRINUSE),
            ],
        )
    }),
    row(
        "iova/allowed-keeps-domains-away",
        "ATTACH fails with EADDRINUSE if an allowed IOVA would become reserved",
        EDU,
        |b| {
            let s = space(b)?;
            let (device, _) = b.bind(s.p, Device::Edu, s.iommufd)?;
            let attach = Call::Device(DeviceCall::Attach { device, page_table: s.ioas });
            for meets in [(0xfee0_0000, 0xfee0_0fff), (0x7f_ffff_f000, 0x80_0000_0fff)] {
                b.ok(s.p, &allow(&s, &[meets]))?;
                b.refuses(s.p, &attach, Errno::EADDRINUSE)?;
            }
            b.ok(s.p, &allow(&s, &[(0x1000, 0xffff)]))?;
            b.ok(s.p, &attach).map(drop)
        },
    ),
    row(
        "iova/mapped-keeps-domains-away",
        "HWPT_ALLOC and ATTACH fail if an area or allowed range does not fit the domain",
        EDU,
        |b| {
            let s = space(b)?;
            let (file, device) = b.bind(s.p, Device::Edu, s.iommufd)?;
            let far = |s: &Space| fixed(s, 0x80_0000_0000, 0x1000);
            let odd = |s: &Space| fixed(s, 0x1000, 0x801);
            let across = |s: &Space| allow(s, &[(0x7f_ffff_f000, 0x80_0000_0fff)]);
            for call in [&far as &dyn Fn(&Space) -> Call, &odd, &across] {
                let s = Space { ioas: b.ioas(s.p, s.iommufd)?, ..s };
                let (iommufd, ioas) = (s.iommufd, s.ioas);
                b.ok(s.p, &call(&s))?;
                b.refuses(s.p, &IommufdCall::hwpt_alloc(iommufd, device, ioas), Errno::EADDRINUSE)?;
                let attach = Call::Device(DeviceCall::Attach { device: file, page_table: ioas });
                b.refuses(s.p, &attach, Errno::EADDRINUSE)?;
            }
            Ok(())
        },
    ),
    row("iova/mapped-keeps-mocks-away", "a mock domain maps no IOVA below 16 MiB", MOCK, |b| {
        let s = space(b)?;
        b.ok(s.p, &fixed(&s, 0x1000, 0x1000))?;
        b.refuses(s.p, &on(test(2, s.ioas.0), s.iommufd), Errno::EADDRINUSE)
    }),
    row("iova/fixed-outside", "allowed ranges do not restrict maps at a fixed IOVA", &[], |b| {
        let s = space(b)?;
        b.ok(s.p, &allow(&s, &[(0x10_0000, 0x10_ffff)]))?;
        b.ok(s.p, &map_file(s.iommufd, s.ioas, s.memfd, Iova(0x50_0000), 1)).map(drop)
    }),
    row(
        "iova/reserve",
        "a reserved range cannot be mapped or allowed, nor a mapped or allowed one reserved",
        MOCK,
        |b| {
            let s = space(b)?;
            b.ok(s.p, &map_file(s.iommufd, s.ioas, s.memfd, Iova(0x10_0000), 1))?;
            b.ok(s.p, &allow(&s, &[(0x20_0000, 0x20_ffff)]))?;
            b.ok(s.p, &reserve(&s, 0x30_0000, 0x1000))?;
            b.ok(s.p, &reserve(&s, 0x30_0000, 0x1000))?;
            let nowhere = Space { ioas: NONE, ..s };
            b.all_refused(
                s.p,
                &[
                    (reserve(&s, 0, 0), Errno::EINVAL),
                    (reserve(&s, TOP, 2), Errno::EOVERFLOW),
                    (reserve(&nowhere, 0, 1), Errno::ENOENT),
                    (reserve(&s, 0x10_0fff, 1), Errno::EADDRINUSE),
                    (reserve(&s, 0x20_0000, 1), Errno::EADDRINUSE),
                    (map_file(s.iommufd, s.ioas, s.memfd, Iova(0x2f_f000), 2), Errno::EINVAL),
                    (allow(&s, &[(0x2f_f000, 0x30_0000)]), Errno::EADDRINUSE),
                ],
            )
        },
    ),
    row("iova/around-reserved", "a chosen IOVA is not reserved", MOCK, |b| {
        let s = space(b)?;
        b.ok(s.p, &reserve(&s, 0, 0x8000))?;
        b.ok(s.p, &reserve(&s, 0x9000, TOP - 0x9000 + 1))?;
        chosen(b, &s, &[(0, 0x1000, 0x8000)])?;
        b.refuses(s.p, &anywhere(&s, 0, 1), Errno::ENOSPC)
    }),
    row("iova/unmapped-comes-back", "an unmapped IOVA can be chosen again", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 4)?;
        let s = Space { p, iommufd, ioas, memfd };
        chosen(b, &s, &[(0, 0x1000, 0x1000), (0, 0x1000, 0x2000)])?;
        b.ok(p, &unmap(iommufd, ioas, Iova(0x1000), 1))?;
        chosen(b, &s, &[(0, 0x1000, 0x1000)])?;
        b.refuses(p, &map_file(iommufd, ioas, memfd, BASE, 1), Errno::EEXIST)
    }),
];
