//! MAP_DMA and UNMAP_DMA: their checks, and the locked pages that they charge.

use super::{
    BEYOND, IOVA, MSI_WINDOW, TOP, UNMAP_VADDR, map, mapped, refused, unmap, unmap_with, unmaps,
};
use crate::suite::fixture::limited;
use crate::suite::rows::group::{Legacy, TYPE1, V2, ready};
use crate::suite::structure::{Fields, sized};
use crate::suite::{Fact, row};
use crate::target::simulated::DMA_ENTRY_LIMIT;
use crate::target::{Capability, Device};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{PAGE_BYTES, Va};
use handoff_model::abi::request as nr;

const FEW: &[Capability] = &[
    Capability::Type1,
    Capability::Has(Device::Mtty),
    Capability::Simulated("a host's containers accept 65,535 mappings"),
];

/// `VFIO_DMA_MAP_FLAG_*`.
const READ_WRITE: u32 = 3;
const MAP_VADDR: u32 = 4;
/// `VFIO_DMA_UNMAP_FLAG_*`.
const GET_DIRTY: u32 = 1;
const ALL: u32 = 2;

/// Sizes of structures in bytes.
const MAP_BYTES: u32 = 32;
const UNMAP_BYTES: u32 = 24;

fn map_with(flags: u32, vaddr: u64, iova: u64, bytes: u64) -> Fields {
    sized().u32(flags).u64(vaddr).u64(iova).u64(bytes)
}

pub(crate) const ROWS: &[Fact] = &[
    row("type1/info-size", "GET_INFO fails with EINVAL if argsz is below 16", TYPE1, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Edu, V2)?;
        let info = sized().u32(0).u64(0).u32(0).u32(0);
        let short = info.clone().with_size(15).plain(container, nr::VFIO_IOMMU_GET_INFO);
        b.refuses(p, &short, Errno::EINVAL)?;
        b.ok(p, &info.on(container, nr::VFIO_IOMMU_GET_INFO)).map(drop)
    }),
    row(
        "type1/map-refused",
        "MAP_DMA refuses an invalid size, flag, range or address",
        TYPE1,
        |b| {
            let p = b.process();
            let (Legacy { container, .. }, Va(va)) = mapped(b, p, V2, 2)?;
            let request = nr::VFIO_IOMMU_MAP_DMA;
            let page = PAGE_BYTES;
            let short = map_with(READ_WRITE, va, 0, page).with_size(MAP_BYTES - 1);
            b.refuses(p, &short.plain(container, request), Errno::EINVAL)?;
            let table = [
                (map_with(8 | READ_WRITE, va, 0, page), Errno::EINVAL),
                (map_with(READ_WRITE, va, 0, 0), Errno::EINVAL),
                (map_with(READ_WRITE, va, TOP, 2 * page), Errno::EOVERFLOW),
                (map_with(READ_WRITE, TOP, 0, 2 * page), Errno::EOVERFLOW),
                (map_with(0, va, 0, page), Errno::EINVAL),
                (map_with(READ_WRITE | MAP_VADDR, va, 0, page), Errno::EINVAL),
                (map_with(READ_WRITE, va + 1, 0, page), Errno::EINVAL),
                (map_with(READ_WRITE, va, 1, page), Errno::EINVAL),
                (map_with(READ_WRITE, va, 0, page + 1), Errno::EINVAL),
                (map_with(READ_WRITE, va, IOVA + page, page), Errno::EEXIST),
                (map_with(READ_WRITE, va, MSI_WINDOW, page), Errno::EINVAL),
                (map_with(READ_WRITE, va, BEYOND, page), Errno::EINVAL),
                (map_with(READ_WRITE, 0x1000, 0, page), Errno::EFAULT),
            ];
            refused(b, p, container, request, &table)
        },
    ),
    row("type1/map-limit", "MAP_DMA fails with ENOSPC at the mapping limit", FEW, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
        let va = b.mmap(p, None, 1)?.0;
        for page in 0..u64::from(DMA_ENTRY_LIMIT) {
            b.ok(p, &map(container, va, page * PAGE_BYTES, 1))?;
        }
        b.refuses(p, &map(container, va, IOVA, 1), Errno::ENOSPC)
    }),
    row(
        "type1/unmap-refused",
        "UNMAP_DMA refuses an invalid size, flag, range or bitmap",
        TYPE1,
        |b| {
            let p = b.process();
            let (Legacy { container, .. }, _) = mapped(b, p, V2, 2)?;
            let request = nr::VFIO_IOMMU_UNMAP_DMA;
            let page = PAGE_BYTES;
            let short = unmap_with(0, IOVA, page).with_size(UNMAP_BYTES - 1);
            b.refuses(p, &short.plain(container, request), Errno::EINVAL)?;
            let bitmap =
                |data: &[u8]| unmap_with(GET_DIRTY, IOVA, 2 * page).u64(page).u64(8).pointer(data);
            let table = [
                (unmap_with(8, IOVA, 2 * page), Errno::EINVAL),
                (unmap_with(ALL | GET_DIRTY, 0, 0), Errno::EINVAL),
                (unmap_with(UNMAP_VADDR | GET_DIRTY, IOVA, 2 * page), Errno::EINVAL),
                (unmap_with(GET_DIRTY, IOVA, 2 * page), Errno::EINVAL),
                (unmap_with(ALL, IOVA, 0), Errno::EINVAL),
                (unmap_with(ALL, 0, page), Errno::EINVAL),
                (unmap_with(0, IOVA + 1, 2 * page), Errno::EINVAL),
                (unmap_with(0, IOVA, 0), Errno::EINVAL),
                (unmap_with(0, IOVA, page + 1), Errno::EINVAL),
                (unmap_with(0, TOP, 2 * page), Errno::EOVERFLOW),
                // There is no dirty tracking.
                (bitmap(&[0; 8]), Errno::EINVAL),
            ];
            refused(b, p, container, request, &table)?;
            unmaps(b, p, &unmap(container, 0, IOVA, 2 * page), 2 * page)
        },
    ),
    row(
        "type1/unmap-cuts",
        "version 2 refuses to split a mapping; unmapping an empty range succeeds",
        TYPE1,
        |b| {
            let p = b.process();
            let (Legacy { container, .. }, _) = mapped(b, p, V2, 2)?;
            b.refuses(p, &unmap(container, 0, IOVA, PAGE_BYTES), Errno::EINVAL)?;
            b.refuses(p, &unmap(container, 0, IOVA + PAGE_BYTES, PAGE_BYTES), Errno::EINVAL)?;
            unmaps(b, p, &unmap(container, 0, 0, PAGE_BYTES), 0)?;
            unmaps(b, p, &unmap(container, ALL, 0, 0), 2 * PAGE_BYTES)?;
            unmaps(b, p, &unmap(container, ALL, 0, 0), 0)
        },
    ),
    row("type1/locked", "mappings are charged to VmLck of the process that maps", TYPE1, |b| {
        let p = b.spawn(limited(1000, 16));
        let (Legacy { container, .. }, Va(va)) = mapped(b, p, V2, 16)?;
        b.vm_lck(p, 16)?;
        b.vm_pin(p, 0)?;
        b.refuses(p, &map(container, va, 0x20_0000, 1), Errno::ENOMEM)?;
        unmaps(b, p, &unmap(container, 0, IOVA, 16 * PAGE_BYTES), 16 * PAGE_BYTES)?;
        b.vm_lck(p, 0)
    }),
];
