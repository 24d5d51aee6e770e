//! Pins: runs of pages, located in a page set and in the memory object that they were found in.
//!
//! Invariants of a set's pins: they are sorted and disjoint, and contiguous ones are joined.

use crate::mm::inode;
use crate::value::MemoryId;
use handoff_model::abi::view::{PageRef, PageRun};
use std::ops::Range;

/// Pages that are contiguous both in the set and in memory. Unpinned pages are represented alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pin {
    /// Index of the first page in the set.
    pub(crate) index: u64,
    pub(crate) pages: u64,
    pub(crate) memory: MemoryId,
    /// Index of the first page in the memory object.
    pub(super) page: u64,
    pub(super) generation: u32,
}

impl Pin {
    pub(crate) fn end(&self) -> u64 {
        self.index + self.pages
    }

    pub(crate) fn run(&self) -> PageRun {
        let Self { memory, page, generation, pages, .. } = *self;
        PageRun { first: PageRef { inode: inode(memory), index: page, generation }, pages }
    }

    /// Returns the part within `range`.
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

/// Returns the pins sorted, with contiguous ones joined.
pub(super) fn joined(mut pins: Vec<Pin>) -> Vec<Pin> {
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

/// Returns the parts of `wanted` that no pin covers.
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

/// Returns the union of ranges: sorted, disjoint.
pub(super) fn union(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
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

#[cfg(test)]
mod tests {
    use super::{MemoryId, Pin, gaps, joined, union};

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
