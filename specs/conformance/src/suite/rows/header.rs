//! Common checks of all iommufd commands: file, request number, size, memory.

use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Fact, row};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

/// Every command, with the size of its structure and of its first version in bytes.
const SIZES: &[(u32, u32, u32)] = &[
    (nr::IOMMU_DESTROY, 8, 8),
    (nr::IOMMU_IOAS_ALLOC, 12, 12),
    (nr::IOMMU_IOAS_ALLOW_IOVAS, 24, 24),
    (nr::IOMMU_IOAS_COPY, 40, 40),
    (nr::IOMMU_IOAS_IOVA_RANGES, 32, 32),
    (nr::IOMMU_IOAS_MAP, 40, 40),
    (nr::IOMMU_IOAS_UNMAP, 24, 24),
    (nr::IOMMU_OPTION, 24, 24),
    (nr::IOMMU_HWPT_ALLOC, 48, 24),
    (nr::IOMMU_GET_HW_INFO, 40, 32),
    (nr::IOMMU_HWPT_GET_DIRTY_BITMAP, 48, 48),
    (nr::IOMMU_IOAS_MAP_FILE, 40, 40),
    (nr::IOMMU_VFIO_IOAS, 12, 12),
    (nr::IOMMU_HWPT_SET_DIRTY_TRACKING, 16, 16),
    (nr::IOMMU_HWPT_INVALIDATE, 32, 32),
    (nr::IOMMU_FAULT_QUEUE_ALLOC, 16, 16),
    (nr::IOMMU_VIOMMU_ALLOC, 40, 24),
    (nr::IOMMU_VDEVICE_ALLOC, 24, 24),
    (nr::IOMMU_IOAS_CHANGE_PROCESS, 8, 8),
    (nr::IOMMU_VEVENTQ_ALLOC, 32, 28),
    (nr::IOMMU_HW_QUEUE_ALLOC, 40, 40),
];

/// Returns a structure of `length` zero bytes with another size in its header.
fn zeroes(length: u32, size: u32) -> Fields {
    sized().bytes(&vec![0; length as usize - 4]).with_size(size)
}

fn context(b: &mut Fixture<'_>) -> FactResult<(Pid, Fd)> {
    let p = b.process();
    Ok((p, b.iommufd(p)?))
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "header/number",
        "a request outside the command table fails with ENOTTY for any argument",
        &[],
        |b| {
            let (p, iommufd) = context(b)?;
            for request in [0x3b7f, 0x3bc0, 0x3b00, 0] {
                b.refuses(p, &value(iommufd, request, 0), Errno::ENOTTY)?;
            }
            Ok(())
        },
    ),
    row(
        "header/memory-first",
        "in the command table, the size is read before the number is checked",
        &[],
        |b| {
            let (p, iommufd) = context(b)?;
            for request in [0x3b9f, nr::IOMMU_DESTROY, nr::IOMMU_DESTROY | 0xc000_0000] {
                b.refuses(p, &value(iommufd, request, 0), Errno::EFAULT)?;
            }
            b.refuses(p, &Fields::default().u16(8).plain(iommufd, nr::IOMMU_DESTROY), Errno::EFAULT)
        },
    ),
    row(
        "header/exact",
        "an unassigned number, or one of another type, fails with ENOTTY",
        &[],
        |b| {
            let (p, iommufd) = context(b)?;
            for request in [0x3b9f, 0x3a80, nr::IOMMU_DESTROY | 0xc008_0000] {
                b.refuses(p, &zeroes(8, 8).plain(iommufd, request), Errno::ENOTTY)?;
            }
            Ok(())
        },
    ),
    row("header/short", "a size below the first version's fails with EINVAL", &[], |b| {
        let (p, iommufd) = context(b)?;
        for (request, size, min) in SIZES {
            for short in [0, min - 1] {
                let call = zeroes(*size, short).plain(iommufd, *request);
                b.refuses(p, &call, Errno::EINVAL)?;
            }
        }
        Ok(())
    }),
    row("header/long", "non-zero bytes beyond the structure fail with E2BIG", &[], |b| {
        let (p, iommufd) = context(b)?;
        for (request, size, _) in SIZES {
            let call = zeroes(*size, 0).bytes(&[0, 1]).on(iommufd, *request);
            b.refuses(p, &call, Errno::E2BIG)?;
        }
        let longer = zeroes(12, 0).bytes(&[0; 20]).on(iommufd, nr::IOMMU_IOAS_ALLOC);
        b.ioctl(p, &longer).map(drop)
    }),
    row("header/cut", "a structure that ends before its size fails with EFAULT", &[], |b| {
        let (p, iommufd) = context(b)?;
        for size in [12, 20] {
            let call = zeroes(8, size).plain(iommufd, nr::IOMMU_IOAS_ALLOC);
            b.refuses(p, &call, Errno::EFAULT)?;
        }
        let behind = zeroes(12, 20).plain(iommufd, nr::IOMMU_IOAS_ALLOC);
        b.refuses(p, &behind, Errno::EFAULT)
    }),
    row("header/untold", "an object whose id cannot be reported is not created", &[], |b| {
        let (p, iommufd) = context(b)?;
        let alloc = zeroes(12, 0).read_only().on(iommufd, nr::IOMMU_IOAS_ALLOC);
        b.refuses(p, &alloc, Errno::EFAULT)?;
        let first = b.ioas(p, iommufd)?;
        b.same("the first object", &first, &ObjectId(1))
    }),
    row(
        "header/kinds",
        "an ioctl fails with ENOTTY on another kind of file, with EBADF on none",
        &[],
        |b| {
            let (p, iommufd) = context(b)?;
            let (event, memfd) = (b.fd(p, &Call::File(FileCall::Eventfd))?, b.memfd(p, 1)?);
            let socket = b.arm().socketpair(p, p).0;
            let pidfd = b.arm().pidfd(p, p);
            for fd in [event, memfd, socket, pidfd] {
                b.refuses(
                    p,
                    &Call::Iommufd(IommufdCall::IoasAlloc { iommufd: fd }),
                    Errno::ENOTTY,
                )?;
                b.refuses(p, &Call::Device(DeviceCall::Detach { device: fd }), Errno::ENOTTY)?;
            }
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::IoasAlloc { iommufd: Fd(999) }),
                Errno::EBADF,
            )?;
            b.refuses(p, &Call::Device(DeviceCall::Detach { device: iommufd }), Errno::ENOTTY)
        },
    ),
    row("header/ids", "objects of all kinds get the lowest free id", &[], |b| {
        let (p, iommufd) = context(b)?;
        for expected in 1..=3 {
            let id = b.ioas(p, iommufd)?;
            b.same("the next object", &id, &ObjectId(expected))?;
        }
        for freed in [2, 1] {
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(freed) }))?;
            let id = b.ioas(p, iommufd)?;
            b.same("the free id", &id, &ObjectId(freed))?;
        }
        let other = b.iommufd(p)?;
        let id = b.ioas(p, other)?;
        b.same("the first of another context", &id, &ObjectId(1))
    }),
];
