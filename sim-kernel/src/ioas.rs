//! Address spaces: where device addresses lead (`struct io_pagetable`).
//!
//! An area is a range of device addresses over a slice of a page set. Areas do not overlap; they are
//! removed whole and never split. Bounds here are inclusive (`first`, `last`).
//!
//! What constrains an address space is not stored but follows from who uses it: with a domain,
//! addresses are those of the IOMMU's aperture in whole pages; with an attached device, its reserved
//! window is out; with an access, pages are whole.
//!
//! Absent: automatic choice of addresses, ALLOW_IOVAS, `HUGE_PAGES`, dma-bufs, areas in transition
//! (EBUSY) and locked areas.
//!
//! Mirrors `drivers/iommu/iommufd/ioas.c` and `io_pagetable.c`.

use crate::account::Mode;
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::pages::{PageSet, Source};
use crate::refusal::{Answered, Refusal, refuse};
use crate::slots::{ContextId, SetId};
use crate::ucmd::Ucmd;
use handoff_model::errno::Errno;
use handoff_model::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES, Pid};
use iommufd_bindings as io;
use std::mem::offset_of;
use std::ops::Range;

/// An address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ioas {
    /// Sorted, disjoint.
    pub(crate) areas: Vec<Area>,
}

/// An area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Area {
    pub(crate) range: IovaRange,
    pub(crate) set: SetId,
    /// The first byte, counted from the first byte of the page set.
    pub(crate) start_bytes: u64,
    pub(crate) writable: bool,
}

/// What MAP and MAP_FILE have in common.
struct Mapping {
    context: ContextId,
    ioas: ObjectId,
    source: Source,
    /// The first byte, counted from the first page of the source.
    start_bytes: u64,
    length_bytes: u64,
    iova: Iova,
    way: Way,
}

/// How to map (`IOMMU_IOAS_MAP_FIXED_IOVA`, `_WRITEABLE`, `_READABLE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    writable: bool,
}

impl Way {
    /// EOPNOTSUPP (flags), EOVERFLOW (an address or a length at the top), EINVAL (neither right).
    fn of(flags: u32, values: &[u64]) -> Answered<Self> {
        const FIXED: u32 = 1;
        const WRITEABLE: u32 = 2;
        const READABLE: u32 = 4;
        if flags & !(FIXED | WRITEABLE | READABLE) != 0 || flags & FIXED == 0 {
            return Err(refuse(Errno::EOPNOTSUPP));
        }
        check_below_top(values)?;
        if flags & (WRITEABLE | READABLE) == 0 {
            return Err(refuse(Errno::EINVAL));
        }
        Ok(Self { writable: flags & WRITEABLE != 0 })
    }
}

impl Area {
    /// The pages of its set that it covers.
    pub(crate) fn indices(&self) -> Range<u64> {
        let last = self.start_bytes + (self.range.last.0 - self.range.first.0);
        self.start_bytes / PAGE_BYTES..last / PAGE_BYTES + 1
    }

    /// The part of it in a range that it meets.
    fn clipped(&self, range: &IovaRange) -> Self {
        let first = self.range.first.max(range.first);
        let start_bytes = self.start_bytes + (first.0 - self.range.first.0);
        let range = IovaRange { first, last: self.range.last.min(range.last) };
        Self { range, start_bytes, ..*self }
    }

    /// `iopt_check_iova_alignment`.
    pub(crate) fn is_aligned(&self, alignment_bytes: u64) -> bool {
        let offset = self.start_bytes % PAGE_BYTES;
        [self.range.first.0, self.range.length_bytes(), offset]
            .iter()
            .all(|value| value.is_multiple_of(alignment_bytes))
    }
}

impl Ioas {
    pub(crate) fn insert(&mut self, area: Area) {
        let at = self.areas.partition_point(|other| other.range < area.range);
        self.areas.insert(at, area);
    }

    /// Slices of areas that cover a range without a hole (`iopt_get_pages`). ENOENT.
    fn contiguous(&self, range: &IovaRange) -> Result<Vec<Area>, Refusal> {
        let met = self.areas.iter().filter(|area| area.range.overlaps(range));
        let slices: Vec<Area> = met.map(|area| area.clipped(range)).collect();
        let covered: u64 = slices.iter().map(|area| area.range.length_bytes()).sum();
        if covered == range.length_bytes() { Ok(slices) } else { Err(refuse(Errno::ENOENT)) }
    }
}

impl Context {
    /// What addresses, lengths and page offsets must be multiples of (`iopt_calculate_iova_alignment`).
    pub(crate) fn alignment_bytes(&self, ioas: ObjectId) -> u64 {
        let domains = self.domains(ioas).map(|hwpt| hwpt.iommu.io_page_bytes);
        let accesses = (self.accesses(ioas) > 0).then_some(PAGE_BYTES);
        domains.chain(accesses).max().unwrap_or(1)
    }

    /// Addresses that can be mapped: what is not reserved.
    fn allowed(&self, ioas: ObjectId) -> Vec<IovaRange> {
        let mut ranges = Vec::new();
        let mut first = Some(Iova(0));
        for reserved in self.reserved(ioas) {
            let last = reserved.first.0.checked_sub(1).map(Iova);
            let hole = first.zip(last).filter(|(first, last)| first <= last);
            ranges.extend(hole.map(|(first, last)| IovaRange { first, last }));
            let behind = reserved.last.0.checked_add(1).map(Iova);
            first = first.zip(behind).map(|(first, behind)| first.max(behind));
        }
        ranges.extend(first.map(|first| IovaRange { first, last: Iova(u64::MAX) }));
        ranges
    }

    /// Addresses that cannot be mapped, sorted; they may overlap.
    pub(crate) fn reserved(&self, ioas: ObjectId) -> Vec<IovaRange> {
        let domains = self.domains(ioas).flat_map(|hwpt| hwpt.iommu.beyond_aperture());
        let devices = self.attached(ioas).filter_map(|hardware| hardware.iommu().reserved);
        let mut reserved: Vec<IovaRange> = domains.chain(devices).collect();
        reserved.sort_unstable();
        reserved
    }
}

/// ULONG_MAX is no address and no length. EOVERFLOW.
fn check_below_top(values: &[u64]) -> Result<(), Refusal> {
    if values.contains(&u64::MAX) { Err(refuse(Errno::EOVERFLOW)) } else { Ok(()) }
}

/// The range of an address and a length. EINVAL when it is empty, EOVERFLOW when it runs over the top.
fn range(iova: Iova, length_bytes: u64) -> Result<IovaRange, Refusal> {
    if length_bytes == 0 {
        return Err(refuse(Errno::EINVAL));
    }
    IovaRange::of(iova, length_bytes).ok_or(refuse(Errno::EOVERFLOW))
}

impl Machine {
    /// `iommufd_ioas_alloc_ioctl`. EOPNOTSUPP (flags).
    pub(crate) fn ioas_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_alloc, flags)) != 0 {
            return Err(refuse(Errno::EOPNOTSUPP));
        }
        self.atomically(|machine| {
            let ioas = Object::Ioas(Ioas::default());
            let id = machine.contexts.get_mut(ucmd.context).insert(ioas);
            ucmd.respond_with(offset_of!(io::iommu_ioas_alloc, out_ioas_id), id)
        })
    }

    /// `iommufd_ioas_iova_ranges`: the holes between what is reserved. EOPNOTSUPP, ENOENT, EFAULT;
    /// EMSGSIZE after the number of ranges was told.
    pub(crate) fn iova_ranges(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        const COUNT: usize = offset_of!(io::iommu_ioas_iova_ranges, num_iovas);
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_iova_ranges, __reserved)) != 0 {
            return Err(refuse(Errno::EOPNOTSUPP));
        }
        let id = ucmd.cmd.id(offset_of!(io::iommu_ioas_iova_ranges, ioas_id));
        self.ioas(ucmd.context, id)?;
        let table = self.contexts.get(ucmd.context);
        let ranges = table.allowed(id);
        let room = ucmd.cmd.u32(COUNT) as usize;
        for (row, range) in ranges.iter().enumerate().take(room) {
            let bytes = [range.first.0.to_ne_bytes(), range.last.0.to_ne_bytes()].concat();
            let at = offset_of!(io::iommu_ioas_iova_ranges, allowed_iovas);
            ucmd.user.write_through(at, row * bytes.len(), &bytes)?;
        }
        ucmd.cmd.set_u32(COUNT, u32::try_from(ranges.len()).expect("ranges are few"));
        let alignment = offset_of!(io::iommu_ioas_iova_ranges, out_iova_alignment);
        ucmd.cmd.set_u64(alignment, table.alignment_bytes(id));
        ucmd.respond()?;
        if ranges.len() > room { Err(refuse(Errno::EMSGSIZE)) } else { Ok(()) }
    }

    /// `iommufd_ioas_map`: flags, top, rights, object, overflow of addresses, then the address space.
    pub(crate) fn ioas_map(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        const IOVA: usize = offset_of!(io::iommu_ioas_map, iova);
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_ioas_map, flags));
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_map, __reserved)) != 0 {
            return Err(refuse(Errno::EOPNOTSUPP));
        }
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map, length));
        let iova = Iova(ucmd.cmd.u64(IOVA));
        let way = Way::of(flags, &[iova.0, length_bytes])?;
        let ioas = ucmd.cmd.id(offset_of!(io::iommu_ioas_map, ioas_id));
        self.ioas(ucmd.context, ioas)?;
        let va = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map, user_va));
        va.checked_add(length_bytes).ok_or(refuse(Errno::EOVERFLOW))?;
        let source = Source::User(va - va % PAGE_BYTES);
        let start_bytes = va % PAGE_BYTES;
        let context = ucmd.context;
        let mapping = Mapping { context, ioas, source, start_bytes, length_bytes, iova, way };
        let iova = self.map(ucmd.pid, &mapping)?;
        ucmd.cmd.set_u64(IOVA, iova.0);
        ucmd.respond()
    }

    /// `iommufd_ioas_map_file`: flags, top, rights, object, empty, overflow of offsets, descriptor, then
    /// the address space. The kind of the file is not asked.
    pub(crate) fn ioas_map_file(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        const IOVA: usize = offset_of!(io::iommu_ioas_map_file, iova);
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_ioas_map_file, flags));
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map_file, length));
        let iova = Iova(ucmd.cmd.u64(IOVA));
        let way = Way::of(flags, &[iova.0, length_bytes])?;
        let ioas = ucmd.cmd.id(offset_of!(io::iommu_ioas_map_file, ioas_id));
        self.ioas(ucmd.context, ioas)?;
        if length_bytes == 0 {
            return Err(refuse(Errno::EINVAL));
        }
        let offset_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_map_file, start));
        offset_bytes.checked_add(length_bytes).ok_or(refuse(Errno::EOVERFLOW))?;
        let file = self.usable(ucmd.pid, ucmd.cmd.fd(offset_of!(io::iommu_ioas_map_file, fd)))?;
        let source = Source::File(file, offset_bytes / PAGE_BYTES);
        let start_bytes = offset_bytes % PAGE_BYTES;
        let context = ucmd.context;
        let mapping = Mapping { context, ioas, source, start_bytes, length_bytes, iova, way };
        let iova = self.map(ucmd.pid, &mapping)?;
        ucmd.cmd.set_u64(IOVA, iova.0);
        ucmd.respond()
    }

    /// A new page set and an area over all of it.
    fn map(&mut self, pid: Pid, mapping: &Mapping) -> Answered<Iova> {
        let Mapping { context, ioas, source, start_bytes, length_bytes, iova, way } = *mapping;
        if length_bytes == 0 || length_bytes > u64::MAX - PAGE_BYTES {
            return Err(refuse(Errno::EINVAL));
        }
        let table = self.contexts.get(context);
        let mode = match (self.process(pid).cap_ipc_lock, table.per_process) {
            (true, _) => Mode::Nobody,
            (false, true) => Mode::Mm,
            (false, false) => Mode::User,
        };
        let range = self.check_free(context, ioas, iova, length_bytes)?;
        let writable = way.writable;
        let set = PageSet {
            source,
            pages: (start_bytes + length_bytes).div_ceil(PAGE_BYTES),
            writable,
            owner: self.owner(pid),
            mode,
            charged: 0,
            pins: Vec::new(),
        };
        self.atomically(|machine| {
            if let Source::File(file, _) = source {
                machine.get_file(file);
            }
            let set = machine.contexts.get_mut(context).sets.insert(set);
            machine.insert_areas(context, ioas, &[Area { range, set, start_bytes, writable }])
        })?;
        Ok(range.first)
    }

    /// `iopt_check_iova`. EINVAL (alignment), EOVERFLOW, EINVAL (reserved), EEXIST.
    fn check_free(
        &self,
        context: ContextId,
        id: ObjectId,
        iova: Iova,
        length_bytes: u64,
    ) -> Result<IovaRange, Refusal> {
        let table = self.contexts.get(context);
        let alignment_bytes = table.alignment_bytes(id);
        if [length_bytes, iova.0].iter().any(|value| !value.is_multiple_of(alignment_bytes)) {
            return Err(refuse(Errno::EINVAL));
        }
        let range = range(iova, length_bytes)?;
        if table.reserved(id).iter().any(|reserved| reserved.overlaps(&range)) {
            return Err(refuse(Errno::EINVAL));
        }
        if self.ioas(context, id)?.areas.iter().any(|area| area.range.overlaps(&range)) {
            return Err(refuse(Errno::EEXIST));
        }
        Ok(range)
    }

    /// `iopt_insert_area` and `iopt_area_fill_domains`. EPERM (writable over read-only pages), EINVAL
    /// (offset within the page), and what pinning says. The caller undoes a failure.
    fn insert_areas(&mut self, context: ContextId, id: ObjectId, areas: &[Area]) -> Answered<()> {
        let alignment_bytes = self.contexts.get(context).alignment_bytes(id);
        for area in areas {
            if area.writable && !self.set(context, area.set).writable {
                return Err(refuse(Errno::EPERM));
            }
            if !(area.start_bytes % PAGE_BYTES).is_multiple_of(alignment_bytes) {
                return Err(refuse(Errno::EINVAL));
            }
            self.ioas_mut(context, id).insert(*area);
        }
        if self.contexts.get(context).has_domain(id) {
            self.pin_ioas(context, id)?;
        }
        Ok(())
    }

    fn ioas_mut(&mut self, context: ContextId, id: ObjectId) -> &mut Ioas {
        match self.contexts.get_mut(context).objects.get_mut(&id) {
            Some(Object::Ioas(ioas)) => ioas,
            _ => unreachable!("looked up before"),
        }
    }

    /// `iommufd_ioas_copy`: flags, top, rights, source object, source range, destination object, then as a
    /// map.
    pub(crate) fn ioas_copy(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        const IOVA: usize = offset_of!(io::iommu_ioas_copy, dst_iova);
        let context = ucmd.context;
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_ioas_copy, length));
        let source_iova = Iova(ucmd.cmd.u64(offset_of!(io::iommu_ioas_copy, src_iova)));
        let destination_iova = Iova(ucmd.cmd.u64(IOVA));
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_ioas_copy, flags));
        let way = Way::of(flags, &[length_bytes, source_iova.0, destination_iova.0])?;
        let source = ucmd.cmd.id(offset_of!(io::iommu_ioas_copy, src_ioas_id));
        let destination = ucmd.cmd.id(offset_of!(io::iommu_ioas_copy, dst_ioas_id));
        let from = self.ioas(context, source)?;
        let slices = from.contiguous(&range(source_iova, length_bytes)?)?;
        self.ioas(context, destination)?;
        let to = self.check_free(context, destination, destination_iova, length_bytes)?;
        let moved = |iova: Iova| Iova(iova.0 - source_iova.0 + to.first.0);
        let writable = way.writable;
        let areas: Vec<Area> = (slices.into_iter())
            .map(|area| {
                let Area { range: IovaRange { first, last }, .. } = area;
                let range = IovaRange { first: moved(first), last: moved(last) };
                Area { range, writable, ..area }
            })
            .collect();
        self.atomically(|machine| machine.insert_areas(context, destination, &areas))?;
        ucmd.cmd.set_u64(IOVA, to.first.0);
        ucmd.respond()
    }

    /// `iommufd_ioas_unmap`. Whole areas only, in order; those before one that is not inside the range
    /// are gone when it says ENOENT.
    pub(crate) fn ioas_unmap(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        const LENGTH: usize = offset_of!(io::iommu_ioas_unmap, length);
        let context = ucmd.context;
        let id = ucmd.cmd.id(offset_of!(io::iommu_ioas_unmap, ioas_id));
        let iova = Iova(ucmd.cmd.u64(offset_of!(io::iommu_ioas_unmap, iova)));
        let length_bytes = ucmd.cmd.u64(LENGTH);
        self.ioas(context, id)?;
        let everything = IovaRange { first: Iova(0), last: Iova(u64::MAX) };
        let is_everything = (iova.0, length_bytes) == (0, u64::MAX);
        let range = if is_everything {
            everything
        } else {
            check_below_top(&[iova.0, length_bytes])?;
            range(iova, length_bytes)?
        };
        let areas = self.ioas(context, id)?.areas.iter().map(|area| area.range);
        let met: Vec<IovaRange> = areas.filter(|area| area.overlaps(&range)).collect();
        let whole: Vec<IovaRange> =
            met.iter().take_while(|area| range.contains(area)).copied().collect();
        self.remove_areas(context, id, &whole);
        if whole.len() < met.len() || (whole.is_empty() && !is_everything) {
            return Err(refuse(Errno::ENOENT));
        }
        ucmd.cmd.set_u64(LENGTH, whole.iter().map(IovaRange::length_bytes).sum());
        ucmd.respond()
    }

    fn remove_areas(&mut self, context: ContextId, id: ObjectId, ranges: &[IovaRange]) {
        if ranges.is_empty() {
            return;
        }
        self.ioas_mut(context, id).areas.retain(|area| !ranges.contains(&area.range));
        self.unpin_unwanted(context);
        self.reclaim();
    }
}
