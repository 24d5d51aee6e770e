//! Pins of a type1 IOMMU and what they cost.
//!
//! Pages are counted where they are found: in chunks that are pinned, compared with the *caller's*
//! limit and charged to the mapping's owner one after the other. So a limit that is too low shows
//! before an address that is not there, when it is reached first. A failure leaves nothing.
//!
//! What is given back is given back to a memory map that lives; a dead one has taken its counter
//! along. Before 6.3 that is whichever the owner has by then, so that VmLck falls below zero where
//! that was never charged.
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
    /// Pins a mapping at the caller's addresses. ENOMEM, EFAULT.
    pub(super) fn pin_dma(&mut self, pid: Pid, id: ContainerId, iova: u64) -> SyscallResult<()> {
        let mut dma = self.dma_at(id, iova).clone();
        self.pin_new_dma(pid, &mut dma)?;
        *self.dma_at_mut(id, iova) = dma;
        Ok(())
    }

    /// The memory map that a mapping is charged to.
    pub(crate) fn payer(&self, dma: &Dma) -> MmId {
        if self.profile.charges_tasks() { self.mm(dma.mm.pid) } else { dma.mm }
    }

    /// ENOMEM, EFAULT; before 6.3 ESRCH where the owner is gone.
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

    /// `follow_fault_pfn`: whether the caller has a BAR at these addresses, and its device answers.
    /// A BAR is no memory: nothing is pinned and nobody pays.
    fn shows_bar(&self, pid: Pid, dma: &Dma) -> bool {
        let end = dma.vaddr + dma.size_bytes;
        let mut bars = self.process(pid).bars.iter();
        let bar = bars.find(|bar| bar.va <= dma.vaddr && end <= bar.end());
        bar.is_some_and(|bar| match self.file(bar.file) {
            File::Device(file) => self.has_memory_on(file.device),
            _ => unreachable!("only devices have BARs"),
        })
    }

    /// How many pages there are before the first that is not.
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

    /// Unpins every mapping; they stay.
    pub(super) fn unpin_dmas(&mut self, id: ContainerId) {
        let mut dmas = std::mem::take(&mut self.type1_mut(id).dmas);
        for dma in dmas.values_mut() {
            self.unpin_dma(dma);
        }
        self.type1_mut(id).dmas = dmas;
    }

    /// Removes a mapping; → how many bytes it had.
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
