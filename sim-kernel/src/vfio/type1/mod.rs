//! The type1 IOMMU of a container: what its mappings are, and what becomes of them as groups come
//! and go.
//!
//! A mapping (`struct vfio_dma`) is one MAP: addresses of the process that made it. With a group of
//! real devices in the container there is a domain, and every mapping is pinned at once and charged
//! to `mm_struct::locked_vm` (VmLck) of its owner; without one nothing is pinned. VmPin never
//! counts. Who had `CAP_IPC_LOCK` when it mapped is charged, too, but without a limit.
//!
//! **New addresses** (`VFIO_UPDATE_VADDR`): UNMAP with VADDR marks mappings, which stay mapped and
//! pinned, so DMA goes on; MAP with VADDR of exactly the same range gives each its new address, and
//! makes the caller its owner: the caller is charged, the old owner is not any more, where its
//! memory map still lives.
//!
//! Hazards, all of them how the interface works:
//! * A mapping is taken over by itself. Whoever fails or dies between two leaves a mixture of
//!   owners, and UNMAP with VADDR over the mixture is refused: one of them is marked already.
//! * Nothing compares what the new address leads to with the pages that are pinned.
//! * A mark cannot be taken back but by giving an address, and while one is left no group can join.
//! * A group that joins later has the mappings pinned at the *caller's* addresses, and their owner
//!   charged.
//!
//! Before 6.3 a mapping belonged to the *task* that made it, for good: a new address was only that.
//! What was given back went to the memory map that the task had by then, which after an `execve`
//! had never been charged, and nobody knew what a mapping had cost whom. Emulated devices were not
//! in the way of new addresses; whoever needed one that was gone waited for it.
//!
//! Invariants: mappings are disjoint; all are pinned, or none; what a mapping was charged with is
//! `locked_pages`, and a living memory map's share of VmLck is their sum (since 6.3).
//!
//! Absent: pages that emulated devices pin, device memory as a source (all pages are RAM), which
//! way a mapping may be used, nesting.
//!
//! Mirrors `drivers/vfio/vfio_iommu_type1.c`.

mod dirty;
mod info;
mod map;
mod pin;
mod view;

use crate::hardware::Iommu;
use crate::iommufd::Pin;
use crate::machine::Machine;
use crate::mm::MmId;
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::ContainerId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;
use std::collections::BTreeMap;

/// A type1 IOMMU.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Type1 {
    /// Version 2: a range to unmap must not cut a mapping.
    pub(super) is_v2: bool,
    /// How many mappings it may have.
    limit: u32,
    /// By their first address.
    dmas: BTreeMap<u64, Dma>,
    /// Where can be mapped. Empty while no real group has been there: anywhere.
    ranges: Vec<IovaRange>,
    is_tracking: bool,
}

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dma {
    vaddr: u64,
    size_bytes: u64,
    /// The owner; before 6.3 only whose it is counts.
    pub(crate) mm: MmId,
    /// Whether the owner had `CAP_IPC_LOCK`.
    lock_cap: bool,
    /// Its address is gone, and a new one awaited.
    vaddr_invalid: bool,
    pub(crate) locked_pages: u64,
    pub(crate) pins: Vec<Pin>,
    /// Dirty pages; empty while nothing is tracked.
    bitmap: Vec<u64>,
}

/// `DMA_ENTRY_LIMIT`, as the module's parameter has it without being told.
pub(crate) const DMA_ENTRY_LIMIT: u32 = 65535;

/// Everything that can be mapped with a domain: its aperture without what is reserved.
fn usable_ranges() -> Vec<IovaRange> {
    let iommu = Iommu::QEMU_VTD;
    let IovaRange { first, last } = iommu.aperture;
    let reserved = iommu.reserved.expect("this IOMMU reserves a range for interrupts");
    vec![
        IovaRange { first, last: Iova(reserved.first.0 - 1) },
        IovaRange { first: Iova(reserved.last.0 + 1), last },
    ]
}

impl Type1 {
    pub(super) fn new(is_v2: bool, limit: u32, has_domain: bool) -> Self {
        let ranges = if has_domain { usable_ranges() } else { Vec::new() };
        Self { is_v2, limit, dmas: BTreeMap::new(), ranges, is_tracking: false }
    }

    fn available(&self) -> u32 {
        self.limit - u32::try_from(self.dmas.len()).expect("within the limit")
    }

    /// The lowest mapping that shares an address with `range` (`vfio_find_dma`).
    fn find(&self, range: &IovaRange) -> Option<(u64, &Dma)> {
        let before = self.dmas.range(..=range.first.0).next_back();
        let before = before.filter(|(iova, dma)| dma.last(**iova) >= range.first.0);
        let found = before.or_else(|| self.dmas.range(range.first.0..=range.last.0).next());
        found.map(|(iova, dma)| (*iova, dma))
    }

    /// Whether a range begins or ends within a mapping.
    fn cuts(&self, range: &IovaRange) -> bool {
        let at = |address| IovaRange { first: address, last: address };
        let first = self.find(&at(range.first)).is_some_and(|(iova, _)| iova != range.first.0);
        let last = self.find(&at(range.last));
        first || last.is_some_and(|(iova, dma)| dma.last(iova) != range.last.0)
    }

    /// The first addresses of the mappings in a range, and of those that reach into it.
    fn within(&self, range: &IovaRange) -> Vec<u64> {
        let Some((first, _)) = self.find(range) else { return Vec::new() };
        self.dmas.range(first..=range.last.0).map(|(iova, _)| *iova).collect()
    }

    fn is_valid(&self, range: &IovaRange) -> bool {
        self.ranges.is_empty() || self.ranges.iter().any(|usable| usable.contains(range))
    }

    /// EINVAL where mappings lie in what an IOMMU reserves, or beyond its aperture when one was
    /// told.
    fn fits(&self, hardware: &Iommu) -> SyscallResult<()> {
        let is_mapped = |range: IovaRange| self.find(&range).is_some();
        if !self.ranges.is_empty() && hardware.beyond_aperture().any(is_mapped) {
            return Err(fail(Errno::EINVAL));
        }
        if hardware.reserved.is_some_and(is_mapped) {
            return Err(fail(Errno::EINVAL));
        }
        Ok(())
    }

    fn awaits_vaddr(&self) -> bool {
        self.dmas.values().any(|dma| dma.vaddr_invalid)
    }
}

impl Dma {
    fn pages(&self) -> u64 {
        self.size_bytes / PAGE_BYTES
    }

    /// Its last address where it begins at `iova`.
    fn last(&self, iova: u64) -> u64 {
        iova + (self.size_bytes - 1)
    }

    fn range(&self, iova: u64) -> IovaRange {
        IovaRange { first: Iova(iova), last: Iova(self.last(iova)) }
    }
}

impl Machine {
    /// `vfio_iommu_type1_ioctl`.
    pub(super) fn type1_ioctl(
        &mut self,
        id: ContainerId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        match request.number {
            nr::VFIO_IOMMU_GET_INFO => self.type1_info(id, request),
            nr::VFIO_IOMMU_MAP_DMA => self.type1_map(id, request),
            nr::VFIO_IOMMU_UNMAP_DMA => self.type1_unmap(id, request),
            nr::VFIO_IOMMU_DIRTY_PAGES => self.dirty_pages(id, request),
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    /// `vfio_iommu_type1_attach_group`: EBUSY while an address is awaited; for the first real group
    /// EINVAL where mappings lie in what it reserves or beyond an aperture that was told, and what
    /// pinning says. Before 6.3 the first real group waits for all addresses: EINTR (see
    /// `would_block`).
    pub(super) fn attach_type1_group(
        &mut self,
        pid: Pid,
        id: ContainerId,
        group: u32,
    ) -> SyscallResult<()> {
        let iommu = self.type1(id).expect("looked up before");
        if iommu.awaits_vaddr() && !self.profile.waits_for_addresses() {
            return Err(fail(Errno::EBUSY));
        }
        if self.is_emulated_group(group) || self.has_real_group(id) {
            return Ok(());
        }
        let hardware = Iommu::QEMU_VTD;
        iommu.fits(&hardware)?;
        if iommu.awaits_vaddr() {
            return Err(fail(Errno::EINTR));
        }
        let all: Vec<u64> = iommu.dmas.keys().copied().collect();
        for iova in all {
            self.pin_dma(pid, id, iova)?;
            if !hardware.aperture.contains(&self.dma_at(id, iova).range(iova)) {
                return Err(fail(self.profile.map_beyond_aperture()));
            }
        }
        self.type1_mut(id).ranges = usable_ranges();
        Ok(())
    }

    /// Whether a group that joins would wait for addresses.
    pub(super) fn joining_waits(&self, id: ContainerId, group: u32) -> bool {
        let is_first = !self.is_emulated_group(group) && !self.has_real_group(id);
        let waits = |iommu: &Type1| iommu.awaits_vaddr() && iommu.fits(&Iommu::QEMU_VTD).is_ok();
        self.profile.waits_for_addresses() && is_first && self.type1(id).is_some_and(waits)
    }

    /// `vfio_iommu_type1_detach_group`, of a group that has left: with the last real group nothing
    /// is pinned any more, and with the last of all nothing is mapped. What it may have written is
    /// dirty.
    pub(super) fn detach_type1_group(&mut self, id: ContainerId, group: u32) {
        if self.containers.get(id).groups.is_empty() {
            self.remove_dmas(id);
        } else if !self.is_emulated_group(group) {
            if !self.has_real_group(id) {
                self.unpin_dmas(id);
                let all = IovaRange { first: Iova(0), last: Iova(u64::MAX) };
                self.type1_mut(id).ranges = vec![all];
            }
            self.type1_mut(id).mark_all_dirty();
        }
        self.reclaim();
    }

    fn dma_at(&self, id: ContainerId, iova: u64) -> &Dma {
        &self.type1(id).expect("looked up before").dmas[&iova]
    }

    fn dma_at_mut(&mut self, id: ContainerId, iova: u64) -> &mut Dma {
        self.type1_mut(id).dmas.get_mut(&iova).expect("looked up before")
    }

    /// Every mapping of every container.
    pub(crate) fn dmas(&self) -> impl Iterator<Item = (ContainerId, u64, &Dma)> {
        self.containers.iter().flat_map(|(id, container)| {
            let iommu = container.iommu.iter();
            iommu.flat_map(move |type1| type1.dmas.iter().map(move |(iova, dma)| (id, *iova, dma)))
        })
    }
}
