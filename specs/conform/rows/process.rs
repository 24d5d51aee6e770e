//! CHANGE_PROCESS: who owns what, who is charged, what is refused.

use crate::conform::arm::{Device, Need};
use crate::conform::bench::{BASE, Setup, limited, map, map_file, unmap};
use crate::conform::{Row, row};
use handoff_model::call::Call;
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, Iova};

const EDU: &[Need] = &[Need::Has(Device::Edu)];

fn take(iommufd: Fd) -> Call {
    Call::ChangeProcess { iommufd, reserved: 0 }
}

pub(super) const ROWS: &[Row] = &[
    row("change-process/reserved", "a reserved field that is set is EOPNOTSUPP", &[], |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        b.refuses(p, &Call::ChangeProcess { iommufd, reserved: 1 }, Errno::EOPNOTSUPP)
    }),
    row("change-process/empty", "an empty context and the same process succeed", &[], |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        b.ok(p, &take(iommufd))?;
        b.ok(p, &take(iommufd)).map(drop)
    }),
    row("change-process/by-address", "memory mapped by address is EINVAL", &[], |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let va = b.mmap(p, None, 1)?;
        b.ok(p, &map(iommufd, ioas, va, BASE, 1))?;
        b.refuses(p, &take(iommufd), Errno::EINVAL)
    }),
    row("change-process/moves-vm-pin", "VmPin moves from the old owner to the new one", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let Setup { iommufd, .. } = b.set_up(old, 64)?;
        let iommufd = b.pass(old, new, &[iommufd])?[0];
        b.vm_pin(old, 64)?;
        b.ok(new, &take(iommufd))?;
        b.vm_pin(old, 0)?;
        b.vm_pin(new, 64)
    }),
    row("change-process/k1", "one user is charged twice for a moment (K1)", EDU, |b| {
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
            b.ok(old, &Call::Detach { device })?;
            b.ok(old, &unmap(iommufd, ioas, BASE, 64))?;
            b.kill(old);
            b.kill(new);
        }
        Ok(())
    }),
    row("change-process/lazy", "pages that are not pinned only change hands", &[], |b| {
        let (old, new) = (b.spawn(limited(1000, 0)), b.spawn(limited(1000, 0)));
        let iommufd = b.iommufd(old)?;
        let ioas = b.ioas(old, iommufd)?;
        let memfd = b.memfd(old, 4)?;
        b.ok(old, &map_file(iommufd, ioas, memfd, Iova(0), 4))?;
        let iommufd = b.pass(old, new, &[iommufd])?[0];
        b.ok(new, &take(iommufd))?;
        b.vm_pin(new, 0)
    }),
];
