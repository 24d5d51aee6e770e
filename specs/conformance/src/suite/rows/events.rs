//! Reads from the queues of iommufd: page faults and their responses, and events of viommus.

use super::hwpt::{Alloc, FAULT_ID_VALID, NEST_PARENT, SELFTEST, mocked, replace};
use super::mock::{on, test, word};
use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::Capability;
use handoff_model::abi::call::{Call, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

const MOCK: &[Capability] = &[Capability::Mock];

/// The only viommu type of the mock driver, and its only event type.
const KIND: u32 = 0xdead_beef;
const EVENTS: u32 = 0xbeef_beef;

fn read(fd: Fd, length_bytes: u64) -> Call {
    Call::File(FileCall::Read { fd, length_bytes })
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn reads(b: &mut Fixture<'_>, p: Pid, fd: Fd, room: u64, expected: &[u32]) -> FactResult {
    let reply = b.ok(p, &read(fd, room))?;
    b.same("what was read", &reply, &Reply::Bytes(words(expected)))
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "events/faults",
        "page faults are read as complete records, and answered by cookie",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let queue = sized().u32(0).u32(0).u32(0).on(iommufd, nr::IOMMU_FAULT_QUEUE_ALLOC);
            let outcome = b.ioctl(p, &queue)?;
            let (fault, fd) = (ObjectId(word(&outcome, 8)), Fd(word(&outcome, 12).cast_signed()));
            let alloc = Alloc::over(mock.idev, ioas).flags(FAULT_ID_VALID);
            let hwpt = Alloc { fault, ..alloc }.make(b, p, iommufd)?;
            b.ok(p, &replace(iommufd, mock.stdev, hwpt))?;
            let trigger = on(test(15, 0).id(mock.idev).u32(0).u32(2).u32(3).u64(0xdead), iommufd);
            reads(b, p, fd, 40, &[])?;
            for _ in 0..3 {
                b.ok(p, &trigger)?;
            }
            let answer =
                |cookie, code| Call::File(FileCall::Write { fd, bytes: words(&[cookie, code]) });
            b.all_refused(
                p,
                &[
                    (read(fd, 39), Errno::ESPIPE),
                    (read(fd, 0), Errno::EINVAL),
                    (Call::File(FileCall::Write { fd, bytes: vec![0; 7] }), Errno::ESPIPE),
                    (answer(1, 0), Errno::EINVAL),
                ],
            )?;
            let message = |cookie| [2, mock.idev.0, 0, 2, 3, 0, 0xdead, 0, 0, cookie];
            reads(b, p, fd, 40, &message(1))?;
            reads(b, p, fd, 80, &[message(2), message(3)].concat())?;
            b.refuses(p, &answer(1, 2), Errno::EINVAL)?;
            let both = Call::File(FileCall::Write { fd, bytes: words(&[1, 0, 9, 0]) });
            let taken = b.ok(p, &both)?;
            b.same("answers taken", &taken, &Reply::Length(8))?;
            b.refuses(p, &answer(1, 0), Errno::EINVAL)?;
            b.ok(p, &replace(iommufd, mock.stdev, ioas))?;
            b.refuses(p, &answer(2, 0), Errno::EINVAL)
        },
    ),
    row(
        "events/viommu",
        "events are complete and numbered; lost events leave one marker",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
            let viommu = sized().u32(0).u32(KIND).id(mock.idev).id(parent).padded(40);
            let outcome = b.ioctl(p, &viommu.on(iommufd, nr::IOMMU_VIOMMU_ALLOC))?;
            let viommu = ObjectId(word(&outcome, 20));
            let vdevice = sized().id(viommu).id(mock.idev).u32(0).u64(0x99);
            b.ok(p, &vdevice.on(iommufd, nr::IOMMU_VDEVICE_ALLOC))?;
            let nested =
                Alloc::over(mock.idev, viommu).data(SELFTEST, &[0; 8]).make(b, p, iommufd)?;
            b.ok(p, &replace(iommufd, mock.stdev, nested))?;
            let queue = sized().u32(0).id(viommu).u32(EVENTS).u32(2).padded(32);
            let outcome = b.ioctl(p, &queue.on(iommufd, nr::IOMMU_VEVENTQ_ALLOC))?;
            let fd = Fd(word(&outcome, 24).cast_signed());
            let trigger = on(test(17, 0).id(mock.idev), iommufd);
            b.refuses(p, &read(fd, 7), Errno::EINVAL)?;
            reads(b, p, fd, 64, &[])?;
            b.ok(p, &trigger)?;
            b.refuses(p, &read(fd, 8), Errno::EINVAL)?;
            b.refuses(p, &Call::File(FileCall::Write { fd, bytes: vec![0; 8] }), Errno::EINVAL)?;
            b.refuses(p, &read(iommufd, 8), Errno::EINVAL)?;
            reads(b, p, fd, 23, &[0, 0, 0x99])?;
            for _ in 0..4 {
                b.ok(p, &trigger)?;
            }
            reads(b, p, fd, 12, &[0, 1, 0x99])?;
            reads(b, p, fd, 64, &[0, 2, 0x99, 1, 4])?;
            reads(b, p, fd, 64, &[])
        },
    ),
];
