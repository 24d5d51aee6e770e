//! View of type1 IOMMUs: page sets, mappings and reach, in the same format as an iommufd's.
//!
//! Each mapping is a page set with one area. Containers are numbered from 256, above all contexts,
//! and their single address space is number 0, which no object of an iommufd has.

use crate::iommufd::Pin;
use crate::machine::Machine;
use crate::value::{ContainerId, DeviceId};
use crate::vfio::type1::Dma;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use handoff_model::abi::view::{Account, MappingView, PageRef, PageRun, PageSetView, Reach};

/// Number of the first container in a view.
const FIRST: u32 = 1 << 8;

const ADDRESS_SPACE: ObjectId = ObjectId(0);

fn number(id: ContainerId) -> u32 {
    FIRST + u32::from(id.0)
}

/// Returns the addresses at which a run of pages is visible.
fn reach(iova: u64, pin: &Pin, pinned: bool) -> Reach {
    let first = iova + pin.index * PAGE_BYTES;
    let range = IovaRange { first: Iova(first), last: Iova(first + pin.pages * PAGE_BYTES - 1) };
    Reach { range, memory: pin.run(), pinned }
}

impl Machine {
    /// Returns a page of a mapping if it is pinned or can be resolved at the owner's addresses.
    fn found(&self, dma: &Dma, index: u64) -> Option<Pin> {
        let range = index..index + 1;
        let pinned = dma.pins.iter().find_map(|pin| pin.clipped(&range));
        pinned.or_else(|| self.looked_up(dma, index))
    }

    /// Resolves a page at the owner's addresses.
    fn looked_up(&self, dma: &Dma, index: u64) -> Option<Pin> {
        let range = index..index + 1;
        self.resolve_user(self.owner(dma.mm.pid), dma.vaddr, range)
            .ok()
            .filter(|_| self.is_mm_alive(self.payer(dma)))
            .and_then(|pins| pins.into_iter().next())
    }

    fn view_memory(&self, dma: &Dma) -> PageRun {
        let nothing = PageRef { inode: 0, index: 0, generation: 0 };
        let first = self.found(dma, 0).map_or(nothing, |pin| pin.run().first);
        PageRun { first, pages: dma.pages() }
    }

    pub(crate) fn view_dma_sets(&self) -> impl Iterator<Item = PageSetView> {
        self.dmas().map(|(_, _, dma)| PageSetView {
            memory: self.view_memory(dma),
            pinned_pages: dma.pins.iter().map(|pin| pin.pages).sum(),
            charged_pages: dma.locked_pages,
            owner: Some(dma.mm.pid),
            owner_alive: Some(self.is_mm_alive(self.payer(dma))),
            account: Some(Account::Process(dma.mm.pid)),
            awaits_address: Some(dma.vaddr_invalid),
        })
    }

    /// Returns the mappings. Their page sets are numbered from `first_set`.
    pub(crate) fn view_dma_mappings(&self, first_set: u32) -> impl Iterator<Item = MappingView> {
        self.dmas().zip(first_set..).map(|((container, iova, dma), page_set)| MappingView {
            context: number(container),
            ioas: ADDRESS_SPACE,
            range: dma.range(iova),
            memory: self.view_memory(dma),
            page_set,
        })
    }

    pub(crate) fn view_container_of(&self, id: DeviceId) -> Option<(u32, ObjectId)> {
        self.container_of(id).map(|container| (number(container), ADDRESS_SPACE))
    }

    /// Returns the memory that a device in a container reaches by DMA. An emulated device accesses
    /// memory only through the kernel.
    pub(crate) fn view_container_reach(&self, container: ContainerId) -> Vec<Reach> {
        let dmas = self.type1(container).into_iter().flat_map(|iommu| &iommu.dmas);
        dmas.flat_map(|(iova, dma)| dma.pins.iter().map(|pin| reach(*iova, pin, true))).collect()
    }

    /// Returns the page at an address: the pinned one, or for an emulated device the one at the
    /// owner's addresses.
    pub(crate) fn reach_in_container(
        &self,
        container: ContainerId,
        id: DeviceId,
        iova: Iova,
    ) -> Option<PageRef> {
        let here = IovaRange { first: iova, last: iova };
        let (first, dma) = self.type1(container)?.find(&here)?;
        let index = (iova.0 - first) / PAGE_BYTES;
        let pinned = dma.pins.iter().find_map(|pin| pin.clipped(&(index..index + 1)));
        let found = if self.device(id).is_emulated() { self.looked_up(dma, index) } else { pinned };
        found.map(|pin| pin.run().first)
    }
}
