//! The type1 IOMMU of a container: mappings by address, addresses that are replaced, dirty pages.

use super::dma::be_master;
use super::group::{
    Legacy, TYPE1, UPDATE_VADDR, V1, V2, device_fd, extension, join, map_dma, open_container,
    open_group, ready, set_iommu,
};
use crate::suite::bench::{Bench, Done, ROOT, limited};
use crate::suite::structure::{Fields, sized};
use crate::suite::{Row, row};
use crate::target::simulated::DMA_ENTRY_LIMIT;
use crate::target::{Device, Need};
use handoff_model::abi::call::{Call, ContainerCall, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;
use handoff_sim_kernel::ProcessSpec;

const MDEV: &[Need] = &[Need::Type1, Need::Has(Device::Mtty)];
const BOTH: &[Need] = &[Need::Type1, Need::Has(Device::Edu), Need::Has(Device::Mtty)];
const TWO: &[Need] = &[Need::Type1, Need::Has(Device::Edu), Need::Has(Device::OtherEdu)];
const OF_6_2: &[Need] =
    &[Need::Type1, Need::Has(Device::Edu), Need::Has(Device::Mtty), Need::Release("6.2")];
const WAITS: &[Need] = &[
    Need::Type1,
    Need::Release("6.2"),
    Need::Simulated("a host's call waits, and nothing but the end of its process ends that"),
];
const FEW: &[Need] = &[
    Need::Type1,
    Need::Has(Device::Mtty),
    Need::Simulated("a host's containers take 65,535 mappings"),
];

/// `VFIO_DMA_MAP_FLAG_*`.
const READ_WRITE: u32 = 3;
const MAP_VADDR: u32 = 4;
/// `VFIO_DMA_UNMAP_FLAG_*`.
const GET_DIRTY: u32 = 1;
const ALL: u32 = 2;
const UNMAP_VADDR: u32 = 4;
/// `VFIO_IOMMU_DIRTY_PAGES_FLAG_*`.
const START: u32 = 1;
const STOP: u32 = 2;
const GET: u32 = 4;

const IOVA: u64 = 0x10_0000;
const MSI_WINDOW: u64 = 0xfee0_0000;
const BEYOND: u64 = 0x80_0000_0000;
const TOP: u64 = u64::MAX - (PAGE_BYTES - 1);

/// Bytes of a structure.
const MAP_BYTES: u32 = 32;
const UNMAP_BYTES: u32 = 24;
const GET_BYTES: u32 = 48;

fn map_with(flags: u32, vaddr: u64, iova: u64, bytes: u64) -> Fields {
    sized().u32(flags).u64(vaddr).u64(iova).u64(bytes)
}

fn map(container: Fd, vaddr: u64, iova: u64, pages: u64) -> Call {
    map_dma(container, Va(vaddr), iova, pages)
}

/// Gives a range its new address.
fn give(container: Fd, vaddr: Va, iova: u64, pages: u64) -> Call {
    let (length_bytes, iova) = (pages * PAGE_BYTES, Iova(iova));
    Call::Container(ContainerCall::GiveVaddr { container, user_va: vaddr, length_bytes, iova })
}

fn unmap_with(flags: u32, iova: u64, bytes: u64) -> Fields {
    sized().u32(flags).u64(iova).u64(bytes)
}

fn unmap(container: Fd, flags: u32, iova: u64, bytes: u64) -> Call {
    unmap_with(flags, iova, bytes).on(container, nr::VFIO_IOMMU_UNMAP_DMA)
}

/// UNMAP tells how many bytes it took.
fn unmaps(b: &mut Bench<'_>, pid: Pid, call: &Call, bytes: u64) -> Done {
    let told = b.ioctl(pid, call)?;
    b.same("bytes unmapped", &told.bytes[16..24], &bytes.to_ne_bytes()[..])
}

/// Every mapping of a container loses its address, and so many bytes they are.
fn forgets(b: &mut Bench<'_>, pid: Pid, container: Fd, bytes: u64) -> Done {
    let told = b.ok(pid, &Call::Container(ContainerCall::ForgetVaddrs { container }))?;
    b.same("bytes without an address", &told, &Reply::Length(bytes))
}

fn dirty(container: Fd, flags: u32) -> Call {
    sized().u32(flags).on(container, nr::VFIO_IOMMU_DIRTY_PAGES)
}

/// GET of a range, in pages of so many bytes, into a bitmap.
fn get(iova: u64, bytes: u64, page_bytes: u64, bitmap: &[u8]) -> Fields {
    let size = bitmap.len() as u64;
    sized().u32(GET).u64(iova).u64(bytes).u64(page_bytes).u64(size).pointer(bitmap)
}

/// Each table of one request.
fn refused(
    b: &mut Bench<'_>,
    pid: Pid,
    container: Fd,
    request: u32,
    table: &[(Fields, Errno)],
) -> Done {
    for (fields, errno) in table {
        b.refuses(pid, &fields.clone().on(container, request), *errno)?;
    }
    Ok(())
}

/// A container with an `edu` and so many pages mapped, and their address.
fn mapped(b: &mut Bench<'_>, pid: Pid, kind: u64, pages: u64) -> Done<(Legacy, Va)> {
    let legacy = ready(b, pid, Device::Edu, kind)?;
    let va = b.mmap(pid, None, pages)?;
    b.ok(pid, &map(legacy.container, va.0, IOVA, pages))?;
    Ok((legacy, va))
}

/// A container with an mdev and a mapping whose address is gone, where the kernel lets it go; and a real group that may join.
fn awaited(b: &mut Bench<'_>, pid: Pid) -> Done<(Legacy, Fd)> {
    let legacy = ready(b, pid, Device::Mtty, V2)?;
    let va = b.mmap(pid, None, 1)?;
    b.ok(pid, &map(legacy.container, va.0, IOVA, 1))?;
    let _ =
        b.call(pid, &Call::Container(ContainerCall::ForgetVaddrs { container: legacy.container }));
    Ok((legacy, open_group(b, pid, Device::Edu)?))
}

pub(super) const ROWS: &[Row] = &[
    row("type1/info-size", "GET_INFO wants room for its first form", TYPE1, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Edu, V2)?;
        let info = sized().u32(0).u64(0).u32(0).u32(0);
        let short = info.clone().with_size(15).plain(container, nr::VFIO_IOMMU_GET_INFO);
        b.refuses(p, &short, Errno::EINVAL)?;
        b.ok(p, &info.on(container, nr::VFIO_IOMMU_GET_INFO)).map(drop)
    }),
    row("type1/map-refused", "MAP_DMA: size, flags, empty, overflow, rights, pages", TYPE1, |b| {
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
    }),
    row("type1/map-limit", "a container takes so many mappings and not more", FEW, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
        let va = b.mmap(p, None, 1)?.0;
        for page in 0..u64::from(DMA_ENTRY_LIMIT) {
            b.ok(p, &map(container, va, page * PAGE_BYTES, 1))?;
        }
        b.refuses(p, &map(container, va, IOVA, 1), Errno::ENOSPC)
    }),
    row("type1/unmap-refused", "UNMAP_DMA: size, flags, all, pages, bitmaps", TYPE1, |b| {
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
            // Nothing is tracked.
            (bitmap(&[0; 8]), Errno::EINVAL),
        ];
        refused(b, p, container, request, &table)?;
        unmaps(b, p, &unmap(container, 0, IOVA, 2 * page), 2 * page)
    }),
    row(
        "type1/unmap-cuts",
        "version 2 takes whole mappings; nothing there is no error",
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
    row("type1/locked", "what is mapped is locked by the process that maps it", TYPE1, |b| {
        let p = b.spawn(limited(1000, 16));
        let (Legacy { container, .. }, Va(va)) = mapped(b, p, V2, 16)?;
        b.vm_lck(p, 16)?;
        b.vm_pin(p, 0)?;
        b.refuses(p, &map(container, va, 0x20_0000, 1), Errno::ENOMEM)?;
        unmaps(b, p, &unmap(container, 0, IOVA, 16 * PAGE_BYTES), 16 * PAGE_BYTES)?;
        b.vm_lck(p, 0)
    }),
    row("type1/update-vaddr", "a new process gives each range its own address", TYPE1, |b| {
        let (old, new) = (b.process(), b.process());
        let (Legacy { container, .. }, _) = mapped(b, old, V2, 16)?;
        let asked = b.ok(old, &Call::Container(ContainerCall::CanUpdateVaddr { container }))?;
        b.same("new addresses", &asked, &Reply::Flag(true))?;
        let bytes = 16 * PAGE_BYTES;
        forgets(b, old, container, bytes)?;
        b.vm_lck(old, 16)?;
        let theirs = b.pass(old, new, &[container])?[0];
        let va = b.mmap(new, None, 16)?;
        b.refuses(new, &give(theirs, va, IOVA + 16 * PAGE_BYTES, 16), Errno::ENOENT)?;
        b.refuses(new, &give(theirs, va, IOVA, 15), Errno::EINVAL)?;
        b.refuses(new, &give(theirs, va, IOVA + PAGE_BYTES, 15), Errno::EINVAL)?;
        b.refuses(new, &give(theirs, va, IOVA - PAGE_BYTES, 16), Errno::EINVAL)?;
        b.ok(new, &give(theirs, va, IOVA, 16))?;
        b.vm_lck(old, 0)?;
        b.vm_lck(new, 16)?;
        b.refuses(new, &give(theirs, va, IOVA, 16), Errno::EINVAL)
    }),
    row("type1/exec", "after an exec the new memory map is charged alone", TYPE1, |b| {
        let p = b.process();
        let (Legacy { container, group }, _) = mapped(b, p, V2, 16)?;
        let bytes = 16 * PAGE_BYTES;
        forgets(b, p, container, bytes)?;
        for fd in [container, group] {
            b.ok(p, &Call::File(FileCall::SetCloexec { fd, on: false }))?;
        }
        b.exec(p);
        b.vm_lck(p, 0)?;
        let va = b.mmap(p, None, 16)?;
        b.ok(p, &give(container, va, IOVA, 16))?;
        b.vm_lck(p, 16)?;
        unmaps(b, p, &unmap(container, 0, IOVA, bytes), bytes)?;
        b.vm_lck(p, 0)
    }),
    row(
        "type1/exec-unmap",
        "after an exec nothing is given back that was not charged",
        TYPE1,
        |b| {
            let p = b.process();
            let (Legacy { container, group }, _) = mapped(b, p, V2, 16)?;
            for fd in [container, group] {
                b.ok(p, &Call::File(FileCall::SetCloexec { fd, on: false }))?;
            }
            b.exec(p);
            b.vm_lck(p, 0)?;
            let bytes = 16 * PAGE_BYTES;
            unmaps(b, p, &unmap(container, 0, IOVA, bytes), bytes)?;
            b.vm_lck(p, 0)
        },
    ),
    row(
        "type1/privileged",
        "CAP_IPC_LOCK lifts the limit, and is counted all the same",
        TYPE1,
        |b| {
            let p = b.spawn(ProcessSpec { memlock_bytes: 0, ..ROOT });
            mapped(b, p, V2, 16)?;
            b.vm_lck(p, 16)
        },
    ),
    row("type1/dma", "DMA goes on while an address is awaited", TYPE1, |b| {
        let p = b.process();
        let Legacy { container, group } = ready(b, p, Device::Edu, V2)?;
        let memfd = b.memfd(p, 2)?;
        let va = b.mmap(p, Some(memfd), 2)?;
        b.ok(p, &map(container, va.0, IOVA, 2))?;
        let device = device_fd(b, p, group, Device::Edu)?;
        be_master(b, p, device)?;
        for flags in [None, Some(UNMAP_VADDR)] {
            if let Some(flags) = flags {
                b.ok(p, &unmap(container, flags, IOVA, 2 * PAGE_BYTES))?;
            }
            let page = Iova(IOVA + PAGE_BYTES);
            let reached = b.arm().reaches(Device::Edu, p, device, page, (memfd, 1));
            b.same("DMA reaches the page", &reached, &true)?;
        }
        b.ok(p, &give(container, va, IOVA, 2)).map(drop)
    }),
    row("type1/vaddr-twice", "an address is taken away once, and all or nothing", TYPE1, |b| {
        let p = b.process();
        let (Legacy { container, .. }, Va(va)) = mapped(b, p, V2, 2)?;
        let others = [IOVA / 2, 2 * IOVA];
        for iova in others {
            b.ok(p, &map(container, va, iova, 1))?;
        }
        let bytes = 2 * PAGE_BYTES;
        unmaps(b, p, &unmap(container, UNMAP_VADDR, IOVA, bytes), bytes)?;
        b.refuses(p, &unmap(container, UNMAP_VADDR, IOVA, bytes), Errno::EINVAL)?;
        b.refuses(p, &Call::Container(ContainerCall::ForgetVaddrs { container }), Errno::EINVAL)?;
        // Neither the range below nor the one above is marked.
        for iova in others {
            b.refuses(p, &give(container, Va(va), iova, 1), Errno::EINVAL)?;
        }
        b.ok(p, &map(container, va, 3 * IOVA, 1))?;
        unmaps(b, p, &unmap(container, 0, IOVA, bytes), bytes)
    }),
    row("type1/vaddr-of-nothing", "no address is taken away of an empty container", TYPE1, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Edu, V2)?;
        forgets(b, p, container, 0)
    }),
    row("type1/vaddr-and-groups", "no group joins while an address is awaited", TWO, |b| {
        let p = b.process();
        let (Legacy { container, .. }, va) = mapped(b, p, V2, 1)?;
        forgets(b, p, container, PAGE_BYTES)?;
        let group = open_group(b, p, Device::OtherEdu)?;
        b.refuses(p, &join(group, container), Errno::EBUSY)?;
        b.ok(p, &give(container, va, IOVA, 1))?;
        b.ok(p, &join(group, container)).map(drop)
    }),
    row("type1/vaddr-and-mdevs", "an mdev in the container forbids it", MDEV, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
        extension(b, p, container, UPDATE_VADDR, 0)?;
        b.refuses(p, &Call::Container(ContainerCall::ForgetVaddrs { container }), Errno::EBUSY)
    }),
    row("type1/nobody-waits", "a group that joins waits for no address", BOTH, |b| {
        let p = b.process();
        let (Legacy { container, .. }, group) = awaited(b, p)?;
        b.ok(p, &join(group, container)).map(drop)
    }),
    row("type1/waits", "before 6.3 it waited until each mapping had one", WAITS, |b| {
        let p = b.process();
        let (Legacy { container, .. }, group) = awaited(b, p)?;
        b.refuses(p, &join(group, container), Errno::EINTR)
    }),
    row("type1/joined-for-the-dead", "before 6.3 nobody paid for the dead", OF_6_2, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
        let va = b.mmap(p, None, 1)?;
        b.ok(p, &map(container, va.0, IOVA, 1))?;
        let child = b.fork(p);
        b.kill(p);
        let group = open_group(b, child, Device::Edu)?;
        b.refuses(child, &join(group, container), Errno::ESRCH)
    }),
    row("type1/joined-late", "a group joins what it can translate", BOTH, |b| {
        let p = b.process();
        let va = b.mmap(p, None, 1)?.0;
        for (iova, errno) in [(MSI_WINDOW, Errno::EINVAL), (BEYOND, Errno::ERANGE)] {
            let Legacy { container, group: mdev } = ready(b, p, Device::Mtty, V2)?;
            b.ok(p, &map(container, va, iova, 1))?;
            let group = open_group(b, p, Device::Edu)?;
            b.refuses(p, &join(group, container), errno)?;
            for fd in [group, mdev, container] {
                b.ok(p, &Call::File(FileCall::Close { fd }))?;
            }
        }
        Ok(())
    }),
    row("type1/joined-again", "once an aperture was told, it is asked for", BOTH, |b| {
        let p = b.process();
        let va = b.mmap(p, None, 1)?.0;
        let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
        let group = open_group(b, p, Device::Edu)?;
        b.ok(p, &join(group, container))?;
        b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
        b.ok(p, &map(container, va, BEYOND, 1))?;
        let group = open_group(b, p, Device::Edu)?;
        b.refuses(p, &join(group, container), Errno::EINVAL)
    }),
    row("type1/dirty", "all that is pinned is dirty while it is asked", TYPE1, |b| {
        let p = b.process();
        let (Legacy { container, .. }, _) = mapped(b, p, V2, 4)?;
        b.ok(p, &dirty(container, START))?;
        b.ok(p, &dirty(container, START))?;
        let call = get(IOVA, 4 * PAGE_BYTES, PAGE_BYTES, &[0; 8]);
        let told = b.ioctl(p, &call.on(container, nr::VFIO_IOMMU_DIRTY_PAGES))?;
        b.same("bitmap", &told.pointees[0].0, &vec![0x0f, 0, 0, 0, 0, 0, 0, 0])?;
        b.ok(p, &dirty(container, STOP)).map(drop)
    }),
    row("type1/dirty-refused", "DIRTY_PAGES: size, one flag, range, page, bitmap", TYPE1, |b| {
        let p = b.process();
        let (Legacy { container, .. }, _) = mapped(b, p, V2, 4)?;
        let (request, page) = (nr::VFIO_IOMMU_DIRTY_PAGES, PAGE_BYTES);
        let short = sized().u32(START).with_size(7).plain(container, request);
        b.refuses(p, &short, Errno::EINVAL)?;
        // Nothing is tracked.
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
    row("type1/dirty-version-1", "version 1 has no dirty pages", TYPE1, |b| {
        let p = b.process();
        let Legacy { container, .. } = ready(b, p, Device::Edu, V1)?;
        b.refuses(p, &dirty(container, START), Errno::EACCES)
    }),
    row("type1/dirty-too-large", "a mapping of 2^31 pages has no bitmap", MDEV, |b| {
        let p = b.process();
        let container = open_container(b, p)?;
        let group = open_group(b, p, Device::Mtty)?;
        b.ok(p, &join(group, container))?;
        b.ok(p, &set_iommu(container, V2))?;
        b.ok(p, &map(container, 0, 0, 1 << 31))?;
        b.refuses(p, &dirty(container, START), Errno::EINVAL)
    }),
];
