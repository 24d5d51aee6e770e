//! `IOMMU_TEST_CMD`: mock devices and their domains, and the requests of the kernel's selftests.
//!
//! A mock device is created and attached in one call (`MOCK_DOMAIN`), which returns three objects:
//! the one that keeps the device bound (*stdev*), the domain, and the device. It has an IOMMU of
//! its own kind, [`Iommu::MOCK`](crate::Iommu::MOCK), and is destroyed with the stdev.
//!
//! The operations are a table; the structure is a union whose fields start at offset [`UNION`].
//!
//! Mirrors `drivers/iommu/iommufd/selftest.c` and `iommufd_test.h`.

mod access;
mod checks;
mod dma_buf;
mod events;
mod pasid;

use crate::iommufd::Object;
use crate::iommufd::attach::{AttachSlot, Change};
use crate::iommufd::device::{Hardware, MockDevice, NO_DIRTY, PASID};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::iova::range;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, ObjectId};

/// Offsets in `struct iommu_test_cmd`.
const OP: usize = 4;
pub(super) const ID: usize = 8;
const UNION: usize = 16;

/// The function that handles an operation.
type Run = fn(&mut Machine, &mut Ucmd<'_>) -> SyscallResult<()>;

/// `IOMMU_TEST_OP_*` with their functions.
const OPS: &[(u32, Run)] = &[
    (1, Machine::add_reserved),
    (2, Machine::mock_domain),
    (3, Machine::check_map),
    (4, Machine::check_refs),
    (5, Machine::create_access),
    (6, Machine::destroy_access_pages),
    (7, Machine::access_pages),
    (8, Machine::access_rw),
    (9, Machine::set_memory_limit),
    (10, Machine::mock_domain_replace),
    (11, Machine::replace_access),
    (12, Machine::mock_domain_flags),
    (13, Machine::mark_dirty),
    (14, Machine::check_iotlb),
    (15, Machine::trigger_iopf),
    (16, Machine::check_device_cache),
    (17, Machine::trigger_vevent),
    (18, Machine::pasid_attach),
    (19, Machine::pasid_replace),
    (20, Machine::pasid_detach),
    (21, Machine::pasid_check_hwpt),
    (22, Machine::dma_buf_get),
    (23, Machine::dma_buf_revoke),
];

impl Machine {
    /// Handles `iommufd_test`. Fails with `EOPNOTSUPP` for an operation that is not known.
    pub(super) fn test_command(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let op = ucmd.cmd.u32(OP);
        let known = OPS.iter().find(|(number, _)| *number == op);
        let (_, run) = known.ok_or(fail(Errno::EOPNOTSUPP))?;
        run(self, ucmd)
    }

    fn mock_domain(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        self.make_mock_device(ucmd, 0)
    }

    fn mock_domain_flags(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let flags = ucmd.cmd.u32(UNION + 12);
        self.make_mock_device(ucmd, flags)
    }

    /// Creates and attaches a mock device (`iommufd_test_mock_domain`). Objects are numbered in the
    /// order stdev, device, then those that attaching creates. Fails with `EINVAL` (flags),
    /// `ENOENT` (the page table is the new stdev), then as attaching.
    fn make_mock_device(&mut self, ucmd: &mut Ucmd<'_>, flags: u32) -> SyscallResult<()> {
        if flags & !(NO_DIRTY | PASID) != 0 {
            return Err(fail(Errno::EINVAL));
        }
        for _ in ["stdev", "device", "its object"] {
            self.allocate()?;
        }
        let (context, page_table) = (ucmd.context, ucmd.cmd.id(ID));
        self.atomically(|machine| {
            let table = machine.contexts.get_mut(context);
            let hardware = Hardware::Mock(MockDevice::new(flags));
            let stdev = table.insert(Object::Stdev { idev: ObjectId(0) });
            let idev = table.insert(Object::Device { hardware, hwpt: None });
            table.objects.insert(stdev, Object::Stdev { idev });
            // The stdev's number is reserved, but cannot be looked up yet.
            if page_table == stdev {
                return Err(fail(Errno::ENOENT));
            }
            let (hwpt, _) = machine.attach_device(context, idev, page_table)?;
            for (at, id) in [stdev, hwpt, idev].into_iter().enumerate() {
                ucmd.cmd.set_u32(UNION + 4 * at, id.0);
            }
            ucmd.respond()
        })
    }

    /// Replaces the attachment (`iommufd_test_mock_domain_replace`). Fails with `ENOENT`, the
    /// errnos of attaching, and with `EFAULT` after it was replaced.
    fn mock_domain_replace(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let objects = &self.contexts.get(ucmd.context).objects;
        let Some(Object::Stdev { idev }) = objects.get(&ucmd.cmd.id(ID)) else {
            return Err(fail(Errno::ENOENT));
        };
        let seat = AttachSlot::device(ucmd.context, *idev);
        let hwpt = self.attach_page_table(seat, ucmd.cmd.id(UNION), Change::Replace)?;
        self.reclaim();
        ucmd.respond_with(UNION, hwpt)
    }

    /// Reserves a range until the IOAS is destroyed (`iommufd_test_add_reserved`). Fails with
    /// `EINVAL`, `EOVERFLOW`, `ENOENT`, `EADDRINUSE`.
    fn add_reserved(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let [first, length_bytes] = [0, 8].map(|at| ucmd.cmd.u64(UNION + at));
        let range = range(Iova(first), length_bytes)?;
        let (context, id) = (ucmd.context, ucmd.cmd.id(ID));
        self.ioas(context, id)?;
        self.contexts.get(context).check_reservable(id, &range)?;
        self.allocate()?;
        let reserved = &mut self.ioas_mut(context, id).reserved;
        reserved.push(range);
        reserved.sort_unstable();
        Ok(())
    }

    /// Sets the limit of temporary memory (`IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT`), which has no
    /// visible effect. Fails with `EINVAL` below the size of one element.
    #[allow(clippy::unused_self, reason = "a row of the table")]
    fn set_memory_limit(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const ELEMENT_BYTES: u32 = 12;
        let limit_bytes = ucmd.cmd.u32(UNION);
        if limit_bytes < ELEMENT_BYTES { Err(fail(Errno::EINVAL)) } else { Ok(()) }
    }
}
