//! HWPT_ALLOC: its checks in order, and the pages that a domain pins.

use super::{
    APERTURE, Alloc, DIRTY_TRACKING, FAULT_ID_VALID, FOR_PASIDS, MOCK, NEST_PARENT, NONE, SELFTEST,
    mocked, set_tracking,
};
use crate::suite::rows::mock::{on, test};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, IommufdCall, Rights};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{ObjectId, PAGE_BYTES, Va};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];

pub(crate) const ROWS: &[Fact] = &[
    row(
        "hwpt/alloc",
        "HWPT_ALLOC checks reserved fields, data, device, page table, flags and driver",
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
        "QEMU's VT-d supports PASIDs, and refuses nesting, dirty tracking and data",
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
        "MOCK_DOMAIN refuses its own stdev with ENOENT and its own device with EINVAL",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            b.refuses(p, &on(test(2, 1), iommufd), Errno::ENOENT)?;
            b.refuses(p, &on(test(2, 2), iommufd), Errno::EINVAL)?;
            let ioas = b.ioas(p, iommufd)?;
            b.same("the next id", &ioas, &ObjectId(1))
        },
    ),
    row(
        "hwpt/top-of-memory",
        "pages at the top of the address space overflow for their owner, and fault for others",
        MOCK,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let ioas = b.ioas(p, iommufd)?;
            let length_bytes = PAGE_BYTES / 2;
            let user_va = Va(u64::MAX - PAGE_BYTES + 1);
            let rights = Rights::Read;
            let iova = APERTURE;
            b.ok(p, &IommufdCall::map(iommufd, ioas, user_va, iova, length_bytes, rights))?;
            let child = b.fork(p);
            b.refuses(p, &on(test(2, ioas.0), iommufd), Errno::EOVERFLOW)?;
            b.refuses(child, &on(test(2, ioas.0), iommufd), Errno::EFAULT)
        },
    ),
];
