//! Order: what must precede what, and what a rollback must restore.

use super::Judgement::{Fails, Holds, Vacuous};
use super::input::must;
use super::{Judgement, PropertyInput, Status};
use handoff_model::role::outgoing::OutgoingOutcome::{
    HandedOver, Refused, RolledBack, RolledBackUnowned,
};

pub(super) fn only_reads(input: &PropertyInput<'_>) -> Judgement {
    must!(!input.status.changed_early, "the new VMM made a change before the commit was allowed");
    if input.status.commit_allowed { Vacuous } else { Holds }
}

pub(super) fn rolled_back_completely(input: &PropertyInput<'_>) -> Judgement {
    let Status { guest_owner: Some(guest_owner), quiescent: true, outcome, fell_back, .. } =
        input.status
    else {
        return Vacuous;
    };
    if !fell_back && !matches!(outcome, Some(Refused | RolledBack | RolledBackUnowned)) {
        return Vacuous;
    }
    let name = || input.names.process(guest_owner);
    let guest = input.view.processes.get(&guest_owner).and_then(|process| process.guest.as_ref());
    let Some(guest) = guest else { return Fails(format!("{} has no guest", name())) };
    must!(guest.running, "the guest does not run");
    let before = input.base.processes.get(&guest_owner).and_then(|it| it.guest.as_ref());
    must!(
        before.is_none_or(|before| before.ram == guest.ram),
        "the guest does not see the memory that it had"
    );
    must!(
        input.view.books == input.base.books,
        "{}; before the update {}",
        input.names.charges(&input.view.books),
        input.names.charges(&input.base.books)
    );
    for set in &input.view.page_sets {
        let pages = || input.names.pages(&set.memory);
        let owner_matches = set.owner.is_none_or(|owner| owner == guest_owner);
        let owned = owner_matches && set.owner_alive != Some(false);
        must!(owned, "{} does not own {}", name(), pages());
        let is_known = set.awaits_address != Some(true);
        must!(is_known, "the mapping of {} has no virtual address", pages());
    }
    Holds
}

pub(super) fn refused_before_stop(input: &PropertyInput<'_>) -> Judgement {
    must!(!input.status.was_stopped, "the guest was stopped for an update that cannot succeed");
    must!(input.status.outcome != Some(HandedOver), "the guest was handed over");
    Holds
}

pub(super) fn corrupt_input_refused(input: &PropertyInput<'_>) -> Judgement {
    must!(!input.status.commit_allowed, "the old VMM allowed the commit");
    must!(!input.status.handed_over, "the guest was handed over");
    let owned = input.view.page_sets.iter().find(|set| set.owner_alive == Some(true));
    if let (true, Some(set)) = (input.status.new_program, owned) {
        let pages = input.names.pages(&set.memory);
        return Fails(format!("the new program took the ownership of {pages}"));
    }
    Holds
}

pub(super) fn reason_given(input: &PropertyInput<'_>) -> Judgement {
    must!(!input.status.unexplained, "the new VMM exited without giving a reason");
    Holds
}

pub(super) fn succeeds_without_faults(input: &PropertyInput<'_>) -> Judgement {
    let Status { quiescent: true, faulted: false, .. } = input.status else { return Vacuous };
    must!(input.status.handed_over, "no fault occurred, and the guest was not handed over");
    Holds
}
