//! MAP, MAP_FILE, COPY and UNMAP: areas of an address space.
//!
//! A map creates a page set and an area over all of it; a copy creates areas over existing sets. If
//! the address space has a domain, the pages are pinned at once, and if that fails, the call has no
//! effect. Without a domain the source is not validated (lazy), not even the kind of file.
//!
//! If the result cannot be written to the caller, the mapping stays, as in Linux. UNMAP removes
//! whole areas, in order, and stops at the first that it may not remove: the areas before it are
//! gone then, and their length is not returned.
//!
//! Mirrors `drivers/iommu/iommufd/ioas.c`, and `iopt_map_pages`, `iopt_unmap_iova_range` and their
//! callees in `io_pagetable.c`.

use crate::iommufd::ioas::{Area, AreaRights, EVERYTHING};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::iova::{IovaRequest, range};
use crate::iommufd::pages::{PageSet, Source};
use crate::machine::Machine;
use crate::mm::Mode;
use crate::syscall::{SyscallResult, fail};
use crate::value::{ContextId, SetId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, PAGE_BYTES, Pid};
use iommufd_bindings as io;
use std::collections::BTreeSet;
use std::mem::offset_of;

/// `MOCK_FLAGS_ACCESS_SYZ`: an address is given as the number of an area and an offset.
pub(super) const BY_AREA: u32 = 1 << 16;

/// The flags of a map (`IOMMU_IOAS_MAP_FIXED_IOVA`, `_WRITEABLE`, `_READABLE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MapOptions {
    fixed: bool,
    rights: AreaRights,
}

impl MapOptions {
    /// Decodes flags and checks values. Fails with `EOPNOTSUPP` (flags), `EOVERFLOW` (a value of
    /// `ULONG_MAX`), `EINVAL` (neither right).
    fn of(flags: u32, values: &[u64]) -> SyscallResult<Self> {
        const FIXED: u32 = 1;
        const WRITEABLE: u32 = 2;
        const READABLE: u32 = 4;
        if flags & !(FIXED | WRITEABLE | READABLE) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        check_below_top(values)?;
        let has = |flag| flags & flag != 0;
        if !has(WRITEABLE | READABLE) {
            return Err(fail(Errno::EINVAL));
        }
        let rights = AreaRights { readable: has(READABLE), writable: has(WRITEABLE) };
        Ok(Self { fixed: has(FIXED), rights })
    }

    fn iova_request(self, iova: Iova, source_address: u64) -> IovaRequest {
        if self.fixed { IovaRequest::Fixed(iova) } else { IovaRequest::Like(source_address) }
    }
}

/// Fails with `EOVERFLOW` if a value is `ULONG_MAX`, which is neither an address nor a length.
fn check_below_top(values: &[u64]) -> SyscallResult<()> {
    if values.contains(&u64::MAX) { Err(fail(Errno::EOVERFLOW)) } else { Ok(()) }
}

/// The memory that a map is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    source: Source,
    /// Offset of the first byte from the first page of the source.
    start_bytes: u64,
    length_bytes: u64,
}

impl Origin {
    /// Returns the memory at addresses of the caller. Fails with `EOVERFLOW`.
    pub(super) fn of_memory(va: u64, length_bytes: u64) -> SyscallResult<Self> {
        va.checked_add(length_bytes).ok_or(fail(Errno::EOVERFLOW))?;
        let start_bytes = va % PAGE_BYTES;
        Ok(Self { source: Source::User(va - start_bytes), start_bytes, length_bytes })
    }

    /// Returns the address from which the alignment of a chosen IOVA is taken.
    fn address(&self) -> u64 {
        self.start_bytes
            + match self.source {
                Source::User(va) => va,
                Source::File(_, page) | Source::DmaBuf(_, page) => page * PAGE_BYTES,
            }
    }
}

impl Machine {
    /// Handles `iommufd_ioas_map`. Checks, in this order: flags, values of `ULONG_MAX`, rights, the
    /// IOAS, overflow of addresses, then as [`Self::map`].
    pub(super) fn ioas_map(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const IOVA: usize = offset_of!(io::iommu_ioas_map, iova);
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_ioas_map, flags));
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_map, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map, length));
        let iova = Iova(ucmd.cmd.u64(IOVA));
        let options = MapOptions::of(flags, &[iova.0, length_bytes])?;
        let ioas = ucmd.cmd.id(offset_of!(io::iommu_ioas_map, ioas_id));
        self.ioas(ucmd.context, ioas)?;
        let va = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map, user_va));
        let origin = Origin::of_memory(va, length_bytes)?;
        let iova_request = options.iova_request(iova, origin.address());
        let iova =
            self.map(ucmd.pid, (ucmd.context, ioas), &origin, iova_request, options.rights)?;
        ucmd.cmd.set_u64(IOVA, iova.0);
        ucmd.respond()
    }

    /// Handles `iommufd_ioas_map_file`. Checks, in this order: flags, values of `ULONG_MAX`,
    /// rights, the IOAS, empty length, overflow of offsets, the descriptor, then as [`Self::map`].
    /// The kind of file is not checked, except for a dma-buf. Release 6.13 leaks a reference to the
    /// IOAS if there is no file.
    pub(super) fn ioas_map_file(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const IOVA: usize = offset_of!(io::iommu_ioas_map_file, iova);
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_ioas_map_file, flags));
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map_file, length));
        let iova = Iova(ucmd.cmd.u64(IOVA));
        let options = MapOptions::of(flags, &[iova.0, length_bytes])?;
        let ioas = ucmd.cmd.id(offset_of!(io::iommu_ioas_map_file, ioas_id));
        self.ioas(ucmd.context, ioas)?;
        let offset_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map_file, start));
        let last_byte = range(Iova(offset_bytes), length_bytes)?.last.0;
        let fd = ucmd.cmd.fd(offset_of!(io::iommu_ioas_map_file, fd));
        if self.profile.leaks_ioas() && self.usable(ucmd.pid, fd).is_err() {
            self.ioas_mut(ucmd.context, ioas).is_leaked = true;
        }
        let source = self.file_source(ucmd.pid, fd, offset_bytes, last_byte)?;
        let origin = Origin { source, start_bytes: offset_bytes % PAGE_BYTES, length_bytes };
        let iova_request = options.iova_request(iova, offset_bytes);
        let iova =
            self.map(ucmd.pid, (ucmd.context, ioas), &origin, iova_request, options.rights)?;
        ucmd.cmd.set_u64(IOVA, iova.0);
        ucmd.respond()
    }

    /// Returns the source for a file. Fails with `EBADF`; for a dma-buf also with `EINVAL` (beyond
    /// its end), `ENODEV` (revoked).
    fn file_source(
        &self,
        pid: Pid,
        fd: Fd,
        offset_bytes: u64,
        last_byte: u64,
    ) -> SyscallResult<Source> {
        let file = self.usable(pid, fd)?;
        let page = offset_bytes / PAGE_BYTES;
        match self.dma_buf(file) {
            Some(buffer) if self.profile.maps_dma_bufs() => {
                if buffer.length_bytes <= last_byte {
                    return Err(fail(Errno::EINVAL));
                }
                if buffer.revoked {
                    return Err(fail(Errno::ENODEV));
                }
                Ok(Source::DmaBuf(file, page))
            }
            _ => Ok(Source::File(file, page)),
        }
    }

    /// Creates a page set and an area over all of it. Fails with `EINVAL` for an invalid length,
    /// then as choosing an address and inserting areas.
    pub(super) fn map(
        &mut self,
        pid: Pid,
        (context, ioas): (ContextId, ObjectId),
        origin: &Origin,
        iova_request: IovaRequest,
        rights: AreaRights,
    ) -> SyscallResult<Iova> {
        let Origin { source, start_bytes, length_bytes } = *origin;
        if length_bytes == 0 || length_bytes > u64::MAX - PAGE_BYTES {
            return Err(fail(Errno::EINVAL));
        }
        self.allocate()?;
        self.allocate()?;
        let table = self.contexts.get(context);
        let range = table.place(ioas, iova_request, length_bytes)?;
        let free = self.process(pid).cap_ipc_lock || matches!(source, Source::DmaBuf(..));
        let set = PageSet {
            source,
            pages: (start_bytes + length_bytes).div_ceil(PAGE_BYTES),
            writable: rights.writable,
            owner: self.owner(pid),
            mode: match (free, table.per_process) {
                (true, _) => Mode::None,
                (false, true) => Mode::Mm,
                (false, false) => Mode::User,
            },
            charged: 0,
            pins: Vec::new(),
        };
        if let Some(file) = source.file() {
            self.get_file(file);
        }
        let set = self.contexts.get_mut(context).sets.insert(set);
        self.insert_areas(context, ioas, &[Area { range, set, start_bytes, rights }])?;
        Ok(range.first)
    }

    /// Inserts areas, all or none (`iopt_insert_area`, `iopt_area_fill_domains`). Fails with
    /// `EPERM` (writable over read-only pages), `EINVAL` (offset within the page), and with the
    /// errnos of pinning.
    fn insert_areas(
        &mut self,
        context: ContextId,
        id: ObjectId,
        areas: &[Area],
    ) -> SyscallResult<()> {
        let inserted = self.try_insert_areas(context, id, areas);
        if inserted.is_err() {
            let is_new = |area: &Area| areas.iter().any(|new| new.range == area.range);
            self.ioas_mut(context, id).areas.retain(|area| !is_new(area));
            self.unpin(context, &areas.iter().map(|area| area.set).collect());
        }
        inserted
    }

    fn try_insert_areas(
        &mut self,
        context: ContextId,
        id: ObjectId,
        areas: &[Area],
    ) -> SyscallResult<()> {
        let alignment_bytes = self.contexts.get(context).alignment_bytes(id);
        for area in areas {
            if area.rights.writable && !self.set(context, area.set).writable {
                return Err(fail(Errno::EPERM));
            }
            if !(area.start_bytes % PAGE_BYTES).is_multiple_of(alignment_bytes) {
                return Err(fail(Errno::EINVAL));
            }
            self.ioas_mut(context, id).insert(*area);
        }
        if self.contexts.get(context).has_domain(id) {
            self.pin_areas(context, areas)?;
        }
        Ok(())
    }

    /// Handles `iommufd_ioas_copy`. Checks, in this order: flags, values of `ULONG_MAX`, rights,
    /// the source IOAS, the source range, the destination IOAS, then as a map.
    pub(super) fn ioas_copy(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const FLAGS: usize = offset_of!(io::iommu_ioas_copy, flags);
        const SOURCE_IOVA: usize = offset_of!(io::iommu_ioas_copy, src_iova);
        const IOVA: usize = offset_of!(io::iommu_ioas_copy, dst_iova);
        let context = ucmd.context;
        let source = ucmd.cmd.id(offset_of!(io::iommu_ioas_copy, src_ioas_id));
        if ucmd.cmd.u32(FLAGS) & BY_AREA != 0 {
            ucmd.cmd.set_u32(FLAGS, ucmd.cmd.u32(FLAGS) & !BY_AREA);
            if let Some(iova) = self.iova_by_area(context, source, ucmd.cmd.u64(SOURCE_IOVA)) {
                ucmd.cmd.set_u64(SOURCE_IOVA, iova.0);
            }
        }
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_copy, length));
        let source_iova = Iova(ucmd.cmd.u64(SOURCE_IOVA));
        let destination_iova = Iova(ucmd.cmd.u64(IOVA));
        let options = MapOptions::of(
            ucmd.cmd.u32(FLAGS),
            &[length_bytes, source_iova.0, destination_iova.0],
        )?;
        let destination = ucmd.cmd.id(offset_of!(io::iommu_ioas_copy, dst_ioas_id));
        let from = self.ioas(context, source)?;
        let (slices, true) = from.contiguous(&range(source_iova, length_bytes)?) else {
            return Err(fail(Errno::ENOENT));
        };
        slices.iter().try_for_each(|_| self.allocate())?;
        self.ioas(context, destination)?;
        slices.iter().try_for_each(|_| self.allocate())?;
        let first = Origin {
            source: self.set(context, slices[0].set).source,
            start_bytes: slices[0].start_bytes,
            length_bytes,
        };
        let iova_request = options.iova_request(destination_iova, first.address());
        let to = self.contexts.get(context).place(destination, iova_request, length_bytes)?;
        let moved = |iova: Iova| Iova(iova.0 - source_iova.0 + to.first.0);
        let areas: Vec<Area> = (slices.into_iter())
            .map(|area| {
                let Area { range: IovaRange { first, last }, .. } = area;
                let range = IovaRange { first: moved(first), last: moved(last) };
                Area { range, rights: options.rights, ..area }
            })
            .collect();
        self.insert_areas(context, destination, &areas)?;
        ucmd.cmd.set_u64(IOVA, to.first.0);
        ucmd.respond()
    }

    /// Returns the address of the nth area plus an offset (`__iommufd_test_syz_conv_iova`); 0 if
    /// there is no such area, `None` if there is no such address space.
    pub(super) fn iova_by_area(
        &self,
        context: ContextId,
        ioas: ObjectId,
        coded: u64,
    ) -> Option<Iova> {
        let (nth, offset) = (coded & u64::from(u32::MAX), coded >> 32);
        let areas = &self.contexts.get(context).ioas(ioas)?.areas;
        let area = areas.get(usize::try_from(nth).expect("32 bits"));
        Some(area.map_or(Iova(0), |area| Iova(area.range.first.0.wrapping_add(offset))))
    }

    /// Handles `iommufd_ioas_unmap`. Checks, in this order: the IOAS, values of `ULONG_MAX`, empty
    /// length, overflow, then area by area.
    pub(super) fn ioas_unmap(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const LENGTH: usize = offset_of!(io::iommu_ioas_unmap, length);
        let id = ucmd.cmd.id(offset_of!(io::iommu_ioas_unmap, ioas_id));
        let iova = Iova(ucmd.cmd.u64(offset_of!(io::iommu_ioas_unmap, iova)));
        let length_bytes = ucmd.cmd.u64(LENGTH);
        self.ioas(ucmd.context, id)?;
        let is_everything = (iova.0, length_bytes) == (0, u64::MAX);
        let range = if is_everything {
            EVERYTHING
        } else {
            check_below_top(&[iova.0, length_bytes])?;
            range(iova, length_bytes)?
        };
        let (unmapped_bytes, done) = self.unmap(ucmd.context, id, &range);
        done?;
        if unmapped_bytes == 0 && !is_everything {
            return Err(fail(Errno::ENOENT));
        }
        ucmd.cmd.set_u64(LENGTH, unmapped_bytes);
        ucmd.respond()
    }

    /// Unmaps the areas in a range and returns the number of bytes unmapped
    /// (`iopt_unmap_iova_range`). Accesses first unpin the pages that they have pinned through an
    /// area.
    ///
    /// # Errors
    ///
    /// `EBUSY` at an area that a hardware queue needs, `ENOENT` at one that is not inside the
    /// range; the areas before it are unmapped.
    pub(super) fn unmap(
        &mut self,
        context: ContextId,
        id: ObjectId,
        range: &IovaRange,
    ) -> (u64, SyscallResult<()>) {
        let table = self.contexts.get(context);
        let met = table.ioas(id).expect("looked up before").met(range);
        let is_removable =
            |area: &&Area| range.contains(&area.range) && !table.is_locked(id, &area.range);
        let whole = met.iter().take_while(is_removable).count();
        let done = match met.get(whole) {
            None => Ok(()),
            Some(area) if table.is_locked(id, &area.range) => Err(fail(Errno::EBUSY)),
            Some(_) => Err(fail(Errno::ENOENT)),
        };
        let removed: Vec<Area> = met[..whole].to_vec();
        let mut sets: BTreeSet<SetId> = removed.iter().map(|area| area.set).collect();
        for area in &removed {
            sets.extend(self.notify_unmap(context, id, &area.range));
        }
        if let (Some(first), Some(last)) = (removed.first(), removed.last()) {
            let range = IovaRange { first: first.range.first, last: last.range.last };
            self.ioas_mut(context, id).areas.retain(|area| !range.contains(&area.range));
            self.forget_dirty(context, id, &range);
            self.unpin(context, &sets);
            self.reclaim();
        }
        let lengths = removed.iter().map(|area| area.range.length_bytes());
        (lengths.fold(0, u64::wrapping_add), done)
    }
}
