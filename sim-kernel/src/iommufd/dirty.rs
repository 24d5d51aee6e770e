//! Dirty tracking: which pages of a domain devices have written to, told as a bitmap.
//!
//! A domain that was made for it has a bit an IO page, and reports by entry of its page table: an
//! entry is dirty when any page of it is. How much an entry maps is a matter of the release and of
//! the kind of domain. Mock devices write where a test says so (`IOMMU_TEST_OP_DIRTY`). Without
//! physical addresses, entries that huge pages would make possible are seen only in domains that
//! map nothing else.
//!
//! Invariant: only mapped pages are dirty; what is unmapped is forgotten.
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

/// What a domain knows of writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tracking {
    pub(super) on: bool,
    /// First addresses of IO pages.
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
    /// What of a range is dirty.
    fn within(&self, range: &IovaRange) -> impl Iterator<Item = u64> {
        self.dirty.range(range.first.0..=range.last.0).copied()
    }

    /// Marks the IO pages of these addresses dirty.
    pub(super) fn mark(&mut self, iovas: &[u64]) {
        self.dirty.extend(iovas.iter().map(|iova| iova - iova % IO_PAGE_BYTES));
    }

    /// Forgets what is in a range.
    fn clear(&mut self, range: &IovaRange) {
        let pages: Vec<u64> = self.within(range).collect();
        for page in pages {
            self.dirty.remove(&page);
        }
    }
}

/// What an entry of a domain's page table maps of an area around an address.
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
    /// The tracking of a domain that was made for it.
    pub(super) fn tracked(&mut self, context: ContextId, id: ObjectId) -> Option<&mut Tracking> {
        match self.contexts.get_mut(context).objects.get_mut(&id)? {
            Object::Hwpt(hwpt) => hwpt.tracking.as_mut(),
            _ => None,
        }
    }

    /// `iommufd_hwpt_set_dirty_tracking`: EOPNOTSUPP (flags), ENOENT, EOPNOTSUPP for a domain that
    /// was not made for it. Switching on begins with nothing dirty.
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

    /// `iommufd_hwpt_get_dirty_bitmap`: EOPNOTSUPP (flags, reserved), ENOENT, EINVAL and EOVERFLOW
    /// (range), EOPNOTSUPP (nothing is tracked). Ends silently at a hole; what of the bitmap is not
    /// there is passed over.
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

    /// `iommufd_check_iova_range`: EINVAL (empty, where that is refused), EOVERFLOW, EINVAL (not
    /// whole pages of the address space or of the bitmap, a bitmap without a page size).
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

    /// `iopt_area_unfill_domains`: what is unmapped is not dirty.
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

/// `iova_bitmap_set`: as far as the bitmap is there.
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
