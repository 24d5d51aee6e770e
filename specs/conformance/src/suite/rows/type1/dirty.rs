//! DIRTY_PAGES: its checks, and pages that are dirty because they are pinned.

use super::{IOVA, MDEV, TOP, map, mapped, refused};
use crate::suite::rows::group::{
    Legacy, TYPE1, V1, V2, join, open_container, open_group, ready, set_iommu,
};
use crate::suite::structure::{Fields, sized};
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::Call;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES};
use handoff_model::abi::request as nr;

/// `VFIO_IOMMU_DIRTY_PAGES_FLAG_*`.
const START: u32 = 1;
const STOP: u32 = 2;
const GET: u32 = 4;

/// Sizes of structures in bytes.
const GET_BYTES: u32 = 48;

fn dirty(container: Fd, flags: u32) -> Call {
    sized().u32(flags).on(container, nr::VFIO_IOMMU_DIRTY_PAGES)
}

/// Returns a GET of a range into a bitmap, with a page size in bytes.
fn get(iova: u64, bytes: u64, page_bytes: u64, bitmap: &[u8]) -> Fields {
    let size = bitmap.len() as u64;
    sized().u32(GET).u64(iova).u64(bytes).u64(page_bytes).u64(size).pointer(bitmap)
}

pub(crate) const ROWS: &[Fact] = &[
    row("type1/dirty", "every pinned page is reported as dirty", TYPE1, |b| {
        let p = b.process();
        let (Legacy { container, .. }, _) = mapped(b, p, V2, 4)?;
        b.ok(p, &dirty(container, START))?;
        b.ok(p, &dirty(container, START))?;
        let call = get(IOVA, 4 * PAGE_BYTES, PAGE_BYTES, &[0; 8]);
        let told = b.ioctl(p, &call.on(container, nr::VFIO_IOMMU_DIRTY_PAGES))?;
        b.same("bitmap", &told.pointees[0].0, &vec![0x0f, 0, 0, 0, 0, 0, 0, 0])?;
        b.ok(p, &dirty(container, STOP)).map(drop)
    }),
    row("type1/dirty-refused", "DIRTY_PAGES refuses an invalid size, flag or range", TYPE1, |b| {
        let p = b.process();
        let (Legacy { container, .. }, _) = mapped(b, p, V2, 4)?;
        let (request, page) = (nr::VFIO_IOMMU_DIRTY_PAGES, PAGE_BYTES);
        let short = sized().u32(START).with_size(7).plain(container, request);
        b.refuses(p, &short, Errno::EINVAL)?;
        // There is no dirty tracking.
        let whole = get(IOVA, 4 * page, page, &[0; 8]);
        b.refuses(p, &whole.clone().on(container, request), Errno::EINVAL)?;
        b.ok(p, &dirty(container, START))?;
        let too_short = whole.clone().with_size(GET_BYTES - 1).plain(container, request);
        b.refuses(p, &too_short, Errno::EINVAL)?;
        let nowhere = sized().u32(GET).u64(IOVA).u64(4 * page).u64(page).u64(8).u64(TOP);
        let table = [
            (sized().u32(START | STOP), Errno::EINVAL),
            (sized().u32(0), Errno::EINVAL),
            (get(IOVA, 0, page, &[0; 8]), Errno::EINVAL),
            (get(TOP, 2 * page, page, &[0; 8]), Errno::EOVERFLOW),
            (nowhere, Errno::EINVAL),
            (get(IOVA, 4 * page, page, &[0; 7]), Errno::EINVAL),
            (get(IOVA, 4 * page, 2 * page, &[0; 8]), Errno::EINVAL),
            (get(IOVA + 1, 4 * page, page, &[0; 8]), Errno::EINVAL),
            (get(IOVA, 3 * page, page, &[0; 8]), Errno::EINVAL),
        ];
        refused(b, p, container, request, &table)?;
        b.ioctl(p, &whole.on(container, request)).map(drop)
    }),
    row("type1/dirty-version-1", "DIRTY_PAGES fails with EACCES for version 1", TYPE1, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Edu, V1)?;
        b.refuses(p, &dirty(container, START), Errno::EACCES)
    }),
    row(
        "type1/dirty-too-large",
        "tracking fails with EINVAL if a mapping has 2^31 pages",
        MDEV,
        |b| {
            let p = b.process();
            let container = open_container(b, p)?;
            let group = open_group(b, p, Device::Mtty)?;
            b.ok(p, &join(group, container))?;
            b.ok(p, &set_iommu(container, V2))?;
            b.ok(p, &map(container, 0, 0, 1 << 31))?;
            b.refuses(p, &dirty(container, START), Errno::EINVAL)
        },
    ),
];
