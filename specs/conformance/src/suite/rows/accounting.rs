//! Accounting of pinned pages in its three modes, and the hazards of transferring them.
//!
//! Hazards that can be fixed (H1, H2, H3) have facts for both cases: the released kernels, and one
//! with the fix.

use crate::suite::fixture::{
    BASE, FactResult, Fixture, Setup, copy, limited, map, map_file, unmap,
};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, UNLIMITED};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Pid, Uid};
use handoff_sim_kernel::ProcessSpec;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const EDUS: &[Capability] = &[Capability::Has(Device::Edu), Capability::Has(Device::OtherEdu)];
/// On a host, the kernel releases a lock of the owner's memory map that it does not hold, and waits
/// for it forever (`update_mm_locked_vm` in 7.3.4).
const HANGS: &[Capability] =
    &[Capability::Simulated("on a host the process would hang in ATTACH forever")];
const FIXED: &[Capability] = &[
    Capability::Has(Device::Edu),
    Capability::Release("fixed"),
    Capability::Simulated("no released kernel fixes the hazard"),
];

/// Root without `CAP_IPC_LOCK`, which can choose the accounting mode.
const CHOOSER: ProcessSpec =
    ProcessSpec { uid: Uid(0), cap_ipc_lock: false, memlock_bytes: UNLIMITED };

/// Root with `CAP_IPC_LOCK`, which is not charged.
const EXEMPT: ProcessSpec =
    ProcessSpec { uid: Uid(0), cap_ipc_lock: true, memlock_bytes: UNLIMITED };

fn take(iommufd: Fd) -> Call {
    IommufdCall::change_process(iommufd)
}

/// Creates a context that charges memory maps, with an attached `edu` and `pages` pages of a memfd.
fn per_process(b: &mut Fixture<'_>, p: Pid, pages: u64) -> FactResult<Setup> {
    let iommufd = b.iommufd(p)?;
    b.ok(p, &Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }))?;
    let ioas = b.ioas(p, iommufd)?;
    let memfd = b.memfd(p, pages)?;
    b.ok(p, &map_file(iommufd, ioas, memfd, BASE, pages))?;
    let (device, device_id) = b.bind(p, Device::Edu, iommufd)?;
    let hwpt = b.attach(p, device, ioas)?;
    Ok(Setup { iommufd, ioas, memfd, device, device_id, hwpt })
}

/// Checks VmPin and VmLck of a process in pages.
fn counters(b: &mut Fixture<'_>, p: Pid, [pinned, locked]: [i64; 2]) -> FactResult {
    b.vm_pin(p, pinned)?;
    b.vm_lck(p, locked)
}

/// Passes the context and the device to the second process. Returns their descriptors there.
fn handed(b: &mut Fixture<'_>, old: Pid, new: Pid, s: &Setup) -> FactResult<(Fd, Fd)> {
    let fds = b.pass(old, new, &[s.iommufd, s.device])?;
    Ok((fds[0], fds[1]))
}

fn map_pages(b: &mut Fixture<'_>, p: Pid, (iommufd, ioas): (Fd, ObjectId), pages: u64) -> Call {
    let memfd = b.memfd(p, pages).expect("a memfd");
    map_file(iommufd, ioas, memfd, Iova(0x400_0000), pages)
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "accounting/user",
        "all processes of a user share one limit, and their VmLck does not change",
        EDU,
        |b| {
            let p = b.spawn(limited(1000, 6));
            let Setup { iommufd, ioas, .. } = b.set_up(p, 4)?;
            counters(b, p, [4, 0])?;
            let other = b.spawn(limited(1000, 6));
            let theirs = b.pass(p, other, &[iommufd])?[0];
            let too_many = map_pages(b, other, (theirs, ioas), 3);
            b.refuses(other, &too_many, Errno::ENOMEM)?;
            counters(b, other, [0, 0])?;
            let fits = map_pages(b, other, (theirs, ioas), 2);
            b.ok(other, &fits)?;
            counters(b, other, [2, 0])?;
            let foreign = b.spawn(limited(1001, 3));
            let theirs = b.pass(p, foreign, &[iommufd])?[0];
            b.ok(p, &unmap(iommufd, ioas, Iova(0x400_0000), 2))?;
            let own = map_pages(b, foreign, (theirs, ioas), 3);
            b.ok(foreign, &own)?;
            counters(b, p, [4, 0])
        },
    ),
    row(
        "accounting/process",
        "a memory map has its own limit, and its charge counts in VmLck",
        EDU,
        |b| {
            let p = b.spawn(ProcessSpec { memlock_bytes: 6 * 4096, ..CHOOSER });
            let Setup { iommufd, ioas, .. } = per_process(b, p, 4)?;
            counters(b, p, [4, 4])?;
            let too_many = map_pages(b, p, (iommufd, ioas), 3);
            b.refuses(p, &too_many, Errno::ENOMEM)?;
            counters(b, p, [4, 4])?;
            b.ok(p, &copy(iommufd, (ioas, BASE), (ioas, Iova(0x80000)), 4))?;
            counters(b, p, [4, 4])?;
            b.ok(p, &unmap(iommufd, ioas, BASE, 4))?;
            b.ok(p, &unmap(iommufd, ioas, Iova(0x80000), 4))?;
            counters(b, p, [0, 0])
        },
    ),
    row("accounting/nobody", "CAP_IPC_LOCK lifts the limit; VmPin still counts", EDU, |b| {
        let p = b.spawn(ProcessSpec { memlock_bytes: 0, ..EXEMPT });
        b.set_up(p, 4)?;
        counters(b, p, [4, 0])
    }),
    row("accounting/by-address", "memory mapped by address has the same limit", EDU, |b| {
        let p = b.spawn(limited(1000, 2));
        let Setup { iommufd, ioas, .. } = b.set_up(p, 1)?;
        let va = b.mmap(p, None, 2)?;
        b.refuses(p, &map(iommufd, ioas, va, Iova(0x80000), 2), Errno::ENOMEM)?;
        counters(b, p, [1, 0])?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0x80000), 1))?;
        counters(b, p, [2, 0])
    }),
    row("accounting/lazy", "HWPT_ALLOC and ATTACH are ENOMEM if pages exceed a limit", EDU, |b| {
        let p = b.spawn(limited(1000, 1));
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let lazy = map_pages(b, p, (iommufd, ioas), 2);
        b.ok(p, &lazy)?;
        let (file, device) = b.bind(p, Device::Edu, iommufd)?;
        b.refuses(p, &IommufdCall::hwpt_alloc(iommufd, device, ioas), Errno::ENOMEM)?;
        b.refuses(
            p,
            &Call::Device(DeviceCall::Attach { device: file, page_table: ioas }),
            Errno::ENOMEM,
        )?;
        counters(b, p, [0, 0])
    }),
    row(
        "accounting/detach",
        "detaching the last domain uncharges all pages, attaching charges them again",
        EDU,
        |b| {
            let p = b.process();
            let Setup { device, ioas, .. } = b.set_up(p, 4)?;
            b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
            counters(b, p, [0, 0])?;
            b.attach(p, device, ioas)?;
            counters(b, p, [4, 0])
        },
    ),
    row("hazard/h1-process", "between memory maps no page is charged twice", EDU, |b| {
        let spec = ProcessSpec { memlock_bytes: 64 * 4096, ..CHOOSER };
        let (old, new) = (b.spawn(spec), b.spawn(spec));
        let s = per_process(b, old, 64)?;
        let (iommufd, _) = handed(b, old, new, &s)?;
        b.ok(new, &take(iommufd))?;
        counters(b, old, [0, 0])?;
        counters(b, new, [64, 64])
    }),
    row("hazard/h1-mended", "with H1 fixed, the limit need not exceed the charge", FIXED, |b| {
        let (old, new) = (b.spawn(limited(1000, 64)), b.spawn(limited(1000, 64)));
        let s = b.set_up(old, 64)?;
        let (iommufd, _) = handed(b, old, new, &s)?;
        b.ok(new, &take(iommufd))?;
        counters(b, new, [64, 0])
    }),
    row("hazard/h2", "a transfer of uncharged pages makes VmPin drift (H2)", EDU, |b| {
        let (old, new) = (b.spawn(EXEMPT), b.spawn(EXEMPT));
        let s = b.set_up(old, 64)?;
        let (iommufd, _) = handed(b, old, new, &s)?;
        b.ok(new, &take(iommufd))?;
        counters(b, old, [64, 0])?;
        counters(b, new, [0, 0])?;
        b.ok(new, &unmap(iommufd, s.ioas, BASE, 64))?;
        counters(b, new, [-64, 0])?;
        counters(b, old, [64, 0])
    }),
    row("hazard/h2-dead", "VmPin drifts if the owner is dead, too (H2)", EDU, |b| {
        let (old, new) = (b.spawn(EXEMPT), b.spawn(EXEMPT));
        let s = b.set_up(old, 64)?;
        let (iommufd, _device) = handed(b, old, new, &s)?;
        b.kill(old);
        b.ok(new, &take(iommufd))?;
        counters(b, new, [0, 0])?;
        b.ok(new, &unmap(iommufd, s.ioas, BASE, 64))?;
        counters(b, new, [-64, 0])
    }),
    row("hazard/h2-mended", "with H2 fixed, VmPin moves to the new owner", FIXED, |b| {
        let (old, new) = (b.spawn(EXEMPT), b.spawn(EXEMPT));
        let s = b.set_up(old, 64)?;
        let (iommufd, _) = handed(b, old, new, &s)?;
        b.ok(new, &take(iommufd))?;
        counters(b, old, [0, 0])?;
        counters(b, new, [64, 0])?;
        b.ok(new, &unmap(iommufd, s.ioas, BASE, 64))?;
        counters(b, new, [0, 0])
    }),
    row(
        "hazard/h3",
        "CHANGE_PROCESS from a dead memory map moves all, returns EINVAL, and leaks (H3)",
        EDU,
        |b| {
            let (old, new) = (b.spawn(CHOOSER), b.spawn(CHOOSER));
            let s = per_process(b, old, 64)?;
            let (iommufd, _device) = handed(b, old, new, &s)?;
            b.kill(old);
            b.refuses(new, &take(iommufd), Errno::EINVAL)?;
            counters(b, new, [64, 64])?;
            b.ok(new, &unmap(iommufd, s.ioas, BASE, 64))?;
            counters(b, new, [64, 64])
        },
    ),
    row("hazard/h3-exec", "an exec leaves a dead memory map as an exit does (H3)", EDU, |b| {
        let (old, new) = (b.spawn(CHOOSER), b.spawn(CHOOSER));
        let s = per_process(b, old, 8)?;
        let (iommufd, _device) = handed(b, old, new, &s)?;
        b.exec(old);
        b.refuses(new, &take(iommufd), Errno::EINVAL)?;
        counters(b, new, [8, 8])?;
        b.ok(new, &unmap(iommufd, s.ioas, BASE, 8))?;
        counters(b, new, [8, 8])
    }),
    row(
        "hazard/h3-again",
        "pages that lost their charge are charged again by the next domain (H3)",
        HANGS,
        |b| {
            let (old, new) = (b.spawn(CHOOSER), b.spawn(CHOOSER));
            let s = per_process(b, old, 8)?;
            let (iommufd, _device) = handed(b, old, new, &s)?;
            b.kill(old);
            b.refuses(new, &take(iommufd), Errno::EINVAL)?;
            let other = b.ioas(new, iommufd)?;
            b.ok(new, &copy(iommufd, (s.ioas, BASE), (other, BASE), 8))?;
            let (second, _) = b.bind(new, Device::OtherEdu, iommufd)?;
            b.attach(new, second, other)?;
            counters(b, new, [16, 16])
        },
    ),
    row("hazard/h3-twice", "a dead memory map cannot be charged: EINVAL (H3)", HANGS, |b| {
        let (old, new, third) = (b.spawn(CHOOSER), b.spawn(CHOOSER), b.spawn(CHOOSER));
        let s = per_process(b, old, 8)?;
        let (iommufd, device) = handed(b, old, new, &s)?;
        b.kill(old);
        b.refuses(new, &take(iommufd), Errno::EINVAL)?;
        let fds = b.pass(new, third, &[iommufd, device])?;
        b.kill(new);
        let iommufd = fds[0];
        let other = b.ioas(third, iommufd)?;
        b.ok(third, &copy(iommufd, (s.ioas, BASE), (other, BASE), 8))?;
        let (second, _) = b.bind(third, Device::OtherEdu, iommufd)?;
        b.refuses(
            third,
            &Call::Device(DeviceCall::Attach { device: second, page_table: other }),
            Errno::EINVAL,
        )?;
        counters(b, third, [0, 0])
    }),
    row("hazard/h3-mended", "with H3 fixed, a dead memory map is no error", FIXED, |b| {
        let (old, new) = (b.spawn(CHOOSER), b.spawn(CHOOSER));
        let s = per_process(b, old, 64)?;
        let (iommufd, _device) = handed(b, old, new, &s)?;
        b.kill(old);
        b.ok(new, &take(iommufd))?;
        counters(b, new, [64, 64])?;
        b.ok(new, &unmap(iommufd, s.ioas, BASE, 64))?;
        counters(b, new, [0, 0])
    }),
    row("hazard/h4", "a new owner inherits the mapper's accounting mode (H4)", EDU, |b| {
        let (old, new) = (b.spawn(EXEMPT), b.spawn(limited(1000, 0)));
        let s = b.set_up(old, 64)?;
        let (iommufd, _) = handed(b, old, new, &s)?;
        b.ok(new, &take(iommufd)).map(drop)
    }),
    row(
        "hazard/h5",
        "a dead owner's user stays charged until its pages are taken over or unmapped (H5)",
        EDU,
        |b| {
            let (old, new) = (b.spawn(limited(1000, 4)), b.spawn(limited(1000, 4)));
            let s = b.set_up(old, 4)?;
            let (iommufd, _device) = handed(b, old, new, &s)?;
            b.kill(old);
            let more = map_pages(b, new, (iommufd, s.ioas), 1);
            b.refuses(new, &more, Errno::ENOMEM)?;
            b.refuses(new, &take(iommufd), Errno::ENOMEM)?;
            b.ok(new, &unmap(iommufd, s.ioas, BASE, 4))?;
            b.ok(new, &more)?;
            counters(b, new, [1, 0])
        },
    ),
    row("hazard/h6", "a punched hole does not unpin a device's page (H6)", EDU, |b| {
        let p = b.process();
        let Setup { device, memfd, .. } = b.set_up(p, 1)?;
        let bytes = 0x0107u16.to_le_bytes().to_vec();
        let offset_bytes = handoff_sim_kernel::COMMAND_OFFSET;
        b.ok(p, &FileCall::write_at(device, offset_bytes, bytes))?;
        let reaches = b.arm().reaches(Device::Edu, p, device, BASE, (memfd, 0));
        b.same("DMA reaches the file", &reaches, &true)?;
        b.ok(p, &MemoryCall::punch_hole(memfd, 0, 4096))?;
        counters(b, p, [1, 0])
    }),
    row(
        "hazard/h8",
        "any holder maps at its own charge, and can unmap pages of others (H8)",
        EDU,
        |b| {
            let (old, new) = (b.process(), b.process());
            let s = b.set_up(old, 64)?;
            let (iommufd, _) = handed(b, old, new, &s)?;
            let own = map_pages(b, new, (iommufd, s.ioas), 16);
            b.ok(new, &own)?;
            counters(b, new, [16, 0])?;
            b.ok(new, &unmap(iommufd, s.ioas, BASE, 64))?;
            counters(b, old, [0, 0])?;
            counters(b, new, [16, 0])
        },
    ),
    row(
        "hazard/h9",
        "lazily mapped pages are charged to their owner, not to the attacher (H9)",
        EDU,
        |b| {
            let (old, new) = (b.spawn(limited(1000, 0)), b.spawn(limited(1001, 8)));
            let iommufd = b.iommufd(old)?;
            let ioas = b.ioas(old, iommufd)?;
            let theirs = b.pass(old, new, &[iommufd])?[0];
            let lazy = map_pages(b, new, (theirs, ioas), 8);
            b.ok(new, &lazy)?;
            let (device, _) = b.bind(old, Device::Edu, iommufd)?;
            b.attach(old, device, ioas)?;
            counters(b, old, [0, 0])?;
            counters(b, new, [8, 0])
        },
    ),
    row("hazard/h9-dead", "lazy memory of a dead owner faults, files do not (H9)", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let iommufd = b.iommufd(old)?;
        let ioas = b.ioas(old, iommufd)?;
        let other = b.ioas(old, iommufd)?;
        let va = b.mmap(old, None, 1)?;
        let lazy = map_pages(b, old, (iommufd, ioas), 8);
        b.ok(old, &lazy)?;
        b.ok(old, &map(iommufd, other, va, BASE, 1))?;
        let iommufd = b.pass(old, new, &[iommufd])?[0];
        b.kill(old);
        let (device, _) = b.bind(new, Device::Edu, iommufd)?;
        b.refuses(
            new,
            &Call::Device(DeviceCall::Attach { device, page_table: other }),
            Errno::EFAULT,
        )?;
        b.attach(new, device, ioas)?;
        counters(b, new, [0, 0])
    }),
    row("hazard/h9-dead-user", "a dead owner's user pays for its lazy pages (H9)", EDUS, |b| {
        let (old, new) = (b.spawn(limited(1000, 8)), b.spawn(limited(1001, 8)));
        let iommufd = b.iommufd(old)?;
        let ioas = b.ioas(old, iommufd)?;
        let lazy = map_pages(b, old, (iommufd, ioas), 8);
        b.ok(old, &lazy)?;
        let iommufd = b.pass(old, new, &[iommufd])?[0];
        b.kill(old);
        let (device, _) = b.bind(new, Device::Edu, iommufd)?;
        b.attach(new, device, ioas)?;
        counters(b, new, [0, 0])?;
        let third = b.spawn(limited(1000, 8));
        let iommufd = b.iommufd(third)?;
        let ioas = b.ioas(third, iommufd)?;
        let (other, _) = b.bind(third, Device::OtherEdu, iommufd)?;
        b.attach(third, other, ioas)?;
        let more = map_pages(b, third, (iommufd, ioas), 1);
        b.refuses(third, &more, Errno::ENOMEM)?;
        b.ok(new, &Call::Device(DeviceCall::Detach { device }))?;
        b.ok(third, &more)?;
        counters(b, third, [1, 0])
    }),
];
