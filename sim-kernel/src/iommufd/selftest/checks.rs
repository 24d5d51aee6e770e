//! Checks of pins, domains and caches on behalf of a test: each fails if it finds another value.
//!
//! Mirrors `iommufd_test_md_check_*` and `iommufd_test_dev_check_cache` of
//! `drivers/iommu/iommufd/selftest.c`.

use crate::hardware::IommuDriver;
use crate::iommufd::hw_pagetable::Hwpt;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::pins::Pin;
use crate::iommufd::selftest::{ID, UNION};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};

impl Machine {
    /// Checks how often each page of the caller's memory is pinned (`iommufd_test_md_check_refs`).
    /// Fails with `EINVAL` (alignment, overflow), `EFAULT`, `EIO` if the number differs.
    pub(super) fn check_refs(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let [length_bytes, va] = [0, 8].map(|at| ucmd.cmd.u64(UNION + at));
        let expected = ucmd.cmd.u32(UNION + 16) as usize;
        let is_aligned = [length_bytes, va].iter().all(|v| v.is_multiple_of(PAGE_BYTES));
        if !is_aligned || va.checked_add(length_bytes).is_none() {
            return Err(fail(Errno::EINVAL));
        }
        for at in 0..length_bytes / PAGE_BYTES {
            let page = self.present(ucmd.pid, va + at * PAGE_BYTES)?;
            if self.times_pinned(&page) != expected {
                return Err(fail(Errno::EIO));
            }
        }
        Ok(())
    }

    /// Returns a domain of the mock driver. Fails with `ENOENT`, `EINVAL` for a domain of another
    /// driver.
    pub(super) fn mock_hwpt(&self, ucmd: &Ucmd<'_>) -> SyscallResult<&Hwpt> {
        let hwpt = self.contexts.get(ucmd.context).hwpt(ucmd.cmd.id(ID));
        let hwpt = hwpt.ok_or(fail(Errno::ENOENT))?;
        let is_mock = hwpt.iommu.driver == IommuDriver::Mock;
        if is_mock { Ok(hwpt) } else { Err(fail(Errno::EINVAL)) }
    }

    /// Checks that a domain maps the caller's memory (`iommufd_test_md_check_pa`). Fails with
    /// `EINVAL` (alignment, overflow), then for each page of the domain with `EFAULT` if the caller
    /// has no memory there, `EINVAL` if the domain maps another page.
    pub(super) fn check_map(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let [iova, length_bytes, va] = [0, 8, 16].map(|at| ucmd.cmd.u64(UNION + at));
        let hwpt = self.mock_hwpt(ucmd)?;
        let page_bytes = hwpt.iommu.io_page_bytes;
        let is_aligned = [iova, length_bytes, va].iter().all(|v| v.is_multiple_of(page_bytes));
        if !is_aligned || va.checked_add(length_bytes).is_none() {
            return Err(fail(Errno::EINVAL));
        }
        let step = usize::try_from(page_bytes).expect("a page size");
        for at in (0..length_bytes).step_by(step) {
            let va = va + at;
            let mut pin = self.present(ucmd.pid, va)?;
            pin.index = va % PAGE_BYTES;
            if self.translate(ucmd.context, hwpt.ioas, Iova(iova.wrapping_add(at))) != Some(pin) {
                return Err(fail(Errno::EINVAL));
            }
        }
        Ok(())
    }

    /// Translates an address through a domain over an address space: returns the page, and in
    /// `index` the offset within it.
    fn translate(&self, context: ContextId, ioas: ObjectId, iova: Iova) -> Option<Pin> {
        let here = IovaRange { first: iova, last: iova };
        let ioas = self.contexts.get(context).ioas(ioas)?;
        let area = ioas.areas.iter().find(|area| area.range.overlaps(&here))?;
        let byte = area.start_bytes + (iova.0 - area.range.first.0);
        let index = byte / PAGE_BYTES;
        let pins = &self.set(context, area.set).pins;
        let pin = pins.iter().find_map(|pin| pin.clipped(&(index..index + 1)))?;
        Some(Pin { index: byte % PAGE_BYTES, ..pin })
    }

    /// Checks a number in a nested domain's cache (`iommufd_test_md_check_iotlb`). Fails with
    /// `ENOENT`, `EINVAL` if it differs.
    pub(super) fn check_iotlb(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let [index, expected] = [0, 4].map(|at| ucmd.cmd.u32(UNION + at));
        let id = ucmd.cmd.id(ID);
        let nested = self.nested_mut(ucmd, id).ok_or(fail(Errno::ENOENT))?;
        if nested.iotlb.get(index as usize) == Some(&expected) {
            return Ok(());
        }
        Err(fail(Errno::EINVAL))
    }

    /// Checks a number in a device's cache (`iommufd_test_dev_check_cache`). Fails with `ENOENT`,
    /// `EINVAL` if it differs.
    pub(super) fn check_device_cache(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let [index, expected] = [0, 4].map(|at| ucmd.cmd.u32(UNION + at));
        let id = ucmd.cmd.id(ID);
        self.hardware_of(ucmd.context, id)?;
        let found = self.mock_mut(ucmd.context, id).map(|mock| mock.cache);
        if found.is_some_and(|cache| cache.get(index as usize) == Some(&expected)) {
            return Ok(());
        }
        Err(fail(Errno::EINVAL))
    }
}
