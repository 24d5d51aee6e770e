//! PASIDs of mock devices: attached, replaced, detached and looked at as a test says.
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
    /// The device of a stdev, and the PASID. ENOENT.
    fn mock_seat(&self, ucmd: &Ucmd<'_>) -> SyscallResult<AttachSlot> {
        let Some(Object::Stdev { idev }) =
            self.contexts.get(ucmd.context).objects.get(&ucmd.cmd.id(ID))
        else {
            return Err(fail(Errno::ENOENT));
        };
        Ok(AttachSlot { context: ucmd.context, device: *idev, pasid: ucmd.cmd.u32(UNION) })
    }

    /// `iommufd_test_pasid_attach`: ENOENT, then as attaching; EFAULT, and then it is detached.
    pub(super) fn pasid_attach(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        let hwpt = self.attach_page_table(seat, ucmd.cmd.id(PAGE_TABLE), Change::Attach)?;
        let told = ucmd.respond_with(PAGE_TABLE, hwpt);
        if told.is_err() {
            self.detach_seat(seat);
        }
        self.reclaim();
        told
    }

    /// `iommufd_test_pasid_replace`: ENOENT, then as replacing; EFAULT, and then it is replaced.
    pub(super) fn pasid_replace(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        let hwpt = self.attach_page_table(seat, ucmd.cmd.id(PAGE_TABLE), Change::Replace)?;
        self.reclaim();
        ucmd.respond_with(PAGE_TABLE, hwpt)
    }

    /// `iommufd_test_pasid_detach`: ENOENT; succeeds also when nothing is attached.
    pub(super) fn pasid_detach(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let seat = self.mock_seat(ucmd)?;
        self.detach_seat(seat);
        self.reclaim();
        Ok(())
    }

    /// `iommufd_test_pasid_check_hwpt`: ENOENT (stdev), EINVAL (something is attached where nothing
    /// should be), ENOENT, EINVAL (no domain), EINVAL (another is attached).
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
