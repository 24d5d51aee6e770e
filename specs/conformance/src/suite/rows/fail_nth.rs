//! Fault injection: the first allocation or pin of a call fails, then the second, and so on until
//! no failure is injected. A failed call leaves no pins and no objects.
//!
//! The number of allocations of a call is an implementation detail and is not compared. A kernel
//! may also tolerate a failed allocation; then the call succeeds, and the fact undoes it.

use super::hwpt::{APERTURE, Alloc, NEST_PARENT, mocked};
use super::mock::{Mock, on, test, word};
use crate::suite::fixture::{BASE, FactResult, Fixture, copy, map, map_file, unmap};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;

const MOCK: &[Capability] = &[Capability::FailNth, Capability::Mock];
const EDU: &[Capability] = &[Capability::FailNth, Capability::Has(Device::Edu)];
const MTTY: &[Capability] = &[Capability::FailNth, Capability::Has(Device::Mtty)];
const BIND_EDU: &[Capability] = &[Capability::Simulated(
    "ACPI's lookup of a PCI device's interrupt then leaves broken reference counts of its objects \
     (7.3.4)",
)];

/// Upper bound on the number of allocations in a call.
const LIMIT: u32 = 1000;

/// Errnos of a call with a failed allocation. The fault injector of the kernel's selftests turns
/// some failures into `ENOENT`, `EFAULT` and `EINVAL`.
const SAID: [Errno; 4] = [Errno::ENOMEM, Errno::EFAULT, Errno::ENOENT, Errno::EINVAL];

/// A call with injected failures, its process, and its iommufd.
struct Failing<'a> {
    p: Pid,
    iommufd: Fd,
    call: &'a Call,
}

impl Failing<'_> {
    /// Fails one allocation after the other; `undo` reverts a call that succeeded despite a
    /// failure. Returns the number of failed calls, and the reply of the final call, which is kept.
    fn exhaust(
        &self,
        b: &mut Fixture<'_>,
        undo: impl Fn(&mut Fixture<'_>, &Reply) -> FactResult,
    ) -> FactResult<(u32, Reply)> {
        let before = self.seen(b)?;
        let mut refused = 0;
        for nth in 1..LIMIT {
            let (answer, came_to_it) = b.failing(self.p, self.call, nth)?;
            match answer {
                Err(errno) => {
                    refused += 1;
                    b.same("one of the errors", &SAID.contains(&errno), &true)?;
                }
                Ok(reply) if !came_to_it => return Ok((refused, reply)),
                Ok(reply) => undo(b, &reply)?,
            }
            let after = self.seen(b)?;
            b.same("VmPin, and the next object", &after, &before)?;
        }
        b.mismatch(format!("allocation {LIMIT} still fails"))
    }

    /// Does the same as [`Self::exhaust`] for a call that must fail at least once.
    fn makes(
        &self,
        b: &mut Fixture<'_>,
        undo: impl Fn(&mut Fixture<'_>, &Reply) -> FactResult,
    ) -> FactResult<Reply> {
        let (refused, reply) = self.exhaust(b, undo)?;
        b.same("it was refused", &(refused > 0), &true)?;
        Ok(reply)
    }

    fn seen(&self, b: &mut Fixture<'_>) -> FactResult<(i64, ObjectId)> {
        let next = b.ioas(self.p, self.iommufd)?;
        b.ok(self.p, &Call::Iommufd(IommufdCall::Destroy { iommufd: self.iommufd, id: next }))?;
        Ok((b.arm().locked(self.p).0, next))
    }
}

fn destroy(b: &mut Fixture<'_>, p: Pid, iommufd: Fd, id: u32) -> FactResult {
    b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(id) })).map(drop)
}

/// Returns the object id at an offset of the output.
fn made(reply: &Reply, at: usize) -> u32 {
    match reply {
        Reply::Object(id) => id.0,
        Reply::Ioctl(outcome) => word(outcome, at),
        other => unreachable!("no object: {other:?}"),
    }
}

/// Returns a process with a context, an IOAS, and this many mock domains.
fn with_domains(b: &mut Fixture<'_>, domains: usize) -> FactResult<(Pid, Fd, ObjectId)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    if domains > 0 {
        let mock = Mock::on(b, p, iommufd, ioas)?;
        for _ in 1..domains {
            Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
        }
    }
    Ok((p, iommufd, ioas))
}

pub(super) const ROWS: &[Fact] = &[
    row("fail-nth/objects", "a failed IOAS_ALLOC or HWPT_ALLOC leaves no object", MOCK, |b| {
        let (p, iommufd, ioas, mock) = mocked(b)?;
        let nested = Alloc::over(mock.idev, ioas).flags(NEST_PARENT);
        let calls = [
            (Call::Iommufd(IommufdCall::IoasAlloc { iommufd }), 4),
            (on(test(2, ioas.0), iommufd), 16),
            (Alloc::over(mock.idev, ioas).call(iommufd), 16),
            (nested.call(iommufd), 16),
        ];
        for (call, at) in &calls {
            let undo =
                |b: &mut Fixture<'_>, reply: &Reply| destroy(b, p, iommufd, made(reply, *at));
            Failing { p, iommufd, call }.makes(b, undo)?;
        }
        Ok(())
    }),
    row("fail-nth/map", "a failed MAP, MAP_FILE or COPY leaves no area or pin", MOCK, |b| {
        for domains in 0..3 {
            let (p, iommufd, ioas) = with_domains(b, domains)?;
            let (va, memfd) = (b.mmap(p, None, 4)?, b.memfd(p, 4)?);
            let [first, second, third] = [0, 4, 8].map(|at| Iova(APERTURE.0 + at * PAGE_BYTES));
            let calls = [
                (map(iommufd, ioas, va, first, 4), first),
                (map_file(iommufd, ioas, memfd, second, 4), second),
                (copy(iommufd, (ioas, first), (ioas, third), 4), third),
            ];
            for (call, iova) in &calls {
                let taken_back = unmap(iommufd, ioas, *iova, 4);
                let undo = |b: &mut Fixture<'_>, _: &Reply| b.ok(p, &taken_back).map(drop);
                Failing { p, iommufd, call }.makes(b, undo)?;
            }
            b.vm_pin(p, if domains > 0 { 8 } else { 0 })?;
        }
        Ok(())
    }),
    row("fail-nth/accesses", "a failed access operation leaves no pin", MOCK, |b| {
        let (p, iommufd, ioas) = with_domains(b, 0)?;
        let memfd = b.memfd(p, 2)?;
        b.ok(p, &map_file(iommufd, ioas, memfd, APERTURE, 2))?;
        let create = on(test(5, ioas.0).u32(0).u32(1), iommufd);
        let close = |b: &mut Fixture<'_>, reply: &Reply| {
            b.ok(p, &Call::File(FileCall::Close { fd: Fd(made(reply, 16).cast_signed()) }))
                .map(drop)
        };
        let reply = Failing { p, iommufd, call: &create }.makes(b, close)?;
        let access = made(&reply, 16);
        let pages = test(7, access).u32(1).u32(0).u64(APERTURE.0).u64(2 * PAGE_BYTES).u64(0);
        let give_back = |b: &mut Fixture<'_>, reply: &Reply| {
            b.ok(p, &on(test(6, access).u32(made(reply, 20)), iommufd)).map(drop)
        };
        Failing { p, iommufd, call: &on(pages, iommufd) }.makes(b, give_back)?;
        let byte = [0];
        let rw = test(8, access).u64(APERTURE.0).u64(1).pointer(&byte).u32(0);
        Failing { p, iommufd, call: &on(rw, iommufd) }.makes(b, |_, _| Ok(()))?;
        b.vm_pin(p, 2)
    }),
    row("fail-nth/allowed", "a failed ALLOW_IOVAS keeps the old ranges", MOCK, |b| {
        let (p, iommufd, ioas) = with_domains(b, 0)?;
        let page = |at: u64| [at, at + PAGE_BYTES - 1];
        let ranges: Vec<u8> =
            [page(0), page(1 << 20)].concat().iter().flat_map(|at| at.to_ne_bytes()).collect();
        let allow = sized().id(ioas).u32(2).u32(0).pointer(&ranges);
        let allow = allow.on(iommufd, nr::IOMMU_IOAS_ALLOW_IOVAS);
        Failing { p, iommufd, call: &allow }.makes(b, |_, _| Ok(())).map(drop)
    }),
    row("fail-nth/attach-edu", "a failed ATTACH leaves a PCI device unchanged", EDU, |b| {
        attach(b, Device::Edu, 2)
    }),
    row("fail-nth/attach-mtty", "a failed ATTACH leaves an mdev unchanged", MTTY, |b| {
        attach(b, Device::Mtty, 0)
    }),
    row("fail-nth/bind-edu", "a failed BIND leaves a PCI device unchanged", BIND_EDU, |b| {
        bind(b, Device::Edu)
    }),
    row("fail-nth/bind-mtty", "a failed BIND leaves an mdev unchanged", MTTY, |b| {
        bind(b, Device::Mtty)
    }),
    row("fail-nth/change-process", "CHANGE_PROCESS moves all pages or none", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let set = b.set_up(old, 4)?;
        let second = b.ioas(old, set.iommufd)?;
        b.ok(old, &map_file(set.iommufd, second, set.memfd, BASE, 4))?;
        let iommufd = b.pass(old, new, &[set.iommufd])?[0];
        let call = |iommufd| IommufdCall::change_process(iommufd);
        let take_back = |b: &mut Fixture<'_>, _: &Reply| {
            b.ok(old, &call(set.iommufd)).and_then(|_| b.vm_pin(old, 4))
        };
        Failing { p: new, iommufd, call: &call(iommufd) }.exhaust(b, take_back)?;
        b.vm_pin(new, 4)?;
        b.vm_pin(old, 0)
    }),
    row("fail-nth/what-goes", "UNMAP, DETACH and DESTROY complete or have no effect", EDU, |b| {
        let p = b.process();
        let set = b.set_up(p, 4)?;
        let (iommufd, ioas, device) = (set.iommufd, set.ioas, set.device);
        let attach = Call::Device(DeviceCall::Attach { device, page_table: ioas });
        let again = map_file(iommufd, ioas, set.memfd, BASE, 4);
        let calls = [
            (unmap(iommufd, ioas, BASE, 4), again),
            (Call::Device(DeviceCall::Detach { device }), attach),
            (
                Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }),
                Call::Iommufd(IommufdCall::IoasAlloc { iommufd }),
            ),
        ];
        for (call, undo) in &calls {
            let undo = |b: &mut Fixture<'_>, _: &Reply| b.ok(p, undo).map(drop);
            Failing { p, iommufd, call }.exhaust(b, undo)?;
        }
        b.vm_pin(p, 0)
    }),
];

/// Attaches a device to an IOAS of two pages.
fn attach(b: &mut Fixture<'_>, device: Device, pinned_pages: i64) -> FactResult {
    let (p, iommufd, ioas) = with_domains(b, 0)?;
    let memfd = b.memfd(p, 2)?;
    b.ok(p, &map_file(iommufd, ioas, memfd, BASE, 2))?;
    let (device, _) = b.bind(p, device, iommufd)?;
    let detach = |b: &mut Fixture<'_>, _: &Reply| {
        b.ok(p, &Call::Device(DeviceCall::Detach { device })).map(drop)
    };
    let attach = Call::Device(DeviceCall::Attach { device, page_table: ioas });
    Failing { p, iommufd, call: &attach }.makes(b, detach)?;
    b.vm_pin(p, pinned_pages)
}

/// Binds a device; only its last close reverts that.
fn bind(b: &mut Fixture<'_>, kind: Device) -> FactResult {
    let (p, iommufd, _) = with_domains(b, 0)?;
    let device = b.open(p, kind)?;
    let reopen = |b: &mut Fixture<'_>, _: &Reply| {
        b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
        let file = b.open(p, kind)?;
        b.same("the descriptor", &file, &device)
    };
    Failing { p, iommufd, call: &Call::Device(DeviceCall::Bind { device, iommufd }) }
        .makes(b, reopen)
        .map(drop)
}
