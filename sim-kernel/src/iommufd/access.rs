//! Accesses: reads, writes and pins of an address space by the kernel itself.
//!
//! An access uses at most one IOAS, which is in use while it does. The pages that it has pinned
//! stay pinned by the union rule, whatever happens to the domains. Before an area is unmapped, and
//! before the access changes to another IOAS, its owner is notified and unpins them. The accesses
//! of emulated devices pin no pages here; those of the kernel's selftests do as requested
//! (`selftest::access`).
//!
//! A read or write of user memory uses the page tables of the process that owns it, if the caller
//! is that process or the transfer is within one page. Otherwise, and for a file, it accesses the
//! pinned pages, or those that pinning would find. If a pinned page was replaced in its memory
//! object, reads return zeroes, and writes are lost.
//!
//! Mirrors `iommufd_access_*` of `drivers/iommu/iommufd/device.c`, and `iopt_pages_rw_access` and
//! `iopt_area_add_access` of `pages.c`.

use crate::iommufd::ioas::Area;
use crate::iommufd::pages::Source;
use crate::iommufd::pins::{Pin, gaps};
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::{ContextId, DeviceId, SetId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{IovaRange, ObjectId, PAGE_BYTES, Pid};
use std::collections::BTreeSet;

/// An access to an address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    pub(crate) owner: AccessOwner,
    pub(crate) ioas: Option<ObjectId>,
}

/// The user of an access.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AccessOwner {
    /// A device that the kernel emulates.
    Vfio(DeviceId),
    Mock(MockAccess),
    /// A hardware queue, with the range of its memory.
    Queue(IovaRange),
}

/// The state of an access of the selftests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MockAccess {
    /// True if created with `MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES`.
    pub(super) pins: bool,
    pub(super) next: u32,
    /// In the order of their numbers.
    pub(super) items: Vec<Item>,
}

/// Addresses whose pages an access has pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) id: u32,
    pub(super) range: IovaRange,
}

impl Access {
    /// Returns the alignment that it requires of an address space.
    pub(super) fn alignment_bytes(&self) -> u64 {
        match &self.owner {
            AccessOwner::Vfio(_) | AccessOwner::Queue(_) => PAGE_BYTES,
            AccessOwner::Mock(mock) if mock.pins => PAGE_BYTES,
            AccessOwner::Mock(_) => 1,
        }
    }

    /// Iterates over the ranges that it has pinned.
    pub(super) fn pinned(&self) -> impl Iterator<Item = IovaRange> {
        let (items, memory) = match &self.owner {
            AccessOwner::Vfio(_) => ([].as_slice(), None),
            AccessOwner::Mock(mock) => (mock.items.as_slice(), None),
            AccessOwner::Queue(memory) => ([].as_slice(), Some(*memory)),
        };
        items.iter().map(|item| item.range).chain(memory)
    }
}

/// The buffer that an access reads into or writes from.
#[derive(Debug)]
pub(super) enum Transfer<'a> {
    /// Reads from the address space into the buffer.
    Read(&'a mut [u8]),
    /// Writes the buffer to the address space.
    Write(&'a [u8]),
}

impl Transfer<'_> {
    fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Context {
    /// Iterates over the accesses to an address space.
    pub(super) fn accesses(&self, ioas: ObjectId) -> impl Iterator<Item = &Access> {
        self.objects.values().filter_map(move |object| match object {
            Object::Access(access) if access.ioas == Some(ioas) => Some(access),
            _ => None,
        })
    }

    /// Returns the sets of a range that an access has pinned.
    pub(super) fn sets_behind(&self, ioas: ObjectId, range: &IovaRange) -> Vec<SetId> {
        let met = self.ioas(ioas).map_or(&[][..], |ioas| ioas.met(range));
        met.iter().map(|area| area.set).collect()
    }
}

impl Machine {
    pub(super) fn access(&self, context: ContextId, id: ObjectId) -> &Access {
        match self.contexts.get(context).objects.get(&id) {
            Some(Object::Access(access)) => access,
            _ => unreachable!("an access lives as long as its owner"),
        }
    }

    pub(super) fn access_mut(&mut self, context: ContextId, id: ObjectId) -> &mut Access {
        match self.contexts.get_mut(context).objects.get_mut(&id) {
            Some(Object::Access(access)) => access,
            _ => unreachable!("an access lives as long as its owner"),
        }
    }

    /// Changes the IOAS of an access (`iommufd_access_change_ioas`) and returns the previous one.
    /// Fails with `EADDRINUSE` for areas that are not whole pages.
    pub(crate) fn change_access(
        &mut self,
        context: ContextId,
        id: ObjectId,
        new: Option<ObjectId>,
    ) -> Result<Option<ObjectId>, Failure> {
        let access = self.access(context, id);
        let old = access.ioas;
        if old == new {
            return Ok(old);
        }
        let alignment_bytes = access.alignment_bytes();
        if new.is_some_and(|new| !self.contexts.get(context).fits(new, alignment_bytes)) {
            return Err(fail(Errno::EADDRINUSE));
        }
        self.allocate()?;
        self.put_all(context, id);
        self.access_mut(context, id).ioas = new;
        Ok(old)
    }

    /// Unpins all pages of an access.
    pub(super) fn put_all(&mut self, context: ContextId, id: ObjectId) {
        let access = self.access(context, id);
        let Some(ioas) = access.ioas else { return };
        let table = self.contexts.get(context);
        let ranges = access.pinned();
        let sets: BTreeSet<_> = ranges.flat_map(|range| table.sets_behind(ioas, &range)).collect();
        if let AccessOwner::Mock(mock) = &mut self.access_mut(context, id).owner {
            mock.items.clear();
        }
        self.unpin(context, &sets);
    }

    /// Drops the pins of accesses that overlap an area (`iommufd_access_notify_unmap`). Returns the
    /// sets that they had pinned; the caller unpins them.
    pub(super) fn notify_unmap(
        &mut self,
        context: ContextId,
        ioas: ObjectId,
        area: &IovaRange,
    ) -> Vec<SetId> {
        let table = self.contexts.get(context);
        let pinned = table.accesses(ioas).flat_map(Access::pinned);
        let notified: Vec<IovaRange> = pinned.filter(|range| range.overlaps(area)).collect();
        if notified.is_empty() {
            return Vec::new();
        }
        let sets = notified.iter().flat_map(|range| table.sets_behind(ioas, range)).collect();
        for object in self.contexts.get_mut(context).objects.values_mut() {
            if let Object::Access(Access { owner: AccessOwner::Mock(mock), ioas: at }) = object
                && *at == Some(ioas)
            {
                mock.items.retain(|item| !item.range.overlaps(area));
            }
        }
        sets
    }

    /// Pins the pages of a range and returns them in order (`iommufd_access_pin_pages`). The caller
    /// records the range, or unpins the pages.
    ///
    /// # Errors
    ///
    /// For each slice `EINVAL` (not whole pages), `EPERM`, `EINVAL` (a dma-buf), and the errnos of
    /// pinning; `ENOENT` at a hole.
    pub(super) fn pin_for_access(
        &mut self,
        context: ContextId,
        ioas: ObjectId,
        range: &IovaRange,
        write: bool,
    ) -> SyscallResult<Vec<Pin>> {
        let (slices, reached) = self.ioas(context, ioas)?.contiguous(range);
        let mut pages = Vec::new();
        for slice in &slices {
            let end = slice.start_bytes + slice.range.length_bytes();
            let is_last = slice.range.last == range.last;
            let is_cut = !is_last && !end.is_multiple_of(PAGE_BYTES);
            if is_cut || !slice.start_bytes.is_multiple_of(PAGE_BYTES) {
                return Err(fail(Errno::EINVAL));
            }
            check_rights(slice, write)?;
            if self.set(context, slice.set).is_dma_buf() {
                return Err(fail(Errno::EINVAL));
            }
            self.allocate()?;
            self.pin(context, slice.set, slice.indices())?;
            let pins = self.set(context, slice.set).pins.iter();
            pages.extend(pins.filter_map(|pin| pin.clipped(&slice.indices())));
        }
        if reached { Ok(pages) } else { Err(fail(Errno::ENOENT)) }
    }

    /// Reads or writes a range (`iommufd_access_rw`). Bytes moved before an error stay moved.
    ///
    /// # Errors
    ///
    /// For each slice `EPERM`, `EINVAL` (a dma-buf), `EFAULT` and the errnos of pinning; `ENOENT`
    /// at a hole.
    pub(super) fn access_memory(
        &mut self,
        pid: Pid,
        (context, ioas): (ContextId, ObjectId),
        range: &IovaRange,
        slowly: bool,
        mut transfer: Transfer<'_>,
    ) -> SyscallResult<()> {
        let (slices, reached) = self.ioas(context, ioas)?.contiguous(range);
        let mut done = 0;
        for slice in &slices {
            check_rights(slice, transfer.is_write())?;
            let source = self.set(context, slice.set).source;
            if self.set(context, slice.set).is_dma_buf() {
                return Err(fail(Errno::EINVAL));
            }
            let mm = self.set(context, slice.set).owner.mm;
            let is_direct = mm == self.mm(pid) && !slowly;
            let is_page = slice.indices().count() == 1 && self.is_mm_alive(mm);
            let through_tables = matches!(source, Source::User(_)) && (is_direct || is_page);
            let length = usize::try_from(slice.range.length_bytes()).expect("a short transfer");
            let part = match &mut transfer {
                Transfer::Read(bytes) => Transfer::Read(&mut bytes[done..done + length]),
                Transfer::Write(bytes) => Transfer::Write(&bytes[done..done + length]),
            };
            if through_tables {
                self.move_by_page(context, slice, part)?;
            } else {
                self.allocate()?;
                let pages = self.pages_of(context, slice)?;
                self.move_bytes(&pages, slice.start_bytes, part);
            }
            done += length;
        }
        if reached { Ok(()) } else { Err(fail(Errno::ENOENT)) }
    }

    /// Returns the pages of a slice: the pinned ones, and for the rest those that pinning would
    /// find. Fails with `EFAULT`, `EINVAL`.
    fn pages_of(&self, context: ContextId, slice: &Area) -> SyscallResult<Vec<Pin>> {
        let set = self.set(context, slice.set);
        let range = slice.indices();
        let mut pages: Vec<Pin> = set.pins.iter().filter_map(|pin| pin.clipped(&range)).collect();
        for gap in gaps(&set.pins, range) {
            pages.extend(self.resolve(set, gap)?);
        }
        pages.sort_unstable_by_key(|pin| pin.index);
        Ok(pages)
    }

    /// Moves bytes through the pages mapped now, up to the first that is not (`copy_to_user`,
    /// `copy_from_user`).
    fn move_by_page(
        &mut self,
        context: ContextId,
        slice: &Area,
        mut transfer: Transfer<'_>,
    ) -> SyscallResult<()> {
        let mut done = 0;
        for index in slice.indices() {
            let set = self.set(context, slice.set);
            let pages = self.resolve(set, index..index + 1)?;
            let at = slice.start_bytes.max(index * PAGE_BYTES);
            let end =
                (slice.start_bytes + slice.range.length_bytes()).min((index + 1) * PAGE_BYTES);
            let length = usize::try_from(end - at).expect("within a page");
            let part = match &mut transfer {
                Transfer::Read(bytes) => Transfer::Read(&mut bytes[done..done + length]),
                Transfer::Write(bytes) => Transfer::Write(&bytes[done..done + length]),
            };
            self.move_bytes(&pages, at, part);
            done += length;
        }
        Ok(())
    }

    /// Moves bytes between pages, which cover the complete range, and a buffer; `at` is the offset
    /// from the set's first page.
    fn move_bytes(&mut self, pages: &[Pin], at: u64, mut transfer: Transfer<'_>) {
        let length = match &transfer {
            Transfer::Read(bytes) => bytes.len(),
            Transfer::Write(bytes) => bytes.len(),
        };
        let end = at + length as u64;
        for pin in pages {
            let first = at.max(pin.index * PAGE_BYTES);
            let last = end.min(pin.end() * PAGE_BYTES);
            let offset = first - pin.index * PAGE_BYTES + pin.page * PAGE_BYTES;
            let part = in_buffer(first - at)..in_buffer(last - at);
            let memory = self.memories.get(pin.memory);
            let is_current = memory.generation(pin.page) == pin.generation;
            match &mut transfer {
                Transfer::Read(bytes) if is_current => {
                    let content = memory.read(offset..offset + (last - first));
                    bytes[part].copy_from_slice(&content);
                }
                Transfer::Read(bytes) => bytes[part].fill(0),
                Transfer::Write(bytes) if is_current => {
                    self.memories.get_mut(pin.memory).write(offset, &bytes[part]);
                }
                Transfer::Write(_) => {}
            }
        }
    }
}

fn in_buffer(offset: u64) -> usize {
    usize::try_from(offset).expect("a short transfer")
}

/// Fails with `EPERM` if the area forbids the access (`check_area_prot`).
fn check_rights(slice: &Area, write: bool) -> SyscallResult<()> {
    let may = if write { slice.rights.writable } else { slice.rights.readable };
    if may { Ok(()) } else { Err(fail(Errno::EPERM)) }
}
