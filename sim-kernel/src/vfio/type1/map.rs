//! `VFIO_IOMMU_MAP_DMA` and `VFIO_IOMMU_UNMAP_DMA`: mappings, and updates of their addresses.
//!
//! MAP creates one mapping or none. UNMAP of version 2 removes only whole mappings. Version 1
//! removes each mapping whose first address is in the range; if the range begins within a mapping,
//! it succeeds and removes none. A range without mappings is not an error. UNMAP reports the number
//! of unmapped bytes only on success.
//!
//! Mirrors `vfio_dma_do_map`, `vfio_change_dma_owner` and `vfio_dma_do_unmap` of
//! `drivers/vfio/vfio_iommu_type1.c`.

use crate::machine::Machine;
use crate::syscall::{Fields, Request, SyscallResult, fail};
use crate::value::ContainerId;
use crate::vfio::type1::Dma;
use crate::vfio::type1::dirty::{Bitmap, blank};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, PAGE_BYTES, Pid};
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{self, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap};

const READ_WRITE: u32 = vfio::VFIO_DMA_MAP_FLAG_READ | vfio::VFIO_DMA_MAP_FLAG_WRITE;
const MAP_VADDR: u32 = vfio::VFIO_DMA_MAP_FLAG_VADDR;
const GET_DIRTY: u32 = vfio::VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
const ALL: u32 = vfio::VFIO_DMA_UNMAP_FLAG_ALL;
const UNMAP_VADDR: u32 = vfio::VFIO_DMA_UNMAP_FLAG_VADDR;

/// Returns true if an address or a length is not a multiple of the smallest page size.
fn is_misaligned(bytes: u64) -> bool {
    !bytes.is_multiple_of(PAGE_BYTES)
}

/// Returns the range. Fails with `EOVERFLOW` if it exceeds the address space.
fn range_of(iova: u64, size_bytes: u64) -> SyscallResult<IovaRange> {
    IovaRange::of(Iova(iova), size_bytes).ok_or(fail(Errno::EOVERFLOW))
}

impl Machine {
    pub(super) fn type1_map(
        &mut self,
        id: ContainerId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        const SIZE: usize = size_of::<vfio_iommu_type1_dma_map>();
        let map = request.user.copy(SIZE)?;
        let flags = map.u32(offset_of!(vfio_iommu_type1_dma_map, flags));
        if (map.u32(0) as usize) < SIZE || flags & !(READ_WRITE | MAP_VADDR) != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let vaddr = map.u64(offset_of!(vfio_iommu_type1_dma_map, vaddr));
        let iova = map.u64(offset_of!(vfio_iommu_type1_dma_map, iova));
        let size_bytes = map.u64(offset_of!(vfio_iommu_type1_dma_map, size));
        if size_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let range = range_of(iova, size_bytes)?;
        range_of(vaddr, size_bytes)?;
        let gives_vaddr = flags & MAP_VADDR != 0;
        if (flags & READ_WRITE != 0) == gives_vaddr {
            return Err(fail(Errno::EINVAL));
        }
        if is_misaligned(size_bytes | iova | vaddr) {
            return Err(fail(Errno::EINVAL));
        }
        if gives_vaddr {
            self.give_vaddr(request.pid, id, &range, vaddr)
        } else {
            self.new_dma(request.pid, id, &range, vaddr)
        }
    }

    /// Creates a mapping.
    ///
    /// # Errors
    /// `EEXIST`; `ENOSPC`; `EINVAL` (outside the usable ranges, or too many pages for dirty
    /// tracking); and the errors of pinning.
    fn new_dma(
        &mut self,
        pid: Pid,
        id: ContainerId,
        range: &IovaRange,
        vaddr: u64,
    ) -> SyscallResult<()> {
        let iommu = self.type1(id).expect("looked up before");
        if iommu.find(range).is_some() {
            return Err(fail(Errno::EEXIST));
        }
        if iommu.available() == 0 {
            return Err(fail(Errno::ENOSPC));
        }
        if !iommu.is_valid(range) {
            return Err(fail(Errno::EINVAL));
        }
        let size_bytes = range.length_bytes();
        let bitmap = if iommu.is_tracking { blank(size_bytes)? } else { Vec::new() };
        let mut dma = Dma {
            vaddr,
            size_bytes,
            mm: self.mm(pid),
            lock_cap: self.process(pid).cap_ipc_lock,
            vaddr_invalid: false,
            locked_pages: 0,
            pins: Vec::new(),
            bitmap,
        };
        if self.has_real_group(id) {
            self.pin_new_dma(pid, &mut dma)?;
        }
        self.type1_mut(id).dmas.insert(range.first.0, dma);
        Ok(())
    }

    /// Gives a mapping its new address.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` (not invalidated, or another range); `ENOMEM`.
    fn give_vaddr(
        &mut self,
        pid: Pid,
        id: ContainerId,
        range: &IovaRange,
        vaddr: u64,
    ) -> SyscallResult<()> {
        let iommu = self.type1(id).expect("looked up before");
        let (iova, dma) = iommu.find(range).ok_or(fail(Errno::ENOENT))?;
        if !dma.vaddr_invalid || dma.range(iova) != *range {
            return Err(fail(Errno::EINVAL));
        }
        let mut dma = dma.clone();
        self.change_dma_owner(pid, &mut dma)?;
        dma.vaddr = vaddr;
        dma.vaddr_invalid = false;
        *self.dma_at_mut(id, iova) = dma;
        self.reclaim();
        Ok(())
    }

    /// Makes the caller the owner of a mapping (`vfio_change_dma_owner`). Has no effect within one
    /// memory map, or before 6.3. Fails with `ENOMEM`.
    fn change_dma_owner(&mut self, pid: Pid, dma: &mut Dma) -> SyscallResult<()> {
        let mm = self.mm(pid);
        if mm == dma.mm || self.profile.charges_tasks() {
            return Ok(());
        }
        let lock_cap = self.process(pid).cap_ipc_lock;
        if !lock_cap {
            self.may_lock(mm, dma.locked_pages)?;
        }
        self.lock(mm, dma.locked_pages);
        if self.is_mm_alive(dma.mm) {
            self.unlock(dma.mm, dma.locked_pages);
        }
        dma.mm = mm;
        dma.lock_cap = lock_cap;
        Ok(())
    }

    /// Handles UNMAP (`vfio_iommu_type1_unmap_dma`).
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, flags); the errors of the bitmap; `EBUSY`; `EINVAL`; `EOVERFLOW`.
    /// `EFAULT` also if the result cannot be written after everything was unmapped.
    pub(super) fn type1_unmap(
        &mut self,
        id: ContainerId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        const SIZE: usize = size_of::<vfio_iommu_type1_dma_unmap>();
        let mut unmap = request.user.copy(SIZE)?;
        let flags = unmap.u32(offset_of!(vfio_iommu_type1_dma_unmap, flags));
        let argsz = unmap.u32(0) as usize;
        if argsz < SIZE || flags & !(GET_DIRTY | ALL | UNMAP_VADDR) != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let size_bytes = unmap.u64(offset_of!(vfio_iommu_type1_dma_unmap, size));
        let mut bitmap = None;
        if flags & GET_DIRTY != 0 {
            if flags & (ALL | UNMAP_VADDR) != 0 {
                return Err(fail(Errno::EINVAL));
            }
            if argsz < SIZE + Bitmap::BYTES {
                return Err(fail(Errno::EINVAL));
            }
            bitmap = Some(Bitmap::read(request.user, SIZE, size_bytes)?);
        }
        let range = self.range_to_unmap(id, &unmap, flags, bitmap.as_ref())?;
        let unmapped = if flags & UNMAP_VADDR != 0 {
            self.forget_vaddrs(id, &range)?
        } else {
            let told = self.remove_range(id, &range, bitmap.as_ref(), request);
            self.reclaim();
            told?
        };
        unmap.set_u64(offset_of!(vfio_iommu_type1_dma_unmap, size), unmapped);
        request.user.write(0, &unmap.0)
    }

    /// Validates the range of an UNMAP. Changes no state.
    fn range_to_unmap(
        &self,
        id: ContainerId,
        unmap: &Fields,
        flags: u32,
        bitmap: Option<&Bitmap>,
    ) -> SyscallResult<IovaRange> {
        let iova = unmap.u64(offset_of!(vfio_iommu_type1_dma_unmap, iova));
        let size_bytes = unmap.u64(offset_of!(vfio_iommu_type1_dma_unmap, size));
        if flags & UNMAP_VADDR != 0 && !self.gives_addresses(id) {
            return Err(fail(Errno::EBUSY));
        }
        if is_misaligned(iova) {
            return Err(fail(Errno::EINVAL));
        }
        if flags & ALL != 0 {
            if iova != 0 || size_bytes != 0 {
                return Err(fail(Errno::EINVAL));
            }
            return Ok(IovaRange { first: Iova(0), last: Iova(u64::MAX) });
        }
        if size_bytes == 0 || is_misaligned(size_bytes) {
            return Err(fail(Errno::EINVAL));
        }
        let range = range_of(iova, size_bytes)?;
        let iommu = self.type1(id).expect("looked up before");
        if bitmap.is_some_and(|bitmap| !iommu.is_tracking || bitmap.page_bytes != PAGE_BYTES) {
            return Err(fail(Errno::EINVAL));
        }
        if iommu.is_v2 && iommu.cuts(&range) {
            return Err(fail(Errno::EINVAL));
        }
        Ok(range)
    }

    /// Returns the first addresses of the mappings that an unmap of a range removes, lowest first.
    fn dmas_to_unmap(&self, id: ContainerId, range: &IovaRange) -> Vec<u64> {
        let iommu = self.type1(id).expect("looked up before");
        let found = iommu.within(range);
        // Only version 1 accepts a range that begins within a mapping.
        let is_cut = found.first().is_some_and(|iova| *iova < range.first.0);
        if is_cut { Vec::new() } else { found }
    }

    /// Invalidates the addresses of mappings. Fails with `EINVAL`, without a change, if one is
    /// invalid already.
    fn forget_vaddrs(&mut self, id: ContainerId, range: &IovaRange) -> SyscallResult<u64> {
        let found = self.dmas_to_unmap(id, range);
        if found.iter().any(|iova| self.dma_at(id, *iova).vaddr_invalid) {
            return Err(fail(Errno::EINVAL));
        }
        let mut unmapped = 0;
        for iova in found {
            let dma = self.dma_at_mut(id, iova);
            dma.vaddr_invalid = true;
            unmapped += dma.size_bytes;
        }
        Ok(unmapped)
    }

    /// Removes mappings and reports the dirty pages of each. On `EFAULT`, the mapping whose report
    /// failed and all later ones remain.
    fn remove_range(
        &mut self,
        id: ContainerId,
        range: &IovaRange,
        bitmap: Option<&Bitmap>,
        request: &mut Request<'_>,
    ) -> SyscallResult<u64> {
        let mut unmapped = 0u64;
        for iova in self.dmas_to_unmap(id, range) {
            if let Some(bitmap) = bitmap {
                self.report_dirty(id, iova, range.first, bitmap, request.user)?;
            }
            unmapped = unmapped.wrapping_add(self.remove_dma(id, iova));
        }
        Ok(unmapped)
    }
}
