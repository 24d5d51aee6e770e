//! The type1 IOMMU of a container: its mappings, and the effect of groups that join and leave.
//!
//! A mapping (`struct vfio_dma`) is created by one MAP, from addresses of the calling process. With
//! a group of real devices in the container there is a domain, and every mapping is pinned
//! immediately and charged to `mm_struct::locked_vm` (VmLck) of its owner. Without one, no page is
//! pinned. VmPin is never charged. An owner that had `CAP_IPC_LOCK` when it mapped is charged, too,
//! but without a limit.
//!
//! **Address updates** (`VFIO_UPDATE_VADDR`): UNMAP with VADDR invalidates the addresses of
//! mappings. They stay mapped and pinned, so DMA continues. MAP with VADDR of exactly the same
//! range gives a mapping its new address and makes the caller its owner: the caller is charged, and
//! the old owner is uncharged if its memory map still exists.
//!
//! Hazards, all inherent in the interface:
//! * Ownership changes mapping by mapping. A process that fails or dies between two leaves mixed
//!   owners, and UNMAP with VADDR of the entire range is then refused, because some mappings are
//!   already invalidated.
//! * The kernel does not compare the memory at the new address with the pinned pages.
//! * An invalidation can be undone only by giving an address, and no group can join while a mapping
//!   is invalidated.
//! * When a group joins later, the mappings are pinned at the *caller's* addresses but charged to
//!   their owner.
//!
//! Before 6.3 a mapping belonged permanently to the *task* that made it, and an update changed only
//! its address. Uncharging went to the memory map that the task had at that time, which after an
//! `execve` had never been charged, and there was no record of the charge of a mapping. Emulated
//! devices did not prevent address updates; an access that needed an invalidated address waited for
//! the new one.
//!
//! Invariants: mappings are disjoint; either all are pinned, or none; the charge of a mapping is
//! `locked_pages`, and since 6.3 type1's share of a living memory map's VmLck is their sum.
//!
//! Absent: pages that emulated devices pin, device memory as a source (all pages are RAM), the read
//! and write permissions of a mapping, nesting.
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

/// The type1 IOMMU of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Type1 {
    /// True for version 2: a range to unmap must not split a mapping.
    pub(super) is_v2: bool,
    /// Maximum number of mappings.
    limit: u32,
    /// Mappings by their first IOVA.
    dmas: BTreeMap<u64, Dma>,
    /// Usable ranges of IOVAs. Empty, which permits every range, until a real group has joined.
    ranges: Vec<IovaRange>,
    is_tracking: bool,
}

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dma {
    vaddr: u64,
    size_bytes: u64,
    /// The owner. Before 6.3 only its process counts.
    pub(crate) mm: MmId,
    /// True if the owner had `CAP_IPC_LOCK`.
    lock_cap: bool,
    /// True if the address was invalidated and a new one is awaited.
    vaddr_invalid: bool,
    pub(crate) locked_pages: u64,
    pub(crate) pins: Vec<Pin>,
    /// Dirty pages; empty while there is no tracking.
    bitmap: Vec<u64>,
}

/// Default of the module parameter `dma_entry_limit`.
pub(crate) const DMA_ENTRY_LIMIT: u32 = 65535;

/// Returns the ranges that are usable with a domain: its aperture without the reserved range.
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

    /// Returns the lowest mapping that overlaps `range` (`vfio_find_dma`).
    fn find(&self, range: &IovaRange) -> Option<(u64, &Dma)> {
        let before = self.dmas.range(..=range.first.0).next_back();
        let before = before.filter(|(iova, dma)| dma.last(**iova) >= range.first.0);
        let found = before.or_else(|| self.dmas.range(range.first.0..=range.last.0).next());
        found.map(|(iova, dma)| (*iova, dma))
    }

    /// Returns true if a range begins or ends within a mapping.
    fn cuts(&self, range: &IovaRange) -> bool {
        let at = |address| IovaRange { first: address, last: address };
        let first = self.find(&at(range.first)).is_some_and(|(iova, _)| iova != range.first.0);
        let last = self.find(&at(range.last));
        first || last.is_some_and(|(iova, dma)| dma.last(iova) != range.last.0)
    }

    /// Returns the first addresses of the mappings that overlap a range.
    fn within(&self, range: &IovaRange) -> Vec<u64> {
        let Some((first, _)) = self.find(range) else { return Vec::new() };
        self.dmas.range(first..=range.last.0).map(|(iova, _)| *iova).collect()
    }

    fn is_valid(&self, range: &IovaRange) -> bool {
        self.ranges.is_empty() || self.ranges.iter().any(|usable| usable.contains(range))
    }

    /// Fails with `EINVAL` if mappings overlap the reserved range of an IOMMU, or exceed its
    /// aperture after a real group has set the usable ranges.
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

    /// Returns the last address of a mapping that begins at `iova`.
    fn last(&self, iova: u64) -> u64 {
        iova + (self.size_bytes - 1)
    }

    fn range(&self, iova: u64) -> IovaRange {
        IovaRange { first: Iova(iova), last: Iova(self.last(iova)) }
    }
}

impl Machine {
    /// Handles an ioctl on a type1 IOMMU (`vfio_iommu_type1_ioctl`).
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

    /// Attaches a group (`vfio_iommu_type1_attach_group`). The first real group pins all mappings.
    ///
    /// # Errors
    /// `EBUSY` while an address is awaited. For the first real group, `EINVAL` if mappings overlap
    /// the reserved range or exceed a known aperture, and the errors of pinning; before 6.3 it
    /// waits for all addresses instead of `EBUSY`, and fails with `EINTR` (see `would_block`).
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

    /// Returns true if a joining group would wait for addresses.
    pub(super) fn joining_waits(&self, id: ContainerId, group: u32) -> bool {
        let is_first = !self.is_emulated_group(group) && !self.has_real_group(id);
        let waits = |iommu: &Type1| iommu.awaits_vaddr() && iommu.fits(&Iommu::QEMU_VTD).is_ok();
        self.profile.waits_for_addresses() && is_first && self.type1(id).is_some_and(waits)
    }

    /// Detaches a group that has left the container (`vfio_iommu_type1_detach_group`). The last
    /// real group unpins all mappings, and the last group removes them. All pages that it may have
    /// written are dirty.
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

    /// Returns every mapping of every container.
    pub(crate) fn dmas(&self) -> impl Iterator<Item = (ContainerId, u64, &Dma)> {
        self.containers.iter().flat_map(|(id, container)| {
            let iommu = container.iommu.iter();
            iommu.flat_map(move |type1| type1.dmas.iter().map(move |(iova, dma)| (id, *iova, dma)))
        })
    }
}
