//! The IOMMU behind a device: GET_HW_INFO, groups, physical addresses.

use super::{APERTURE, Alloc, MOCK, NO_DIRTY, NONE, WITH_PASIDS, flagged, mocked};
use crate::suite::fixture::{ROOT, map};
use crate::suite::rows::mock::word;
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::{Call, DeviceCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId};
use handoff_model::abi::request as nr;

fn hw_info(iommufd: Fd, flags: u32, device: ObjectId, room: &[u8], [kind, rest]: [u32; 2]) -> Call {
    let length = u32::try_from(room.len()).expect("a structure");
    let head = sized().u32(flags).id(device).u32(length).pointer(room);
    head.u32(kind).u32(rest).u64(0).on(iommufd, nr::IOMMU_GET_HW_INFO)
}

fn hardware_info(outcome: &IoctlOutcome) -> (u32, u32, u8, u32, Vec<u8>) {
    let data = outcome.pointees.first().map(|bytes| bytes.0.clone()).unwrap_or_default();
    (word(outcome, 12), word(outcome, 24), outcome.bytes[28], word(outcome, 32), data)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "hwpt/hw-info",
        "GET_HW_INFO checks flags, reserved fields, device and type, and cuts or pads data",
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
                b.same("hardware", &hardware_info(&outcome), &(8, 0xfeed_beef, 0, 9, data))?;
            }
            let short = sized().u32(0).id(mock.idev).u32(12).pointer(&[0; 10]).padded(40);
            b.refuses(p, &short.on(iommufd, nr::IOMMU_GET_HW_INFO), Errno::EFAULT)?;
            b.ok(p, &of(1, mock.idev, &[], [0xfeed_beef, 0])).map(drop)
        },
    ),
    row("hwpt/hw-info-kinds", "GET_HW_INFO reports PASIDs and missing dirty tracking", MOCK, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let mock = flagged(b, p, iommufd, ioas, WITH_PASIDS | NO_DIRTY)?;
        let outcome = b.ioctl(p, &hw_info(iommufd, 0, mock.idev, &[], [0, 0]))?;
        b.same("hardware", &hardware_info(&outcome), &(8, 0xfeed_beef, 20, 8, Vec::new()))
    }),
    row(
        "hwpt/group",
        "devices of a group share a domain; a replacement moves all of them",
        &[Capability::Has(Device::Edu), Capability::Has(Device::Sibling)],
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
        "NOIOMMU_GET_PA needs a capability, and a device without an IOMMU",
        &[Capability::Release("7.3")],
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
