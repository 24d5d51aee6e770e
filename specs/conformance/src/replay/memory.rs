//! The known memory of a recorded process.
//!
//! A recorder records mappings that a handoff may use, but not those of programs, heaps and stacks.
//! If a program maps memory from there for DMA, the simulated process does not have it.

use handoff_model::abi::ids::PAGE_BYTES;
use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of addresses by their first address; disjoint, on page boundaries.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(BTreeMap<u64, u64>);

impl Known {
    /// Returns the whole pages that a range touches.
    fn pages(va: u64, length_bytes: u64) -> Range<u64> {
        let end = va.saturating_add(length_bytes).checked_next_multiple_of(PAGE_BYTES);
        va / PAGE_BYTES * PAGE_BYTES..end.unwrap_or(u64::MAX)
    }

    pub(super) fn insert(&mut self, va: u64, length_bytes: u64) {
        self.remove(va, length_bytes);
        let range = Self::pages(va, length_bytes);
        self.0.insert(range.start, range.end);
    }

    pub(super) fn remove(&mut self, va: u64, length_bytes: u64) {
        let gone = Self::pages(va, length_bytes);
        let before: Vec<(u64, u64)> =
            self.0.range(..gone.end).map(|(at, end)| (*at, *end)).collect();
        for (first, end) in before.into_iter().rev().take_while(|(_, end)| *end > gone.start) {
            self.0.remove(&first);
            if first < gone.start {
                self.0.insert(first, gone.start);
            }
            if gone.end < end {
                self.0.insert(gone.end, end);
            }
        }
    }

    /// Returns the unknown parts of a range in whole pages.
    pub(super) fn gaps(&self, va: u64, length_bytes: u64) -> Vec<Range<u64>> {
        let range = Self::pages(va, length_bytes);
        let mut gaps = Vec::new();
        let mut at = range.start;
        while at < range.end {
            match self.0.range(..=at).next_back() {
                Some((_, end)) if *end > at => at = *end,
                _ => {
                    let next = self.0.range(at..range.end).next().map_or(range.end, |(va, _)| *va);
                    gaps.push(at..next);
                    at = next;
                }
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, Range};

    #[test]
    fn ranges_are_cut_and_joined_by_page() {
        let mut known = Known::default();
        known.insert(0x1000, 0x2001);
        known.insert(0x4000, 0x1000);
        assert_eq!(known.gaps(0x1000, 0x4000), [], "two neighbours");
        known.remove(0x2fff, 1);
        assert_eq!(known.gaps(0x1000, 0x1000), []);
        assert_eq!(known.gaps(0x1001, 0x2000), vec![Range { start: 0x2000, end: 0x3000 }]);
        assert_eq!(known.gaps(0xfff, 0x5002), [0..0x1000, 0x2000..0x3000, 0x5000..0x7000]);
        known.remove(0, u64::MAX);
        assert_eq!(known.gaps(0x3000, 8), vec![Range { start: 0x3000, end: 0x4000 }]);
    }
}
