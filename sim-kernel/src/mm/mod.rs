//! Memory: memfds and anonymous memory.
//!
//! A memory object is what is behind a memfd or behind one anonymous mapping. It lives while a file,
//! a mapping or a pin refers to it. Its pages are told apart by index and *generation*: punching a
//! hole or cutting the file off puts pages of the next generation in place of the old ones. Pins
//! keep the old ones (K6: nothing tells the device), mappings show the new ones.
//!
//! Only bytes that were written are kept; all others read as zero. What a device writes is not
//! modelled.
//!
//! Invariants: `contents` holds no page of zeroes only and no trailing zeroes; `replaced` is sorted,
//! disjoint, of generations above 0, and neighbours of one generation are one range.
//!
//! A file that is open for reading alone is told apart from others by its kind. Nothing asks for more than
//! that when a device maps it: neither how it is open nor its seals.
//!
//! Absent: huge pages.
//!
//! Mirrors `mm/shmem.c`, `mm/memfd.c`, `fs/open.c`, `fs/read_write.c`.

pub(crate) mod accounting;
pub(crate) mod vma;

use crate::fs::File;
use crate::machine::{Machine, Placement};
use crate::syscall::refusal::{Answered, Refusal, refuse};
use crate::value::shared::Shared;
use crate::value::slots::{FileId, MemoryId, SmallId};
use handoff_model::call::Reply;
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, PAGE_BYTES, Pid, pages};
use std::collections::BTreeMap;
use std::ops::Range;

/// A memory map (`mm_struct`): the nth of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MmId {
    pub(crate) pid: Pid,
    pub(crate) generation: u8,
}

/// A memory object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    /// Of the file. Anonymous memory has its mapping's.
    pub(crate) length_bytes: u64,
    /// Anonymous: of one process, whose children have copies.
    pub(crate) is_private: bool,
    /// `F_SEAL_*`.
    seals: u32,
    /// Written bytes by page.
    contents: BTreeMap<u64, Vec<u8>>,
    replaced: Vec<Replaced>,
}

/// Pages that were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replaced {
    pages: Range<u64>,
    generation: u32,
}

/// `F_SEAL_*`: `SEAL`, `SHRINK`, `GROW`, `WRITE`, `FUTURE_WRITE`, `EXEC`.
const SEAL: u32 = 1;
const SHRINK: u32 = 2;
const GROW: u32 = 4;
const WRITE: u32 = 8;
const FUTURE_WRITE: u32 = 16;
const EXEC: u32 = 32;
const ALL_SEALS: u32 = 63;

/// The longest file (`MAX_LFS_FILESIZE`).
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// The most that one read or write moves (`MAX_RW_COUNT`).
const TRANSFER_BYTES_MAX: u64 = 0x7fff_f000;

/// The inode number of a memory object. 0 is none.
pub(crate) fn inode(memory: MemoryId) -> u64 {
    memory.index() as u64 + 1
}

impl Memory {
    /// Fresh anonymous memory of so many bytes.
    pub(crate) fn anonymous(length_bytes: u64) -> Self {
        Self { length_bytes, is_private: true, ..Self::default() }
    }

    /// The pages of a range, in runs of one generation.
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

    /// Which page is there: how often it was replaced.
    pub(crate) fn generation(&self, page: u64) -> u32 {
        self.runs(page..page + 1)[0].1
    }

    /// Puts fresh pages of zeroes there.
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

    /// Writes anywhere; the length is the caller's business.
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

    /// What is there; zeroes where nothing was written.
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

    /// `shmem_setattr`: the pages that are cut off are gone, also when the file grows again.
    fn set_length(&mut self, length_bytes: u64) -> Result<(), Refusal> {
        let seal = if length_bytes < self.length_bytes { SHRINK } else { GROW };
        if self.seals & seal != 0 && length_bytes != self.length_bytes {
            return Err(refuse(Errno::EPERM));
        }
        if length_bytes < self.length_bytes {
            self.replace(pages(length_bytes)..pages(self.length_bytes));
            self.zero(length_bytes..pages(length_bytes) * PAGE_BYTES);
        }
        self.length_bytes = length_bytes;
        Ok(())
    }

    /// Zeroes within one page, which stays the same page.
    fn zero(&mut self, range: Range<u64>) {
        let length = usize::try_from(range.end - range.start).expect("within one page");
        self.write_page(range.start / PAGE_BYTES, in_page(range.start), &vec![0; length]);
    }

    /// `shmem_fallocate`: whole pages are replaced, parts of pages zeroed.
    fn punch(&mut self, range: Range<u64>) -> Result<(), Refusal> {
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

    /// EPERM where nobody may write any more.
    pub(crate) fn check_write_seals(&self) -> Result<(), Refusal> {
        let sealed = self.seals & (WRITE | FUTURE_WRITE) != 0;
        if sealed { Err(refuse(Errno::EPERM)) } else { Ok(()) }
    }

    /// `generic_perform_write`, page by page: a file that may not grow takes what ends within it.
    fn write_at(&mut self, offset_bytes: u64, bytes: &[u8]) -> Result<u64, Refusal> {
        let end = offset_bytes.saturating_add(bytes.len() as u64).min(FILE_BYTES_MAX);
        self.check_write_seals()?;
        let would_grow = self.seals & GROW != 0 && end > self.length_bytes;
        let end = if would_grow { self.length_bytes / PAGE_BYTES * PAGE_BYTES } else { end };
        if end <= offset_bytes {
            return Err(refuse(Errno::EPERM));
        }
        let count = end - offset_bytes;
        self.write(offset_bytes, &bytes[..usize::try_from(count).expect("within the bytes")]);
        self.length_bytes = self.length_bytes.max(end);
        Ok(count)
    }
}

/// The offset within its page.
fn in_page(offset_bytes: u64) -> usize {
    usize::try_from(offset_bytes % PAGE_BYTES).expect("less than a page")
}

/// `rw_verify_area`: whether a transfer ends beyond the highest offset.
fn ends_beyond(offset_bytes: u64, length_bytes: u64) -> bool {
    offset_bytes.saturating_add(length_bytes) > FILE_BYTES_MAX
}

impl Machine {
    /// Whether a file, a mapping or a pin refers to it.
    pub(crate) fn is_memory_used(&self, id: MemoryId) -> bool {
        let open = self.is_any_open(&[File::Memfd(id), File::ReadOnlyMemfd(id)]);
        let mapped = || self.pids().any(|(_, p)| p.vmas.iter().any(|vma| vma.memory == id));
        let pinned = || self.contexts.iter().any(|(_, context)| context.pins(id));
        let in_container =
            || self.dmas().any(|(_, _, dma)| dma.pins.iter().any(|pin| pin.memory == id));
        open || mapped() || pinned() || in_container()
    }

    pub(crate) fn memory_of(&self, file: FileId) -> Option<MemoryId> {
        match *self.file(file) {
            File::Memfd(memory) | File::ReadOnlyMemfd(memory) => Some(memory),
            _ => None,
        }
    }

    /// The memfd of a descriptor. EBADF; `otherwise` where it is no memfd.
    pub(crate) fn memfd_of(
        &self,
        pid: Pid,
        fd: Fd,
        otherwise: Refusal,
    ) -> Result<MemoryId, Refusal> {
        self.memory_of(self.usable(pid, fd)?).ok_or(otherwise)
    }

    /// `memfd_create`. EMFILE.
    pub(crate) fn memfd(&mut self, pid: Pid, place: &Placement) -> Answered {
        self.atomically(|machine| {
            let memory = machine.memories.insert(Shared::default());
            machine.install_new(pid, File::Memfd(memory), place.fd).map(Reply::Fd)
        })
    }

    /// `shmem_getattr`.
    pub(crate) fn stat_memory(&self, id: MemoryId) -> Reply {
        Reply::Stat { inode: inode(id), length_bytes: self.memories.get(id).length_bytes }
    }

    /// `ftruncate`: a length that is negative before the descriptor, EINVAL for what is no file.
    pub(crate) fn truncate(&mut self, pid: Pid, fd: Fd, length_bytes: u64) -> Answered {
        if length_bytes > FILE_BYTES_MAX {
            return Err(refuse(Errno::EINVAL));
        }
        let file = self.usable(pid, fd)?;
        let File::Memfd(memory) = *self.file(file) else { return Err(refuse(Errno::EINVAL)) };
        self.memories.get_mut(memory).set_length(length_bytes)?;
        Ok(Reply::Done)
    }

    /// [`Self::add_seals`] of those that keep a file's size.
    pub(crate) fn seal_size(&mut self, pid: Pid, fd: Fd) -> Answered {
        self.add_seals(pid, fd, SHRINK | GROW)
    }

    /// `memfd_add_seals`. EPERM (read-only), EINVAL (unknown, no memfd), EPERM (sealed against seals); against
    /// writing EBUSY while it is mapped writable or pinned.
    pub(crate) fn add_seals(&mut self, pid: Pid, fd: Fd, seals: u32) -> Answered {
        let file = self.usable(pid, fd)?;
        if matches!(self.file(file), File::ReadOnlyMemfd(_)) {
            return Err(refuse(Errno::EPERM));
        }
        if seals & !ALL_SEALS != 0 {
            return Err(refuse(Errno::EINVAL));
        }
        let memory = self.memory_of(file).ok_or(refuse(Errno::EINVAL))?;
        let old = self.memories.get(memory).seals;
        if old & SEAL != 0 {
            return Err(refuse(Errno::EPERM));
        }
        let implied = if seals & EXEC == 0 { 0 } else { SHRINK | GROW | WRITE | FUTURE_WRITE };
        let new = old | seals | implied;
        if new & !old & WRITE != 0 {
            self.check_no_writer(memory)?;
        }
        self.memories.get_mut(memory).seals = new;
        Ok(Reply::Done)
    }

    /// `mapping_deny_writable`, `memfd_wait_for_pins`. EBUSY.
    fn check_no_writer(&self, memory: MemoryId) -> Answered<()> {
        if self.pids().any(|(_, p)| p.vmas.iter().any(|vma| vma.memory == memory)) {
            return Err(refuse(Errno::EBUSY));
        }
        if self.contexts.iter().any(|(_, context)| context.pins(memory)) {
            return Err(refuse(Errno::EBUSY));
        }
        Ok(())
    }

    /// `open` of a link of `/proc/self/fd`. ENOENT without the descriptor; what has no path is root's (EACCES)
    /// and cannot be opened anyhow (ENXIO).
    pub(crate) fn reopen_read_only(&mut self, pid: Pid, fd: Fd, place: &Placement) -> Answered {
        let file = self.descriptor(pid, fd).map_err(|_| refuse(Errno::ENOENT))?.file;
        if let Some(memory) = self.memory_of(file) {
            return self.install_new(pid, File::ReadOnlyMemfd(memory), place.fd).map(Reply::Fd);
        }
        match self.file(file) {
            File::Socket => Err(refuse(Errno::ENXIO)),
            _ if self.process(pid).is_privileged() => Err(refuse(Errno::ENXIO)),
            _ => Err(refuse(Errno::EACCES)),
        }
    }

    /// `vfs_fallocate`: EINVAL for an empty or negative range, ENODEV for what is no file, EFBIG.
    pub(crate) fn punch_hole(
        &mut self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Answered {
        let file = self.usable(pid, fd)?;
        if offset_bytes > FILE_BYTES_MAX || length_bytes == 0 || length_bytes > FILE_BYTES_MAX {
            return Err(refuse(Errno::EINVAL));
        }
        if matches!(self.file(file), File::ReadOnlyMemfd(_)) {
            return Err(refuse(Errno::EBADF));
        }
        let memory = self.memory_of(file).ok_or(refuse(Errno::ENODEV))?;
        let end = offset_bytes + length_bytes;
        if end > FILE_BYTES_MAX {
            return Err(refuse(Errno::EFBIG));
        }
        self.memories.get_mut(memory).punch(offset_bytes..end)?;
        Ok(Reply::Done)
    }

    /// `pwrite`: a negative offset before the descriptor, ESPIPE for what has no offsets.
    pub(crate) fn write_at(
        &mut self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> Answered {
        if offset_bytes > FILE_BYTES_MAX {
            return Err(refuse(Errno::EINVAL));
        }
        let file = self.usable(pid, fd)?;
        match *self.file(file) {
            File::ReadOnlyMemfd(_) => Err(refuse(Errno::EBADF)),
            File::Memfd(_) if bytes.is_empty() => Ok(Reply::Length(0)),
            File::Memfd(_) | File::Device(_) if ends_beyond(offset_bytes, bytes.len() as u64) => {
                Err(refuse(Errno::EINVAL))
            }
            File::Memfd(memory) => self.write_memory(memory, offset_bytes, bytes),
            File::Device(device) => {
                self.write_device(file, device, offset_bytes, bytes).map(Reply::Length)
            }
            File::Iommufd(_) | File::Kvm => Err(refuse(Errno::EINVAL)),
            File::Group(_)
            | File::Container(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::Image(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_)
            | File::Vm(_)
            | File::Vcpu(_)
            | File::KvmVfio(_)
            | File::Migration(_) => Err(refuse(Errno::ESPIPE)),
        }
    }

    /// Writes into a file; it grows where it may. EPERM where it is sealed and would.
    pub(crate) fn write_memory(
        &mut self,
        memory: MemoryId,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> Answered {
        self.memories.get_mut(memory).write_at(offset_bytes, bytes).map(Reply::Length)
    }

    /// `pread`, shorter at the end of the file.
    pub(crate) fn read_at(
        &self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Answered {
        if offset_bytes > FILE_BYTES_MAX {
            return Err(refuse(Errno::EINVAL));
        }
        let file = self.usable(pid, fd)?;
        match *self.file(file) {
            File::Memfd(_) | File::ReadOnlyMemfd(_) | File::Device(_)
                if ends_beyond(offset_bytes, length_bytes.min(TRANSFER_BYTES_MAX)) =>
            {
                Err(refuse(Errno::EINVAL))
            }
            File::Memfd(memory) | File::ReadOnlyMemfd(memory) => {
                Ok(Reply::Bytes(self.read_memory(memory, offset_bytes, length_bytes)))
            }
            File::Device(device) => {
                self.read_device(file, device, offset_bytes, length_bytes).map(Reply::Bytes)
            }
            File::Iommufd(_) | File::Kvm => Err(refuse(Errno::EINVAL)),
            File::Group(_)
            | File::Container(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::Image(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_)
            | File::Vm(_)
            | File::Vcpu(_)
            | File::KvmVfio(_)
            | File::Migration(_) => Err(refuse(Errno::ESPIPE)),
        }
    }

    pub(crate) fn read_memory(
        &self,
        memory: MemoryId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Vec<u8> {
        let memory = self.memories.get(memory);
        let rest = memory.length_bytes.saturating_sub(offset_bytes);
        let count = length_bytes.min(rest).min(TRANSFER_BYTES_MAX);
        memory.read(offset_bytes..offset_bytes + count)
    }
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
