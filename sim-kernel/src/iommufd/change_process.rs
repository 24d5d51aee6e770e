//! `IOMMU_IOAS_CHANGE_PROCESS`: the caller becomes the owner of every page set of a context.
//!
//! In this order: the reserved field must be zero; memory is allocated to lock every address space
//! (ENOMEM); every set must be file-backed; the pages of all sets whose account changes are charged
//! to the caller, each set once; then each old owner is uncharged and the caller recorded as owner.
//! Page tables, pins, domains and devices are not touched. No capability is required, only the
//! descriptor.
//!
//! Hazards, each while its quirk is set:
//! * H1: the charge precedes the uncharge, on the same counter if both have one user.
//! * H2: sets that are charged to no counter change owner without their VmPin.
//! * H3: a dead memory map cannot be uncharged. The call fails with EINVAL although all sets have
//!   changed owner, and the sets record a charge of 0: unmap never uncharges it, and the next owner
//!   is charged nothing while its predecessor is uncharged.
//!
//! Without H1, the net difference of each counter is charged; without H2, VmPin moves; without H3,
//! uncharging a dead memory map has no effect and is no error.
//!
//! **As first proposed** (`rfc-v1`): mappings are by address, and the caller supplies a list of the
//! new addresses of the old process's memory ranges. Every set changes owner; one that is in no
//! range keeps its address, which is unmapped in its new owner's memory map or belongs to other
//! memory.
//!
//! Mirrors `iommufd_ioas_change_process` and its helpers in `drivers/iommu/iommufd/ioas.c`.

use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::pages::{PageSet, Source};
use crate::machine::Machine;
use crate::mm::{Mode, Owner};
use crate::profile::{Profile, Quirk};
use crate::syscall::{Failure, Fields, SyscallResult, fail};
use crate::value::{ContextId, SetId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;
use iommufd_bindings as io;
use std::mem::offset_of;

impl PageSet {
    /// Returns true if the charge moves to another account (`need_charge_update`).
    fn changes_account(&self, taker: Owner) -> bool {
        match self.mode {
            Mode::None => false,
            Mode::User => self.owner != taker,
            Mode::Mm => self.owner.mm != taker.mm,
        }
    }

    /// Returns true if the change of owner moves only VmPin: the same user stays charged (H1
    /// fixed), or no counter is charged (H2 fixed).
    fn moves_pinned_only(&self, taker: Owner, profile: Profile) -> bool {
        match self.mode {
            Mode::None => !profile.has(Quirk::PinnedDrift),
            Mode::User => self.owner.uid == taker.uid && !profile.has(Quirk::DoubleCharge),
            Mode::Mm => false,
        }
    }
}

/// Layout of the structure of the first proposal.
use handoff_model::abi::uapi::rfc_v1;

impl Machine {
    /// Makes the caller the owner of every page set.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`, `EINVAL`, `ENOMEM`; with H3 also `EINVAL` after all sets have changed owner.
    pub(super) fn change_process(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let context = ucmd.context;
        if ucmd.cmd.u32(offset_of!(io::iommu_ioas_change_process, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if self.profile.changes_addresses() {
            return self.change_addresses(ucmd);
        }
        let spaces = self.contexts.get(context).address_spaces().count();
        (0..spaces).try_for_each(|_| self.allocate())?;
        let sets = self.contexts.get(context).sets.ids();
        let is_file = |id: &SetId| matches!(self.set(context, *id).source, Source::File(..));
        if !sets.iter().all(is_file) {
            return Err(fail(Errno::EINVAL));
        }
        self.change_owners(context, ucmd.pid)
    }

    /// Handles the call as first proposed, with flags in place of the reserved field. Fails with
    /// `EFAULT` (the list), `ENOMEM`.
    fn change_addresses(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let context = ucmd.context;
        let mut list = Vec::new();
        for row in 0..ucmd.cmd.u32(rfc_v1::COUNT) as usize {
            let row = ucmd.user.read_through(rfc_v1::LIST, row * rfc_v1::ROW, rfc_v1::ROW)?;
            let row = Fields(row.to_vec());
            list.push((row.u64(0), row.u64(8), row.u64(16)));
        }
        self.change_owners(context, ucmd.pid)?;
        for id in self.contexts.get(context).sets.ids() {
            let Source::User(va) = self.set(context, id).source else { continue };
            let is_in = |(old, _, size): &&(u64, u64, u64)| va.wrapping_sub(*old) < *size;
            if let Some((old, new, _)) = list.iter().find(is_in) {
                self.set_mut(context, id).source = Source::User(va - old + new);
            }
        }
        Ok(())
    }

    fn change_owners(&mut self, context: ContextId, pid: Pid) -> SyscallResult<()> {
        let sets = self.contexts.get(context).sets.ids();
        let taker = self.owner(pid);
        self.charge_taker(context, &sets, taker)?;
        let results: Vec<_> =
            sets.iter().map(|id| self.change_owner(context, *id, taker)).collect();
        self.reclaim();
        results.into_iter().rev().find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Charges the new owner (`charge_current`): the sums by mode, user before memory map, all or
    /// none. If it fails, each set's charge is reset to the number of its pinned pages.
    fn charge_taker(
        &mut self,
        context: ContextId,
        sets: &[SetId],
        taker: Owner,
    ) -> Result<(), Failure> {
        let sum = |mode: Mode| -> u64 {
            (sets.iter().map(|id| self.set(context, *id)))
                .filter(|set| set.mode == mode && set.changes_account(taker))
                .filter(|set| !set.moves_pinned_only(taker, self.profile))
                .map(|set| set.charged)
                .sum()
        };
        let sums = [Mode::User, Mode::Mm].map(|mode| (mode, sum(mode)));
        let charged = self.atomically(|machine| {
            let mut charges = sums.into_iter().filter(|(_, pages)| *pages > 0);
            charges.try_for_each(|(mode, pages)| machine.charge(taker, mode, pages))
        });
        if charged.is_err() {
            for id in sets {
                let pinned = self.set(context, *id).pinned_pages();
                if self.set(context, *id).charged != pinned {
                    self.set_mut(context, *id).charged = pinned;
                }
            }
        }
        charged
    }

    /// Uncharges the old owner and records the new one, even if the uncharge fails.
    fn change_owner(&mut self, context: ContextId, id: SetId, taker: Owner) -> Result<(), Failure> {
        let set = self.set(context, id);
        if set.owner == taker {
            return Ok(());
        }
        let (owner, mode, pinned) = (set.owner, set.mode, set.pinned_pages());
        let changes_account = set.changes_account(taker);
        let mut result = Ok(());
        if set.moves_pinned_only(taker, self.profile) {
            self.move_pinned_to(owner, taker, pinned);
        } else if changes_account {
            result = self.check_reach(owner, mode);
            if result.is_ok() {
                self.uncharge(owner, mode, pinned);
            }
            let remembered = if result.is_ok() { pinned } else { 0 };
            self.set_mut(context, id).charged = remembered;
        }
        self.set_mut(context, id).owner = taker;
        result
    }

    fn move_pinned_to(&mut self, owner: Owner, taker: Owner, pages: u64) {
        let pages = i64::try_from(pages).expect("fewer pages than an address space has");
        self.move_pinned(owner, -pages);
        self.move_pinned(taker, pages);
    }
}
