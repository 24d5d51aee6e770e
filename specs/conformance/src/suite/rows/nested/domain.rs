//! Nested domains: HWPT_ALLOC over a nesting parent, the probe for one, HWPT_INVALIDATE.

use super::{CACHE, EDU, KIND, MOCK, NONE, destroy, fail, invalidate};
use crate::suite::fixture::map_file;
use crate::suite::rows::hwpt::{
    APERTURE, Alloc, FAULT_ID_VALID, FOR_PASIDS, NEST_PARENT, SELFTEST, mocked, replace,
};
use crate::suite::rows::mock::{Mock, on, test};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::{Call, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;
use handoff_model::abi::request as nr;

pub(crate) const ROWS: &[Fact] = &[
    row(
        "nested/alloc",
        "a nested domain needs data, a nesting parent, and supported flags",
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
        "HWPT_ALLOC with data of no driver distinguishes nesting parents, and creates no object",
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
            b.same("the next id", &next, &ObjectId(plain.0 + 1))
        },
    ),
    row("nested/vtd", "QEMU's VT-d has no nesting parents, as the probe shows", EDU, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let (_, device) = b.bind(p, Device::Edu, iommufd)?;
        let parent = IommufdCall::hwpt_alloc_nest_parent(iommufd, device, ioas);
        b.refuses(p, &parent, Errno::EOPNOTSUPP)?;
        let hwpt = b.id(p, &IommufdCall::hwpt_alloc(iommufd, device, ioas))?;
        b.refuses(
            p,
            &Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt }),
            Errno::EINVAL,
        )
    }),
    row(
        "nested/crosses",
        "a nesting parent, its devices and its nested domains survive CHANGE_PROCESS",
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
            b.ok(new, &IommufdCall::change_process(iommufd))?;
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
    row(
        "nested/invalidate",
        "HWPT_INVALIDATE processes entries in order and reports their number",
        MOCK,
        |b| {
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
        },
    ),
];
