//! Checks of the machine's own invariants.
//!
//! They cover the invariants that the heads of the files state and that no view shows: reference
//! counts are right, pins follow the union rule, the counters match the page sets, and no
//! unreferenced object is kept. The tests run the audit after every step; a model checker may run
//! it, too.

use crate::fs::File;
use crate::iommufd::{PageSet, gaps};
use crate::machine::Machine;
use crate::mm::{MmId, Mode};
use crate::process::Process;
use crate::profile::Quirk;
use crate::value::FileId;
use crate::vfio::GroupIommu;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Sums by key.
type Sums<K> = BTreeMap<K, i64>;

fn add<K: Ord>(sums: &mut Sums<K>, key: K, count: u64) {
    *sums.entry(key).or_default() += i64::try_from(count).expect("a count");
}

fn same<T: PartialEq + Debug>(what: &str, counted: &T, kept: &T) -> Result<(), String> {
    if counted == kept { Ok(()) } else { Err(format!("{what}: {counted:?}, but kept {kept:?}")) }
}

impl Machine {
    /// Checks every invariant.
    ///
    /// # Errors
    ///
    /// Describes the first invariant that is violated.
    pub fn audit(&self) -> Result<(), String> {
        self.audit_references()?;
        same("files have their state", &self.files.is_consistent(), &true)?;
        self.audit_pins()?;
        self.audit_counters()?;
        self.audit_remains()
    }

    pub(crate) fn page_sets(&self) -> impl Iterator<Item = &PageSet> {
        self.contexts.iter().flat_map(|(_, context)| context.sets.iter().map(|(_, set)| set))
    }

    /// Iterates over the references to files: those that keep a file open, the kernel's own
    /// references to eventfds, and references to other files (mappings of BARs, bindings, VMs).
    fn holders(&self) -> impl Iterator<Item = FileId> {
        let devices = self.devices.iter().flat_map(|device| {
            let bound = device.binding.map(|binding| binding.iommufd);
            let group = (device.group_files > 0 && device.binding.is_none())
                .then(|| self.groups[&device.spec.group].file);
            device.events().chain(group).chain(device.migration.stream).chain(bound)
        });
        let bars = self.pids().flat_map(|(_, process)| process.bars.iter().map(|bar| bar.file));
        let known = self.vms.iter().flat_map(|(_, vm)| vm.vfio_files.iter().copied());
        let accesses = self.files.iter().filter_map(|(_, open)| match open.file {
            File::MockAccess(of) | File::Queue(of) => Some(of.iommufd),
            _ => None,
        });
        let contexts = self.groups.values().filter_map(|group| match group.iommu {
            Some(GroupIommu::Iommufd(file, _)) => Some(file),
            _ => None,
        });
        let irqfds = self.vms.iter().flat_map(|(_, vm)| vm.irqfds.iter().flat_map(|i| i.files()));
        (self.open_files().chain(devices))
            .chain(bars)
            .chain(known)
            .chain(accesses)
            .chain(contexts)
            .chain(irqfds)
    }

    fn audit_references(&self) -> Result<(), String> {
        let mut counted = Sums::new();
        self.holders().for_each(|file| add(&mut counted, file, 1));
        let kept: Sums<_> =
            self.files.iter().map(|(id, open)| (id, i64::from(open.refs))).collect();
        same("references", &counted, &kept)
    }

    /// Checks that exactly the pages that are covered by areas in address spaces with a domain, or
    /// pinned by accesses, are pinned, each once.
    fn audit_pins(&self) -> Result<(), String> {
        for (_, context) in self.contexts.iter() {
            let all = context.wanted(&context.sets.ids().into_iter().collect());
            for (id, set) in context.sets.iter() {
                let wanted = all.get(&id).ok_or(format!("{set:?} has no area"))?;
                if !wanted.iter().all(|range| gaps(&set.pins, range.clone()).is_empty()) {
                    return Err(format!("{set:?} is not pinned in {wanted:?}"));
                }
                let covers = |page: &u64| wanted.iter().any(|range| range.contains(page));
                if !set.pins.iter().all(|pin| (pin.index..pin.end()).all(|page| covers(&page))) {
                    return Err(format!("{set:?} is pinned beyond {wanted:?}"));
                }
                if set.pins.windows(2).any(|pair| pair[0].end() > pair[1].index) {
                    return Err(format!("{set:?} is pinned twice"));
                }
            }
        }
        Ok(())
    }

    /// Checks that each counter is the sum of the charges of the page sets, unless a hazard makes
    /// them differ.
    fn audit_counters(&self) -> Result<(), String> {
        let (mut users, mut locked, mut pinned) = (Sums::new(), Sums::new(), Sums::new());
        for set in self.page_sets() {
            add(&mut pinned, set.owner.mm, set.charged);
            match set.mode {
                Mode::None => {}
                Mode::User => add(&mut users, set.owner.uid, set.charged),
                Mode::Mm => add(&mut locked, set.owner.mm, set.charged),
            }
        }
        for (_, _, dma) in self.dmas() {
            add(&mut locked, dma.mm, dma.locked_pages);
        }
        users.retain(|_, pages| *pages != 0);
        // A charge of a mapping stays on a memory map that has died: it is never uncharged.
        let is_kept =
            |mm: &MmId| self.is_mm_alive(*mm) || self.dmas().all(|(_, _, dma)| dma.mm != *mm);
        locked.retain(|mm, pages| *pages != 0 && is_kept(mm));
        pinned.retain(|_, pages| *pages != 0);
        same("users' books", &users, &self.books.users)?;
        if self.profile.has(Quirk::DeadOwner) {
            return Ok(());
        }
        let mut kept = self.books.locked.clone();
        kept.retain(|mm, _| is_kept(mm));
        same("memory maps' books", &locked, &kept)?;
        if self.profile.has(Quirk::PinnedDrift) {
            return Ok(());
        }
        same("VmPin", &pinned, &self.books.pinned)
    }

    /// Checks that dead processes own nothing and that every object is referenced.
    fn audit_remains(&self) -> Result<(), String> {
        let has = |p: &Process| {
            !p.descriptors.is_empty()
                || !p.vmas.is_empty()
                || !p.bars.is_empty()
                || p.guest.is_some()
                || p.cap_ipc_lock
        };
        if let Some((pid, _)) = self.pids().find(|(_, process)| !process.alive && has(process)) {
            return Err(format!("process {pid} is dead and has something"));
        }
        if let Some(id) = self.memories.ids().into_iter().find(|id| !self.is_memory_used(*id)) {
            return Err(format!("{id:?} is used by nothing"));
        }
        let mut swept = self.clone();
        swept.reclaim();
        same("after sweeping", &(swept == *self), &true)
    }
}
