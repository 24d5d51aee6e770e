//! Dirty tracking of a type1 IOMMU: `VFIO_IOMMU_DIRTY_PAGES`, and the bitmap that UNMAP returns.
//!
//! The hardware does not track writes, so every query reports all pinned pages as dirty. Without a
//! real device no page is dirty, except that pages which a departed real group may have written are
//! reported once.
//!
//! A bitmap has one bit per page, from the first address of the query. If a mapping does not begin
//! at a word boundary of the bitmap, the kernel shifts the mapping's own bitmap in place and merges
//! the shared word from the caller's bitmap into it. The shifted bits stay there: later queries can
//! report bits beyond the mapping's end, up to the end of a word.
//!
//! Mirrors `update_user_bitmap`, `vfio_iova_dirty_bitmap`, `verify_bitmap_size` and
//! `vfio_iommu_type1_dirty_pages` of `drivers/vfio/vfio_iommu_type1.c`.

use crate::machine::Machine;
use crate::syscall::{Fields, Request, SyscallResult, User, fail};
use crate::value::ContainerId;
use crate::vfio::type1::{Dma, Type1};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, PAGE_BYTES};
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{
    self, vfio_bitmap, vfio_iommu_type1_dirty_bitmap, vfio_iommu_type1_dirty_bitmap_get,
};

const WORD_BITS: u64 = u64::BITS as u64;
const WORD_BYTES: u64 = size_of::<u64>() as u64;

/// `DIRTY_BITMAP_PAGES_MAX` and `DIRTY_BITMAP_SIZE_MAX`.
const PAGES_MAX: u64 = i32::MAX as u64;
pub(super) const BITMAP_BYTES_MAX: u64 = PAGES_MAX.next_multiple_of(WORD_BITS) / 8;

/// The first address above the user addresses of x86-64 (`TASK_SIZE_MAX`).
const USER_END: u64 = (1 << 47) - PAGE_BYTES;

const START: u32 = vfio::VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
const STOP: u32 = vfio::VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
const GET: u32 = vfio::VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;

/// Returns the size of a bitmap in bytes (`DIRTY_BITMAP_BYTES`).
fn bitmap_bytes(pages: u64) -> u64 {
    pages.div_ceil(WORD_BITS) * WORD_BYTES
}

fn words(bits: u64) -> usize {
    usize::try_from(bits.div_ceil(WORD_BITS)).expect("a bitmap fits into memory")
}

/// Allocates an empty bitmap with a spare word (`vfio_dma_bitmap_alloc`). Fails with `EINVAL` for
/// too many pages.
pub(super) fn blank(size_bytes: u64) -> SyscallResult<Vec<u64>> {
    let pages = size_bytes / PAGE_BYTES;
    if pages > PAGES_MAX {
        return Err(fail(Errno::EINVAL));
    }
    Ok(vec![0; words(pages) + 1])
}

/// Sets or clears the first `bits` bits.
fn fill(bitmap: &mut [u64], bits: u64, set: bool) {
    for (word, at) in bitmap.iter_mut().zip((0..bits).step_by(64)) {
        let mask = if bits - at < WORD_BITS { (1 << (bits - at)) - 1 } else { u64::MAX };
        *word = if set { *word | mask } else { *word & !mask };
    }
}

/// Shifts a bitmap left by less than a word (`bitmap_shift_left`).
fn shift_left(bitmap: &mut [u64], shift: u32) {
    for at in (0..bitmap.len()).rev() {
        let below = if at > 0 { bitmap[at - 1].unbounded_shr(u64::BITS - shift) } else { 0 };
        bitmap[at] = bitmap[at] << shift | below;
    }
}

/// The caller's bitmap (`struct vfio_bitmap`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitmap {
    pub(super) page_bytes: u64,
    size_bytes: u64,
    /// Offset of the pointer to the bitmap in the caller's structure.
    at: usize,
}

impl Bitmap {
    pub(super) const BYTES: usize = size_of::<vfio_bitmap>();

    /// Reads a bitmap that follows a structure of `at` bytes, for a range of `range_bytes`. Fails
    /// with `EFAULT` or `EINVAL`.
    pub(super) fn read(user: &User, at: usize, range_bytes: u64) -> SyscallResult<Self> {
        let fields = user.copy(at + Self::BYTES)?;
        Self::of(user, &fields, at)?.checked_for(range_bytes)
    }

    /// Reads a bitmap from a structure that was copied in. Fails with `EINVAL` if its memory is not
    /// in user space.
    fn of(user: &User, fields: &Fields, offset: usize) -> SyscallResult<Self> {
        let at = offset + offset_of!(vfio_bitmap, data);
        let size_bytes = fields.u64(offset + offset_of!(vfio_bitmap, size));
        let end = fields.u64(at).checked_add(size_bytes);
        if user.pointee(at).is_empty() && end.is_none_or(|end| end > USER_END) {
            return Err(fail(Errno::EINVAL));
        }
        let page_bytes = fields.u64(offset + offset_of!(vfio_bitmap, pgsize));
        Ok(Self { page_bytes, size_bytes, at })
    }

    /// Validates the size (`verify_bitmap_size`). Fails with `EINVAL` for no pages, and if the
    /// bitmap is too small or too large.
    fn checked_for(self, range_bytes: u64) -> SyscallResult<Self> {
        let pages = range_bytes.wrapping_shr(self.page_bytes.trailing_zeros());
        let size_bytes = self.size_bytes;
        if pages == 0 || size_bytes > BITMAP_BYTES_MAX || size_bytes < bitmap_bytes(pages) {
            return Err(fail(Errno::EINVAL));
        }
        Ok(self)
    }
}

impl Type1 {
    /// Marks all pages that a real group may have written before it left.
    pub(super) fn mark_all_dirty(&mut self) {
        if self.is_tracking {
            self.dmas.values_mut().for_each(|dma| dma.mark(true));
        }
    }
}

impl Dma {
    fn mark(&mut self, set: bool) {
        let pages = self.pages();
        fill(&mut self.bitmap, pages, set);
    }
}

impl Machine {
    /// Writes the dirty pages of a mapping to the caller's bitmap, which begins at address `base`
    /// (`update_user_bitmap`). Fails with `EFAULT`.
    pub(super) fn report_dirty(
        &mut self,
        id: ContainerId,
        iova: u64,
        base: Iova,
        bitmap: &Bitmap,
        user: &mut User,
    ) -> SyscallResult<()> {
        let dma = self.dma_at_mut(id, iova);
        if !dma.pins.is_empty() {
            dma.mark(true);
        }
        let first = (iova - base.0) / PAGE_BYTES;
        let offset = usize::try_from(first / WORD_BITS * WORD_BYTES).expect("within the bitmap");
        let shift = u32::try_from(first % WORD_BITS).expect("less than a word");
        let count = words(dma.pages() + u64::from(shift));
        let told = &mut dma.bitmap[..count];
        if shift > 0 {
            shift_left(told, shift);
            let shared = user.read_through(bitmap.at, offset, size_of::<u64>())?;
            told[0] |= u64::from_ne_bytes(shared.try_into().expect("a word"));
        }
        let bytes: Vec<u8> = told.iter().flat_map(|word| word.to_ne_bytes()).collect();
        user.write_through(bitmap.at, offset, &bytes)
    }

    /// Handles `VFIO_IOMMU_DIRTY_PAGES`.
    ///
    /// # Errors
    /// `EACCES` for version 1; `EFAULT`; `EINVAL` (size, not exactly one flag).
    pub(super) fn dirty_pages(
        &mut self,
        id: ContainerId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        const SIZE: usize = size_of::<vfio_iommu_type1_dirty_bitmap>();
        if !self.type1(id).expect("looked up before").is_v2 {
            return Err(fail(Errno::EACCES));
        }
        let dirty = request.user.copy(SIZE)?;
        let argsz = dirty.u32(0) as usize;
        if argsz < SIZE {
            return Err(fail(Errno::EINVAL));
        }
        match dirty.u32(offset_of!(vfio_iommu_type1_dirty_bitmap, flags)) {
            START => self.start_tracking(id),
            STOP => {
                let iommu = self.type1_mut(id);
                iommu.is_tracking = false;
                iommu.dmas.values_mut().for_each(|dma| dma.bitmap.clear());
                Ok(())
            }
            GET => self.get_dirty(id, argsz, request.user),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    /// Starts tracking for all mappings or none (`vfio_dma_bitmap_alloc_all`). Has no effect if
    /// already started.
    fn start_tracking(&mut self, id: ContainerId) -> SyscallResult<()> {
        let iommu = self.type1(id).expect("looked up before");
        if iommu.is_tracking {
            return Ok(());
        }
        let sizes = iommu.dmas.values().map(|dma| dma.size_bytes);
        let blanks = sizes.map(blank).collect::<SyscallResult<Vec<_>>>()?;
        let iommu = self.type1_mut(id);
        iommu.is_tracking = true;
        for (dma, blank) in iommu.dmas.values_mut().zip(blanks) {
            dma.bitmap = blank;
        }
        Ok(())
    }

    /// Reports and clears the dirty pages of a range, which must not split a mapping.
    fn get_dirty(&mut self, id: ContainerId, argsz: usize, user: &mut User) -> SyscallResult<()> {
        const HEAD: usize = size_of::<vfio_iommu_type1_dirty_bitmap>();
        const SIZE: usize = HEAD + size_of::<vfio_iommu_type1_dirty_bitmap_get>();
        const IOVA: usize = HEAD + offset_of!(vfio_iommu_type1_dirty_bitmap_get, iova);
        const LENGTH: usize = HEAD + offset_of!(vfio_iommu_type1_dirty_bitmap_get, size);
        const BITMAP: usize = HEAD + offset_of!(vfio_iommu_type1_dirty_bitmap_get, bitmap);
        if argsz < SIZE {
            return Err(fail(Errno::EINVAL));
        }
        let get = user.copy(SIZE)?;
        let (iova, size_bytes) = (get.u64(IOVA), get.u64(LENGTH));
        if size_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let range = IovaRange::of(Iova(iova), size_bytes).ok_or(fail(Errno::EOVERFLOW))?;
        let bitmap = Bitmap::of(user, &get, BITMAP)?.checked_for(size_bytes)?;
        if bitmap.page_bytes != PAGE_BYTES {
            return Err(fail(Errno::EINVAL));
        }
        if !(iova | size_bytes).is_multiple_of(PAGE_BYTES) {
            return Err(fail(Errno::EINVAL));
        }
        let iommu = self.type1(id).expect("looked up before");
        if !iommu.is_tracking || iommu.cuts(&range) {
            return Err(fail(Errno::EINVAL));
        }
        for dma in iommu.within(&range) {
            self.report_dirty(id, dma, range.first, &bitmap, user)?;
            self.dma_at_mut(id, dma).mark(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{fill, shift_left};

    #[test]
    fn bits_are_set_cleared_and_shifted_across_words() {
        let mut bitmap = [0u64; 3];
        fill(&mut bitmap, 66, true);
        assert_eq!(bitmap, [u64::MAX, 3, 0]);
        shift_left(&mut bitmap, 63);
        assert_eq!(bitmap, [1 << 63, u64::MAX, 1]);
        fill(&mut bitmap, 66, false);
        assert_eq!(bitmap, [0, u64::MAX - 3, 1]);
    }
}
