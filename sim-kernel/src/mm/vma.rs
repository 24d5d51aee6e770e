//! Mappings of memory in processes.
//!
//! A mapping shows pages of a memory object, shared and writable, at addresses of one memory map.
//! It keeps the object alive, not the file. Unlike a pin, it always shows the object's current
//! pages.
//!
//! Addresses are the lowest free ones from a fixed base, so that the same calls give the same
//! values.
//!
//! A mapping of a device's BAR has no pages that could be pinned. It keeps the device's file open.
//!
//! Absent: `mprotect`, `mremap`, `MAP_FIXED`, private file mappings.
//!
//! Mirrors `mm/mmap.c` and `mm/vma.c`.

use crate::fs::{DeviceFile, File};
use crate::machine::{Machine, Placement};
use crate::mm::shmem::Memory;
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::{FileId, MemoryId, Shared};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid, Va, pages};
use std::ops::Range;

/// A mapping of a process (`vm_area_struct`): shared and writable, or anonymous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vma {
    pub(crate) va: u64,
    pub(crate) pages: u64,
    pub(crate) memory: MemoryId,
    /// Index in the memory object of the first page shown.
    pub(crate) index: u64,
}

/// A mapping of a BAR. Holds a reference to the device's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BarVma {
    pub(crate) va: u64,
    pages: u64,
    pub(crate) file: FileId,
}

impl BarVma {
    pub(crate) fn end(&self) -> u64 {
        self.va + self.pages * PAGE_BYTES
    }

    /// Returns the part within a page-aligned range of addresses.
    fn clipped(&self, va: Range<u64>) -> Option<Self> {
        let (first, end) = (self.va.max(va.start), self.end().min(va.end));
        (first < end).then(|| Self { va: first, pages: (end - first) / PAGE_BYTES, ..*self })
    }
}

/// The lowest address of a mapping, and the end of the address space.
const VA_FIRST: u64 = 0x7f00_0000_0000;
const VA_END: u64 = 0x7fff_ffff_f000;

impl Vma {
    pub(crate) fn end(&self) -> u64 {
        self.va + self.pages * PAGE_BYTES
    }

    /// Returns the part within a page-aligned range of addresses.
    fn clipped(&self, va: Range<u64>) -> Option<Self> {
        let (first, end) = (self.va.max(va.start), self.end().min(va.end));
        (first < end).then(|| Self {
            va: first,
            pages: (end - first) / PAGE_BYTES,
            index: self.index + (first - self.va) / PAGE_BYTES,
            ..*self
        })
    }
}

impl Machine {
    /// Maps memory (`mmap`). Checks, in this order: offset, descriptor, length, free space,
    /// overflow, kind of file.
    pub(super) fn mmap(
        &mut self,
        pid: Pid,
        fd: Option<Fd>,
        offset_bytes: u64,
        length_bytes: u64,
        place: &Placement,
    ) -> SyscallResult {
        if !offset_bytes.is_multiple_of(PAGE_BYTES) {
            return Err(fail(Errno::EINVAL));
        }
        let file = fd.map(|fd| self.usable(pid, fd)).transpose()?;
        if length_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        if length_bytes > VA_END {
            return Err(fail(Errno::ENOMEM));
        }
        let pages = pages(length_bytes);
        if offset_bytes.checked_add(pages * PAGE_BYTES).is_none() {
            return Err(fail(Errno::EOVERFLOW));
        }
        let va = self.free_va(pid, pages * PAGE_BYTES, place.va).ok_or(fail(Errno::ENOMEM))?;
        if let Some(file) = file
            && let File::Device(DeviceFile { device, .. }) = *self.file(file)
        {
            self.check_mmap(file, device, offset_bytes, pages * PAGE_BYTES)?;
            self.get_file(file);
            let bars = &mut self.process_mut(pid).bars;
            bars.push(BarVma { va, pages, file });
            bars.sort_unstable_by_key(|bar| bar.va);
            return Ok(Reply::Va(Va(va)));
        }
        let (memory, index) = match file {
            Some(file) => (self.mappable(file)?, offset_bytes / PAGE_BYTES),
            None => (self.anonymous(pages), 0),
        };
        self.insert_vma(pid, Vma { va, pages, memory, index });
        Ok(Reply::Va(Va(va)))
    }

    /// Returns the memory of a file that can be mapped.
    ///
    /// # Errors
    ///
    /// `EACCES` for a file that is open read-only, `EPERM` for one sealed against writing, `ENODEV`
    /// for a kind of file that has no mappings.
    fn mappable(&self, file: FileId) -> Result<MemoryId, Failure> {
        match *self.file(file) {
            File::Memfd(memory) => {
                self.memories.get(memory).check_write_seals()?;
                Ok(memory)
            }
            File::ReadOnlyMemfd(_) => Err(fail(Errno::EACCES)),
            // No viommu has a register page to map.
            File::Iommufd(_) if self.profile.maps_iommufd() => Err(fail(Errno::ENXIO)),
            File::Iommufd(_)
            | File::Device(_)
            | File::Group(_)
            | File::Container(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::Image(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_)
            | File::Kvm
            | File::Vm(_)
            | File::Vcpu(_)
            | File::KvmVfio(_)
            | File::Migration(_) => Err(fail(Errno::ENODEV)),
        }
    }

    fn anonymous(&mut self, pages: u64) -> MemoryId {
        self.memories.insert(Shared::new(Memory::anonymous(pages * PAGE_BYTES)))
    }

    fn insert_vma(&mut self, pid: Pid, vma: Vma) {
        let vmas = &mut self.process_mut(pid).vmas;
        let at = vmas.partition_point(|other| other.va < vma.va);
        vmas.insert(at, vma);
    }

    /// Returns the lowest gap that is large enough, or the forced address if it is free.
    fn free_va(&self, pid: Pid, length_bytes: u64, forced: Option<Va>) -> Option<u64> {
        let process = self.process(pid);
        let vmas = process.vmas.iter().map(|vma| vma.va..vma.end());
        let taken: Vec<Range<u64>> =
            vmas.chain(process.bars.iter().map(|bar| bar.va..bar.end())).collect();
        let fits = |va: &u64| {
            let end = va.checked_add(length_bytes).filter(|end| *end <= VA_END);
            end.is_some_and(|end| taken.iter().all(|vma| vma.end <= *va || end <= vma.start))
        };
        let forced = forced.map(|va| va.0).filter(|va| va.is_multiple_of(PAGE_BYTES));
        let mut gaps: Vec<u64> =
            taken.iter().map(|vma| vma.end).filter(|end| *end >= VA_FIRST).collect();
        gaps.sort_unstable();
        forced.filter(fits).or_else(|| std::iter::once(VA_FIRST).chain(gaps).find(fits))
    }

    /// Unmaps whole pages (`munmap`). Unmapped gaps are no error; a mapping may be split.
    pub(super) fn munmap(&mut self, pid: Pid, va: u64, length_bytes: u64) -> SyscallResult {
        let fits = va.is_multiple_of(PAGE_BYTES) && va <= VA_END && length_bytes <= VA_END - va;
        if !fits || length_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let end = va + pages(length_bytes) * PAGE_BYTES;
        let process = self.process_mut(pid);
        process.vmas = (process.vmas.iter())
            .flat_map(|vma| [vma.clipped(0..va), vma.clipped(end..u64::MAX)])
            .flatten()
            .collect();
        self.unmap_bars(pid, va..end);
        self.reclaim();
        Ok(Reply::Done)
    }

    /// Unmaps a range of BAR mappings. Each remaining part, one or two, holds a reference to the
    /// file.
    pub(crate) fn unmap_bars(&mut self, pid: Pid, va: Range<u64>) {
        if self.process(pid).bars.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.process_mut(pid).bars);
        let new: Vec<BarVma> = (old.iter())
            .flat_map(|bar| [bar.clipped(0..va.start), bar.clipped(va.end..u64::MAX)])
            .flatten()
            .collect();
        for bar in &new {
            self.get_file(bar.file);
        }
        self.process_mut(pid).bars = new;
        for bar in old {
            self.put_file(bar.file);
        }
    }
}
