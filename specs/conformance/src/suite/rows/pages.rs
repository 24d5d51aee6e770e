//! The pages that a domain maps: those that a process has at its addresses, or others.

use super::hwpt::{APERTURE, mocked};
use super::mock::{Mock, on, test};
use crate::suite::fixture::{FactResult, Fixture, map, map_file};
use crate::suite::{Fact, row};
use crate::target::Capability;
use handoff_model::abi::call::{Call, IommufdCall, MemoryCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, PAGE_BYTES, Pid, Va};

const MOCK: &[Capability] = &[Capability::Mock];

fn take(iommufd: Fd) -> Call {
    IommufdCall::change_process(iommufd)
}

/// Checks for each of two pages whether a domain maps the page of a process (`MD_CHECK_MAP`).
fn leads(
    b: &mut Fixture<'_>,
    pid: Pid,
    (iommufd, hwpt): (Fd, ObjectId),
    va: Va,
    expected: [bool; 2],
) -> FactResult {
    for (at, is_same) in [0, PAGE_BYTES].into_iter().zip(expected) {
        let row = test(3, hwpt.0).u64(APERTURE.0 + at).u64(PAGE_BYTES).u64(va.0 + at);
        let check = on(row, iommufd);
        if is_same {
            b.ok(pid, &check)?;
        } else {
            b.refuses(pid, &check, Errno::EINVAL)?;
        }
    }
    Ok(())
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "hazard/h6-taken",
        "CHANGE_PROCESS transfers pages that the file no longer has (H6)",
        MOCK,
        |b| {
            let (old, iommufd, ioas, Mock { hwpt, .. }) = mocked(b)?;
            let (new, memfd) = (b.process(), b.memfd(old, 2)?);
            b.ok(old, &map_file(iommufd, ioas, memfd, APERTURE, 2))?;
            let [iommufd, fd] = b.pass(old, new, &[iommufd, memfd])?[..] else {
                unreachable!("two were sent")
            };
            let va = b.mmap(new, Some(fd), 2)?;
            leads(b, new, (iommufd, hwpt), va, [true, true])?;
            b.ok(new, &MemoryCall::punch_hole(fd, 0, PAGE_BYTES))?;
            b.ok(new, &take(iommufd))?;
            leads(b, new, (iommufd, hwpt), va, [false, true])?;
            for pages in [0, 2] {
                b.ok(
                    new,
                    &Call::Memory(MemoryCall::Truncate { fd, length_bytes: pages * PAGE_BYTES }),
                )?;
            }
            b.ok(new, &take(iommufd))?;
            leads(b, new, (iommufd, hwpt), va, [false, false])?;
            b.vm_pin(new, 2)
        },
    ),
    row("pages/fork", "a child has copies of private pages; the device keeps its own", MOCK, |b| {
        let (p, iommufd, ioas, Mock { hwpt, .. }) = mocked(b)?;
        let va = b.mmap(p, None, 2)?;
        b.ok(p, &map(iommufd, ioas, va, APERTURE, 2))?;
        let child = b.fork(p);
        leads(b, p, (iommufd, hwpt), va, [true, true])?;
        leads(b, child, (iommufd, hwpt), va, [false, false])
    }),
    row("pages/fork-shared", "a child shares a file's pages with parent and device", MOCK, |b| {
        let (p, iommufd, ioas, Mock { hwpt, .. }) = mocked(b)?;
        let memfd = b.memfd(p, 2)?;
        let va = b.mmap(p, Some(memfd), 2)?;
        b.ok(p, &map(iommufd, ioas, va, APERTURE, 2))?;
        let child = b.fork(p);
        for pid in [p, child] {
            leads(b, pid, (iommufd, hwpt), va, [true, true])?;
        }
        Ok(())
    }),
];
