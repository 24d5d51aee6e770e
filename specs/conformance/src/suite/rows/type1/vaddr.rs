//! Address updates: UNMAP_DMA and MAP_DMA with the flag VADDR.

use super::{IOVA, MDEV, UNMAP_VADDR, map, mapped, unmap, unmaps};
use crate::suite::fixture::{FactResult, Fixture, ROOT};
use crate::suite::rows::dma::be_master;
use crate::suite::rows::group::{
    Legacy, TYPE1, UPDATE_VADDR, V2, device_fd, extension, join, open_group, ready,
};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, ContainerCall, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid, Va};
use handoff_sim_kernel::ProcessSpec;

const TWO: &[Capability] =
    &[Capability::Type1, Capability::Has(Device::Edu), Capability::Has(Device::OtherEdu)];

/// Returns a MAP_DMA that gives a range its new address.
fn give(container: Fd, vaddr: Va, iova: u64, pages: u64) -> Call {
    let (length_bytes, iova) = (pages * PAGE_BYTES, Iova(iova));
    Call::Container(ContainerCall::GiveVaddr { container, user_va: vaddr, length_bytes, iova })
}

/// Invalidates the addresses of all mappings of a container, and checks their total size in bytes.
fn forgets(b: &mut Fixture<'_>, pid: Pid, container: Fd, bytes: u64) -> FactResult {
    let told = b.ok(pid, &Call::Container(ContainerCall::ForgetVaddrs { container }))?;
    b.same("bytes without an address", &told, &Reply::Length(bytes))
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "type1/update-vaddr",
        "MAP_DMA with VADDR gives a range its new address, and charges the caller",
        TYPE1,
        |b| {
            let (old, new) = (b.process(), b.process());
            let (Legacy { container, .. }, _) = mapped(b, old, V2, 16)?;
            let asked = b.ok(old, &Call::Container(ContainerCall::CanUpdateVaddr { container }))?;
            b.same("VFIO_UPDATE_VADDR", &asked, &Reply::Flag(true))?;
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
        },
    ),
    row("type1/exec", "after an exec, a new address charges the new memory map", TYPE1, |b| {
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
        "after an exec, unmapping does not uncharge the new memory map",
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
        "CAP_IPC_LOCK lifts the limit, but pages are still charged",
        TYPE1,
        |b| {
            let p = b.spawn(ProcessSpec { memlock_bytes: 0, ..ROOT });
            mapped(b, p, V2, 16)?;
            b.vm_lck(p, 16)
        },
    ),
    row("type1/dma", "DMA continues while an address is invalidated", TYPE1, |b| {
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
    row(
        "type1/vaddr-twice",
        "UNMAP_DMA with VADDR fails without effect if a mapping is invalid already",
        TYPE1,
        |b| {
            let p = b.process();
            let (Legacy { container, .. }, Va(va)) = mapped(b, p, V2, 2)?;
            let others = [IOVA / 2, 2 * IOVA];
            for iova in others {
                b.ok(p, &map(container, va, iova, 1))?;
            }
            let bytes = 2 * PAGE_BYTES;
            unmaps(b, p, &unmap(container, UNMAP_VADDR, IOVA, bytes), bytes)?;
            b.refuses(p, &unmap(container, UNMAP_VADDR, IOVA, bytes), Errno::EINVAL)?;
            b.refuses(
                p,
                &Call::Container(ContainerCall::ForgetVaddrs { container }),
                Errno::EINVAL,
            )?;
            // The failed call has invalidated neither the range below nor the one above.
            for iova in others {
                b.refuses(p, &give(container, Va(va), iova, 1), Errno::EINVAL)?;
            }
            b.ok(p, &map(container, va, 3 * IOVA, 1))?;
            unmaps(b, p, &unmap(container, 0, IOVA, bytes), bytes)
        },
    ),
    row(
        "type1/vaddr-of-nothing",
        "UNMAP_DMA with VADDR succeeds in an empty container",
        TYPE1,
        |b| {
            let p = b.process();
            let Legacy { container, .. } = ready(b, p, Device::Edu, V2)?;
            forgets(b, p, container, 0)
        },
    ),
    row(
        "type1/vaddr-and-groups",
        "a join fails with EBUSY while an address is invalidated",
        TWO,
        |b| {
            let p = b.process();
            let (Legacy { container, .. }, va) = mapped(b, p, V2, 1)?;
            forgets(b, p, container, PAGE_BYTES)?;
            let group = open_group(b, p, Device::OtherEdu)?;
            b.refuses(p, &join(group, container), Errno::EBUSY)?;
            b.ok(p, &give(container, va, IOVA, 1))?;
            b.ok(p, &join(group, container)).map(drop)
        },
    ),
    row(
        "type1/vaddr-and-mdevs",
        "UNMAP_DMA with VADDR fails with EBUSY if the container has an mdev",
        MDEV,
        |b| {
            let p = b.process();
            let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
            extension(b, p, container, UPDATE_VADDR, 0)?;
            b.refuses(p, &Call::Container(ContainerCall::ForgetVaddrs { container }), Errno::EBUSY)
        },
    ),
];
