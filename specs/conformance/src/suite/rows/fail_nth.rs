//! Calls that run out of memory: the first allocation or pin of a call fails, then the second, and
//! so on until none is left to fail. Whatever fails, the call is refused and leaves no pins and no
//! objects.
//!
//! How many allocations a call makes is the kernel's own affair, and is not compared. A kernel may
//! also do without one of them; then the call succeeds, and the row takes back what it did.

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
    "ACPI, which is asked for the interrupt of a PCI device, is left with broken counts of its \
     objects (7.3.4)",
)];

/// No call makes as many allocations.
const LIMIT: u32 = 1000;

/// What a call says that ran out of memory: not found, not pinned, and not possible are what the
/// injector of the kernel's own tests makes of it.
const SAID: [Errno; 4] = [Errno::ENOMEM, Errno::EFAULT, Errno::ENOENT, Errno::EINVAL];

/// A call under failing allocations, and the process that makes it, with its iommufd.
struct Failing<'a> {
    p: Pid,
    iommufd: Fd,
    call: &'a Call,
}

impl Failing<'_> {
    /// Fails one allocation after the other; `undo` takes back a call that succeeded. The last one
    /// stays. → how often the call was refused.
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
        b.mismatch(format!("it still fails at its allocation {LIMIT}"))
    }

    /// As [`Self::exhaust`], of a call that makes something.
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

/// The object that a call left at a place.
fn made(reply: &Reply, at: usize) -> u32 {
    match reply {
        Reply::Object(id) => id.0,
        Reply::Ioctl(outcome) => word(outcome, at),
        other => unreachable!("no object: {other:?}"),
    }
}

/// A process with a context, an address space, and so many mock devices with domains of their own.
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
    row("fail-nth/objects", "IOAS_ALLOC, MOCK_DOMAIN and HWPT_ALLOC leave no object", MOCK, |b| {
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
    row("fail-nth/map", "MAP, MAP_FILE and COPY leave no area and no pin", MOCK, |b| {
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
    row("fail-nth/accesses", "accesses that could not be made hold nothing", MOCK, |b| {
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
    row("fail-nth/allowed", "ALLOW_IOVAS leaves what was allowed", MOCK, |b| {
        let (p, iommufd, ioas) = with_domains(b, 0)?;
        let page = |at: u64| [at, at + PAGE_BYTES - 1];
        let ranges: Vec<u8> =
            [page(0), page(1 << 20)].concat().iter().flat_map(|at| at.to_ne_bytes()).collect();
        let allow = sized().id(ioas).u32(2).u32(0).pointer(&ranges);
        let allow = allow.on(iommufd, nr::IOMMU_IOAS_ALLOW_IOVAS);
        Failing { p, iommufd, call: &allow }.makes(b, |_, _| Ok(())).map(drop)
    }),
    row("fail-nth/attach-edu", "ATTACH of a PCI device leaves it as it was", EDU, |b| {
        attach(b, Device::Edu, 2)
    }),
    row("fail-nth/attach-mtty", "ATTACH of an mdev leaves it as it was", MTTY, |b| {
        attach(b, Device::Mtty, 0)
    }),
    row("fail-nth/bind-edu", "BIND of a PCI device leaves it as it was", BIND_EDU, |b| {
        bind(b, Device::Edu)
    }),
    row("fail-nth/bind-mtty", "BIND of an mdev leaves it as it was", MTTY, |b| {
        bind(b, Device::Mtty)
    }),
    row("fail-nth/change-process", "CHANGE_PROCESS moves everything or nothing", EDU, |b| {
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
    row("fail-nth/what-goes", "UNMAP, DETACH and DESTROY do nothing or all", EDU, |b| {
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

/// Attaches a device to an address space of two pages.
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

/// Binds a device; only its last close undoes that.
fn bind(b: &mut Fixture<'_>, kind: Device) -> FactResult {
    let (p, iommufd, _) = with_domains(b, 0)?;
    let device = b.open(p, kind)?;
    let anew = |b: &mut Fixture<'_>, _: &Reply| {
        b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
        let file = b.open(p, kind)?;
        b.same("the number", &file, &device)
    };
    Failing { p, iommufd, call: &Call::Device(DeviceCall::Bind { device, iommufd }) }
        .makes(b, anew)
        .map(drop)
}
