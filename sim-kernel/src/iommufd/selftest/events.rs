//! Actions of mock devices that a test triggers: writes to memory, page faults, events in a viommu.
//!
//! Mirrors `iommufd_test_dirty`, `iommufd_test_trigger_iopf` and `iommufd_test_trigger_vevent` of
//! `drivers/iommu/iommufd/selftest.c`.

use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::selftest::{ID, UNION};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange};

/// Maximum number of bits in the bitmap of pages to mark.
const BITS_MAX: u64 = (16 << 20) * 8;

impl Machine {
    /// Marks pages dirty and returns the number of bits set (`iommufd_test_dirty`).
    ///
    /// # Errors
    ///
    /// `EINVAL` (empty, not whole pages, no bitmap), `EOVERFLOW` (too many), `ENOENT`, `EINVAL` (a
    /// domain of another driver; tracking is off), `EFAULT`.
    pub(super) fn mark_dirty(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const MARKS: usize = UNION + 32;
        const COUNT: usize = UNION + 40;
        let [first, length_bytes, page_bytes] = [8, 16, 24].map(|at| ucmd.cmd.u64(UNION + at));
        let has_marks = ucmd.cmd.u64(MARKS) != 0 || !ucmd.user.pointee(MARKS).is_empty();
        let is_whole = page_bytes != 0
            && length_bytes != 0
            && first.is_multiple_of(page_bytes)
            && length_bytes.is_multiple_of(page_bytes);
        if !is_whole || !has_marks {
            return Err(fail(Errno::EINVAL));
        }
        let bits = length_bytes / page_bytes;
        if bits > BITS_MAX {
            return Err(fail(Errno::EOVERFLOW));
        }
        let ioas = self.mock_hwpt(ucmd)?.ioas;
        let (context, id) = (ucmd.context, ucmd.cmd.id(ID));
        if !self.tracked(context, id).is_some_and(|tracking| tracking.on) {
            return Err(fail(Errno::EINVAL));
        }
        let length = usize::try_from(bits.div_ceil(8)).expect("a bitmap");
        let marks = ucmd.user.read_through(MARKS, 0, length)?.to_vec();
        let marked = (0..bits).filter(|bit| marks[in_buffer(bit / 8)] >> (bit % 8) & 1 == 1);
        let marked: Vec<u64> = marked.map(|bit| first.wrapping_add(bit * page_bytes)).collect();
        let ioas = self.ioas(context, ioas)?;
        let is_mapped = |iova: u64| {
            let here = IovaRange { first: Iova(iova), last: Iova(iova) };
            !ioas.met(&here).is_empty()
        };
        let mapped: Vec<u64> = marked.iter().copied().filter(|iova| is_mapped(*iova)).collect();
        self.tracked(context, id).expect("looked up before").mark(&mapped);
        ucmd.cmd.set_u64(COUNT, marked.len() as u64);
        ucmd.respond()
    }

    /// Raises a page fault (`iommufd_test_trigger_iopf`). Fails with `ENOENT`, `EINVAL` (not a mock
    /// device). A fault without a handler is answered at once.
    pub(super) fn trigger_iopf(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let device = ucmd.cmd.id(UNION);
        let what = [4, 8, 12].map(|at| ucmd.cmd.u32(UNION + at));
        let address = ucmd.cmd.u64(UNION + 16);
        self.hardware_of(ucmd.context, device)?;
        self.mock_mut(ucmd.context, device).ok_or(fail(Errno::EINVAL))?;
        self.contexts.get_mut(ucmd.context).report_fault(device, what, address);
        Ok(())
    }

    /// Raises an event in a viommu (`iommufd_test_trigger_vevent`). Fails with `ENOENT` (device;
    /// not attached through a viommu), `EOPNOTSUPP` (no queue).
    pub(super) fn trigger_vevent(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let device = ucmd.cmd.id(UNION);
        self.hardware_of(ucmd.context, device)?;
        let viommu = self.mock_mut(ucmd.context, device).and_then(|mock| mock.viommu);
        let viommu = viommu.filter(|(_, virt_id)| *virt_id != 0);
        let (viommu, virt_id) = viommu.ok_or(fail(Errno::ENOENT))?;
        self.report_vevent(ucmd, viommu, virt_id)
    }
}

fn in_buffer(offset: u64) -> usize {
    usize::try_from(offset).expect("a bitmap in memory")
}
