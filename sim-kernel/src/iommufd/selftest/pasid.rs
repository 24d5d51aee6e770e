//! PASIDs of mock devices, which a test attaches, replaces, detaches and checks.
//!
//! Mirrors `iommufd_test_pasid_*` of `drivers/iommu/iommufd/selftest.c`.

use crate::iommufd::Object;
use crate::iommufd::attach::{AttachSlot, Change};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::selftest::{ID, UNION};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;

const PAGE_TABLE: usize = UNION + 4;

impl Machine {
    /// Returns the slot that a command names: the device of a stdev, and a PASID. Fails with
    /// `ENOENT`.
    fn mock_seat(&self, ucmd: &Ucmd<'_>) -> SyscallResult<AttachSlot> {
        let Some(Object::Stdev { idev }) =
            self.contexts.get(ucmd.context).objects.get(&ucmd.cmd.id(ID))
        else {
            return Err(fail(Errno::ENOENT));
        };
        Ok(AttachSlot { context: ucmd.context, device: *idev, pasid: ucmd.cmd.u32(UNION) })
    }

    /// Attaches a PASID (`iommufd_test_pasid_attach`). Fails with `ENOENT`, the errnos of
    /// attaching, and with `EFAULT` after it was detached again.
    pub(super) fn pasid_attach(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        let hwpt = self.attach_page_table(seat, ucmd.cmd.id(PAGE_TABLE), Change::Attach)?;
        let responded = ucmd.respond_with(PAGE_TABLE, hwpt);
        if responded.is_err() {
            self.detach_seat(seat);
        }
        self.reclaim();
        responded
    }

    /// Replaces the attachment of a PASID (`iommufd_test_pasid_replace`). Fails with `ENOENT`, the
    /// errnos of replacing, and with `EFAULT` after it was replaced.
    pub(super) fn pasid_replace(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        let hwpt = self.attach_page_table(seat, ucmd.cmd.id(PAGE_TABLE), Change::Replace)?;
        self.reclaim();
        ucmd.respond_with(PAGE_TABLE, hwpt)
    }

    /// Detaches a PASID (`iommufd_test_pasid_detach`). Fails with `ENOENT`; succeeds also if it is
    /// not attached.
    pub(super) fn pasid_detach(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        self.detach_seat(seat);
        self.reclaim();
        Ok(())
    }

    /// Checks the HWPT of a PASID (`iommufd_test_pasid_check_hwpt`). Fails with `ENOENT` (stdev),
    /// `EINVAL` (attached although none is expected), `ENOENT`, `EINVAL` (no domain), `EINVAL`
    /// (another is attached).
    pub(super) fn pasid_check_hwpt(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        let table = self.contexts.get(ucmd.context);
        let attached = table.attached_to(seat.device, seat.pasid);
        let expected = ucmd.cmd.id(PAGE_TABLE);
        if expected.0 == 0 {
            return if attached.is_none() { Ok(()) } else { Err(fail(Errno::EINVAL)) };
        }
        match table.objects.get(&expected).ok_or(fail(Errno::ENOENT))? {
            Object::Hwpt(_) | Object::Nested(_) => {}
            _ => return Err(fail(Errno::EINVAL)),
        }
        if attached == Some(expected) { Ok(()) } else { Err(fail(Errno::EINVAL)) }
    }
}
