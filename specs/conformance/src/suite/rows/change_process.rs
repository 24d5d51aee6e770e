//! CHANGE_PROCESS: ownership, charges, errors.

use crate::suite::fixture::{
    BASE, FactResult, Fixture, ROOT, Setup, copy, limited, map, map_file, unmap,
};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, ProcessCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid};
use handoff_sim_kernel::{COMMAND_OFFSET, ProcessSpec};

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];

fn take(iommufd: Fd) -> Call {
    IommufdCall::change_process(iommufd)
}

/// A context with six IOASes.
struct Spaces {
    iommufd: Fd,
    ioas: Vec<ObjectId>,
    device: Fd,
}

/// Maps eight pages in each of six IOASes with a domain each, and copies some of them.
fn six_spaces(b: &mut Fixture<'_>, pid: Pid) -> FactResult<Spaces> {
    let iommufd = b.iommufd(pid)?;
    let (file, device) = b.bind(pid, Device::Edu, iommufd)?;
    let mut spaces = Vec::new();
    for _ in 0..6 {
        let ioas = b.ioas(pid, iommufd)?;
        let memfd = b.memfd(pid, 8)?;
        b.ok(pid, &map_file(iommufd, ioas, memfd, BASE, 8))?;
        b.ok(pid, &Call::File(FileCall::Close { fd: memfd }))?;
        b.id(pid, &IommufdCall::hwpt_alloc(iommufd, device, ioas))?;
        spaces.push(ioas);
    }
    b.ok(pid, &copy(iommufd, (spaces[0], BASE), (spaces[1], Iova(0)), 8))?;
    Ok(Spaces { iommufd, ioas: spaces, device: file })
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "change-process/reserved",
        "CHANGE_PROCESS fails with EOPNOTSUPP if its reserved field is set",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            b.refuses(p, &IommufdCall::probe_change_process(iommufd), Errno::EOPNOTSUPP)
        },
    ),
    row(
        "change-process/empty",
        "CHANGE_PROCESS succeeds in an empty context, and for the owner itself",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            b.ok(p, &take(iommufd))?;
            b.ok(p, &take(iommufd)).map(drop)
        },
    ),
    row(
        "change-process/by-address",
        "CHANGE_PROCESS fails with EINVAL if memory is mapped by address",
        &[],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let va = b.mmap(p, None, 1)?;
            b.ok(p, &map(iommufd, ioas, va, BASE, 1))?;
            b.refuses(p, &take(iommufd), Errno::EINVAL)
        },
    ),
    row("change-process/moves-vm-pin", "VmPin moves from the old owner to the new one", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let Setup { iommufd, .. } = b.set_up(old, 64)?;
        let iommufd = b.pass(old, new, &[iommufd])?[0];
        b.vm_pin(old, 64)?;
        b.ok(new, &take(iommufd))?;
        b.vm_pin(old, 0)?;
        b.vm_pin(new, 64)
    }),
    row("change-process/owner", "CHANGE_PROCESS does not charge the owner again", EDU, |b| {
        let p = b.spawn(limited(1000, 8));
        let Setup { iommufd, .. } = b.set_up(p, 8)?;
        for _ in 0..2 {
            b.ok(p, &take(iommufd))?;
            b.vm_pin(p, 8)?;
        }
        Ok(())
    }),
    row(
        "change-process/h1",
        "CHANGE_PROCESS within one user charges it twice while it runs (H1)",
        EDU,
        |b| {
            for (limit_pages, fits) in [(96, false), (127, false), (128, true)] {
                let (old, new) =
                    (b.spawn(limited(1000, limit_pages)), b.spawn(limited(1000, limit_pages)));
                let Setup { iommufd, ioas, device, .. } = b.set_up(old, 64)?;
                let theirs = b.pass(old, new, &[iommufd])?[0];
                if fits {
                    b.ok(new, &take(theirs))?;
                    b.vm_pin(new, 64)?;
                } else {
                    b.refuses(new, &take(theirs), Errno::ENOMEM)?;
                    b.vm_pin(old, 64)?;
                }
                b.ok(old, &Call::Device(DeviceCall::Detach { device }))?;
                b.ok(old, &unmap(iommufd, ioas, BASE, 64))?;
                b.kill(old);
                b.kill(new);
            }
            Ok(())
        },
    ),
    row(
        "change-process/lazy",
        "CHANGE_PROCESS transfers unpinned pages without a charge",
        &[],
        |b| {
            let (old, new) = (b.spawn(limited(1000, 0)), b.spawn(limited(1000, 0)));
            let iommufd = b.iommufd(old)?;
            let ioas = b.ioas(old, iommufd)?;
            let memfd = b.memfd(old, 4)?;
            b.ok(old, &map_file(iommufd, ioas, memfd, Iova(0), 4))?;
            let iommufd = b.pass(old, new, &[iommufd])?[0];
            b.ok(new, &take(iommufd))?;
            b.vm_pin(new, 0)
        },
    ),
    row(
        "change-process/unknown",
        "CHANGE_PROCESS fails with ENOTTY in 6.12",
        &[Capability::Release("6.12")],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            for reserved in [0, 1] {
                b.refuses(
                    p,
                    &Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved }),
                    Errno::ENOTTY,
                )?;
            }
            Ok(())
        },
    ),
    row(
        "change-process/descriptor-is-enough",
        "CHANGE_PROCESS needs a descriptor, and no capability",
        EDU,
        |b| {
            let (old, new) = (b.spawn(ROOT), b.spawn(limited(1001, 4)));
            let root_without = b.spawn(ProcessSpec { cap_ipc_lock: false, ..ROOT });
            let Setup { iommufd, .. } = b.set_up(root_without, 4)?;
            let theirs = b.pass(root_without, new, &[iommufd])?[0];
            b.ok(new, &take(theirs))?;
            b.vm_pin(new, 4)?;
            let theirs = b.pass(root_without, old, &[iommufd])?[0];
            b.ok(old, &take(theirs))?;
            b.vm_pin(old, 4)
        },
    ),
    row(
        "change-process/back-and-forth",
        "the old owner can reclaim its pages with CHANGE_PROCESS",
        EDU,
        |b| {
            let (old, new) = (b.process(), b.spawn(limited(1001, 4)));
            let Setup { iommufd, .. } = b.set_up(old, 4)?;
            let theirs = b.pass(old, new, &[iommufd])?[0];
            for _ in 0..2 {
                b.ok(new, &take(theirs))?;
                b.vm_pin(old, 0)?;
                b.ok(old, &take(iommufd))?;
                b.vm_pin(new, 0)?;
            }
            b.vm_pin(old, 4)
        },
    ),
    row(
        "change-process/spaces",
        "CHANGE_PROCESS moves all IOASes or none, and charges a copy once",
        EDU,
        |b| {
            for (limit_pages, fits) in [(95, false), (96, true)] {
                let (old, new) =
                    (b.spawn(limited(1000, limit_pages)), b.spawn(limited(1000, limit_pages)));
                let Spaces { iommufd, ioas, device, .. } = six_spaces(b, old)?;
                let theirs = b.pass(old, new, &[iommufd])?[0];
                let va = b.mmap(old, None, 1)?;
                b.ok(old, &map(iommufd, ioas[5], va, Iova(0x900_0000), 1))?;
                b.refuses(new, &take(theirs), Errno::EINVAL)?;
                b.vm_pin(old, 49)?;
                b.ok(old, &unmap(iommufd, ioas[5], Iova(0x900_0000), 1))?;
                if fits {
                    b.ok(new, &take(theirs))?;
                    b.vm_pin(old, 0)?;
                    b.vm_pin(new, 48)?;
                } else {
                    b.refuses(new, &take(theirs), Errno::ENOMEM)?;
                    b.vm_pin(old, 48)?;
                }
                b.ok(old, &Call::Device(DeviceCall::Detach { device }))?;
                b.kill(old);
                b.kill(new);
            }
            Ok(())
        },
    ),
    row("change-process/dma", "DMA continues during CHANGE_PROCESS", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let at = b.set_up(old, 2)?;
        let bytes = vec![0x07, 0x01];
        b.ok(old, &FileCall::write_at(at.device, COMMAND_OFFSET, bytes))?;
        let theirs = b.pass(old, new, &[at.iommufd, at.device, at.memfd])?;
        let [iommufd, device, memfd] = theirs[..] else { unreachable!("three were sent") };
        b.ok(new, &take(iommufd))?;
        let seen = b.arm().reaches(Device::Edu, new, device, BASE, (memfd, 1));
        b.same("DMA reaches the second page at the first address", &seen, &false)?;
        let seen = b.arm().reaches(Device::Edu, new, device, BASE, (memfd, 0));
        b.same("DMA reaches the first page", &seen, &true)
    }),
    row(
        "change-process/h3-chain",
        "after H3 the next owner is not charged, then its counter underflows",
        EDU,
        |b| {
            let root = ProcessSpec { cap_ipc_lock: false, ..ROOT };
            let (old, new, third) = (b.spawn(root), b.spawn(root), b.spawn(root));
            let iommufd = b.iommufd(old)?;
            b.ok(old, &Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }))?;
            let ioas = b.ioas(old, iommufd)?;
            let memfd = b.memfd(old, 8)?;
            let (device, _) = b.bind(old, Device::Edu, iommufd)?;
            b.attach(old, device, ioas)?;
            b.ok(old, &map_file(iommufd, ioas, memfd, BASE, 8))?;
            let theirs = b.pass(old, new, &[iommufd, device])?;
            b.kill(old);
            b.refuses(new, &take(theirs[0]), Errno::EINVAL)?;
            b.ok(new, &take(theirs[0]))?;
            b.vm_lck(new, 8)?;
            let last = b.pass(new, third, &theirs)?;
            b.ok(third, &take(last[0]))?;
            b.vm_lck(new, 0)?;
            b.vm_lck(third, 0)?;
            b.ok(third, &unmap(last[0], ioas, BASE, 8))?;
            b.vm_lck(third, -8)
        },
    ),
    row(
        "change-process/h4-limited",
        "CAP_IPC_LOCK does not lift the limit of a new owner (H4)",
        EDU,
        |b| {
            let (old, new) =
                (b.process(), b.spawn(ProcessSpec { cap_ipc_lock: true, ..limited(1001, 0) }));
            let Setup { iommufd, .. } = b.set_up(old, 4)?;
            let theirs = b.pass(old, new, &[iommufd])?[0];
            b.refuses(new, &take(theirs), Errno::ENOMEM)?;
            b.vm_pin(old, 4)
        },
    ),
    row(
        "change-process/h5-back",
        "a dead new owner's charge still counts when its pages are reclaimed",
        EDU,
        |b| {
            for (limit_pages, fits) in [(7, false), (8, true)] {
                let (old, new) = (b.spawn(limited(1000, 8)), b.spawn(limited(1000, 8)));
                let Setup { iommufd, device, .. } = b.set_up(old, 4)?;
                let theirs = b.pass(old, new, &[iommufd])?[0];
                b.ok(new, &take(theirs))?;
                b.kill(new);
                b.ok(
                    old,
                    &Call::Process(ProcessCall::SetMemlock {
                        limit_bytes: limit_pages * PAGE_BYTES,
                    }),
                )?;
                if fits {
                    b.ok(old, &take(iommufd))?;
                    b.vm_pin(old, 4)?;
                } else {
                    b.refuses(old, &take(iommufd), Errno::ENOMEM)?;
                    b.vm_pin(old, 0)?;
                }
                b.ok(old, &Call::Device(DeviceCall::Detach { device }))?;
                b.kill(old);
            }
            Ok(())
        },
    ),
];
