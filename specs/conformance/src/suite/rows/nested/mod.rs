//! Nested domains and what guests see of an IOMMU: viommus, vdevices, events, hardware queues, page faults.

use super::hwpt::{
    APERTURE, Alloc, FAULT_ID_VALID, FOR_PASIDS, NEST_PARENT, SELFTEST, mocked, replace,
};
use super::mock::{Mock, on, test, word};
use crate::suite::bench::{Bench, Done, map, map_file, unmap};
use crate::suite::structure::sized;
use crate::suite::{Row, row};
use crate::target::{Device, Need};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Rights};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

const MOCK: &[Need] = &[Need::Mock];
const EDU: &[Need] = &[Need::Has(Device::Edu)];
const NONE: ObjectId = ObjectId(77);

/// The one type of viommus, hardware queues and invalidations that the mock driver has; that of its events.
const KIND: u32 = 0xdead_beef;
const EVENTS: u32 = 0xbeef_beef;

/// A translation cache that holds a number four times.
const CACHE: [u8; 8] = [7, 0, 0, 0, 0, 0, 0, 0];

fn invalidate(
    iommufd: Fd,
    id: ObjectId,
    kind: u32,
    [length, count]: [u32; 2],
    data: &[u32],
) -> Call {
    let bytes: Vec<u8> = data.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let head = sized().id(id);
    let head = if bytes.is_empty() { head.u64(0) } else { head.pointer(&bytes) };
    head.u32(kind).u32(length).u32(count).u32(0).on(iommufd, nr::IOMMU_HWPT_INVALIDATE)
}

/// Invalidations that fail, and how many entries of each are done.
fn fail(b: &mut Bench<'_>, p: Pid, table: &[(Call, Errno, u32)]) -> Done {
    for (call, errno, done) in table {
        let outcome = b.ioctl_refused(p, call, *errno)?;
        b.same("entries done", &word(&outcome, 24), done)?;
    }
    Ok(())
}

fn viommu(
    iommufd: Fd,
    [flags, kind]: [u32; 2],
    device: ObjectId,
    hwpt: ObjectId,
    data: &[u8],
) -> Call {
    let length = u32::try_from(data.len()).expect("a structure");
    let head = sized().u32(flags).u32(kind).id(device).id(hwpt).u32(0).u32(length).u32(0);
    head.pointer(data).on(iommufd, nr::IOMMU_VIOMMU_ALLOC)
}

fn vdevice(iommufd: Fd, viommu: ObjectId, device: ObjectId, virt_id: u64) -> Call {
    sized().id(viommu).id(device).u32(0).u64(virt_id).on(iommufd, nr::IOMMU_VDEVICE_ALLOC)
}

fn veventq(iommufd: Fd, flags: u32, viommu: ObjectId, [kind, depth]: [u32; 2]) -> Call {
    let head = sized().u32(flags).id(viommu).u32(kind).u32(depth);
    head.u32(0).u32(0).u32(0).on(iommufd, nr::IOMMU_VEVENTQ_ALLOC)
}

fn queue(iommufd: Fd, [flags, kind, index]: [u32; 3], viommu: ObjectId, at: [u64; 2]) -> Call {
    let head = sized().u32(flags).id(viommu).u32(kind).u32(index).u32(0);
    head.u64(at[0]).u64(at[1]).on(iommufd, nr::IOMMU_HW_QUEUE_ALLOC)
}

fn destroy(iommufd: Fd, id: ObjectId) -> Call {
    Call::Iommufd(IommufdCall::Destroy { iommufd, id })
}

fn made(b: &mut Bench<'_>, p: Pid, call: &Call, at: usize) -> Done<ObjectId> {
    let outcome = b.ioctl(p, call)?;
    Ok(ObjectId(word(&outcome, at)))
}

/// A mock device, a nesting parent, and a viommu over it.
struct Guest {
    p: Pid,
    iommufd: Fd,
    ioas: ObjectId,
    mock: Mock,
    parent: ObjectId,
    viommu: ObjectId,
}

fn guest(b: &mut Bench<'_>) -> Done<Guest> {
    let (p, iommufd, ioas, mock) = mocked(b)?;
    let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
    let viommu = made(b, p, &viommu(iommufd, [0, KIND], mock.idev, parent, &[]), 20)?;
    Ok(Guest { p, iommufd, ioas, mock, parent, viommu })
}

pub(super) const ROWS: &[Row] = &[
    row(
        "nested/alloc",
        "A nested domain needs data, a nesting parent, and flags that it knows",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
            let plain = Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
            let nested = Alloc::over(mock.idev, parent).data(SELFTEST, &CACHE);
            b.all_refused(
                p,
                &[
                    (Alloc::over(mock.idev, parent).call(iommufd), Errno::EOPNOTSUPP),
                    (nested.flags(NEST_PARENT).call(iommufd), Errno::EOPNOTSUPP),
                    (nested.data(1, &CACHE).call(iommufd), Errno::EOPNOTSUPP),
                    (nested.data(SELFTEST, &CACHE[..3]).call(iommufd), Errno::EINVAL),
                    (
                        Alloc::over(mock.idev, plain).data(SELFTEST, &CACHE).call(iommufd),
                        Errno::EINVAL,
                    ),
                    (
                        Alloc::over(mock.idev, mock.hwpt).data(SELFTEST, &CACHE).call(iommufd),
                        Errno::EINVAL,
                    ),
                    (nested.flags(FAULT_ID_VALID).call(iommufd), Errno::ENOENT),
                ],
            )?;
            let id = nested.flags(FOR_PASIDS).make(b, p, iommufd)?;
            b.refuses(
                p,
                &Alloc::over(mock.idev, id).data(SELFTEST, &CACHE).call(iommufd),
                Errno::EINVAL,
            )?;
            b.refuses(p, &destroy(iommufd, parent), Errno::EBUSY)?;
            b.ok(p, &replace(iommufd, mock.stdev, id))?;
            b.refuses(p, &destroy(iommufd, id), Errno::EBUSY)
        },
    ),
    row(
        "nested/probe",
        "HWPT_ALLOC of no driver's data tells nesting parents from other HWPTs, and makes nothing",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
            let plain = Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
            let probe =
                |device, hwpt| Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt });
            b.all_refused(
                p,
                &[
                    (probe(mock.idev, parent), Errno::EOPNOTSUPP),
                    (probe(mock.idev, plain), Errno::EINVAL),
                    (probe(mock.idev, mock.hwpt), Errno::EINVAL),
                    (probe(mock.idev, NONE), Errno::EINVAL),
                    (probe(NONE, parent), Errno::ENOENT),
                ],
            )?;
            let next = b.ioas(p, iommufd)?;
            b.same("the next number", &next, &ObjectId(plain.0 + 1))
        },
    ),
    row("nested/vtd", "QEMU's IOMMU has no nesting parents, and the probe says so", EDU, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let (_, device) = b.bind(p, Device::Edu, iommufd)?;
        let alloc = |nest_parent| {
            Call::Iommufd(IommufdCall::HwptAlloc { iommufd, device, ioas, nest_parent })
        };
        b.refuses(p, &alloc(true), Errno::EOPNOTSUPP)?;
        let hwpt = b.id(p, &alloc(false))?;
        b.refuses(
            p,
            &Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt }),
            Errno::EINVAL,
        )
    }),
    row(
        "nested/crosses",
        "A nesting parent, the devices on it and what lies over it stay when pages change hands",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let other = Mock::on(b, p, iommufd, ioas)?;
            let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
            let nested = Alloc::over(mock.idev, parent).data(SELFTEST, &CACHE);
            let nested = nested.make(b, p, iommufd)?;
            b.ok(p, &replace(iommufd, mock.stdev, nested))?;
            b.ok(p, &replace(iommufd, other.stdev, parent))?;
            let memfd = b.memfd(p, 2)?;
            b.ok(p, &map_file(iommufd, ioas, memfd, APERTURE, 2))?;
            b.vm_pin(p, 2)?;
            let new = b.process();
            let iommufd = b.pass(p, new, &[iommufd])?[0];
            b.ok(new, &Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 0 }))?;
            b.vm_pin(new, 2)?;
            b.kill(p);
            let probe = Call::Iommufd(IommufdCall::ProbeNesting {
                iommufd,
                device: mock.idev,
                hwpt: parent,
            });
            b.refuses(new, &probe, Errno::EOPNOTSUPP)?;
            b.refuses(new, &destroy(iommufd, nested), Errno::EBUSY)?;
            b.ok(new, &replace(iommufd, mock.stdev, parent))?;
            b.ok(new, &destroy(iommufd, nested))?;
            b.refuses(new, &destroy(iommufd, parent), Errno::EBUSY)
        },
    ),
    row("nested/invalidate", "HWPT_INVALIDATE does entry by entry and tells how many", MOCK, |b| {
        let (p, iommufd, ioas, mock) = mocked(b)?;
        let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
        let id = Alloc::over(mock.idev, parent).data(SELFTEST, &CACHE).make(b, p, iommufd)?;
        let check = |index, number| on(test(14, id.0).u32(index).u32(number), iommufd);
        let call = |kind, shape, data: &[u32]| invalidate(iommufd, id, kind, shape, data);
        let reserved = sized().id(id).u64(0).u32(KIND).u32(8).u32(0).u32(1);
        let many = vec![0; 1 << 10];
        fail(
            b,
            p,
            &[
                (reserved.on(iommufd, nr::IOMMU_HWPT_INVALIDATE), Errno::EOPNOTSUPP, 0),
                (call(KIND, [8, 1], &[]), Errno::EINVAL, 0),
                (call(KIND, [0, 1], &[0, 0]), Errno::EINVAL, 0),
                (call(KIND, [4097, 1], &many), Errno::EINVAL, 0),
                (call(KIND, [8, (1 << 19) + 1], &many), Errno::EINVAL, 0),
                (invalidate(iommufd, NONE, KIND, [8, 1], &[0, 0]), Errno::ENOENT, 0),
                (invalidate(iommufd, parent, KIND, [8, 1], &[0, 0]), Errno::EINVAL, 0),
                (call(1, [8, 1], &[0, 0]), Errno::EINVAL, 0),
                (call(KIND, [9, 1], &[0, 0, 0]), Errno::EINVAL, 0),
                (call(KIND, [8, 1], &[2, 0]), Errno::EOPNOTSUPP, 0),
                (call(KIND, [8, 2], &[0, 0, 0, 4]), Errno::EINVAL, 1),
            ],
        )?;
        b.ok(p, &call(KIND, [8, 0], &[]))?;
        b.ok(p, &check(0, 0))?;
        b.ok(p, &check(1, 7))?;
        b.all_refused(
            p,
            &[
                (check(1, 0), Errno::EINVAL),
                (check(4, 7), Errno::EINVAL),
                (on(test(14, parent.0).u32(0).u32(7), iommufd), Errno::ENOENT),
            ],
        )?;
        b.ok(p, &call(KIND, [8, 1], &[1, 2]))?;
        b.ok(p, &check(3, 0)).map(drop)
    }),
    row(
        "viommu/alloc",
        "VIOMMU_ALLOC: flags, type, device, driver, domain, nesting parent, data",
        MOCK,
        |b| {
            let g = guest(b)?;
            let Guest { p, iommufd, ioas, mock, parent, viommu: id } = g;
            let plain = Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
            let of = |head, device, hwpt, data: &[u8]| viommu(iommufd, head, device, hwpt, data);
            b.all_refused(
                p,
                &[
                    (of([1, KIND], mock.idev, parent, &[]), Errno::EOPNOTSUPP),
                    (of([0, 0], mock.idev, parent, &[]), Errno::EOPNOTSUPP),
                    (of([0, KIND], NONE, parent, &[]), Errno::ENOENT),
                    (of([0, 1], mock.idev, parent, &[]), Errno::EOPNOTSUPP),
                    (of([0, KIND], mock.idev, NONE, &[]), Errno::ENOENT),
                    (of([0, KIND], mock.idev, plain, &[]), Errno::EINVAL),
                    (of([0, KIND], mock.idev, parent, &[0; 7]), Errno::EINVAL),
                    (destroy(iommufd, parent), Errno::EBUSY),
                ],
            )?;
            let mut data = [0u8; 24];
            data[0] = 9;
            let outcome = b.ioctl(p, &of([0, KIND], mock.idev, parent, &data))?;
            b.same("looped back", &outcome.pointees[0].0[4], &9)?;
            b.same("to map", &outcome.pointees[0].0[17], &0x20)?;
            let nested = Alloc::over(mock.idev, id).data(SELFTEST, &CACHE);
            b.refuses(p, &nested.flags(1).call(iommufd), Errno::EOPNOTSUPP)?;
            b.refuses(p, &Alloc::over(mock.idev, id).call(iommufd), Errno::EOPNOTSUPP)?;
            let nested = nested.make(b, p, iommufd)?;
            b.refuses(p, &destroy(iommufd, id), Errno::EBUSY)?;
            b.refuses(p, &replace(iommufd, mock.stdev, nested), Errno::ENOENT)
        },
    ),
    row("viommu/vtd", "QEMU's IOMMU has no viommus, and its devices are in none", EDU, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let (_, idev) = b.bind(p, Device::Edu, iommufd)?;
        b.refuses(p, &viommu(iommufd, [0, KIND], idev, ioas, &[]), Errno::EOPNOTSUPP)
    }),
    row(
        "viommu/other-iommu",
        "A device behind another IOMMU is in no viommu",
        &[Need::Mock, Need::Has(Device::Edu)],
        |b| {
            let g = guest(b)?;
            let (_, idev) = b.bind(g.p, Device::Edu, g.iommufd)?;
            b.refuses(g.p, &vdevice(g.iommufd, g.viommu, idev, 1), Errno::EINVAL)?;
            let nested = Alloc::over(idev, g.viommu).data(SELFTEST, &CACHE);
            b.refuses(g.p, &nested.call(g.iommufd), Errno::EINVAL)?;
            let nested = Alloc::over(idev, g.parent).data(SELFTEST, &CACHE);
            b.refuses(g.p, &nested.call(g.iommufd), Errno::EINVAL)?;
            let cache = on(test(15, 0).id(idev).u32(0).u32(0).u32(0).u64(0), g.iommufd);
            b.refuses(g.p, &cache, Errno::EINVAL)
        },
    ),
    row(
        "vdevice/alloc",
        "One vdevice a device, one device a number; a tombstone when it is unbound",
        MOCK,
        |b| {
            let Guest { p, iommufd, ioas, mock, viommu: id, .. } = guest(b)?;
            let other = Mock::on(b, p, iommufd, ioas)?;
            b.refuses(p, &vdevice(iommufd, NONE, mock.idev, 0x99), Errno::ENOENT)?;
            b.refuses(p, &vdevice(iommufd, id, NONE, 0x99), Errno::ENOENT)?;
            let first = made(b, p, &vdevice(iommufd, id, mock.idev, 0x99), 12)?;
            b.refuses(p, &vdevice(iommufd, id, mock.idev, 0x98), Errno::EEXIST)?;
            b.refuses(p, &vdevice(iommufd, id, other.idev, 0x99), Errno::EEXIST)?;
            b.refuses(p, &destroy(iommufd, id), Errno::EBUSY)?;
            b.ok(p, &destroy(iommufd, first))?;
            let again = made(b, p, &vdevice(iommufd, id, mock.idev, 0x99), 12)?;
            b.same("the number", &again, &first)?;
            b.ok(p, &destroy(iommufd, mock.stdev))?;
            b.refuses(p, &destroy(iommufd, again), Errno::ENOENT)?;
            let taken = [mock.stdev, mock.idev];
            for expected in taken {
                let id = b.ioas(p, iommufd)?;
                b.same("a free number", &id, &expected)?;
            }
            let id = b.ioas(p, iommufd)?;
            b.same("behind the tombstone", &(id > again), &true)
        },
    ),
    row(
        "viommu/invalidate",
        "An invalidation through a viommu takes all entries first, then does them",
        MOCK,
        |b| {
            let Guest { p, iommufd, mock, viommu: id, .. } = guest(b)?;
            b.ok(p, &vdevice(iommufd, id, mock.idev, 0x99))?;
            let check = |index, number| on(test(16, mock.idev.0).u32(index).u32(number), iommufd);
            let call = |kind, shape, data: &[u32]| invalidate(iommufd, id, kind, shape, data);
            fail(
                b,
                p,
                &[
                    (call(1, [12, 0], &[]), Errno::EINVAL, 0),
                    (call(KIND, [16, 1], &[0, 0x99, 0, 1]), Errno::E2BIG, 0),
                    (call(KIND, [12, 2], &[0, 0x99, 0]), Errno::EFAULT, 0),
                    (call(KIND, [12, 1], &[2, 0x99, 0]), Errno::EOPNOTSUPP, 0),
                    (call(KIND, [12, 1], &[0, 0x99, 4]), Errno::EINVAL, 0),
                    (call(KIND, [12, 1], &[0, 0x98, 0]), Errno::EINVAL, 0),
                    (call(KIND, [12, 2], &[0, 0x99, 0, 2, 0x99, 0]), Errno::EOPNOTSUPP, 1),
                ],
            )?;
            b.ok(p, &call(KIND, [12, 0], &[]))?;
            b.ok(p, &check(0, 0))?;
            b.ok(p, &check(1, 0x00ba_ddad))?;
            b.refuses(p, &check(1, 0), Errno::EINVAL)?;
            b.refuses(p, &on(test(16, NONE.0).u32(0).u32(0), iommufd), Errno::ENOENT)?;
            b.ok(p, &call(KIND, [16, 1], &[1, 0x99, 2, 0]))?;
            b.ok(p, &check(3, 0)).map(drop)
        },
    ),
    row(
        "veventq/alloc",
        "VEVENTQ_ALLOC: flags, type, depth, viommu, one of a type; its file holds it",
        MOCK,
        |b| {
            let Guest { p, iommufd, mock, viommu: id, .. } = guest(b)?;
            let trigger = |device: ObjectId| on(test(17, 0).id(device), iommufd);
            b.all_refused(
                p,
                &[
                    (veventq(iommufd, 1, id, [EVENTS, 2]), Errno::EOPNOTSUPP),
                    (veventq(iommufd, 0, id, [0, 2]), Errno::EOPNOTSUPP),
                    (veventq(iommufd, 0, id, [EVENTS, 0]), Errno::EINVAL),
                    (veventq(iommufd, 0, id, [EVENTS, (1 << 19) + 1]), Errno::EINVAL),
                    (veventq(iommufd, 0, NONE, [EVENTS, 2]), Errno::ENOENT),
                    (trigger(NONE), Errno::ENOENT),
                    (trigger(mock.idev), Errno::ENOENT),
                ],
            )?;
            b.ok(p, &vdevice(iommufd, id, mock.idev, 0x99))?;
            let nested = Alloc::over(mock.idev, id).data(SELFTEST, &CACHE).make(b, p, iommufd)?;
            b.ok(p, &replace(iommufd, mock.stdev, nested))?;
            b.refuses(p, &trigger(mock.idev), Errno::EOPNOTSUPP)?;
            let outcome = b.ioctl(p, &veventq(iommufd, 0, id, [EVENTS, 2]))?;
            let (queue, fd) = (ObjectId(word(&outcome, 20)), Fd(word(&outcome, 24).cast_signed()));
            b.refuses(p, &veventq(iommufd, 0, id, [EVENTS, 2]), Errno::EEXIST)?;
            for _ in 0..3 {
                b.ok(p, &trigger(mock.idev))?;
            }
            b.refuses(p, &destroy(iommufd, queue), Errno::EBUSY)?;
            b.ok(p, &Call::File(FileCall::Close { fd }))?;
            b.ok(p, &destroy(iommufd, queue)).map(drop)
        },
    ),
    row(
        "hw-queue/alloc",
        "HW_QUEUE_ALLOC: what it checks, in order; it locks its memory",
        MOCK,
        |b| {
            let Guest { p, iommufd, ioas, mock, viommu: id, .. } = guest(b)?;
            let (at, page) = (APERTURE.0, PAGE_BYTES);
            let of = |head, at| queue(iommufd, head, id, at);
            b.all_refused(
                p,
                &[
                    (of([1, KIND, 0], [at, page]), Errno::EOPNOTSUPP),
                    (of([0, 0, 0], [at, page]), Errno::EOPNOTSUPP),
                    (of([0, KIND, 0], [at, 0]), Errno::EINVAL),
                    (of([0, KIND, 0], [u64::MAX, page]), Errno::EOVERFLOW),
                    (queue(iommufd, [0, KIND, 0], NONE, [at, page]), Errno::ENOENT),
                    (of([0, 1, 0], [at, page]), Errno::EOPNOTSUPP),
                    (of([0, KIND, 0], [0x800, u64::MAX - 0x800]), Errno::ERANGE),
                    (of([0, KIND, 0], [at, 1 << 50]), Errno::ENOMEM),
                    (of([0, KIND, 0], [at, page]), Errno::ENOENT),
                ],
            )?;
            let va = b.mmap(p, None, 2)?;
            b.ok(p, &map(iommufd, ioas, va, APERTURE, 1))?;
            b.refuses(p, &of([0, KIND, 1], [at, page]), Errno::EIO)?;
            b.refuses(p, &of([0, KIND, 2], [at, page]), Errno::EINVAL)?;
            let first = made(b, p, &of([0, KIND, 0], [at, page]), 20)?;
            b.refuses(p, &of([0, KIND, 0], [at, page]), Errno::EEXIST)?;
            b.refuses(p, &unmap(iommufd, ioas, APERTURE, 1), Errno::EBUSY)?;
            let second = made(b, p, &of([0, KIND, 1], [at + page / 2, page / 2]), 20)?;
            b.refuses(p, &destroy(iommufd, first), Errno::EBUSY)?;
            b.refuses(p, &destroy(iommufd, id), Errno::EBUSY)?;
            b.ok(p, &destroy(iommufd, second))?;
            b.ok(p, &destroy(iommufd, first))?;
            b.ok(p, &unmap(iommufd, ioas, APERTURE, 1))?;
            b.ok(p, &destroy(iommufd, mock.stdev)).map(drop)
        },
    ),
    row(
        "hw-queue/memory",
        "The memory of a hardware queue is in one piece, in an address space of whole pages",
        MOCK,
        |b| {
            let Guest { p, iommufd, ioas, viommu: id, .. } = guest(b)?;
            let call = queue(iommufd, [0, KIND, 0], id, [APERTURE.0, 2 * PAGE_BYTES]);
            let va = b.mmap(p, None, 2)?;
            b.ok(p, &map(iommufd, ioas, va, APERTURE, 1))?;
            let second = Iova(APERTURE.0 + PAGE_BYTES);
            b.ok(p, &map(iommufd, ioas, va, second, 1))?;
            b.refuses(p, &call, Errno::EFAULT)?;
            let half = Call::Iommufd(IommufdCall::IoasMap {
                iommufd,
                ioas,
                user_va: Va(va.0 + PAGE_BYTES / 2),
                length_bytes: PAGE_BYTES / 2,
                iova: Iova(second.0 + PAGE_BYTES + PAGE_BYTES / 2),
                rights: Rights::ReadWrite,
            });
            b.ok(p, &half)?;
            b.refuses(p, &call, Errno::EADDRINUSE)
        },
    ),
    row(
        "fault/alloc",
        "A fault queue is in use by its file and by domains; page faults reach it",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let alloc = |flags: u32| {
                sized().u32(flags).u32(0).u32(0).on(iommufd, nr::IOMMU_FAULT_QUEUE_ALLOC)
            };
            b.refuses(p, &alloc(1), Errno::EOPNOTSUPP)?;
            let outcome = b.ioctl(p, &alloc(0))?;
            let (fault, fd) = (ObjectId(word(&outcome, 8)), Fd(word(&outcome, 12).cast_signed()));
            b.refuses(p, &destroy(iommufd, fault), Errno::EBUSY)?;
            let with_faults = |under| {
                let alloc = Alloc::over(mock.idev, under).flags(FAULT_ID_VALID);
                Alloc { fault, ..alloc }
            };
            let hwpt = with_faults(ioas).make(b, p, iommufd)?;
            b.ok(p, &Call::File(FileCall::Close { fd }))?;
            b.refuses(p, &destroy(iommufd, fault), Errno::EBUSY)?;
            b.ok(p, &replace(iommufd, mock.stdev, hwpt))?;
            let trigger = |device: ObjectId, pasid: u32| {
                on(test(15, 0).id(device).u32(pasid).u32(2).u32(3).u64(0xdead), iommufd)
            };
            b.ok(p, &trigger(mock.idev, 0))?;
            b.ok(p, &trigger(mock.idev, 5))?;
            b.refuses(p, &trigger(NONE, 0), Errno::ENOENT)?;
            b.ok(p, &replace(iommufd, mock.stdev, ioas))?;
            b.ok(p, &destroy(iommufd, hwpt))?;
            b.ok(p, &destroy(iommufd, fault)).map(drop)
        },
    ),
    row(
        "fault/vtd",
        "A device that makes no page requests takes no domain with a fault queue",
        EDU,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let (device, idev) = b.bind(p, Device::Edu, iommufd)?;
            let queue = sized().u32(0).u32(0).u32(0).on(iommufd, nr::IOMMU_FAULT_QUEUE_ALLOC);
            let fault = made(b, p, &queue, 8)?;
            let alloc = Alloc { fault, ..Alloc::over(idev, ioas).flags(FAULT_ID_VALID) };
            let page_table = alloc.make(b, p, iommufd)?;
            b.refuses(p, &Call::Device(DeviceCall::Attach { device, page_table }), Errno::ENODEV)
        },
    ),
];
