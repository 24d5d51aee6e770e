//! Page sets: what one MAP or MAP_FILE made (`struct iopt_pages`), and when its pages are pinned.
//!
//! A page set is a row of pages with a source, an owner and an accounting mode. Areas of address
//! spaces are slices of it; COPY makes more areas over the same set.
//!
//! The union rule: a page is pinned exactly while at least one area over it lies in an address space
//! with at least one domain, and it is pinned once. So a map into an address space without a domain
//! validates nothing (lazy), and everything that gives an address space its first domain, or a
//! domain's address space an area, pins what is missing, at the expense of the recorded owner (K9).
//!
//! `pins` remembers *which* pages were found at that time; nothing keeps them the same as the
//! source's (K6).
//!
//! A set counts for itself what it was charged with (`charged`, the kernel's `last_npinned`). It equals
//! the number of pinned pages except after K3, where it stays 0, or where a dead memory map could not
//! be uncharged.
//!
//! Invariants: `pins` is sorted and disjoint, and neighbours that continue each other are one; a set
//! lives while an area refers to it.
//!
//! Mirrors `drivers/iommu/iommufd/pages.c`.

use crate::account::{Mode, Owner};
use crate::file::File;
use crate::machine::Machine;
use crate::memory::inode;
use crate::refusal::{Refusal, refuse};
use crate::slots::{ContextId, FileId, MemoryId, SetId};
use handoff_model::errno::Errno;
use handoff_model::ids::{ObjectId, PAGE_BYTES, Pid};
use handoff_model::view::{PageRef, PageRun};
use std::ops::Range;

/// A page set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageSet {
    pub(crate) source: Source,
    /// How many pages it has.
    pub(crate) pages: u64,
    /// Whether an area may be writable: what the map that made it asked for.
    pub(crate) writable: bool,
    pub(crate) owner: Owner,
    pub(crate) mode: Mode,
    /// `last_npinned`.
    pub(crate) charged: u64,
    pub(crate) pins: Vec<Pin>,
}

/// Where the pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Addresses of the owner's memory map, from this one, which is on a page boundary.
    User(u64),
    /// A file from this page on; holds a reference. What kind of file is asked when pages are pinned.
    File(FileId, u64),
}

/// Pages next to each other in the set and in memory. Unpinned ones have the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pin {
    /// The first page of the set.
    pub(crate) index: u64,
    pub(crate) pages: u64,
    pub(crate) memory: MemoryId,
    /// The first page of the memory object.
    pub(crate) page: u64,
    pub(crate) generation: u32,
}

impl Pin {
    pub(crate) fn end(&self) -> u64 {
        self.index + self.pages
    }

    pub(crate) fn run(&self) -> PageRun {
        let Self { memory, page, generation, pages, .. } = *self;
        PageRun { first: PageRef { inode: inode(memory), index: page, generation }, pages }
    }

    /// The part of it that lies in `range`.
    pub(crate) fn clipped(&self, range: &Range<u64>) -> Option<Self> {
        let (first, end) = (self.index.max(range.start), self.end().min(range.end));
        let page = self.page + first.saturating_sub(self.index);
        (first < end).then(|| Self { index: first, pages: end - first, page, ..*self })
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        let place = |pin: &Self| (pin.memory, pin.generation, pin.page.wrapping_sub(pin.index));
        self.end() == next.index && place(self) == place(next)
    }
}

/// Sorted, with neighbours joined.
fn joined(mut pins: Vec<Pin>) -> Vec<Pin> {
    pins.sort_unstable_by_key(|pin| pin.index);
    pins.dedup_by(|next, last| {
        let continues = last.is_continued_by(next);
        if continues {
            last.pages += next.pages;
        }
        continues
    });
    pins
}

/// What of `wanted` no pin covers.
pub(crate) fn gaps(pins: &[Pin], wanted: Range<u64>) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut at = wanted.start;
    for pin in pins.iter().filter_map(|pin| pin.clipped(&wanted)) {
        if at < pin.index {
            gaps.push(at..pin.index);
        }
        at = pin.end();
    }
    if at < wanted.end {
        gaps.push(at..wanted.end);
    }
    gaps
}

/// The union of ranges: sorted, disjoint.
fn union(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let meets = next.start <= last.end;
        if meets {
            last.end = last.end.max(next.end);
        }
        meets
    });
    ranges
}

impl PageSet {
    pub(crate) fn pinned_pages(&self) -> u64 {
        self.pins.iter().map(|pin| pin.pages).sum()
    }
}

impl Machine {
    /// Which pages are there now. EFAULT for addresses that are not mapped, or whose memory map is
    /// dead, or behind the end of the file; EINVAL for a file without pages, or behind its end.
    fn resolve(&self, set: &PageSet, range: Range<u64>) -> Result<Vec<Pin>, Refusal> {
        match set.source {
            Source::User(va) => self.resolve_user(set.owner, va, range),
            Source::File(file, first) => self.resolve_file(file, first, range),
        }
    }

    /// `pin_user_pages_remote`.
    fn resolve_user(&self, owner: Owner, va: u64, range: Range<u64>) -> Result<Vec<Pin>, Refusal> {
        if !self.is_mm_alive(owner.mm) {
            return Err(refuse(Errno::EFAULT));
        }
        let vmas = &self.process(owner.mm.pid).vmas;
        let mut pins = Vec::new();
        let mut index = range.start;
        while index < range.end {
            let at = va + index * PAGE_BYTES;
            let vma = vmas.iter().find(|vma| vma.va <= at && at < vma.end());
            let vma = vma.ok_or(refuse(Errno::EFAULT))?;
            let page = vma.index + (at - vma.va) / PAGE_BYTES;
            let count = ((vma.end() - at) / PAGE_BYTES).min(range.end - index);
            pins.extend(self.existing(
                vma.memory,
                page,
                index..index + count,
                refuse(Errno::EFAULT),
            )?);
            index += count;
        }
        Ok(pins)
    }

    /// The page of the caller's own memory at an address (`get_user_pages_fast`). EFAULT.
    pub(crate) fn present(&self, pid: Pid, va: u64) -> Result<Pin, Refusal> {
        let page = va - va % PAGE_BYTES;
        let pins = self.resolve_user(self.owner(pid), page, 0..1)?;
        Ok(pins[0])
    }

    /// `memfd_pin_folios`.
    fn resolve_file(
        &self,
        file: FileId,
        first: u64,
        range: Range<u64>,
    ) -> Result<Vec<Pin>, Refusal> {
        let File::Memfd(memory) = *self.file(file) else { return Err(refuse(Errno::EINVAL)) };
        let page = first.checked_add(range.start).ok_or(refuse(Errno::EINVAL))?;
        let length_bytes = self.memories.get(memory).length_bytes;
        let end = page.checked_add(range.end - range.start).ok_or(refuse(Errno::EINVAL))?;
        if end.checked_mul(PAGE_BYTES).is_none_or(|end| end > length_bytes) {
            return Err(refuse(Errno::EINVAL));
        }
        self.existing(memory, page, range, refuse(Errno::EINVAL))
    }

    /// Pages of a memory object, from `page` on; `beyond` where it ends before.
    fn existing(
        &self,
        memory: MemoryId,
        page: u64,
        range: Range<u64>,
        beyond: Refusal,
    ) -> Result<Vec<Pin>, Refusal> {
        let object = self.memories.get(memory);
        let end = page + (range.end - range.start);
        if end > object.length_bytes.div_ceil(PAGE_BYTES) {
            return Err(beyond);
        }
        let runs = object.runs(page..end).into_iter();
        Ok(runs
            .map(|(run, generation)| Pin {
                index: range.start + (run.start - page),
                pages: run.end - run.start,
                memory,
                page: run.start,
                generation,
            })
            .collect())
    }

    /// The pages of a slice of a set: those pinned, and for the rest those that would be. What has no
    /// pages now is left out.
    pub(crate) fn slice(&self, set: &PageSet, range: Range<u64>) -> (Vec<Pin>, Vec<Pin>) {
        let pinned = set.pins.iter().filter_map(|pin| pin.clipped(&range)).collect();
        let gaps = gaps(&set.pins, range).into_iter();
        let unpinned = gaps.filter_map(|gap| self.resolve(set, gap).ok()).flatten().collect();
        (pinned, unpinned)
    }

    /// Pins what is missing of a slice of a set and charges its owner. EFAULT, EINVAL, ENOMEM; then
    /// the caller undoes everything.
    fn pin(&mut self, context: ContextId, id: SetId, range: Range<u64>) -> Result<(), Refusal> {
        let set = self.set(context, id);
        let mut pins = Vec::new();
        for gap in gaps(&set.pins, range) {
            pins.extend(self.resolve(set, gap)?);
        }
        if pins.is_empty() {
            return Ok(());
        }
        let set = self.set_mut(context, id);
        pins.append(&mut set.pins);
        set.pins = joined(pins);
        self.settle_charge(context, id)
    }

    /// `pfn_reader_user_update_pinned`: the charge becomes the number of pinned pages.
    fn settle_charge(&mut self, context: ContextId, id: SetId) -> Result<(), Refusal> {
        let set = self.set(context, id);
        let (owner, mode, charged, pinned) = (set.owner, set.mode, set.charged, set.pinned_pages());
        if pinned > charged {
            self.charge(owner, mode, pinned - charged)?;
        } else if pinned < charged {
            self.uncharge(owner, mode, charged - pinned)?;
        }
        self.set_mut(context, id).charged = pinned;
        Ok(())
    }

    /// `update_unpinned`: as above when pages have gone, but a set that was charged too little stays
    /// so, and what cannot be given back is not told to anybody (K3).
    fn settle_discharge(&mut self, context: ContextId, id: SetId) {
        let set = self.set(context, id);
        let (owner, mode, charged, pinned) = (set.owner, set.mode, set.charged, set.pinned_pages());
        if pinned < charged && self.uncharge(owner, mode, charged - pinned).is_ok() {
            self.set_mut(context, id).charged = pinned;
        }
    }

    /// Pins every area of an address space, in order.
    pub(crate) fn pin_ioas(&mut self, context: ContextId, ioas: ObjectId) -> Result<(), Refusal> {
        let areas = self.ioas(context, ioas)?.areas.clone();
        for area in areas {
            self.pin(context, area.set, area.indices())?;
        }
        Ok(())
    }

    /// Unpins what no area in an address space with a domain covers, and drops sets without areas.
    /// Called wherever an area or a domain has gone; cannot fail.
    pub(crate) fn unpin_unwanted(&mut self, context: ContextId) {
        let mut released = Vec::new();
        for id in self.contexts.get(context).sets.ids() {
            let wanted = union(self.contexts.get(context).wanted(id));
            let set = self.set(context, id);
            let pins: Vec<Pin> = (set.pins.iter())
                .flat_map(|pin| wanted.iter().filter_map(|range| pin.clipped(range)))
                .collect();
            if pins != set.pins {
                self.set_mut(context, id).pins = pins;
                self.settle_discharge(context, id);
            }
            if !self.contexts.get(context).has_areas(id) {
                released.push(self.contexts.get_mut(context).sets.remove(id).source);
            }
        }
        for source in released {
            if let Source::File(file, _) = source {
                self.put_file(file);
            }
        }
    }

    pub(crate) fn set(&self, context: ContextId, id: SetId) -> &PageSet {
        self.contexts.get(context).sets.get(id)
    }

    pub(crate) fn set_mut(&mut self, context: ContextId, id: SetId) -> &mut PageSet {
        self.contexts.get_mut(context).sets.get_mut(id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pin, gaps, joined, union};
    use crate::slots::MemoryId;

    fn pin(index: u64, pages: u64, page: u64) -> Pin {
        Pin { index, pages, memory: MemoryId(0), page, generation: 0 }
    }

    #[test]
    fn pins_that_continue_each_other_are_one() {
        assert_eq!(joined(vec![pin(2, 1, 7), pin(0, 2, 5)]), [pin(0, 3, 5)]);
        assert_eq!(joined(vec![pin(0, 2, 5), pin(2, 1, 9)]), [pin(0, 2, 5), pin(2, 1, 9)]);
        assert_eq!(joined(vec![pin(0, 1, 5), pin(2, 1, 7)]), [pin(0, 1, 5), pin(2, 1, 7)]);
    }

    #[test]
    fn gaps_are_what_no_pin_covers() {
        let pins = [pin(2, 2, 0), pin(6, 1, 9)];
        assert_eq!(gaps(&pins, 0..8), [0..2, 4..6, 7..8]);
        assert_eq!(gaps(&pins, 1..6), [1..2, 4..6]);
        assert!(gaps(&pins, 2..4).is_empty());
    }

    #[test]
    fn unions_join_what_meets() {
        assert_eq!(union(vec![4..6, 0..2, 2..3, 5..9]), [0..3, 4..9]);
        assert!(union(vec![]).is_empty());
    }
}
