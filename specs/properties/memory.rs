//! Memory: who owns what is mapped, how often it is pinned, who is charged, what a device reaches.

use super::Judgement::{Fails, Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput};
use handoff_model::abi::view::{Account, PageRun, PageSetView, View};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn owned_by_keeper(case: &PropertyInput<'_>) -> Judgement {
    let (Some(keeper), true) = (case.status.guest_owner, case.status.quiescent) else {
        return Vacuous;
    };
    let mut seen = Vacuous;
    for set in &case.view.page_sets {
        let (Some(owner), Some(alive)) = (set.owner, set.owner_alive) else { continue };
        must!(alive, "the pages {} belong to a memory map that is gone", run(&set.memory));
        must!(
            owner == keeper,
            "process {owner} owns the pages {}, the guest is in {keeper}",
            run(&set.memory)
        );
        seen = Holds;
    }
    seen
}

/// Where that can be seen.
pub(super) fn owned_while_running(case: &PropertyInput<'_>) -> Judgement {
    let mut seen = Vacuous;
    for (pid, process) in &case.view.processes {
        if !process.guest.as_ref().is_some_and(|guest| guest.running) {
            continue;
        }
        for set in &case.view.page_sets {
            let (Some(owner), Some(alive)) = (set.owner, set.owner_alive) else { continue };
            must!(
                owner == *pid && alive,
                "the guest runs in process {pid}, and {} owns the pages {}",
                if alive {
                    format!("process {owner}")
                } else {
                    "a memory map that is gone".to_owned()
                },
                run(&set.memory)
            );
            seen = Holds;
        }
    }
    seen
}

/// Pinned pages of each file.
fn pins(sets: &[PageSetView]) -> BTreeMap<u64, u64> {
    let mut pins = BTreeMap::new();
    for set in sets {
        *pins.entry(set.memory.first.inode).or_default() += set.pinned_pages;
    }
    pins
}

pub(super) fn pinned_once(case: &PropertyInput<'_>) -> Judgement {
    let before = pins(&case.base.page_sets);
    for (inode, pinned) in pins(&case.view.page_sets) {
        let had = before.get(&inode).copied().unwrap_or(0);
        must!(pinned <= had, "file {inode} has {pinned} pins where it had {had}");
    }
    if before.values().any(|pinned| *pinned > 0) { Holds } else { Vacuous }
}

/// Where page sets can be seen.
pub(super) fn vm_pin_matches(case: &PropertyInput<'_>) -> Judgement {
    let sets = &case.view.page_sets;
    if !case.status.quiescent || case.base.page_sets.is_empty() {
        return Vacuous;
    }
    let mut seen = Vacuous;
    for (pid, process) in &case.view.processes {
        let Some(vm_pin) = process.vm_pin_pages else { continue };
        let is_own = |set: &&PageSetView| {
            set.owner == Some(*pid) && set.owner_alive == Some(true) && set.awaits_address.is_none()
        };
        let pinned: u64 = sets.iter().filter(is_own).map(|set| set.pinned_pages).sum();
        must!(
            vm_pin == pinned.cast_signed(),
            "VmPin of process {pid} is {vm_pin} pages, its mappings have {pinned} pinned"
        );
        if pinned > 0 {
            seen = Holds;
        }
    }
    seen
}

pub(super) fn charged_once(case: &PropertyInput<'_>) -> Judgement {
    if !case.status.quiescent {
        return Vacuous;
    }
    let mut sums: BTreeMap<Account, i64> = BTreeMap::new();
    for set in &case.view.page_sets {
        let Some(account) = set.account else { continue };
        let (pinned, charged) = (set.pinned_pages, set.charged_pages);
        must!(
            charged == pinned,
            "{pinned} pages are pinned and {charged} charged for {}",
            run(&set.memory)
        );
        *sums.entry(account).or_default() += charged.cast_signed();
    }
    sums.retain(|_, pages| *pages != 0);
    if sums.is_empty()
        && case.view.books.is_empty()
        && !case.view.page_sets.iter().any(|s| s.pinned_pages > 0)
    {
        return Vacuous;
    }
    must!(
        sums == case.view.books,
        "the page sets account for {}, the books say {}",
        books(&sums),
        books(&case.view.books)
    );
    for account in sums.keys() {
        let keeper = case.status.guest_owner.and_then(|keeper| case.view.processes.get(&keeper));
        if let (Account::User(uid), Some(Some(user))) = (account, keeper.map(|process| process.uid))
        {
            must!(*uid == user, "user {uid} is charged, the guest is with user {user}");
        }
        if let (Account::Process(pid), Some(keeper)) = (account, case.status.guest_owner) {
            must!(*pid == keeper, "process {pid} is charged, the guest is in {keeper}");
        }
    }
    Holds
}

pub(super) fn books(books: &BTreeMap<Account, i64>) -> String {
    if books.is_empty() {
        return "nothing".to_owned();
    }
    let words = books.iter().map(|(account, pages)| match account {
        Account::User(uid) => format!("{pages} pages to user {uid}"),
        Account::Process(pid) => format!("{pages} pages to process {pid}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

pub(super) fn reaches_guest_memory(case: &PropertyInput<'_>) -> Judgement {
    let Some(keeper) = case.status.guest_owner else { return Vacuous };
    let guest = case.view.processes.get(&keeper).and_then(|process| process.guest.as_ref());
    let mut seen = Vacuous;
    for (name, device) in &case.view.devices {
        for reach in device.reach.iter().flatten() {
            must!(
                reach.pinned,
                "{name} reaches pages {} that are not pinned, at {}",
                run(&reach.memory),
                reach.range
            );
            if let Some(guest) = guest {
                must!(
                    holds_run(&guest.ram, &reach.memory),
                    "{name} reaches pages {} at {} that are not what the guest sees there",
                    run(&reach.memory),
                    reach.range
                );
            }
            seen = Holds;
        }
    }
    seen
}

/// Devices go on meanwhile; it is the kernel that has nowhere to look. While no guest runs nobody
/// makes it look: that window is how the interface works, and no harm.
pub(super) fn addresses_known(case: &PropertyInput<'_>) -> Judgement {
    let mut guests =
        case.view.processes.iter().filter_map(|(pid, p)| Some((pid, p.guest.as_ref()?)));
    let Some((pid, _)) = guests.find(|(_, guest)| guest.running) else { return Vacuous };
    let waiting = case.view.page_sets.iter().find(|set| set.awaits_address == Some(true));
    waiting.map_or(Holds, |set| {
        Fails(format!(
            "the guest runs in process {pid}, and no address is known for the pages {}",
            run(&set.memory)
        ))
    })
}

/// Whether every page of `wanted` is in one of `runs`.
fn holds_run(runs: &[PageRun], wanted: &PageRun) -> bool {
    runs.iter().any(|run| {
        run.first.inode == wanted.first.inode
            && run.first.generation == wanted.first.generation
            && run.first.index <= wanted.first.index
            && wanted.first.index + wanted.pages <= run.first.index + run.pages
    })
}

pub(super) fn same_map(case: &PropertyInput<'_>) -> Judgement {
    if case.status.guest_owner.is_none() || case.base.mappings.is_empty() {
        return Vacuous;
    }
    let lines = |view: &View| {
        let lines = view.mappings.iter().map(|m| (m.context, m.ioas, m.range, m.memory));
        lines.collect::<BTreeSet<_>>()
    };
    let (before, now) = (lines(case.base), lines(case.view));
    if let Some((_, ioas, range, _)) = before.difference(&now).next() {
        return Fails(format!("IOAS {ioas} no longer maps {range} to what it did"));
    }
    if let Some((_, ioas, range, memory)) = now.difference(&before).next() {
        return Fails(format!("IOAS {ioas} now maps {range} to pages {}", run(memory)));
    }
    Holds
}

pub(super) fn run(pages: &PageRun) -> String {
    let first = pages.first;
    format!("{}..{} of file {}", first.index, first.index + pages.pages, first.inode)
}
