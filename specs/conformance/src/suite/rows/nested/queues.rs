//! Queues: virtual events, hardware queues, page faults.

use super::{CACHE, EDU, Guest, KIND, MOCK, NONE, destroy, guest, made, vdevice};
use crate::suite::fixture::{map, unmap};
use crate::suite::rows::hwpt::{APERTURE, Alloc, FAULT_ID_VALID, SELFTEST, mocked, replace};
use crate::suite::rows::mock::{on, test, word};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Rights};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Va};
use handoff_model::abi::request as nr;

/// The only event type of the mock driver.
const EVENTS: u32 = 0xbeef_beef;

fn veventq(iommufd: Fd, flags: u32, viommu: ObjectId, [kind, depth]: [u32; 2]) -> Call {
    let head = sized().u32(flags).id(viommu).u32(kind).u32(depth);
    head.u32(0).u32(0).u32(0).on(iommufd, nr::IOMMU_VEVENTQ_ALLOC)
}

fn queue(iommufd: Fd, [flags, kind, index]: [u32; 3], viommu: ObjectId, at: [u64; 2]) -> Call {
    let head = sized().u32(flags).id(viommu).u32(kind).u32(index).u32(0);
    head.u64(at[0]).u64(at[1]).on(iommufd, nr::IOMMU_HW_QUEUE_ALLOC)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "veventq/alloc",
        "VEVENTQ_ALLOC checks flags, type, depth, viommu and uniqueness; its file holds the queue",
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
        "HW_QUEUE_ALLOC makes its checks in order, and locks its memory",
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
        "the memory of a hardware queue must be contiguous, in an IOAS of whole pages",
        MOCK,
        |b| {
            let Guest { p, iommufd, ioas, viommu: id, .. } = guest(b)?;
            let call = queue(iommufd, [0, KIND, 0], id, [APERTURE.0, 2 * PAGE_BYTES]);
            let va = b.mmap(p, None, 2)?;
            b.ok(p, &map(iommufd, ioas, va, APERTURE, 1))?;
            let second = Iova(APERTURE.0 + PAGE_BYTES);
            b.ok(p, &map(iommufd, ioas, va, second, 1))?;
            b.refuses(p, &call, Errno::EFAULT)?;
            let half = IommufdCall::map(
                iommufd,
                ioas,
                Va(va.0 + PAGE_BYTES / 2),
                Iova(second.0 + PAGE_BYTES + PAGE_BYTES / 2),
                PAGE_BYTES / 2,
                Rights::ReadWrite,
            );
            b.ok(p, &half)?;
            b.refuses(p, &call, Errno::EADDRINUSE)
        },
    ),
    row(
        "fault/alloc",
        "a fault queue is in use by its file and by domains, and receives page faults",
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
        "a device without page requests refuses a domain with a fault queue",
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
