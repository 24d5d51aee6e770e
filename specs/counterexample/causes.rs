//! Why a run violates a property, in one sentence that is computed and true.
//!
//! Each clause is a fact that was tried out on the run:
//!
//! * *"A went from x to y at step i"*: step i made that change, and the property would not fail in
//!   the last state if A were x there and everything else as it is. *"and nothing made that good"*:
//!   at no later step had A a value of which that can be said. Which parts of a state are asked so,
//!   and why, is in `parts`.
//! * *"while B had not happened"*: it had not, and the property would not fail in the last state if
//!   it had. Told only where nothing that happened earlier explains anything.
//! * *"the first trouble was at step j"*: no role told of any trouble earlier. Told with the former
//!   only.
//! * *"the same run without step j keeps it"*: the run without that step was made, to its end
//!   (`without`).
//! * Of a run that does not end: *"after step n everything is as it was after step i"*: the states
//!   are equal. *"Q waits"*: its next call would block, and no process can make a step.

use super::interventions::{Intervention, Snapshot, missing};
use super::{Followed, Position, ablation};
use crate::properties::{Judgement, Kind, Property};
use crate::state::action::{Action, Side};
use handoff_model::abi::call::{Call, ProcessCall, SocketCall};
use handoff_model::role::Role;
use handoff_model::text;
use std::collections::{BTreeMap, BTreeSet};

/// Why the last state of a run violates a property. Of one that it does not violate this says
/// nothing that is of use.
pub fn causes(followed: &Followed<'_>, property: &Property) -> String {
    let (why, named) = match property.kind {
        Kind::Invariant(_) => of_state(followed, property),
        Kind::Action(_) | Kind::Refinement => (by_step(followed, property), BTreeSet::new()),
        Kind::Termination | Kind::Possibility(_) => (endless(followed), BTreeSet::new()),
    };
    let faults = needed(followed, property, &named);
    format!("because {why}{faults}")
}

/// What happened, and the steps that are named for it.
fn of_state(followed: &Followed<'_>, property: &Property) -> (String, BTreeSet<usize>) {
    let system = followed.system();
    let seen: Vec<_> = followed.states().iter().map(|world| Snapshot::of(system, world)).collect();
    let fails = |seen: &Snapshot| seen.fails(property, system);
    let mut changes = changes(followed, &seen, fails);
    let named = changes.keys().copied().collect();
    let end = followed.steps().len();
    let last = changes.remove(&end).map(|told| told.join(" and "));
    let early = changes
        .iter()
        .map(|(step, told)| format!("{} at {}", told.join(" and "), at_step(followed, *step)));
    let early = early.collect::<Vec<_>>().join(", and ");
    let why = match (early.is_empty(), last) {
        (false, Some(last)) => {
            let end = at_step(followed, end);
            format!("{early}, and nothing made that good before {end}, where {last}")
        }
        (false, None) => format!("{early}, and nothing made that good"),
        (true, Some(last)) => {
            let end = at_step(followed, end);
            format!("at {end} {last}{}", what_is_missing(followed, &seen, fails))
        }
        (true, None) => turn(followed, property, seen.iter().rposition(|seen| !fails(seen))),
    };
    (why, named)
}

/// For each step what it changed of the parts that would save the last state if they were put back,
/// told.
fn changes(
    followed: &Followed<'_>,
    seen: &[Snapshot],
    fails: impl Fn(&Snapshot) -> bool,
) -> BTreeMap<usize, Vec<String>> {
    let (end, before) = seen.split_last().expect("there is always a first state");
    let mut changes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for part in Intervention::all(&followed.system().constants().base) {
        let saves = |earlier: &Snapshot| {
            let other = part.put_back(end, earlier);
            other != *end && !fails(&other)
        };
        if let Some(last) = before.iter().rposition(saves) {
            let told = changed(followed, &part, &seen[last], &seen[last + 1]);
            changes.entry(last + 1).or_default().push(told);
        }
    }
    changes
}

/// What did not happen, where that would have saved the last state.
fn what_is_missing(
    followed: &Followed<'_>,
    seen: &[Snapshot],
    fails: impl Fn(&Snapshot) -> bool,
) -> String {
    let end = seen.last().expect("there is always a first state");
    let missing = missing(end, |pid| followed.process(pid), fails);
    if missing.is_empty() {
        return String::new();
    }
    format!(", while {}{}", missing.join(" and "), error(followed))
}

/// Where a role first told of trouble.
fn error(followed: &Followed<'_>) -> String {
    let first = followed.steps().iter().position(|step| step.happening.error.is_some());
    first.map_or(String::new(), |first| {
        format!("; the first trouble was at {}", at_step(followed, first + 1))
    })
}

/// No single part explains it: the step that made it so.
fn turn(followed: &Followed<'_>, property: &Property, last_good: Option<usize>) -> String {
    match last_good {
        Some(last) => {
            format!("of {}, before which {} was kept", at_step(followed, last + 1), property.id)
        }
        None => "it was so from the beginning".to_owned(),
    }
}

/// How a part changed in a step.
fn changed(
    followed: &Followed<'_>,
    part: &Intervention,
    before: &Snapshot,
    after: &Snapshot,
) -> String {
    if let Intervention::Moment(_, told) = part {
        return told(&after.status);
    }
    let facts = |seen: &Snapshot| text::facts(&seen.view, &|pid| followed.process(pid));
    let now = facts(after);
    let of_part = text::differences(&facts(&part.put_back(after, before)), &now);
    let is_of_part = |subject: &String| of_part.iter().any(|of_part| of_part.subject == *subject);
    let differences = text::differences(&facts(before), &now);
    let differences = differences.iter().filter(|difference| is_of_part(&difference.subject));
    let said = differences.map(|difference| {
        let text::Difference { subject, before, after } = difference;
        format!("“{subject}” went from “{before}” to “{after}”")
    });
    let said: Vec<_> = said.collect();
    match said.split_first() {
        None => "something that cannot be told changed".to_owned(),
        Some((first, [])) => first.clone(),
        Some((first, more)) => format!("{first} (and {} more)", more.len()),
    }
}

/// A step by its number and words.
fn at_step(followed: &Followed<'_>, number: usize) -> String {
    let step = &followed.steps()[number - 1];
    let who = match step.place {
        Position::Old if !matches!(step.action, Action::Cancel) => "old VMM, ",
        Position::New => "new VMM, ",
        _ => "",
    };
    format!("step {number} ({who}{})", step.words)
}

/// The acts of the environment without which the property is kept: of the faults, and of the others
/// that are not named yet.
fn needed(followed: &Followed<'_>, property: &Property, named: &BTreeSet<usize>) -> String {
    let action = |step: usize| &followed.steps()[step - 1].action;
    let is_asked = |step: &usize| match action(*step) {
        Action::Step(_) | Action::Die => false,
        action => action.is_fault() || !named.contains(step),
    };
    let asked: Vec<_> = (1..=followed.steps().len()).filter(is_asked).collect();
    let id = property.id;
    let keeps = |steps: &[usize]| ablation::keeps(followed, property, steps);
    let alone: Vec<_> = asked.iter().filter(|step| keeps(&[**step])).collect();
    let without = |step: &&usize| format!("without {}", at_step(followed, **step));
    if let Some((first, more)) = alone.split_first() {
        let so_do = |step| format!(", and so does the one {}", without(step));
        let so_do: String = more.iter().map(so_do).collect();
        return format!("; the same run {} keeps {id}{so_do}", without(first));
    }
    let faults: Vec<_> = asked.into_iter().filter(|step| action(*step).is_fault()).collect();
    if faults.is_empty() {
        return String::new();
    }
    let all = faults.iter().map(|step| at_step(followed, *step)).collect::<Vec<_>>().join(" and ");
    if keeps(&faults) {
        format!("; the same run keeps {id} only without all of {all}")
    } else {
        format!("; the same run without {all} violates {id}, too")
    }
}

/// The last step before which neither a state nor a step violated the property.
fn by_step(followed: &Followed<'_>, property: &Property) -> String {
    let (system, states) = (followed.system(), followed.states());
    let fails = |at: usize| {
        let is_step = at > 0;
        is_step && system.judge_step(property, &states[at - 1], &states[at]).is_some()
            || matches!(system.judge_one(property, &states[at]), Judgement::Fails(_))
    };
    turn(followed, property, (0..states.len()).rev().find(|at| !fails(*at)))
}

/// Why a run does not end, or ends with somebody waiting.
fn endless(followed: &Followed<'_>) -> String {
    let end = followed.steps().len();
    if let Some(from) = followed.repeats_from() {
        let before =
            if from == 0 { "at the beginning".to_owned() } else { format!("after step {from}") };
        return format!("after {} everything is as it was {before}", at_step(followed, end));
    }
    let waiting: Vec<_> =
        [Side::Old, Side::New].iter().filter_map(|side| waits(followed, *side)).collect();
    match (followed.system().judge_deadlock(followed.last()), waiting.is_empty()) {
        (Judgement::Fails(_), false) => {
            format!("{}, and no process can make a step", waiting.join(" and "))
        }
        _ if end == 0 => "the run ends where it begins".to_owned(),
        _ => format!("after {} the run has ended", at_step(followed, end)),
    }
}

/// For what a side waits, and since when.
fn waits(followed: &Followed<'_>, side: Side) -> Option<String> {
    let world = followed.last();
    let exec = world.is_exec();
    let (phase, call) = match (side, world.outgoing.acting(), world.incoming.acting()) {
        (Side::Old, Some(role), _) => (role.phase_name(), role.next_call()?),
        (Side::New, _, Some(role)) => (role.phase_name(), role.next_call()?),
        _ => return None,
    };
    let home = if exec { Side::Old } else { side };
    if !world.machine.would_block(home.pid(), &call) {
        return None;
    }
    let what = match call {
        Call::Socket(SocketCall::Receive { .. }) => "a message",
        Call::Process(ProcessCall::AwaitExit { .. }) => "the end of the other process",
        _ => call.name(),
    };
    let by_it =
        |action: &Action| matches!(action, Action::Step(by) | Action::Fail(by, _) if *by == home);
    let last = followed.steps().iter().rposition(|step| by_it(&step.action));
    let since =
        last.map_or(String::new(), |last| format!(" since {}", at_step(followed, last + 1)));
    let who = if side == Side::Old { "old VMM" } else { "new VMM" };
    Some(format!("{who} waits for {what} ({phase}){since}"))
}
