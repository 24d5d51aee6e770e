//! Order: what is done before what, and what is there again after a handoff that did not happen.

use super::Judgement::{Fails, Holds, Idle};
use super::case::must;
use super::memory::books;
use super::memory::run;
use super::{Case, Judgement, Moment};
use handoff_model::role::outgoing::Outcome;

pub(super) fn only_reads(case: &Case<'_>) -> Judgement {
    must!(
        !case.moment.changed_early,
        "the new process has changed something before it was allowed to"
    );
    if case.moment.commit_allowed { Idle } else { Holds }
}

pub(super) fn back_again(case: &Case<'_>) -> Judgement {
    let Moment { keeper: Some(keeper), quiescent: true, outcome, fell_back, .. } = case.moment
    else {
        return Idle;
    };
    if !fell_back
        && !matches!(
            outcome,
            Some(Outcome::Refused | Outcome::RolledBack | Outcome::RolledBackUnowned)
        )
    {
        return Idle;
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

pub(super) fn refused_before_stop(case: &Case<'_>) -> Judgement {
    must!(!case.moment.was_stopped, "the guest was stopped for a handoff that could not happen");
    must!(case.moment.outcome != Some(Outcome::HandedOver), "it was handed over");
    Holds
}

pub(super) fn nothing_taken_on_trust(case: &Case<'_>) -> Judgement {
    must!(!case.moment.commit_allowed, "the new process was allowed to change things");
    must!(!case.moment.handed_over, "it was handed over");
    let taken = case.view.page_sets.iter().find(|set| set.owner_alive == Some(true));
    if let (true, Some(set)) = (case.moment.new_program, taken) {
        return Fails(format!("the new program has taken the pages {}", run(&set.memory)));
    }
    Holds
}

pub(super) fn reason_told(case: &Case<'_>) -> Judgement {
    must!(!case.moment.unexplained, "the other process is gone, and has not said why");
    Holds
}

pub(super) fn happens_undisturbed(case: &Case<'_>) -> Judgement {
    let Moment { quiescent: true, disturbed: false, .. } = case.moment else { return Idle };
    must!(case.moment.handed_over, "nothing went wrong, and it did not happen");
    Holds
}
