//! Memory: ownership, pins, accounting, and the pages that a device reaches.

use super::Judgement::{Fails, Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput};
use handoff_model::abi::view::{Account, PageRun, PageSetView, View};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn owned_by_guest_owner(input: &PropertyInput<'_>) -> Judgement {
    let (Some(guest_owner), true) = (input.status.guest_owner, input.status.quiescent) else {
        return Vacuous;
    };
    let mut judgement = Vacuous;
    for set in &input.view.page_sets {
        let (Some(owner), Some(alive)) = (set.owner, set.owner_alive) else { continue };
        let pages = || input.names.pages(&set.memory);
        must!(alive, "the owner of {} has exited", pages());
        must!(
            owner == guest_owner,
            "{} owns {}, but {} has the guest",
            input.names.process(owner),
            pages(),
            input.names.process(guest_owner)
        );
        judgement = Holds;
    }
    judgement
}

/// Holds only for page sets whose owner is visible.
pub(super) fn owned_while_running(input: &PropertyInput<'_>) -> Judgement {
    let mut judgement = Vacuous;
    for (pid, process) in &input.view.processes {
        if !process.guest.as_ref().is_some_and(|guest| guest.running) {
            continue;
        }
        for set in &input.view.page_sets {
            let (Some(owner), Some(alive)) = (set.owner, set.owner_alive) else { continue };
            let owner_name = || {
                let exited = || "a process that has exited".to_owned();
                if alive { input.names.process(owner) } else { exited() }
            };
            must!(
                owner == *pid && alive,
                "the guest runs in {}, but {} owns {}",
                input.names.process(*pid),
                owner_name(),
                input.names.pages(&set.memory)
            );
            judgement = Holds;
        }
    }
    judgement
}

/// Returns the number of pinned pages of each file.
fn pins(sets: &[PageSetView]) -> BTreeMap<u64, u64> {
    let mut pins = BTreeMap::new();
    for set in sets {
        *pins.entry(set.memory.first.inode).or_default() += set.pinned_pages;
    }
    pins
}

pub(super) fn pinned_once(input: &PropertyInput<'_>) -> Judgement {
    let before = pins(&input.base.page_sets);
    for (inode, pinned) in pins(&input.view.page_sets) {
        let expected = before.get(&inode).copied().unwrap_or(0);
        must!(
            pinned <= expected,
            "{} has {pinned} pinned pages, and had {expected}",
            input.names.block(inode)
        );
    }
    if before.values().any(|pinned| *pinned > 0) { Holds } else { Vacuous }
}

/// Vacuous where page sets cannot be observed.
pub(super) fn vm_pin_matches(input: &PropertyInput<'_>) -> Judgement {
    let sets = &input.view.page_sets;
    if !input.status.quiescent || input.base.page_sets.is_empty() {
        return Vacuous;
    }
    let mut judgement = Vacuous;
    for (pid, process) in &input.view.processes {
        let Some(vm_pin) = process.vm_pin_pages else { continue };
        let is_own = |set: &&PageSetView| {
            set.owner == Some(*pid) && set.owner_alive == Some(true) && set.awaits_address.is_none()
        };
        let pinned: u64 = sets.iter().filter(is_own).map(|set| set.pinned_pages).sum();
        must!(
            vm_pin == pinned.cast_signed(),
            "VmPin of {} is {vm_pin} pages, but its mappings pin {pinned}",
            input.names.process(*pid)
        );
        if pinned > 0 {
            judgement = Holds;
        }
    }
    judgement
}

pub(super) fn charged_once(input: &PropertyInput<'_>) -> Judgement {
    if !input.status.quiescent {
        return Vacuous;
    }
    let mut sums: BTreeMap<Account, i64> = BTreeMap::new();
    for set in &input.view.page_sets {
        let Some(account) = set.account else { continue };
        let (pinned, charged) = (set.pinned_pages, set.charged_pages);
        must!(
            charged == pinned,
            "{pinned} pages are pinned and {charged} are charged for {}",
            input.names.pages(&set.memory)
        );
        *sums.entry(account).or_default() += charged.cast_signed();
    }
    sums.retain(|_, pages| *pages != 0);
    if sums.is_empty()
        && input.view.books.is_empty()
        && !input.view.page_sets.iter().any(|set| set.pinned_pages > 0)
    {
        return Vacuous;
    }
    must!(
        sums == input.view.books,
        "the mappings account for {}; the kernel's counters say {}",
        input.names.charges(&sums),
        input.names.charges(&input.view.books)
    );
    for account in sums.keys() {
        let Some(guest_owner) = input.status.guest_owner else { continue };
        let process = input.view.processes.get(&guest_owner);
        if let (Account::User(uid), Some(Some(user))) = (account, process.map(|it| it.uid)) {
            must!(*uid == user, "user {uid} is charged, but the guest belongs to user {user}");
        }
        if let Account::Process(pid) = account {
            must!(
                *pid == guest_owner,
                "{} is charged, but {} has the guest",
                input.names.process(*pid),
                input.names.process(guest_owner)
            );
        }
    }
    Holds
}

pub(super) fn reaches_guest_memory(input: &PropertyInput<'_>) -> Judgement {
    let Some(guest_owner) = input.status.guest_owner else { return Vacuous };
    let guest = input.view.processes.get(&guest_owner).and_then(|process| process.guest.as_ref());
    let mut judgement = Vacuous;
    for (device, view) in &input.view.devices {
        for reach in view.reach.iter().flatten() {
            let pages = || input.names.pages(&reach.memory);
            let range = reach.range;
            must!(reach.pinned, "{device} reaches {} at {range}, which is not pinned", pages());
            must!(
                guest.is_none_or(|guest| holds_run(&guest.ram, &reach.memory)),
                "{device} reaches {} at {range}, which is not the guest's memory there",
                pages()
            );
            judgement = Holds;
        }
    }
    judgement
}

/// Mappings may lack an address while no guest runs: only then can the kernel not be made to look
/// the address up. Devices continue in any case.
pub(super) fn addresses_known(input: &PropertyInput<'_>) -> Judgement {
    let mut guests =
        input.view.processes.iter().filter_map(|(pid, p)| Some((pid, p.guest.as_ref()?)));
    let Some((pid, _)) = guests.find(|(_, guest)| guest.running) else { return Vacuous };
    let waiting = input.view.page_sets.iter().find(|set| set.awaits_address == Some(true));
    waiting.map_or(Holds, |set| {
        Fails(format!(
            "the guest runs in {}, but the mapping of {} has no virtual address",
            input.names.process(*pid),
            input.names.pages(&set.memory)
        ))
    })
}

/// Returns true if one of `runs` contains every page of `wanted`.
fn holds_run(runs: &[PageRun], wanted: &PageRun) -> bool {
    runs.iter().any(|run| {
        run.first.inode == wanted.first.inode
            && run.first.generation == wanted.first.generation
            && run.first.index <= wanted.first.index
            && wanted.first.index + wanted.pages <= run.first.index + run.pages
    })
}

pub(super) fn same_map(input: &PropertyInput<'_>) -> Judgement {
    if input.status.guest_owner.is_none() || input.base.mappings.is_empty() {
        return Vacuous;
    }
    let lines = |view: &View| {
        let lines = view.mappings.iter().map(|m| (m.context, m.ioas, m.range, m.memory));
        lines.collect::<BTreeSet<_>>()
    };
    let (before, now) = (lines(input.base), lines(input.view));
    if let Some((_, ioas, range, memory)) = before.difference(&now).next() {
        let pages = input.names.pages(memory);
        return Fails(format!("IOAS {ioas} no longer maps {range} to {pages}"));
    }
    if let Some((_, ioas, range, memory)) = now.difference(&before).next() {
        return Fails(format!("IOAS {ioas} now maps {range} to {}", input.names.pages(memory)));
    }
    Holds
}
