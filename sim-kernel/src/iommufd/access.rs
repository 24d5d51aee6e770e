//! Accesses: what the kernel itself reads, writes and pins of an address space.
//!
//! An access looks into at most one IOAS, which is in use by it. What it has pinned stays pinned by
//! the union rule, whatever becomes of the domains; before an area is unmapped, and before the
//! access turns to another IOAS, its owner is told and gives its pins back. Emulated devices have
//! accesses that pin nothing here; those of the kernel's own tests do what they are asked
//! (`selftest::access`).
//!
//! A read or write goes through the page tables of the process whose memory it is, where it runs in
//! that process or is within one page; otherwise, and for a file, to the pages that are pinned, or
//! those that would be. What is behind a pin whose page was replaced reads as zeroes, and what is
//! written there is seen by nobody.
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

/// An access.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    pub(crate) owner: AccessOwner,
    pub(crate) ioas: Option<ObjectId>,
}

/// Who looks through an access.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AccessOwner {
    /// A device that the kernel emulates.
    Vfio(DeviceId),
    Mock(MockAccess),
    /// A hardware queue; its memory.
    Queue(IovaRange),
}

/// What an access of the tests is and has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MockAccess {
    /// Made with `MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES`.
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
    /// What an address space must be aligned to for it.
    pub(super) fn alignment_bytes(&self) -> u64 {
        match &self.owner {
            AccessOwner::Vfio(_) | AccessOwner::Queue(_) => PAGE_BYTES,
            AccessOwner::Mock(mock) if mock.pins => PAGE_BYTES,
            AccessOwner::Mock(_) => 1,
        }
    }

    /// What it has pinned.
    pub(super) fn pinned(&self) -> impl Iterator<Item = IovaRange> {
        let (items, memory) = match &self.owner {
            AccessOwner::Vfio(_) => ([].as_slice(), None),
            AccessOwner::Mock(mock) => (mock.items.as_slice(), None),
            AccessOwner::Queue(memory) => ([].as_slice(), Some(*memory)),
        };
        items.iter().map(|item| item.range).chain(memory)
    }
}

/// What an access moves.
#[derive(Debug)]
pub(super) enum Transfer<'a> {
    /// Out of the address space.
    Read(&'a mut [u8]),
    /// Into it.
    Write(&'a [u8]),
}

impl Transfer<'_> {
    fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Context {
    /// The accesses that look into an address space.
    pub(super) fn accesses(&self, ioas: ObjectId) -> impl Iterator<Item = &Access> {
        self.objects.values().filter_map(move |object| match object {
            Object::Access(access) if access.ioas == Some(ioas) => Some(access),
            _ => None,
        })
    }

    /// The sets behind a range that an access has pinned.
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

    /// `iommufd_access_change_ioas`: → where it looked before. EADDRINUSE for areas that are not
    /// whole pages.
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

    /// Unpins everything of an access.
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

    /// `iommufd_access_notify_unmap`: accesses drop what they have pinned of an area; → the sets
    /// that were pinned by it. The caller settles them.
    pub(super) fn notify_unmap(
        &mut self,
        context: ContextId,
        ioas: ObjectId,
        area: &IovaRange,
    ) -> Vec<SetId> {
        let table = self.contexts.get(context);
        let pinned = table.accesses(ioas).flat_map(Access::pinned);
        let told: Vec<IovaRange> = pinned.filter(|range| range.overlaps(area)).collect();
        if told.is_empty() {
            return Vec::new();
        }
        let sets = told.iter().flat_map(|range| table.sets_behind(ioas, range)).collect();
        for object in self.contexts.get_mut(context).objects.values_mut() {
            if let Object::Access(Access { owner: AccessOwner::Mock(mock), ioas: at }) = object
                && *at == Some(ioas)
            {
                mock.items.retain(|item| !item.range.overlaps(area));
            }
        }
        sets
    }

    /// `iommufd_access_pin_pages`: pins the pages behind a range; → them, in order. Slice by slice
    /// EINVAL (not whole pages), EPERM, EINVAL (a dma-buf), and what pinning says; ENOENT at a
    /// hole. The caller writes down the range, or gives the pages back.
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

    /// `iommufd_access_rw`: slice by slice EPERM, EINVAL (a dma-buf), EFAULT and what pinning says;
    /// ENOENT at a hole. What was moved before stays moved.
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

    /// The pages of a slice: pinned ones, and for the rest those that would be. EFAULT, EINVAL.
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

    /// `copy_to_user` and `copy_from_user`: whatever pages are mapped now; up to the first that is
    /// not.
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

    /// Moves bytes between pages, which cover it all, and a buffer; `at` counts from the set's
    /// first page.
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
            let is_there = memory.generation(pin.page) == pin.generation;
            match &mut transfer {
                Transfer::Read(bytes) if is_there => {
                    let content = memory.read(offset..offset + (last - first));
                    bytes[part].copy_from_slice(&content);
                }
                Transfer::Read(bytes) => bytes[part].fill(0),
                Transfer::Write(bytes) if is_there => {
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

/// `check_area_prot`. EPERM.
fn check_rights(slice: &Area, write: bool) -> SyscallResult<()> {
    let may = if write { slice.rights.writable } else { slice.rights.readable };
    if may { Ok(()) } else { Err(fail(Errno::EPERM)) }
}
