//! Accounting: the owner that is charged for pinned pages, and the counters.
//!
//! Every page set has an *owner* (the memory map, task and user that mapped it or took it over) and
//! an accounting *mode*. The mode is fixed when the set is made, by the mapper's `CAP_IPC_LOCK` and
//! the context's `RLIMIT_MODE` (H4: a new owner inherits the mode, whatever its own capabilities).
//!
//! * `None`: only `mm_struct::pinned_vm` (VmPin) counts, without a limit.
//! * `User`: `user_struct::locked_vm`, all processes of a user together.
//! * `Mm`: `mm_struct::locked_vm` (VmLck) of one memory map.
//!
//! All modes count VmPin. The limit is the `RLIMIT_MEMLOCK` that the owning task has at the time of
//! the charge, even if that task is dead (H9). The counters of a memory map vanish from view when
//! it dies; a user's charge stays until the pages are unpinned or taken over (H5). Counters are in
//! pages, and signed because two of them can underflow (H2, H3); the limit check compares them as
//! unsigned, as Linux does.
//!
//! Invariant: no counter in the table is zero, and a dead memory map has one only while a page set
//! names it.
//!
//! Mirrors `do_update_pinned`, `update_mm_locked_vm`, `incr_user_locked_vm` and
//! `decr_user_locked_vm` of `drivers/iommu/iommufd/pages.c`, and `__account_locked_vm` of
//! `mm/util.c`.

use crate::machine::Machine;
use crate::mm::MmId;
use crate::profile::Quirk;
use crate::syscall::{Failure, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{PAGE_BYTES, Pid, Uid};
use std::collections::BTreeMap;

/// The counters, in pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LockedCounters {
    /// `user_struct::locked_vm`.
    pub(crate) users: BTreeMap<Uid, i64>,
    /// `mm_struct::locked_vm`: VmLck.
    pub(crate) locked: BTreeMap<MmId, i64>,
    /// `mm_struct::pinned_vm`: VmPin.
    pub(crate) pinned: BTreeMap<MmId, i64>,
}

/// The counter that a page set is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    None,
    User,
    Mm,
}

/// The owner of a page set. The task is that of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) mm: MmId,
    pub(crate) uid: Uid,
}

/// Adds to a counter; a counter at zero is not in the table.
fn add<K: Ord>(counters: &mut BTreeMap<K, i64>, key: K, pages: i64) {
    let sum = counters.remove(&key).unwrap_or(0) + pages;
    if sum != 0 {
        counters.insert(key, sum);
    }
}

fn signed(pages: u64) -> i64 {
    i64::try_from(pages).expect("fewer pages than an address space has")
}

impl Machine {
    pub(crate) fn owner(&self, pid: Pid) -> Owner {
        Owner { mm: self.mm(pid), uid: self.process(pid).uid }
    }

    /// Returns VmPin of a living process, in pages; negative if the kernel's counter has wrapped
    /// (H2).
    pub fn vm_pin_pages(&self, pid: Pid) -> i64 {
        self.books.pinned.get(&self.mm(pid)).copied().unwrap_or(0)
    }

    /// Returns VmLck of a living process, in pages; negative if the kernel's counter has wrapped
    /// (H3).
    pub fn vm_lck_pages(&self, pid: Pid) -> i64 {
        self.books.locked.get(&self.mm(pid)).copied().unwrap_or(0)
    }

    /// Fails with `ENOMEM` if `pages` more exceed the limit of the owning task.
    fn check_limit(&self, task: Pid, counter: i64, pages: u64) -> Result<(), Failure> {
        let limit_pages = self.process(task).memlock_bytes / PAGE_BYTES;
        let sum = counter.wrapping_add(signed(pages)).cast_unsigned();
        if sum > limit_pages { Err(fail(Errno::ENOMEM)) } else { Ok(()) }
    }

    /// Fails with `ENOMEM` if `pages` more may not be locked in a memory map
    /// (`__account_locked_vm`).
    pub(crate) fn may_lock(&self, mm: MmId, pages: u64) -> Result<(), Failure> {
        let counter = self.books.locked.get(&mm).copied().unwrap_or(0);
        self.check_limit(mm.pid, counter, pages)
    }

    /// Adds to VmLck alone, without checking the limit.
    pub(crate) fn lock(&mut self, mm: MmId, pages: u64) {
        self.move_locked(mm, signed(pages));
    }

    pub(crate) fn unlock(&mut self, mm: MmId, pages: u64) {
        self.move_locked(mm, -signed(pages));
    }

    fn move_locked(&mut self, mm: MmId, pages: i64) {
        if pages != 0 {
            add(&mut self.books.locked, mm, pages);
        }
    }

    /// Charges an owner. Fails with `ENOMEM` over the limit, and then charges no counter.
    pub(crate) fn charge(&mut self, owner: Owner, mode: Mode, pages: u64) -> Result<(), Failure> {
        match mode {
            Mode::None => {}
            Mode::User => {
                let counter = self.books.users.get(&owner.uid).copied().unwrap_or(0);
                self.check_limit(owner.mm.pid, counter, pages)?;
                add(&mut self.books.users, owner.uid, signed(pages));
            }
            Mode::Mm => {
                self.may_lock(owner.mm, pages)?;
                self.lock(owner.mm, pages);
            }
        }
        self.move_pinned(owner, signed(pages));
        Ok(())
    }

    /// Fails with `EINVAL` if the owner's counter is in a dead memory map (H3).
    pub(crate) fn check_reach(&self, owner: Owner, mode: Mode) -> Result<(), Failure> {
        let needs_mm = mode == Mode::Mm && self.profile.has(Quirk::DeadOwner);
        if needs_mm && !self.is_mm_alive(owner.mm) { Err(fail(Errno::EINVAL)) } else { Ok(()) }
    }

    /// Uncharges an owner.
    pub(crate) fn uncharge(&mut self, owner: Owner, mode: Mode, pages: u64) {
        match mode {
            Mode::None => {}
            Mode::User => {
                // If a user's counter would underflow, Linux warns and leaves it unchanged.
                let counter = self.books.users.get(&owner.uid).copied().unwrap_or(0);
                if counter >= signed(pages) {
                    add(&mut self.books.users, owner.uid, -signed(pages));
                }
            }
            Mode::Mm => add(&mut self.books.locked, owner.mm, -signed(pages)),
        }
        self.move_pinned(owner, -signed(pages));
    }

    /// Adds to VmPin alone.
    pub(crate) fn move_pinned(&mut self, owner: Owner, pages: i64) {
        if pages != 0 {
            add(&mut self.books.pinned, owner.mm, pages);
        }
    }

    /// Drops the counters of memory maps that are dead and that no page set names.
    pub(crate) fn drop_dead_mms(&mut self) {
        let named = |mm: &MmId| {
            self.is_mm_alive(*mm)
                || self.contexts.iter().any(|(_, context)| context.names_mm(*mm))
                || self.dmas().any(|(_, _, dma)| self.payer(dma) == *mm)
        };
        let known = self.books.pinned.keys().chain(self.books.locked.keys());
        let dropped: Vec<MmId> = known.filter(|mm| !named(mm)).copied().collect();
        for mm in dropped {
            self.books.pinned.remove(&mm);
            self.books.locked.remove(&mm);
        }
    }
}
