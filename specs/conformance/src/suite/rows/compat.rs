//! An iommufd that serves as a type1 container.

use super::mock::{Mock, on, test, word};
use crate::suite::fixture::{FactResult, Fixture, map_file};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Fact, row};
use crate::target::Capability;
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::{Call, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;

const MOCK: &[Capability] = &[Capability::Mock];
const OLD_KERNEL: &[Capability] = &[Capability::Release("6.13")];
const NONE: ObjectId = ObjectId(77);
const TOP: u64 = u64::MAX;
const TYPE1: u64 = 1;
const TYPE1V2: u64 = 3;
const ALL: u32 = 2;
const BASE: u64 = 0x100_0000;

fn vfio_ioas(iommufd: Fd, ioas: ObjectId, op: u16, reserved: u16) -> Call {
    sized().id(ioas).u16(op).u16(reserved).on(iommufd, nr::IOMMU_VFIO_IOAS)
}

fn map_dma(iommufd: Fd, flags: u32, [va, iova, length]: [u64; 3]) -> Call {
    sized().u32(flags).u64(va).u64(iova).u64(length).on(iommufd, nr::VFIO_IOMMU_MAP_DMA)
}

fn unmap_fields(flags: u32, iova: u64, length: u64) -> Fields {
    sized().u32(flags).u64(iova).u64(length)
}

fn unmap_dma(iommufd: Fd, flags: u32, iova: u64, length: u64) -> Call {
    unmap_fields(flags, iova, length).on(iommufd, nr::VFIO_IOMMU_UNMAP_DMA)
}

fn info(iommufd: Fd, size: u32) -> Call {
    let fields = Fields::default().u32(size).padded(size as usize);
    fields.plain(iommufd, nr::VFIO_IOMMU_GET_INFO)
}

/// Returns a process with a context and its compat IOAS.
fn container(b: &mut Fixture<'_>) -> FactResult<(Pid, Fd, ObjectId)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    b.ok(p, &vfio_ioas(iommufd, ioas, 1, 0))?;
    Ok((p, iommufd, ioas))
}

fn long(outcome: &IoctlOutcome, at: usize) -> u64 {
    u64::from_ne_bytes(*outcome.bytes[at..].first_chunk().expect("within the structure"))
}

/// Makes an UNMAP_DMA that must succeed, and checks the number of bytes that it reports.
fn unmapped(b: &mut Fixture<'_>, p: Pid, call: &Call, expected: u64) -> FactResult {
    let outcome = b.ioctl(p, call)?;
    b.same("the bytes unmapped", &long(&outcome, 16), &expected)
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "compat/ioas",
        "the compat IOAS can be read, set and cleared, and is cleared with its object",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            b.all_refused(
                p,
                &[
                    (vfio_ioas(iommufd, NONE, 1, 1), Errno::EOPNOTSUPP),
                    (vfio_ioas(iommufd, NONE, 3, 0), Errno::EOPNOTSUPP),
                    (vfio_ioas(iommufd, NONE, 0, 0), Errno::ENODEV),
                    (vfio_ioas(iommufd, NONE, 1, 0), Errno::ENOENT),
                ],
            )?;
            b.ok(p, &vfio_ioas(iommufd, ioas, 1, 0))?;
            let told = b.ioctl(p, &vfio_ioas(iommufd, NONE, 0, 0))?;
            b.same("the compat IOAS", &word(&told, 4), &ioas.0)?;
            b.ok(p, &vfio_ioas(iommufd, NONE, 2, 0))?;
            b.refuses(p, &vfio_ioas(iommufd, NONE, 0, 0), Errno::ENODEV)?;
            b.ok(p, &vfio_ioas(iommufd, ioas, 1, 0))?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }))?;
            b.refuses(p, &vfio_ioas(iommufd, NONE, 0, 0), Errno::ENODEV)
        },
    ),
    row(
        "compat/none",
        "without a compat IOAS, container calls fail with ENODEV after their own checks",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let short = |request| Fields::default().u32(4).plain(iommufd, request);
            let said_short =
                |size: usize, request| sized().padded(size).with_size(4).plain(iommufd, request);
            b.all_refused(
                p,
                &[
                    (value(iommufd, nr::VFIO_SET_IOMMU, 2), Errno::EINVAL),
                    (value(iommufd, nr::VFIO_SET_IOMMU, TYPE1), Errno::ENODEV),
                    (value(iommufd, nr::VFIO_SET_IOMMU, TYPE1V2), Errno::ENODEV),
                    (value(iommufd, nr::VFIO_CHECK_EXTENSION, 4), Errno::ENODEV),
                    (short(nr::VFIO_IOMMU_MAP_DMA), Errno::EFAULT),
                    (said_short(32, nr::VFIO_IOMMU_MAP_DMA), Errno::EINVAL),
                    (map_dma(iommufd, 4, [0, 0, 0]), Errno::EINVAL),
                    (map_dma(iommufd, 3, [0, 0, 0]), Errno::ENODEV),
                    (short(nr::VFIO_IOMMU_UNMAP_DMA), Errno::EFAULT),
                    (said_short(24, nr::VFIO_IOMMU_UNMAP_DMA), Errno::EINVAL),
                    (unmap_dma(iommufd, 4, 0, 0), Errno::EINVAL),
                    (unmap_dma(iommufd, 0, 0, 0), Errno::ENODEV),
                    (short(nr::VFIO_IOMMU_GET_INFO), Errno::EFAULT),
                    (said_short(16, nr::VFIO_IOMMU_GET_INFO), Errno::EINVAL),
                    (info(iommufd, 16), Errno::ENODEV),
                    (info(iommufd, 24).clone(), Errno::ENODEV),
                    (sized().padded(24).on(iommufd, nr::VFIO_IOMMU_DIRTY_PAGES), Errno::ENOTTY),
                    (value(iommufd, 0x3b7f, 0), Errno::ENOTTY),
                ],
            )
        },
    ),
    row("compat/extensions", "CHECK_EXTENSION reports the extensions of an iommufd", &[], |b| {
        let (p, iommufd, _) = container(b)?;
        let answers = [(TYPE1, 1), (2, 0), (TYPE1V2, 1), (4, 1), (6, 0), (9, 1), (10, 0)];
        for (extension, expected) in answers {
            let outcome = b.ioctl(p, &value(iommufd, nr::VFIO_CHECK_EXTENSION, extension))?;
            b.same(&format!("extension {extension}"), &outcome.result, &Ok(expected))?;
        }
        let version = b.ioctl(p, &value(iommufd, nr::VFIO_GET_API_VERSION, 0))?;
        b.same("the version", &version.result, &Ok(0))
    }),
    row("compat/set-iommu-again", "SET_IOMMU can be repeated with either type", &[], |b| {
        let (p, iommufd, _) = container(b)?;
        for kind in [TYPE1V2, TYPE1V2, TYPE1, TYPE1, TYPE1V2] {
            b.ok(p, &value(iommufd, nr::VFIO_SET_IOMMU, kind))?;
        }
        Ok(())
    }),
    row("compat/map", "MAP_DMA maps at a fixed IOVA, with any rights", &[], |b| {
        let (p, iommufd, _) = container(b)?;
        b.ok(p, &value(iommufd, nr::VFIO_SET_IOMMU, TYPE1V2))?;
        let va = b.mmap(p, None, 2)?.0;
        b.ok(p, &map_dma(iommufd, 0, [va, BASE, PAGE_BYTES]))?;
        b.all_refused(
            p,
            &[
                (map_dma(iommufd, 3, [TOP, 0, 1]), Errno::EOVERFLOW),
                (map_dma(iommufd, 3, [0, 0, 0]), Errno::EINVAL),
                (map_dma(iommufd, 3, [va, BASE, 1]), Errno::EEXIST),
            ],
        )?;
        b.refuses(p, &IommufdCall::change_process(iommufd), Errno::EINVAL)
    }),
    row(
        "compat/unmap",
        "UNMAP_DMA of an empty range succeeds; a failed one reports its bytes, too",
        &[],
        |b| {
            let (p, iommufd, _) = container(b)?;
            let va = b.mmap(p, None, 4)?.0;
            for at in [0, 2] {
                let at = at * PAGE_BYTES;
                b.ok(p, &map_dma(iommufd, 3, [va + at, BASE + at, 2 * PAGE_BYTES]))?;
            }
            let across = unmap_dma(iommufd, 0, BASE, 3 * PAGE_BYTES);
            let outcome = b.ioctl_refused(p, &across, Errno::ENOENT)?;
            b.same("the bytes unmapped", &long(&outcome, 16), &(2 * PAGE_BYTES))?;
            unmapped(b, p, &unmap_dma(iommufd, 0, BASE, PAGE_BYTES), 0)?;
            let read_only = unmap_fields(0, 0, PAGE_BYTES).read_only();
            b.all_refused(
                p,
                &[
                    (unmap_dma(iommufd, 0, 0, 0), Errno::EINVAL),
                    (unmap_dma(iommufd, 0, TOP, 2), Errno::EOVERFLOW),
                    (unmap_dma(iommufd, ALL, 0, 1), Errno::EINVAL),
                    (unmap_dma(iommufd, ALL, 1, 0), Errno::EINVAL),
                    (read_only.on(iommufd, nr::VFIO_IOMMU_UNMAP_DMA), Errno::EFAULT),
                ],
            )?;
            unmapped(b, p, &unmap_dma(iommufd, ALL, 0, 0), 2 * PAGE_BYTES)
        },
    ),
    row(
        "compat/unmap-nothing",
        "UNMAP_DMA of an empty range fails with ENOENT in 6.13",
        OLD_KERNEL,
        |b| {
            let (p, iommufd, _) = container(b)?;
            b.refuses(p, &unmap_dma(iommufd, 0, BASE, PAGE_BYTES), Errno::ENOENT)?;
            unmapped(b, p, &unmap_dma(iommufd, ALL, 0, 0), 0)
        },
    ),
    row(
        "compat/cut",
        "UNMAP_DMA splits mappings, and their pins, in a version 1 container",
        MOCK,
        |b| {
            let (p, iommufd, ioas) = container(b)?;
            Mock::on(b, p, iommufd, ioas)?;
            b.ok(p, &value(iommufd, nr::VFIO_SET_IOMMU, TYPE1))?;
            let va = b.mmap(p, None, 4)?.0;
            b.ok(p, &map_dma(iommufd, 3, [va, BASE, 4 * PAGE_BYTES]))?;
            b.refuses(p, &unmap_dma(iommufd, 0, BASE + 2048, 2048), Errno::EINVAL)?;
            unmapped(b, p, &unmap_dma(iommufd, 0, BASE + PAGE_BYTES, PAGE_BYTES), PAGE_BYTES)?;
            b.vm_pin(p, 3)?;
            unmapped(b, p, &unmap_dma(iommufd, 0, BASE, 2 * PAGE_BYTES), PAGE_BYTES)?;
            let access = b.ioctl(p, &on(test(5, ioas.0).u32(0).u32(1), iommufd))?;
            let pin = test(7, word(&access, 16)).u32(0).u32(0).u64(BASE + 2 * PAGE_BYTES).u64(1);
            b.ok(p, &on(pin, iommufd))?;
            b.refuses(p, &unmap_dma(iommufd, 0, BASE + 3 * PAGE_BYTES, PAGE_BYTES), Errno::EINVAL)
        },
    ),
    row(
        "compat/cut-dma-buf",
        "a dma-buf cannot be split",
        &[Capability::Mock, Capability::Release("7.2")],
        |b| {
            let (p, iommufd, ioas) = container(b)?;
            b.ok(p, &value(iommufd, nr::VFIO_SET_IOMMU, TYPE1))?;
            let outcome = b.ioctl(p, &on(test(22, 0).u32(0x4000), iommufd))?;
            let buffer = Fd(outcome.result.unwrap_or_default().cast_signed());
            b.ok(p, &map_file(iommufd, ioas, buffer, Iova(BASE), 4))?;
            b.refuses(p, &unmap_dma(iommufd, 0, BASE, PAGE_BYTES), Errno::EOPNOTSUPP)
        },
    ),
    row("compat/not-small", "SET_IOMMU refuses version 1 if a domain is mapped", MOCK, |b| {
        let (p, iommufd, ioas) = container(b)?;
        Mock::on(b, p, iommufd, ioas)?;
        let va = b.mmap(p, None, 1)?.0;
        b.ok(p, &map_dma(iommufd, 3, [va, BASE, PAGE_BYTES]))?;
        b.refuses(p, &value(iommufd, nr::VFIO_SET_IOMMU, TYPE1), Errno::EINVAL)?;
        b.ok(p, &value(iommufd, nr::VFIO_SET_IOMMU, TYPE1V2)).map(drop)
    }),
    row("compat/info", "IOMMU_GET_INFO returns the capabilities that fit", MOCK, |b| {
        let (p, iommufd, ioas) = container(b)?;
        let outcome = b.ioctl(p, &info(iommufd, 24))?;
        b.same("page sizes without a domain", &long(&outcome, 8), &!0xfff)?;
        Mock::on(b, p, iommufd, ioas)?;
        for size in 16..=72 {
            let outcome = b.ioctl(p, &info(iommufd, size))?;
            let told = &outcome.bytes;
            b.same("the complete size", &word(&outcome, 0), &72)?;
            b.same("page sizes", &long(&outcome, 8), &0x1f_ffff_f000)?;
            if size >= 36 {
                let next = if size >= 40 { 40 } else { 0 };
                let cap = [3, 0, 1, 0, next, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
                b.same("mappings left", &told[24..36].to_vec(), &cap.to_vec())?;
            }
            if size >= 72 {
                b.same("the first capability", &word(&outcome, 16), &24)?;
                b.same("one range", &word(&outcome, 48), &1)?;
                b.same("from", &long(&outcome, 56), &BASE)?;
                b.same("to", &long(&outcome, 64), &0x7fff_ffff)?;
            }
        }
        let untold = |size: u32| {
            let fields = Fields::default().u32(size).padded(size as usize);
            fields.read_only().plain(iommufd, nr::VFIO_IOMMU_GET_INFO)
        };
        for size in [16, 36, 40, 72] {
            b.refuses(p, &untold(size), Errno::EFAULT)?;
        }
        Ok(())
    }),
];
