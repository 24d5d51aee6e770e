//! Dirty tracking: the pages of a domain that devices have written, reported as a bitmap.
//!
//! A domain created for it has one bit per IO page, and reports by entry of its page table: an
//! entry is dirty if any of its pages is. The size of an entry depends on the release and the kind
//! of domain. Mock devices write where a test requests it (`IOMMU_TEST_OP_DIRTY`). Because physical
//! addresses are not modelled, huge entries occur only in domains of the huge kind.
//!
//! Invariant: only mapped pages are dirty; unmapping clears them.
//!
//! Mirrors `iommufd_hwpt_set_dirty_tracking` and `iommufd_hwpt_get_dirty_bitmap` of
//! `drivers/iommu/iommufd/hw_pagetable.c`, `iommufd_check_iova_range` of `io_pagetable.c`, and
//! `iova_bitmap.c`.

use crate::hardware::Iommu;
use crate::iommufd::Object;
use crate::iommufd::hw_pagetable::Hwpt;
use crate::iommufd::ioctl_table::Ucmd;
use crate::machine::Machine;
use crate::profile::Profile;
use crate::syscall::{SyscallResult, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use iommufd_bindings as io;
use std::collections::BTreeSet;
use std::mem::offset_of;

/// The dirty state of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tracking {
    pub(super) on: bool,
    /// First addresses of dirty IO pages.
    dirty: BTreeSet<u64>,
}

/// `IOMMU_HWPT_DIRTY_TRACKING_ENABLE`, `IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR`.
const ENABLE: u32 = 1;
const NO_CLEAR: u32 = 1;

/// The smallest page of a mock domain, and the huge one.
const IO_PAGE_BYTES: u64 = 2048;
const HUGE_IO_PAGE_BYTES: u64 = 512 * IO_PAGE_BYTES;

const BITMAP: usize = offset_of!(io::iommu_hwpt_get_dirty_bitmap, data);

impl Tracking {
    /// Iterates over the dirty pages of a range.
    fn within(&self, range: &IovaRange) -> impl Iterator<Item = u64> {
        self.dirty.range(range.first.0..=range.last.0).copied()
    }

    /// Marks the IO pages of these addresses dirty.
    pub(super) fn mark(&mut self, iovas: &[u64]) {
        self.dirty.extend(iovas.iter().map(|iova| iova - iova % IO_PAGE_BYTES));
    }

    /// Clears the dirty pages of a range.
    fn clear(&mut self, range: &IovaRange) {
        let pages: Vec<u64> = self.within(range).collect();
        for page in pages {
            self.dirty.remove(&page);
        }
    }
}

/// Returns the addresses of an area that are mapped by the page table entry of an address.
fn entry(profile: Profile, iommu: &Iommu, area: &IovaRange, iova: u64) -> IovaRange {
    let aligned = |size: u64| {
        let first = iova - iova % size;
        IovaRange { first: Iova(first), last: Iova(first + (size - 1)) }
    };
    let huge = aligned(HUGE_IO_PAGE_BYTES);
    if *iommu == Iommu::MOCK_HUGE && area.contains(&huge) {
        return huge;
    }
    let whole = aligned(PAGE_BYTES);
    if profile.maps_whole_pages() && area.contains(&whole) { whole } else { aligned(IO_PAGE_BYTES) }
}

impl Machine {
    /// Returns the dirty state of a domain that was created for tracking.
    pub(super) fn tracked(&mut self, context: ContextId, id: ObjectId) -> Option<&mut Tracking> {
        match self.contexts.get_mut(context).objects.get_mut(&id)? {
            Object::Hwpt(hwpt) => hwpt.tracking.as_mut(),
            _ => None,
        }
    }

    /// Switches tracking (`iommufd_hwpt_set_dirty_tracking`). Switching it on clears the dirty
    /// state. Fails with `EOPNOTSUPP` (flags), `ENOENT`, `EOPNOTSUPP` for a domain that was not
    /// created for it.
    pub(super) fn set_dirty_tracking(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_hwpt_set_dirty_tracking, flags));
        if flags & !ENABLE != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let id = ucmd.cmd.id(offset_of!(io::iommu_hwpt_set_dirty_tracking, hwpt_id));
        self.contexts.get(ucmd.context).hwpt(id).ok_or(fail(Errno::ENOENT))?;
        let tracking = self.tracked(ucmd.context, id).ok_or(fail(Errno::EOPNOTSUPP))?;
        tracking.on = flags & ENABLE != 0;
        if tracking.on {
            tracking.dirty.clear();
        }
        Ok(())
    }

    /// Reports dirty pages (`iommufd_hwpt_get_dirty_bitmap`). Ends silently at a hole; parts of the
    /// bitmap that the caller has not mapped are skipped.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` (flags, reserved), `ENOENT`, `EINVAL` and `EOVERFLOW` (range), `EOPNOTSUPP` (no
    /// tracking).
    pub(super) fn get_dirty_bitmap(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_hwpt_get_dirty_bitmap, flags));
        let reserved = ucmd.cmd.u32(offset_of!(io::iommu_hwpt_get_dirty_bitmap, __reserved));
        if flags & !NO_CLEAR != 0 || reserved != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let context = ucmd.context;
        let id = ucmd.cmd.id(offset_of!(io::iommu_hwpt_get_dirty_bitmap, hwpt_id));
        let hwpt = self.contexts.get(context).hwpt(id).ok_or(fail(Errno::ENOENT))?;
        let range = self.check_bitmap(ucmd, hwpt)?;
        let tracking = hwpt.tracking.as_ref().ok_or(fail(Errno::EOPNOTSUPP))?;
        let (areas, _) = self.ioas(context, hwpt.ioas)?.contiguous(&range);
        let all = &self.ioas(context, hwpt.ioas)?.areas;
        let mut entries = BTreeSet::new();
        for area in areas {
            let whole = all.iter().find(|whole| whole.range.contains(&area.range));
            let whole = whole.expect("a slice is of an area").range;
            let pages = tracking.within(&area.range);
            entries.extend(pages.map(|page| entry(self.profile, &hwpt.iommu, &whole, page)));
        }
        let page_bytes = ucmd.cmd.u64(offset_of!(io::iommu_hwpt_get_dirty_bitmap, page_size));
        let shift = page_bytes.trailing_zeros();
        for entry in &entries {
            let Some(first) = entry.first.0.checked_sub(range.first.0) else { continue };
            let last = entry.last.0 - range.first.0;
            set_bits(ucmd, first >> shift, last >> shift);
        }
        if flags & NO_CLEAR == 0 {
            let tracking = self.tracked(context, id).expect("looked up before");
            for entry in &entries {
                tracking.clear(entry);
            }
        }
        Ok(())
    }

    /// Checks the range of a bitmap (`iommufd_check_iova_range`). Fails with `EINVAL` (empty, if
    /// the release refuses that), `EOVERFLOW`, `EINVAL` (not whole pages of the address space or of
    /// the bitmap, a bitmap page size of 0).
    fn check_bitmap(&self, ucmd: &Ucmd<'_>, hwpt: &Hwpt) -> SyscallResult<IovaRange> {
        let first = ucmd.cmd.u64(offset_of!(io::iommu_hwpt_get_dirty_bitmap, iova));
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_hwpt_get_dirty_bitmap, length));
        let page_bytes = ucmd.cmd.u64(offset_of!(io::iommu_hwpt_get_dirty_bitmap, page_size));
        if self.profile.refuses_empty_bitmap() && length_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let last = first.checked_add(length_bytes.wrapping_sub(1));
        let last = last.ok_or(fail(Errno::EOVERFLOW))?;
        let is_aligned = |bytes: u64| (first | last.wrapping_add(1)) & (bytes - 1) == 0;
        if !is_aligned(self.contexts.get(ucmd.context).alignment_bytes(hwpt.ioas)) {
            return Err(fail(Errno::EINVAL));
        }
        if page_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        if !is_aligned(page_bytes) {
            return Err(fail(Errno::EINVAL));
        }
        Ok(IovaRange { first: Iova(first), last: Iova(last) })
    }

    /// Clears the dirty state of unmapped addresses (`iopt_area_unfill_domains`).
    pub(super) fn forget_dirty(&mut self, context: ContextId, ioas: ObjectId, range: &IovaRange) {
        if self.contexts.get(context).domains(ioas).all(|hwpt| hwpt.tracking.is_none()) {
            return;
        }
        for object in self.contexts.get_mut(context).objects.values_mut() {
            if let Object::Hwpt(Hwpt { ioas: at, tracking: Some(tracking), .. }) = object
                && *at == ioas
            {
                tracking.clear(range);
            }
        }
    }
}

fn in_buffer(offset: u64) -> usize {
    usize::try_from(offset).expect("a bitmap in memory")
}

/// Sets bits as far as the caller's bitmap is mapped (`iova_bitmap_set`).
fn set_bits(ucmd: &mut Ucmd<'_>, first: u64, last: u64) {
    for bit in first..=last {
        let at = in_buffer(bit / 8);
        let Ok([byte]) = ucmd.user.read_through(BITMAP, at, 1) else { return };
        let byte = byte | 1 << (bit % 8);
        if ucmd.user.write_through(BITMAP, at, &[byte]).is_err() {
            return;
        }
    }
}
