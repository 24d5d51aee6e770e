//! Addresses that are replaced: UNMAP_DMA and MAP_DMA with their flags VADDR.

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

/// Gives a range its new address.
fn give(container: Fd, vaddr: Va, iova: u64, pages: u64) -> Call {
    let (length_bytes, iova) = (pages * PAGE_BYTES, Iova(iova));
    Call::Container(ContainerCall::GiveVaddr { container, user_va: vaddr, length_bytes, iova })
}

/// Every mapping of a container loses its address, and so many bytes they are.
fn forgets(b: &mut Fixture<'_>, pid: Pid, container: Fd, bytes: u64) -> FactResult {
    let told = b.ok(pid, &Call::Container(ContainerCall::ForgetVaddrs { container }))?;
    b.same("bytes without an address", &told, &Reply::Length(bytes))
}

pub(crate) const ROWS: &[Fact] = &[
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
];
