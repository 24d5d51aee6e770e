//! HWPTs: HWPT_ALLOC, attach and replace, PASIDs, dirty tracking, GET_HW_INFO.

use super::mock::{Mock, on, test, word};
use crate::suite::bench::{Bench, Done, ROOT, map};
use crate::suite::structure::sized;
use crate::suite::{Row, row};
use crate::target::{Device, Need};
use handoff_model::abi::argument::Outcome;
use handoff_model::abi::call::{Call, DeviceCall, IommufdCall, Rights};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

const EDU: &[Need] = &[Need::Has(Device::Edu)];
const MOCK: &[Need] = &[Need::Mock];
const NONE: ObjectId = ObjectId(77);

/// Where mock domains begin.
pub(super) const APERTURE: Iova = Iova(1 << 24);

/// HWPT_ALLOC flags.
pub(super) const NEST_PARENT: u32 = 1;
const DIRTY_TRACKING: u32 = 2;
pub(super) const FAULT_ID_VALID: u32 = 4;
pub(super) const FOR_PASIDS: u32 = 8;

/// `IOMMU_HWPT_DATA_SELFTEST`.
pub(super) const SELFTEST: u32 = 0xdead;

/// `MOCK_FLAGS_DEVICE_*`.
const NO_DIRTY: u32 = 1;
const WITH_PASIDS: u32 = 4;

/// What HWPT_ALLOC is asked.
#[derive(Clone, Copy)]
pub(super) struct Alloc<'a> {
    pub(super) flags: u32,
    pub(super) device: ObjectId,
    pub(super) under: ObjectId,
    pub(super) data: (u32, &'a [u8]),
    pub(super) fault: ObjectId,
}

impl<'a> Alloc<'a> {
    pub(super) fn over(device: ObjectId, under: ObjectId) -> Self {
        Self { flags: 0, device, under, data: (0, &[]), fault: ObjectId(0) }
    }

    pub(super) fn flags(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    pub(super) fn data(self, kind: u32, data: &'a [u8]) -> Self {
        Self { data: (kind, data), ..self }
    }

    pub(super) fn call(self, iommufd: Fd) -> Call {
        let length = u32::try_from(self.data.1.len()).expect("a structure");
        let head = sized().u32(self.flags).id(self.device).id(self.under).u32(0).u32(0);
        let head = head.u32(self.data.0).u32(length).pointer(self.data.1);
        head.id(self.fault).u32(0).on(iommufd, nr::IOMMU_HWPT_ALLOC)
    }

    pub(super) fn make(self, b: &mut Bench<'_>, p: Pid, iommufd: Fd) -> Done<ObjectId> {
        let outcome = b.ioctl(p, &self.call(iommufd))?;
        Ok(ObjectId(word(&outcome, 16)))
    }
}

/// A process with a context, an address space, and a mock device on it.
pub(super) fn mocked(b: &mut Bench<'_>) -> Done<(Pid, Fd, ObjectId, Mock)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    let mock = Mock::on(b, p, iommufd, ioas)?;
    Ok((p, iommufd, ioas, mock))
}

fn with_flags(iommufd: Fd, page_table: ObjectId, flags: u32) -> Call {
    on(test(12, page_table.0).u32(0).u32(0).u32(0).u32(flags), iommufd)
}

fn flagged(b: &mut Bench<'_>, p: Pid, iommufd: Fd, pt: ObjectId, flags: u32) -> Done<Mock> {
    let outcome = b.ioctl(p, &with_flags(iommufd, pt, flags))?;
    let [stdev, hwpt, idev] = [16, 20, 24].map(|at| ObjectId(word(&outcome, at)));
    Ok(Mock { stdev, hwpt, idev })
}

pub(super) fn replace(iommufd: Fd, stdev: ObjectId, page_table: ObjectId) -> Call {
    on(test(10, stdev.0).id(page_table), iommufd)
}

pub(super) fn pasid(iommufd: Fd, op: u32, stdev: ObjectId, pasid: u32, pt: ObjectId) -> Call {
    on(test(op, stdev.0).u32(pasid).id(pt), iommufd)
}

fn set_tracking(iommufd: Fd, hwpt: ObjectId, flags: u32) -> Call {
    sized().u32(flags).id(hwpt).u32(0).on(iommufd, nr::IOMMU_HWPT_SET_DIRTY_TRACKING)
}

fn bitmap(iommufd: Fd, (hwpt, flags, reserved): (ObjectId, u32, u32), at: [u64; 3]) -> Call {
    let head = sized().id(hwpt).u32(flags).u32(reserved);
    let head = at.into_iter().fold(head, crate::suite::structure::Fields::u64);
    head.pointer(&[0; 8]).on(iommufd, nr::IOMMU_HWPT_GET_DIRTY_BITMAP)
}

fn mark(iommufd: Fd, hwpt: ObjectId, at: [u64; 3], marks: &[u8]) -> Call {
    let head = test(13, hwpt.0).u32(0).u32(0);
    let head = at.into_iter().fold(head, crate::suite::structure::Fields::u64);
    on(head.pointer(marks), iommufd)
}

fn hw_info(iommufd: Fd, flags: u32, device: ObjectId, room: &[u8], [kind, rest]: [u32; 2]) -> Call {
    let length = u32::try_from(room.len()).expect("a structure");
    let head = sized().u32(flags).id(device).u32(length).pointer(room);
    head.u32(kind).u32(rest).u64(0).on(iommufd, nr::IOMMU_GET_HW_INFO)
}

fn told(outcome: &Outcome) -> (u32, u32, u8, u32, Vec<u8>) {
    let data = outcome.pointees.first().map(|bytes| bytes.0.clone()).unwrap_or_default();
    (word(outcome, 12), word(outcome, 24), outcome.bytes[28], word(outcome, 32), data)
}

pub(super) const ROWS: &[Row] = &[
    row(
        "hwpt/alloc",
        "HWPT_ALLOC checks reserved, data, device, page table, flags, driver",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let alloc = Alloc::over(mock.idev, ioas);
            let reserved = sized().u32(0).id(mock.idev).id(ioas).u32(0).u32(1).padded(48);
            let reserved = reserved.on(iommufd, nr::IOMMU_HWPT_ALLOC);
            let data = [0u8; 8];
            b.all_refused(
                p,
                &[
                    (reserved, Errno::EOPNOTSUPP),
                    (alloc.data(0, &data).call(iommufd), Errno::EINVAL),
                    (alloc.data(SELFTEST, &[]).call(iommufd), Errno::EINVAL),
                    (Alloc::over(NONE, ioas).call(iommufd), Errno::ENOENT),
                    (Alloc::over(ioas, ioas).call(iommufd), Errno::ENOENT),
                    (Alloc::over(mock.idev, NONE).call(iommufd), Errno::EINVAL),
                    (Alloc::over(mock.idev, mock.idev).call(iommufd), Errno::EINVAL),
                    (alloc.flags(16).call(iommufd), Errno::EOPNOTSUPP),
                    (alloc.flags(NEST_PARENT | FAULT_ID_VALID).call(iommufd), Errno::EOPNOTSUPP),
                    (alloc.flags(FAULT_ID_VALID).call(iommufd), Errno::ENOENT),
                    (alloc.data(1, &data).call(iommufd), Errno::EOPNOTSUPP),
                    (alloc.data(SELFTEST, &data[..3]).call(iommufd), Errno::EINVAL),
                    (alloc.data(SELFTEST, &[0; 9]).call(iommufd), Errno::EINVAL),
                    (
                        alloc.data(SELFTEST, &[0, 0, 0, 0, 2, 0, 0, 0]).call(iommufd),
                        Errno::EOPNOTSUPP,
                    ),
                ],
            )?;
            for flags in [0, NEST_PARENT, DIRTY_TRACKING, FOR_PASIDS, 11] {
                let id = alloc.flags(flags).make(b, p, iommufd)?;
                b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id }))?;
            }
            let id = alloc.data(SELFTEST, &data).make(b, p, iommufd)?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id }))?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.hwpt }),
                Errno::EBUSY,
            )
        },
    ),
    row(
        "hwpt/alloc-vtd",
        "QEMU's IOMMU takes PASIDs, and refuses nesting, tracking and data",
        EDU,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let (device, idev) = b.bind(p, Device::Edu, iommufd)?;
            let alloc = Alloc::over(idev, ioas);
            b.all_refused(
                p,
                &[
                    (alloc.flags(NEST_PARENT).call(iommufd), Errno::EOPNOTSUPP),
                    (alloc.flags(DIRTY_TRACKING).call(iommufd), Errno::EOPNOTSUPP),
                    (alloc.data(1, &[0; 24]).call(iommufd), Errno::EOPNOTSUPP),
                ],
            )?;
            let hwpt = alloc.flags(FOR_PASIDS).make(b, p, iommufd)?;
            b.refuses(p, &Alloc::over(idev, hwpt).call(iommufd), Errno::EOPNOTSUPP)?;
            b.refuses(p, &Alloc::over(idev, hwpt).data(1, &[0; 24]).call(iommufd), Errno::EINVAL)?;
            b.refuses(p, &set_tracking(iommufd, hwpt, 1), Errno::EOPNOTSUPP)?;
            let attached = b.attach(p, device, hwpt)?;
            b.same("the HWPT", &attached, &hwpt)
        },
    ),
    row(
        "hwpt/own-number",
        "MOCK_DOMAIN does not find its own stdev, and finds that its device is no page table",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            b.refuses(p, &on(test(2, 1), iommufd), Errno::ENOENT)?;
            b.refuses(p, &on(test(2, 2), iommufd), Errno::EINVAL)?;
            let ioas = b.ioas(p, iommufd)?;
            b.same("the number after both", &ioas, &ObjectId(1))
        },
    ),
    row(
        "hwpt/top-of-memory",
        "Pages that end where addresses end overflow for their owner, and are missing for others",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let length_bytes = PAGE_BYTES / 2;
            let user_va = Va(u64::MAX - PAGE_BYTES + 1);
            let rights = Rights::Read;
            let iova = APERTURE;
            b.ok(
                p,
                &Call::Iommufd(IommufdCall::IoasMap {
                    iommufd,
                    ioas,
                    user_va,
                    length_bytes,
                    iova,
                    rights,
                }),
            )?;
            let child = b.fork(p);
            b.refuses(p, &on(test(2, ioas.0), iommufd), Errno::EOVERFLOW)?;
            b.refuses(child, &on(test(2, ioas.0), iommufd), Errno::EFAULT)
        },
    ),
    row(
        "hwpt/replace",
        "MOCK_DOMAIN_REPLACE moves a device; an auto HWPT goes, a manual one stays",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let manual = Alloc::over(mock.idev, ioas).make(b, p, iommufd)?;
            b.refuses(p, &replace(iommufd, mock.stdev, NONE), Errno::ENOENT)?;
            b.refuses(p, &replace(iommufd, mock.stdev, mock.idev), Errno::EINVAL)?;
            b.refuses(p, &replace(iommufd, mock.idev, manual), Errno::ENOENT)?;
            b.ok(p, &replace(iommufd, mock.stdev, manual))?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual }),
                Errno::EBUSY,
            )?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.hwpt }),
                Errno::ENOENT,
            )?;
            b.ok(p, &replace(iommufd, mock.stdev, manual))?;
            let outcome = b.ioctl(p, &replace(iommufd, mock.stdev, ioas))?;
            b.same("a new auto HWPT", &word(&outcome, 16), &mock.hwpt.0)?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual })).and_then(
                |_| b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: mock.stdev })),
            )?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas })).map(drop)
        },
    ),
    row(
        "hwpt/no-dirty",
        "A device without dirty tracking takes no domain that tracks",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let tracking = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING);
            let hwpt = tracking.make(b, p, iommufd)?;
            Mock::on(b, p, iommufd, hwpt)?;
            b.refuses(p, &with_flags(iommufd, hwpt, NO_DIRTY), Errno::EINVAL)?;
            b.refuses(p, &with_flags(iommufd, ioas, 2), Errno::EINVAL)?;
            let other = flagged(b, p, iommufd, ioas, NO_DIRTY)?;
            let tracking = Alloc::over(other.idev, ioas).flags(DIRTY_TRACKING);
            b.refuses(p, &tracking.call(iommufd), Errno::EOPNOTSUPP)
        },
    ),
    row(
        "hwpt/pasid",
        "PASIDs: EBUSY, EINVAL, ENOMEM of every second; both domains made for them",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let mock = flagged(b, p, iommufd, ioas, WITH_PASIDS)?;
            let [plain, one, two] = [0, FOR_PASIDS, FOR_PASIDS]
                .map(|flags| Alloc::over(mock.idev, ioas).flags(flags).make(b, p, iommufd));
            let (plain, one, two) = (plain?, one?, two?);
            let [attach, swap, detach, check] = [18, 19, 20, 21]
                .map(|op| move |number, pt| pasid(iommufd, op, mock.stdev, number, pt));
            b.refuses(p, &attach(100, one), Errno::EINVAL)?;
            b.ok(p, &replace(iommufd, mock.stdev, one))?;
            b.ok(p, &detach(100, ObjectId(0)))?;
            b.all_refused(
                p,
                &[
                    (pasid(iommufd, 18, NONE, 100, one), Errno::ENOENT),
                    (attach(100, NONE), Errno::ENOENT),
                    (attach(100, plain), Errno::EINVAL),
                    (attach(100, ioas), Errno::EINVAL),
                    (attach(1 << 20, one), Errno::EINVAL),
                    (attach(0, one), Errno::EBUSY),
                    (swap(100, one), Errno::EINVAL),
                    (check(100, one), Errno::EINVAL),
                    (check(100, NONE), Errno::ENOENT),
                    (check(100, ioas), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &attach(100, one))?;
            b.ok(p, &check(100, one))?;
            b.all_refused(
                p,
                &[
                    (attach(100, two), Errno::EBUSY),
                    (check(100, ObjectId(0)), Errno::EINVAL),
                    (replace(iommufd, mock.stdev, plain), Errno::EINVAL),
                    (Call::Iommufd(IommufdCall::Destroy { iommufd, id: one }), Errno::EBUSY),
                    (swap(100, ioas), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &swap(100, two))?;
            b.ok(p, &check(100, two))?;
            b.ok(p, &detach(100, ObjectId(0)))?;
            b.ok(p, &check(100, ObjectId(0)))?;
            b.ok(p, &attach(1024, one))?;
            b.refuses(p, &swap(1024, two), Errno::ENOMEM)?;
            b.ok(p, &check(1024, one))?;
            b.ok(p, &swap(1024, two))?;
            b.ok(p, &detach(1024, ObjectId(0))).map(drop)
        },
    ),
    row(
        "hwpt/dirty-checks",
        "SET_DIRTY_TRACKING and GET_DIRTY_BITMAP: flags, object, range, tracking",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            let good = [APERTURE.0, 0x8000, 0x800];
            let of = |hwpt, flags, reserved, at| bitmap(iommufd, (hwpt, flags, reserved), at);
            b.all_refused(
                p,
                &[
                    (set_tracking(iommufd, hwpt, 2), Errno::EOPNOTSUPP),
                    (set_tracking(iommufd, NONE, 1), Errno::ENOENT),
                    (set_tracking(iommufd, mock.hwpt, 1), Errno::EOPNOTSUPP),
                    (of(hwpt, 2, 0, good), Errno::EOPNOTSUPP),
                    (of(hwpt, 0, 1, good), Errno::EOPNOTSUPP),
                    (of(NONE, 0, 0, good), Errno::ENOENT),
                    (of(hwpt, 0, 0, [u64::MAX - 1, 4, 1]), Errno::EOVERFLOW),
                    (of(hwpt, 0, 0, [APERTURE.0 + 1, 0x800, 0x800]), Errno::EINVAL),
                    (of(hwpt, 0, 0, [APERTURE.0, 0x800, 0]), Errno::EINVAL),
                    (of(hwpt, 0, 0, [APERTURE.0, 0x800, 0x1000]), Errno::EINVAL),
                    (of(mock.hwpt, 0, 0, good), Errno::EOPNOTSUPP),
                ],
            )?;
            b.ok(p, &of(hwpt, 0, 0, good)).map(drop)
        },
    ),
    row(
        "hwpt/dirty-empty",
        "7.3 refuses a bitmap of no length",
        &[Need::Mock, Need::Release("7.3")],
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            let call = bitmap(iommufd, (hwpt, 0, 0), [APERTURE.0, 0, 0x800]);
            b.refuses(p, &call, Errno::EINVAL)
        },
    ),
    row(
        "hwpt/dirty-mark",
        "The test operation DIRTY checks its range, the domain, and that it tracks",
        MOCK,
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            let good = [APERTURE.0, 0x4000, 0x800];
            b.all_refused(
                p,
                &[
                    (mark(iommufd, hwpt, [APERTURE.0, 0x4000, 0], &[1]), Errno::EINVAL),
                    (mark(iommufd, hwpt, [APERTURE.0, 0x4000, 0x3000], &[1]), Errno::EINVAL),
                    (mark(iommufd, hwpt, [APERTURE.0, 1 << 40, 0x800], &[1]), Errno::EOVERFLOW),
                    (mark(iommufd, NONE, good, &[1]), Errno::ENOENT),
                    (mark(iommufd, hwpt, good, &[1]), Errno::EINVAL),
                ],
            )
        },
    ),
    row(
        "hwpt/dirty-bitmap",
        "7.3 tells what was written by whole pages, once, and not what was unmapped",
        &[Need::Mock, Need::Release("7.3")],
        |b| {
            let (p, iommufd, ioas, mock) = mocked(b)?;
            let va = b.mmap(p, None, 8)?;
            b.ok(p, &map(iommufd, ioas, va, APERTURE, 8))?;
            let hwpt = Alloc::over(mock.idev, ioas).flags(DIRTY_TRACKING).make(b, p, iommufd)?;
            b.ok(p, &set_tracking(iommufd, hwpt, 1))?;
            let at = [APERTURE.0, 0x8000, 0x800];
            let read = |b: &mut Bench<'_>, flags| {
                let outcome = b.ioctl(p, &bitmap(iommufd, (hwpt, flags, 0), at))?;
                Ok::<u8, crate::suite::Mismatch>(outcome.pointees[0].0[0])
            };
            let outcome = b.ioctl(p, &mark(iommufd, hwpt, at, &[0x11, 0]))?;
            b.same("bits set", &word(&outcome, 56), &2)?;
            let seen = [read(b, 1)?, read(b, 0)?, read(b, 0)?];
            b.same("bitmaps: kept, cleared, clean", &seen, &[0x33, 0x33, 0])?;
            b.ok(p, &mark(iommufd, hwpt, at, &[0x01, 0]))?;
            b.ok(p, &set_tracking(iommufd, hwpt, 0))?;
            b.ok(p, &set_tracking(iommufd, hwpt, 1))?;
            let seen = read(b, 0)?;
            b.same("after switching on", &seen, &0)
        },
    ),
    row(
        "hwpt/hw-info",
        "GET_HW_INFO: flags, reserved, device, type; data cut and filled",
        MOCK,
        |b| {
            let (p, iommufd, _, mock) = mocked(b)?;
            let of = |flags, device, room: &[u8], kind| hw_info(iommufd, flags, device, room, kind);
            b.all_refused(
                p,
                &[
                    (of(2, mock.idev, &[], [0, 0]), Errno::EOPNOTSUPP),
                    (of(0, mock.idev, &[], [0, 1 << 8]), Errno::EOPNOTSUPP),
                    (of(0, NONE, &[], [0, 0]), Errno::ENOENT),
                    (of(1, mock.idev, &[], [1, 0]), Errno::EOPNOTSUPP),
                ],
            )?;
            let register = [0, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde];
            for room in [0, 4, 8, 12] {
                let outcome = b.ioctl(p, &of(0, mock.idev, &vec![9; room], [1, 0]))?;
                let mut data = [register.as_slice(), &[0; 4]].concat();
                data.truncate(room);
                b.same("told", &told(&outcome), &(8, 0xfeed_beef, 0, 9, data))?;
            }
            let short = sized().u32(0).id(mock.idev).u32(12).pointer(&[0; 10]).padded(40);
            b.refuses(p, &short.on(iommufd, nr::IOMMU_GET_HW_INFO), Errno::EFAULT)?;
            b.ok(p, &of(1, mock.idev, &[], [0xfeed_beef, 0])).map(drop)
        },
    ),
    row(
        "hwpt/hw-info-kinds",
        "GET_HW_INFO tells of PASIDs and of the want of dirty tracking",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let mock = flagged(b, p, iommufd, ioas, WITH_PASIDS | NO_DIRTY)?;
            let outcome = b.ioctl(p, &hw_info(iommufd, 0, mock.idev, &[], [0, 0]))?;
            b.same("told", &told(&outcome), &(8, 0xfeed_beef, 20, 8, Vec::new()))
        },
    ),
    row(
        "hwpt/group",
        "Devices of a group share a domain; a replacement moves all of them",
        &[Need::Has(Device::Edu), Need::Has(Device::Sibling)],
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let (ioas, other) = (b.ioas(p, iommufd)?, b.ioas(p, iommufd)?);
            let (edu, idev) = b.bind(p, Device::Edu, iommufd)?;
            let (sibling, _) = b.bind(p, Device::Sibling, iommufd)?;
            let hwpt = b.attach(p, edu, ioas)?;
            let manual = Alloc::over(idev, ioas).make(b, p, iommufd)?;
            for page_table in [manual, other] {
                b.refuses(
                    p,
                    &Call::Device(DeviceCall::Attach { device: sibling, page_table }),
                    Errno::EINVAL,
                )?;
            }
            let joined = b.attach(p, sibling, ioas)?;
            b.same("the domain that is joined", &joined, &hwpt)?;
            b.attach(p, edu, manual)?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }),
                Errno::ENOENT,
            )?;
            b.ok(p, &Call::Device(DeviceCall::Detach { device: edu }))?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual }),
                Errno::EBUSY,
            )?;
            b.ok(p, &Call::Device(DeviceCall::Detach { device: sibling }))?;
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual })).map(drop)
        },
    ),
    row(
        "hwpt/noiommu",
        "Physical addresses are for a capability, and for devices without an IOMMU",
        &[Need::Release("7.3")],
        |b| {
            let ask = |iommufd, ioas: ObjectId, flags, [iova, length]: [u64; 2]| {
                let head = sized().u32(flags).id(ioas).u32(0).u64(iova).u64(length).u64(0);
                head.on(iommufd, nr::IOMMU_NOIOMMU_GET_PA)
            };
            let (ordinary, p) = (b.process(), b.spawn(ROOT));
            let other = b.iommufd(ordinary)?;
            b.refuses(ordinary, &ask(other, NONE, 1, [0, 0]), Errno::EPERM)?;
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let va = b.mmap(p, None, 1)?;
            b.ok(p, &map(iommufd, ioas, va, APERTURE, 1))?;
            b.all_refused(
                p,
                &[
                    (ask(iommufd, ioas, 1, [APERTURE.0, 1]), Errno::EOPNOTSUPP),
                    (ask(iommufd, ioas, 0, [APERTURE.0, 0]), Errno::EINVAL),
                    (ask(iommufd, ioas, 0, [u64::MAX, 1]), Errno::EOVERFLOW),
                    (ask(iommufd, NONE, 0, [APERTURE.0, 1]), Errno::ENOENT),
                    (ask(iommufd, ioas, 0, [0, 1]), Errno::ENOENT),
                    (ask(iommufd, ioas, 0, [APERTURE.0, 1]), Errno::EOPNOTSUPP),
                ],
            )
        },
    ),
];
