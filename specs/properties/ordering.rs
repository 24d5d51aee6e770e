//! Order: what is done before what, and what is there again after a handoff that did not happen.

use super::Judgement::{Fails, Holds, Vacuous};
use super::input::must;
use super::memory::books;
use super::memory::run;
use super::{Judgement, PropertyInput, Status};
use handoff_model::role::outgoing::OutgoingOutcome;

pub(super) fn only_reads(case: &PropertyInput<'_>) -> Judgement {
    must!(
        !case.status.changed_early,
        "the new process has changed something before it was allowed to"
    );
    if case.status.commit_allowed { Vacuous } else { Holds }
}

pub(super) fn back_again(case: &PropertyInput<'_>) -> Judgement {
    let Status { guest_owner: Some(keeper), quiescent: true, outcome, fell_back, .. } = case.status
    else {
        return Vacuous;
    };
    if !fell_back
        && !matches!(
            outcome,
            Some(
                OutgoingOutcome::Refused
                    | OutgoingOutcome::RolledBack
                    | OutgoingOutcome::RolledBackUnowned
            )
        )
    {
        return Vacuous;
    }
    let guest = case.view.processes.get(&keeper).and_then(|process| process.guest.as_ref());
    let Some(guest) = guest else { return Fails(format!("process {keeper} has no guest")) };
    must!(guest.running, "the guest does not run");
    let before = case.base.processes.get(&keeper).and_then(|process| process.guest.as_ref());
    must!(
        before.is_none_or(|before| before.ram == guest.ram),
        "the guest does not see the memory that it had"
    );
    must!(
        case.view.books == case.base.books,
        "the books say {}, they said {}",
        books(&case.view.books),
        books(&case.base.books)
    );
    for set in &case.view.page_sets {
        let owned = set.owner.is_none_or(|owner| owner == keeper) && set.owner_alive != Some(false);
        must!(owned, "process {keeper} does not own the pages {}", run(&set.memory));
        let is_known = set.awaits_address != Some(true);
        must!(is_known, "no address is known for the pages {}", run(&set.memory));
    }
    Holds
}

pub(super) fn refused_before_stop(case: &PropertyInput<'_>) -> Judgement {
    must!(!case.status.was_stopped, "the guest was stopped for a handoff that could not happen");
    must!(case.status.outcome != Some(OutgoingOutcome::HandedOver), "it was handed over");
    Holds
}

pub(super) fn nothing_taken_on_trust(case: &PropertyInput<'_>) -> Judgement {
    must!(!case.status.commit_allowed, "the new process was allowed to change things");
    must!(!case.status.handed_over, "it was handed over");
    let taken = case.view.page_sets.iter().find(|set| set.owner_alive == Some(true));
    if let (true, Some(set)) = (case.status.new_program, taken) {
        return Fails(format!("the new program has taken the pages {}", run(&set.memory)));
    }
    Holds
}

pub(super) fn reason_given(case: &PropertyInput<'_>) -> Judgement {
    must!(!case.status.unexplained, "the other process is gone, and has not said why");
    Holds
}

pub(super) fn happens_undisturbed(case: &PropertyInput<'_>) -> Judgement {
    let Status { quiescent: true, faulted: false, .. } = case.status else { return Vacuous };
    must!(case.status.handed_over, "nothing went wrong, and it did not happen");
    Holds
}
