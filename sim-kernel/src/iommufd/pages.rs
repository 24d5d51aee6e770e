//! Page sets: the pages of one MAP or MAP_FILE (`struct iopt_pages`), and when they are pinned.
//!
//! A page set is a sequence of pages with a source, an owner and an accounting mode. Areas of
//! address spaces are slices of it; COPY creates more areas over the same set.
//!
//! The union rule: a page is pinned exactly while an area over it is in an address space with a
//! domain, or an access has pinned it through an area; and it is pinned once. So a map into an
//! address space without a domain validates nothing about its source (lazy). Any operation that
//! gives an address space its first domain, or adds an area to an address space with a domain, pins
//! the missing pages and charges the recorded owner (H9).
//!
//! `pins` records *which* pages were found at that time; they may later differ from the source's
//! (H6).
//!
//! A set records its own charge (`charged`, the kernel's `last_npinned`). It equals the number of
//! pinned pages except after H3, where it stays 0, or if a dead memory map could not be uncharged.
//!
//! Invariants: those of `pins`, see their file; a set lives while an area refers to it.
//!
//! Mirrors `drivers/iommu/iommufd/pages.c`.

use crate::iommufd::ioas::Area;
use crate::iommufd::pins::{Pin, gaps, joined, union};
use crate::machine::Machine;
use crate::mm::{Mode, Owner};
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::{ContextId, FileId, MemoryId, SetId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{PAGE_BYTES, Pid, pages};
use std::collections::BTreeSet;
use std::ops::Range;

/// A page set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageSet {
    pub(crate) source: Source,
    /// Number of pages.
    pub(crate) pages: u64,
    /// True if areas may be writable, as the map that created the set requested.
    pub(super) writable: bool,
    pub(crate) owner: Owner,
    pub(crate) mode: Mode,
    /// Number of pages charged: `last_npinned`.
    pub(crate) charged: u64,
    pub(crate) pins: Vec<Pin>,
}

/// The origin of a set's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Addresses of the owner's memory map, from this page-aligned one on.
    User(u64),
    /// A file from this page on; holds a reference. The kind of the file is checked when pages are
    /// pinned.
    File(FileId, u64),
    /// A dma-buf from this page on; holds a reference. Its memory is the device's and is not
    /// pinned.
    DmaBuf(FileId, u64),
}

impl Source {
    /// Returns the file that it holds a reference to.
    pub(crate) fn file(self) -> Option<FileId> {
        match self {
            Self::User(_) => None,
            Self::File(file, _) | Self::DmaBuf(file, _) => Some(file),
        }
    }
}

impl PageSet {
    /// Returns true if the pages are memory of a device, which is not pinned.
    pub(super) fn is_dma_buf(&self) -> bool {
        matches!(self.source, Source::DmaBuf(..))
    }

    pub(crate) fn pinned_pages(&self) -> u64 {
        self.pins.iter().map(|pin| pin.pages).sum()
    }
}

impl Machine {
    /// Returns the pages that the source has now.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW` at the top of the caller's own addresses. `EFAULT` for addresses that are
    /// unmapped, in a dead memory map, or beyond the end of the mapped file. `EINVAL` for a file
    /// without pages, or beyond its end.
    pub(super) fn resolve(&self, set: &PageSet, range: Range<u64>) -> Result<Vec<Pin>, Failure> {
        match set.source {
            Source::User(va) => self.resolve_near(set.owner, va, range),
            Source::File(file, first) => self.resolve_file(file, first, range),
            Source::DmaBuf(..) => Ok(Vec::new()),
        }
    }

    /// Returns the pages at an owner's addresses (`pin_user_pages_remote`). Fails with `EFAULT`.
    pub(crate) fn resolve_user(
        &self,
        owner: Owner,
        va: u64,
        range: Range<u64>,
    ) -> Result<Vec<Pin>, Failure> {
        if !self.is_mm_alive(owner.mm) {
            return Err(fail(Errno::EFAULT));
        }
        let vmas = &self.process(owner.mm.pid).vmas;
        let mut pins = Vec::new();
        let mut index = range.start;
        while index < range.end {
            let at = va + index * PAGE_BYTES;
            let vma = vmas.iter().find(|vma| vma.va <= at && at < vma.end());
            let vma = vma.ok_or(fail(Errno::EFAULT))?;
            let page = vma.index + (at - vma.va) / PAGE_BYTES;
            let count = ((vma.end() - at) / PAGE_BYTES).min(range.end - index);
            let object = self.memories.get(vma.memory);
            if page + count > pages(object.length_bytes) {
                return Err(fail(Errno::EFAULT));
            }
            pins.extend(self.existing(vma.memory, page, index..index + count));
            index += count;
        }
        Ok(pins)
    }

    /// Returns the pages as [`Self::resolve_user`]; if the memory is the caller's own, fails with
    /// `EOVERFLOW` if the pages end beyond the address space (`pin_user_pages_fast`).
    fn resolve_near(&self, owner: Owner, va: u64, range: Range<u64>) -> Result<Vec<Pin>, Failure> {
        let is_near = self.current.is_some_and(|pid| self.mm(pid) == owner.mm);
        if is_near && va.checked_add(range.end * PAGE_BYTES).is_none() {
            return Err(fail(Errno::EOVERFLOW));
        }
        self.resolve_user(owner, va, range)
    }

    /// Returns the page of the caller's own memory at an address (`get_user_pages_fast`). Fails
    /// with `EOVERFLOW`, `EFAULT`.
    pub(super) fn present(&self, pid: Pid, va: u64) -> Result<Pin, Failure> {
        let page = va - va % PAGE_BYTES;
        let pins = self.resolve_near(self.owner(pid), page, 0..1)?;
        Ok(pins[0])
    }

    /// Returns the pages of a file (`memfd_pin_folios`). Fails with `EINVAL`.
    fn resolve_file(
        &self,
        file: FileId,
        first: u64,
        range: Range<u64>,
    ) -> Result<Vec<Pin>, Failure> {
        let memory = self.memory_of(file).ok_or(fail(Errno::EINVAL))?;
        let page = first + range.start;
        let end = page + (range.end - range.start);
        if end > self.memories.get(memory).length_bytes / PAGE_BYTES {
            return Err(fail(Errno::EINVAL));
        }
        Ok(self.existing(memory, page, range).collect())
    }

    /// Iterates over the pages of a memory object, from `page` on.
    fn existing(
        &self,
        memory: MemoryId,
        page: u64,
        range: Range<u64>,
    ) -> impl Iterator<Item = Pin> + use<> {
        let runs = self.memories.get(memory).runs(page..page + (range.end - range.start));
        runs.into_iter().map(move |(run, generation)| Pin {
            index: range.start + (run.start - page),
            pages: run.end - run.start,
            memory,
            page: run.start,
            generation,
        })
    }

    /// Returns the pages of a slice of a set: the pinned ones, and the ones that pinning the rest
    /// would find. Indices without a page now are left out.
    pub(crate) fn slice(&self, set: &PageSet, range: Range<u64>) -> (Vec<Pin>, Vec<Pin>) {
        let pinned = set.pins.iter().filter_map(|pin| pin.clipped(&range)).collect();
        let gaps = gaps(&set.pins, range).into_iter();
        let unpinned = gaps.filter_map(|gap| self.resolve(set, gap).ok()).flatten().collect();
        (pinned, unpinned)
    }

    /// Counts how often a page is pinned, by all sets of all contexts.
    pub(super) fn times_pinned(&self, page: &Pin) -> usize {
        let sets = self.contexts.iter().flat_map(|(_, context)| context.sets.iter());
        let holds = |pin: &&Pin| {
            let pages = pin.page..pin.page + pin.pages;
            (pin.memory, pin.generation) == (page.memory, page.generation)
                && pages.contains(&page.page)
        };
        sets.flat_map(|(_, set)| &set.pins).filter(holds).count()
    }

    /// Pins the missing pages of a slice of a set and charges its owner. Fails with `EFAULT`,
    /// `EINVAL`, `ENOMEM`; then no page is pinned.
    pub(super) fn pin(
        &mut self,
        context: ContextId,
        id: SetId,
        range: Range<u64>,
    ) -> SyscallResult<()> {
        self.allocate()?;
        let set = self.set(context, id);
        let mut pins = Vec::new();
        for gap in gaps(&set.pins, range) {
            pins.extend(self.resolve(set, gap)?);
        }
        let is_new = !pins.is_empty();
        if !is_new && set.charged == set.pinned_pages() {
            return Ok(());
        }
        let before = set.pins.clone();
        pins.extend(&before);
        self.set_mut(context, id).pins = joined(pins);
        let settled = self.allocate().and_then(|()| self.settle_charge(context, id, is_new));
        if settled.is_err() {
            self.set_mut(context, id).pins = before;
            self.settle_discharge(context, id);
        }
        settled
    }

    /// Adjusts the charge to the number of pinned pages (`pfn_reader_user_update_pinned`). The
    /// memory map must be alive unless `is_held`: pages were pinned just now.
    fn settle_charge(&mut self, context: ContextId, id: SetId, is_held: bool) -> SyscallResult<()> {
        let set = self.set(context, id);
        let (owner, mode, charged, pinned) = (set.owner, set.mode, set.charged, set.pinned_pages());
        if pinned != charged && !is_held {
            self.check_reach(owner, mode)?;
        }
        if pinned > charged {
            self.charge(owner, mode, pinned - charged)?;
        } else {
            self.uncharge(owner, mode, charged - pinned);
        }
        self.set_mut(context, id).charged = pinned;
        Ok(())
    }

    /// Lowers the charge after pages were unpinned (`update_unpinned`). A set that is charged too
    /// little stays so, and a charge that cannot be uncharged is dropped silently (H3).
    fn settle_discharge(&mut self, context: ContextId, id: SetId) {
        let set = self.set(context, id);
        let (owner, mode, charged, pinned) = (set.owner, set.mode, set.charged, set.pinned_pages());
        if pinned < charged && self.check_reach(owner, mode).is_ok() {
            self.uncharge(owner, mode, charged - pinned);
            self.set_mut(context, id).charged = pinned;
        }
    }

    /// Pins areas, in order. If it fails, the caller unpins their sets.
    pub(super) fn pin_areas(&mut self, context: ContextId, areas: &[Area]) -> SyscallResult<()> {
        areas.iter().try_for_each(|area| self.pin(context, area.set, area.indices()))
    }

    /// Unpins the pages of these sets that neither an area in an address space with a domain nor an
    /// access needs, and drops sets without areas. Called whenever an area, a domain or an access
    /// is removed; cannot fail.
    pub(super) fn unpin(&mut self, context: ContextId, sets: &BTreeSet<SetId>) {
        let mut wanted = self.contexts.get(context).wanted(sets);
        let mut released = Vec::new();
        for id in sets {
            let ranges = wanted.remove(id);
            let is_over = ranges.is_none();
            self.keep_pins(context, *id, &union(ranges.unwrap_or_default()));
            if is_over {
                released.extend(self.contexts.get_mut(context).sets.remove(*id).source.file());
            }
        }
        for file in released {
            self.put_file(file);
        }
    }

    fn keep_pins(&mut self, context: ContextId, id: SetId, ranges: &[Range<u64>]) {
        let set = self.set(context, id);
        let pins: Vec<Pin> = (set.pins.iter())
            .flat_map(|pin| ranges.iter().filter_map(|range| pin.clipped(range)))
            .collect();
        if pins != set.pins {
            self.set_mut(context, id).pins = pins;
            self.settle_discharge(context, id);
        }
    }

    /// Applies [`Self::unpin`] to every set of a context.
    pub(super) fn unpin_unwanted(&mut self, context: ContextId) {
        let sets = self.contexts.get(context).sets.ids().into_iter().collect();
        self.unpin(context, &sets);
    }

    pub(crate) fn set(&self, context: ContextId, id: SetId) -> &PageSet {
        self.contexts.get(context).sets.get(id)
    }

    pub(super) fn set_mut(&mut self, context: ContextId, id: SetId) -> &mut PageSet {
        self.contexts.get_mut(context).sets.get_mut(id)
    }
}
