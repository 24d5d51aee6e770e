//! Memory objects: their pages, contents and lengths.
//!
//! A memory object holds the pages of a memfd or of one anonymous mapping. It lives while a file, a
//! mapping or a pin refers to it. A page is identified by its index and *generation*: punching a
//! hole or truncating the file replaces pages by those of the next generation. Pins keep the old
//! pages (H6: the device is not notified), mappings show the new ones.
//!
//! Only written bytes are stored; all others read as zero. Writes of a device are not modelled.
//!
//! Invariants: `contents` has no all-zero page and no trailing zeroes; `replaced` is sorted and
//! disjoint, its generations are above 0, and adjacent ranges of one generation are joined.
//!
//! Absent: huge pages.
//!
//! Mirrors `mm/shmem.c`.

use crate::fs::FILE_BYTES_MAX;
use crate::syscall::{Failure, fail};
use crate::value::{MemoryId, SmallId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{PAGE_BYTES, pages};
use std::collections::BTreeMap;
use std::ops::Range;

/// A memory object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    /// Length of the file in bytes; for anonymous memory, that of its mapping.
    pub(crate) length_bytes: u64,
    /// True if anonymous: it belongs to one process, and a forked child gets a copy.
    pub(crate) is_private: bool,
    /// `F_SEAL_*`.
    pub(super) seals: u32,
    /// Written bytes by page.
    contents: BTreeMap<u64, Vec<u8>>,
    replaced: Vec<Replaced>,
}

/// A range of pages that were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replaced {
    pages: Range<u64>,
    generation: u32,
}

/// `F_SEAL_*`: `SEAL`, `SHRINK`, `GROW`, `WRITE`, `FUTURE_WRITE`, `EXEC`.
pub(super) const SEAL: u32 = 1;
pub(super) const SHRINK: u32 = 2;
pub(super) const GROW: u32 = 4;
pub(super) const WRITE: u32 = 8;
pub(super) const FUTURE_WRITE: u32 = 16;
pub(super) const EXEC: u32 = 32;
pub(super) const ALL_SEALS: u32 = 63;

/// Returns the inode number of a memory object, which is never 0.
pub(crate) fn inode(memory: MemoryId) -> u64 {
    memory.index() as u64 + 1
}

impl Memory {
    /// Creates anonymous memory of a length in bytes.
    pub(super) fn anonymous(length_bytes: u64) -> Self {
        Self { length_bytes, is_private: true, ..Self::default() }
    }

    /// Returns the pages of a range, in runs of one generation.
    pub(crate) fn runs(&self, range: Range<u64>) -> Vec<(Range<u64>, u32)> {
        let mut runs = Vec::new();
        let mut at = range.start;
        for replaced in &self.replaced {
            let (first, end) =
                (replaced.pages.start.max(range.start), replaced.pages.end.min(range.end));
            if first < end {
                if at < first {
                    runs.push((at..first, 0));
                }
                runs.push((first..end, replaced.generation));
                at = end;
            }
        }
        if at < range.end {
            runs.push((at..range.end, 0));
        }
        runs
    }

    /// Returns how often a page was replaced.
    pub(crate) fn generation(&self, page: u64) -> u32 {
        self.runs(page..page + 1)[0].1
    }

    /// Replaces pages by fresh zero pages, of the next generation.
    fn replace(&mut self, range: Range<u64>) {
        let before = self.runs(0..range.start);
        let within = self.runs(range.clone());
        let after = self.runs(range.end..u64::MAX);
        let next = within.into_iter().map(|(pages, generation)| (pages, generation + 1));
        self.replaced.clear();
        for (pages, generation) in before.into_iter().chain(next).chain(after) {
            match self.replaced.last_mut() {
                Some(last) if last.pages.end == pages.start && last.generation == generation => {
                    last.pages.end = pages.end;
                }
                _ => self.replaced.push(Replaced { pages, generation }),
            }
        }
        self.replaced.retain(|replaced| replaced.generation > 0 && !replaced.pages.is_empty());
        self.contents.retain(|page, _| !range.contains(page));
    }

    /// Writes within one page.
    fn write_page(&mut self, page: u64, at: usize, bytes: &[u8]) {
        let mut content = self.contents.remove(&page).unwrap_or_default();
        content.resize(content.len().max(at + bytes.len()), 0);
        content[at..at + bytes.len()].copy_from_slice(bytes);
        let length = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        content.truncate(length);
        if !content.is_empty() {
            self.contents.insert(page, content);
        }
    }

    /// Writes across pages; the caller adjusts the length.
    pub(crate) fn write(&mut self, offset_bytes: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let offset = offset_bytes + done as u64;
            let at = in_page(offset);
            let count = (bytes.len() - done).min(in_page(u64::MAX) + 1 - at);
            self.write_page(offset / PAGE_BYTES, at, &bytes[done..done + count]);
            done += count;
        }
    }

    /// Reads a range of bytes; those never written are zero.
    pub(crate) fn read(&self, range: Range<u64>) -> Vec<u8> {
        let length = usize::try_from(range.end - range.start).expect("one transfer");
        let mut bytes = vec![0; length];
        let first = range.start / PAGE_BYTES;
        for (page, content) in self.contents.range(first..range.end.div_ceil(PAGE_BYTES)) {
            for (offset, byte) in (page * PAGE_BYTES..).zip(content) {
                if range.contains(&offset) {
                    bytes[usize::try_from(offset - range.start).expect("one transfer")] = *byte;
                }
            }
        }
        bytes
    }

    /// Sets the length (`shmem_setattr`). Truncated pages are dropped for good, even if the file
    /// grows again.
    pub(super) fn set_length(&mut self, length_bytes: u64) -> Result<(), Failure> {
        let seal = if length_bytes < self.length_bytes { SHRINK } else { GROW };
        if self.seals & seal != 0 && length_bytes != self.length_bytes {
            return Err(fail(Errno::EPERM));
        }
        if length_bytes < self.length_bytes {
            self.replace(pages(length_bytes)..pages(self.length_bytes));
            self.zero(length_bytes..pages(length_bytes) * PAGE_BYTES);
        }
        self.length_bytes = length_bytes;
        Ok(())
    }

    /// Zeroes bytes within one page, which stays the same page.
    fn zero(&mut self, range: Range<u64>) {
        let length = usize::try_from(range.end - range.start).expect("within one page");
        self.write_page(range.start / PAGE_BYTES, in_page(range.start), &vec![0; length]);
    }

    /// Punches a hole (`shmem_fallocate`): complete pages are replaced, partial ones zeroed.
    pub(super) fn punch(&mut self, range: Range<u64>) -> Result<(), Failure> {
        self.check_write_seals()?;
        self.punch_pages(range);
        Ok(())
    }

    fn punch_pages(&mut self, range: Range<u64>) {
        let (first, end) = (pages(range.start), range.end / PAGE_BYTES);
        if first > end {
            return self.zero(range);
        }
        self.zero(range.start..first * PAGE_BYTES);
        self.zero(end * PAGE_BYTES..range.end);
        if first < end {
            self.replace(first..end);
        }
    }

    /// Fails with `EPERM` if a seal forbids writing.
    pub(super) fn check_write_seals(&self) -> Result<(), Failure> {
        let sealed = self.seals & (WRITE | FUTURE_WRITE) != 0;
        if sealed { Err(fail(Errno::EPERM)) } else { Ok(()) }
    }

    /// Writes page by page (`generic_perform_write`): a file sealed against growing accepts only
    /// the pages that end within it.
    pub(super) fn write_at(&mut self, offset_bytes: u64, bytes: &[u8]) -> Result<u64, Failure> {
        let end = offset_bytes.saturating_add(bytes.len() as u64).min(FILE_BYTES_MAX);
        self.check_write_seals()?;
        let would_grow = self.seals & GROW != 0 && end > self.length_bytes;
        let end = if would_grow { self.length_bytes / PAGE_BYTES * PAGE_BYTES } else { end };
        if end <= offset_bytes {
            return Err(fail(Errno::EPERM));
        }
        let count = end - offset_bytes;
        self.write(offset_bytes, &bytes[..usize::try_from(count).expect("within the bytes")]);
        self.length_bytes = self.length_bytes.max(end);
        Ok(count)
    }
}

/// Returns the offset within its page.
fn in_page(offset_bytes: u64) -> usize {
    usize::try_from(offset_bytes % PAGE_BYTES).expect("less than a page")
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[track_caller]
    fn check(punched: &[std::ops::Range<u64>], expected: &[(std::ops::Range<u64>, u32)]) {
        let mut memory = Memory::default();
        for range in punched {
            memory.replace(range.clone());
        }
        assert_eq!(memory.runs(0..10), expected);
    }

    #[test]
    fn generations_count_how_often_a_page_was_replaced() {
        check(&[], &[(0..10, 0)]);
        check(&[2..4, 8..8], &[(0..2, 0), (2..4, 1), (4..10, 0)]);
        check(&[2..4, 4..6], &[(0..2, 0), (2..6, 1), (6..10, 0)]);
        check(&[2..4, 3..6], &[(0..2, 0), (2..3, 1), (3..4, 2), (4..6, 1), (6..10, 0)]);
        check(&[0..10, 0..10], &[(0..10, 2)]);
    }

    #[test]
    fn bytes_are_kept_across_pages_and_zeroes_are_not() {
        let mut memory = Memory::default();
        assert_eq!(memory.write_at(4094, &[1, 2, 3, 4]), Ok(4));
        assert_eq!(memory.read(4093..4099), [0, 1, 2, 3, 4, 0]);
        memory.write(4094, &[0; 4]);
        assert!(memory.contents.is_empty());
    }
}
