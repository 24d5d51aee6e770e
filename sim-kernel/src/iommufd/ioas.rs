//! Address spaces: the mapping of device addresses to page sets (`struct io_pagetable`).
//!
//! An area is a range of device addresses over a slice of a page set. Areas do not overlap. Bounds
//! here are inclusive (`first`, `last`).
//!
//! The constraints of an address space are not stored but derived from its users. A domain limits
//! it to the domain's aperture, in whole pages of its IOMMU; an attached device excludes its
//! reserved window; an access that pins, and disabled huge pages, require whole CPU pages.
//!
//! Mirrors `drivers/iommu/iommufd/ioas.c` and `io_pagetable.c`.

use crate::iommufd::access::Access;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::iova::holes;
use crate::iommufd::pins::Pin;
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::syscall::{Failure, Fields, SyscallResult, fail};
use crate::value::{ContextId, SetId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use handoff_model::abi::view::PageRef;
use iommufd_bindings as io;
use std::mem::offset_of;
use std::ops::Range;

/// An address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ioas {
    /// Sorted, disjoint.
    pub(crate) areas: Vec<Area>,
    /// Ranges from which the kernel chooses addresses; if empty, all. Sorted, disjoint.
    pub(super) allowed: Vec<IovaRange>,
    /// Ranges that a selftest reserved explicitly, sorted.
    pub(super) reserved: Vec<IovaRange>,
    /// `disable_large_pages`: areas can be split while a domain maps them.
    pub(super) small_pages: bool,
    /// True if a reference to it was leaked, so that it can never be destroyed (6.13).
    pub(super) is_leaked: bool,
}

/// A range of device addresses over a slice of a page set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Area {
    pub(crate) range: IovaRange,
    pub(crate) set: SetId,
    /// Offset of its first byte in the page set.
    pub(crate) start_bytes: u64,
    pub(super) rights: AreaRights,
}

/// The accesses that devices may make in an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AreaRights {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// All addresses.
pub(super) const EVERYTHING: IovaRange = IovaRange { first: Iova(0), last: Iova(u64::MAX) };

impl Area {
    /// Returns the indices of the pages of its set that it covers.
    pub(crate) fn indices(&self) -> Range<u64> {
        let last = self.start_bytes + (self.range.last.0 - self.range.first.0);
        self.start_bytes / PAGE_BYTES..last / PAGE_BYTES + 1
    }

    /// Returns the part within a range that it overlaps.
    pub(super) fn clipped(&self, range: &IovaRange) -> Self {
        let first = self.range.first.max(range.first);
        let start_bytes = self.start_bytes + (first.0 - self.range.first.0);
        let range = IovaRange { first, last: self.range.last.min(range.last) };
        Self { range, start_bytes, ..*self }
    }

    /// Returns true if the area is aligned (`iopt_check_iova_alignment`).
    pub(super) fn is_aligned(&self, alignment_bytes: u64) -> bool {
        let offset = self.start_bytes % PAGE_BYTES;
        [self.range.first.0, self.range.length_bytes(), offset]
            .iter()
            .all(|value| value.is_multiple_of(alignment_bytes))
    }
}

impl Ioas {
    pub(super) fn insert(&mut self, area: Area) {
        let at = self.areas.partition_point(|other| other.range < area.range);
        self.areas.insert(at, area);
    }

    /// Returns the areas that overlap a range.
    pub(super) fn met(&self, range: &IovaRange) -> &[Area] {
        let first = self.areas.partition_point(|area| area.range.last < range.first);
        let end = self.areas.partition_point(|area| area.range.first <= range.last);
        self.areas.get(first..end).unwrap_or_default()
    }

    /// Returns slices of the areas that cover a range from its start, up to the first hole, and
    /// whether they cover all of it (`iopt_for_each_contig_area`).
    pub(super) fn contiguous(&self, range: &IovaRange) -> (Vec<Area>, bool) {
        let mut next = Some(range.first);
        let mut slices = Vec::new();
        for area in self.met(range).iter().map(|area| area.clipped(range)) {
            if next != Some(area.range.first) {
                break;
            }
            next = area.range.last.0.checked_add(1).map(Iova);
            slices.push(area);
        }
        let reached = slices.last().is_some_and(|area| area.range.last == range.last);
        (slices, reached)
    }
}

impl Context {
    /// Returns the alignment of addresses, lengths and page offsets
    /// (`iopt_calculate_iova_alignment`).
    pub(super) fn alignment_bytes(&self, id: ObjectId) -> u64 {
        let domains = self.domains(id).map(|hwpt| hwpt.iommu.io_page_bytes);
        let accesses = self.accesses(id).map(Access::alignment_bytes);
        let small = self.ioas(id).is_some_and(|ioas| ioas.small_pages);
        let own = if small { PAGE_BYTES } else { 1 };
        domains.chain(accesses).fold(own, u64::max)
    }

    /// Returns true if all areas are aligned to `alignment_bytes`.
    pub(super) fn fits(&self, id: ObjectId, alignment_bytes: u64) -> bool {
        let areas = self.ioas(id).map_or(&[][..], |ioas| &ioas.areas);
        alignment_bytes <= self.alignment_bytes(id)
            || areas.iter().all(|area| area.is_aligned(alignment_bytes))
    }

    /// Returns the addresses that cannot be mapped, sorted; ranges may overlap.
    pub(super) fn reserved(&self, id: ObjectId) -> Vec<IovaRange> {
        let domains = self.domains(id).flat_map(|hwpt| hwpt.iommu.beyond_aperture());
        let devices = self.attached(id).filter_map(|hardware| hardware.iommu().reserved);
        let own = self.ioas(id).into_iter().flat_map(|ioas| ioas.reserved.iter().copied());
        let mut reserved: Vec<IovaRange> = domains.chain(devices).chain(own).collect();
        reserved.sort_unstable();
        reserved
    }
}

impl Machine {
    /// Returns the pages of an area: the pinned ones, and those that an access would find.
    pub(crate) fn behind(&self, context: ContextId, area: &Area) -> (Vec<Pin>, Vec<Pin>) {
        self.slice(self.set(context, area.set), area.indices())
    }

    /// Returns the page at an address: a pinned one or, for an emulated device, also one that could
    /// be pinned.
    pub(crate) fn reach_in_ioas(
        &self,
        context: ContextId,
        ioas: ObjectId,
        iova: Iova,
        is_emulated: bool,
    ) -> Option<PageRef> {
        let here = IovaRange { first: iova, last: iova };
        let ioas = self.contexts.get(context).ioas(ioas).expect("in use by who looks into it");
        let area = ioas.areas.iter().find(|area| area.range.overlaps(&here))?;
        let index = (area.start_bytes + (iova.0 - area.range.first.0)) / PAGE_BYTES;
        let (pinned, unpinned) = self.slice(self.set(context, area.set), index..index + 1);
        let reached = if is_emulated { unpinned } else { Vec::new() };
        pinned.into_iter().chain(reached).next().map(|pin| pin.run().first)
    }

    /// Returns an IOAS. Fails with `ENOENT`, also for an object of another kind.
    pub(crate) fn ioas(&self, context: ContextId, id: ObjectId) -> Result<&Ioas, Failure> {
        self.contexts.get(context).ioas(id).ok_or(fail(Errno::ENOENT))
    }

    /// Returns an IOAS that was looked up before.
    pub(super) fn ioas_mut(&mut self, context: ContextId, id: ObjectId) -> &mut Ioas {
        match self.contexts.get_mut(context).objects.get_mut(&id) {
            Some(Object::Ioas(ioas)) => ioas,
            _ => unreachable!("looked up before"),
        }
    }

    /// Allocates an IOAS (`iommufd_ioas_alloc_ioctl`). Fails with `EOPNOTSUPP` (flags), `ENOMEM`,
    /// `EFAULT`.
    pub(super) fn ioas_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_alloc, flags)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        self.allocate()?;
        let table = self.contexts.get_mut(ucmd.context);
        let id = table.insert(Object::Ioas(Ioas::default()));
        let responded = ucmd.respond_with(offset_of!(io::iommu_ioas_alloc, out_ioas_id), id);
        if responded.is_err() {
            self.contexts.get_mut(ucmd.context).objects.remove(&id);
        }
        responded
    }

    /// Returns the ranges that are not reserved (`iommufd_ioas_iova_ranges`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`, `ENOENT`, `EFAULT`; `EMSGSIZE` after the number of ranges was returned.
    pub(super) fn iova_ranges(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const COUNT: usize = offset_of!(io::iommu_ioas_iova_ranges, num_iovas);
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_iova_ranges, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let id = ucmd.cmd.id(offset_of!(io::iommu_ioas_iova_ranges, ioas_id));
        self.ioas(ucmd.context, id)?;
        let table = self.contexts.get(ucmd.context);
        let ranges = holes(&table.reserved(id), EVERYTHING);
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
        if ranges.len() > room { Err(fail(Errno::EMSGSIZE)) } else { Ok(()) }
    }

    /// Replaces the allowed ranges, also by none (`iommufd_ioas_allow_iovas`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`, `ENOENT`; for each range `EFAULT`, `EINVAL` (one byte or less, overlapping);
    /// `EADDRINUSE` (reserved).
    pub(super) fn allow_iovas(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const RANGES: usize = offset_of!(io::iommu_ioas_allow_iovas, allowed_iovas);
        const ROW: usize = size_of::<io::iommu_iova_range>();
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_allow_iovas, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let id = ucmd.cmd.id(offset_of!(io::iommu_ioas_allow_iovas, ioas_id));
        self.ioas(ucmd.context, id)?;
        let count = ucmd.cmd.u32(offset_of!(io::iommu_ioas_allow_iovas, num_iovas)) as usize;
        let mut allowed: Vec<IovaRange> = Vec::new();
        for row in 0..count {
            let row = Fields(ucmd.user.read_through(RANGES, row * ROW, ROW)?.to_vec());
            let range = IovaRange { first: Iova(row.u64(0)), last: Iova(row.u64(8)) };
            if range.first >= range.last {
                return Err(fail(Errno::EINVAL));
            }
            let at = allowed.partition_point(|other| other.last < range.first);
            if allowed.get(at).is_some_and(|other| other.overlaps(&range)) {
                return Err(fail(Errno::EINVAL));
            }
            self.allocate()?;
            allowed.insert(at, range);
        }
        let reserved = self.contexts.get(ucmd.context).reserved(id);
        if allowed.iter().any(|range| reserved.iter().any(|other| other.overlaps(range))) {
            return Err(fail(Errno::EADDRINUSE));
        }
        self.ioas_mut(ucmd.context, id).allowed = allowed;
        Ok(())
    }

    /// Handles the option `HUGE_PAGES` (`iommufd_ioas_option`). Fails with `ENOENT`, `EOPNOTSUPP`
    /// (neither SET nor GET), `EINVAL` (neither 0 nor 1).
    pub(super) fn huge_pages(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const VALUE: usize = offset_of!(io::iommu_option, val64);
        let id = ucmd.cmd.id(offset_of!(io::iommu_option, object_id));
        let small_pages = self.ioas(ucmd.context, id)?.small_pages;
        match (ucmd.cmd.u16(offset_of!(io::iommu_option, op)), ucmd.cmd.u64(VALUE)) {
            (0, 0) => self.disable_large_pages(ucmd.context, id)?,
            (0, 1) => self.ioas_mut(ucmd.context, id).small_pages = false,
            (0, _) => return Err(fail(Errno::EINVAL)),
            (1, _) => ucmd.cmd.set_u64(VALUE, u64::from(!small_pages)),
            _ => return Err(fail(Errno::EOPNOTSUPP)),
        }
        Ok(())
    }

    /// Disables huge pages (`iopt_disable_large_pages`). Fails with `EINVAL` if a domain already
    /// maps areas, and with `EADDRINUSE` for areas that are not whole pages.
    pub(super) fn disable_large_pages(
        &mut self,
        context: ContextId,
        id: ObjectId,
    ) -> SyscallResult<()> {
        let table = self.contexts.get(context);
        let ioas = self.ioas(context, id)?;
        if ioas.small_pages {
            return Ok(());
        }
        if table.has_domain(id) && !ioas.areas.is_empty() {
            return Err(fail(Errno::EINVAL));
        }
        if !table.fits(id, PAGE_BYTES) {
            return Err(fail(Errno::EADDRINUSE));
        }
        self.ioas_mut(context, id).small_pages = true;
        Ok(())
    }
}
