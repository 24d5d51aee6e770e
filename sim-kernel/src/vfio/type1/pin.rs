//! Pins of a type1 IOMMU, and their accounting.
//!
//! The kernel works in chunks: each chunk is pinned, checked against the *caller's* limit and
//! charged to the mapping's owner. So a limit that is reached before an unmapped address fails
//! first. A failure is rolled back completely.
//!
//! Pages are uncharged only if the memory map still exists; a dead one has no counter any more.
//! Before 6.3 the owner's current memory map is uncharged, so its VmLck becomes negative if it was
//! never charged.
//!
//! Mirrors `vfio_pin_pages_remote`, `vfio_lock_acct`, `vfio_unmap_unpin` and `vfio_remove_dma` of
//! `drivers/vfio/vfio_iommu_type1.c`.

use crate::fs::File;
use crate::machine::Machine;
use crate::mm::{MmId, Owner};
use crate::syscall::{SyscallResult, fail};
use crate::value::ContainerId;
use crate::vfio::type1::Dma;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;

impl Machine {
    /// Pins a mapping at the caller's addresses. Fails with `ENOMEM` or `EFAULT`.
    pub(super) fn pin_dma(&mut self, pid: Pid, id: ContainerId, iova: u64) -> SyscallResult<()> {
        let mut dma = self.dma_at(id, iova).clone();
        self.pin_new_dma(pid, &mut dma)?;
        *self.dma_at_mut(id, iova) = dma;
        Ok(())
    }

    /// Returns the memory map that a mapping is charged to.
    pub(crate) fn payer(&self, dma: &Dma) -> MmId {
        if self.profile.charges_tasks() { self.mm(dma.mm.pid) } else { dma.mm }
    }

    /// Pins a mapping that is not yet in the table.
    ///
    /// # Errors
    /// `ENOMEM`; `EFAULT`; before 6.3 `ESRCH` if the owner has exited.
    pub(super) fn pin_new_dma(&mut self, pid: Pid, dma: &mut Dma) -> SyscallResult<()> {
        if self.shows_bar(pid, dma) {
            return Ok(());
        }
        let caller = self.owner(pid);
        let payer = self.payer(dma);
        let pages = self.leading_pages(caller, dma);
        if !dma.lock_cap {
            self.may_lock(caller.mm, pages)?;
        }
        if pages > 0 && self.profile.charges_tasks() && !self.is_mm_alive(payer) {
            return Err(fail(Errno::ESRCH));
        }
        if !dma.lock_cap {
            self.may_lock(payer, pages)?;
        }
        if pages < dma.pages() {
            return Err(fail(Errno::EFAULT));
        }
        dma.pins = self.resolve_user(caller, dma.vaddr, 0..pages).expect("found before");
        dma.locked_pages += pages;
        self.lock(payer, pages);
        Ok(())
    }

    /// Returns true if the caller has mapped an enabled BAR at these addresses
    /// (`follow_fault_pfn`). A BAR is not memory: no page is pinned or charged.
    fn shows_bar(&self, pid: Pid, dma: &Dma) -> bool {
        let end = dma.vaddr + dma.size_bytes;
        let mut bars = self.process(pid).bars.iter();
        let bar = bars.find(|bar| bar.va <= dma.vaddr && end <= bar.end());
        bar.is_some_and(|bar| match self.file(bar.file) {
            File::Device(file) => self.has_memory_on(file.device),
            _ => unreachable!("only devices have BARs"),
        })
    }

    /// Returns the number of pages before the first one that is not mapped.
    fn leading_pages(&self, owner: Owner, dma: &Dma) -> u64 {
        let is_there = |pages| self.resolve_user(owner, dma.vaddr, 0..pages).is_ok();
        let (mut there, mut beyond) = (0, dma.pages() + 1);
        if is_there(dma.pages()) {
            return dma.pages();
        }
        while there + 1 < beyond {
            let middle = there.midpoint(beyond);
            if is_there(middle) {
                there = middle;
            } else {
                beyond = middle;
            }
        }
        there
    }

    fn unpin_dma(&mut self, dma: &mut Dma) {
        let pages = dma.pins.drain(..).map(|pin| pin.pages).sum();
        let payer = self.payer(dma);
        if self.is_mm_alive(payer) {
            self.unlock(payer, pages);
            dma.locked_pages -= pages;
        }
    }

    /// Unpins every mapping without removing it.
    pub(super) fn unpin_dmas(&mut self, id: ContainerId) {
        let mut dmas = std::mem::take(&mut self.type1_mut(id).dmas);
        for dma in dmas.values_mut() {
            self.unpin_dma(dma);
        }
        self.type1_mut(id).dmas = dmas;
    }

    /// Removes a mapping and returns its size in bytes.
    pub(super) fn remove_dma(&mut self, id: ContainerId, iova: u64) -> u64 {
        let mut dma = self.type1_mut(id).dmas.remove(&iova).expect("looked up before");
        self.unpin_dma(&mut dma);
        dma.size_bytes
    }

    pub(super) fn remove_dmas(&mut self, id: ContainerId) {
        self.unpin_dmas(id);
        self.type1_mut(id).dmas.clear();
    }
}
