//! The causes of a violation, as one computed sentence in which every claim was tested on the run.
//!
//! The clauses and their meaning:
//!
//! * *"A changed from x to y at step i"*: step i made that change, and the property would hold in
//!   the last state if A had the value x there and all else were unchanged. *"and this was not
//!   undone"*: at no later step did A have a value with which the property would hold.
//!   `interventions` defines the parts of a state that are tested, and why.
//! * *"while B had not happened"*: it had not, and the property would hold in the last state if it
//!   had. Only given if no earlier step is a cause.
//! * *"the first error was at step j"*: no role reported an error earlier. Only given with the
//!   former.
//! * *"the same run without step j satisfies P"*: the run without that step was executed to its end
//!   (`ablation`).
//! * For an infinite run: *"the state after step n is the same as after step i"*: the states are
//!   equal. *"Q has been waiting"*: its next call would block, and no process can take a step.

use super::interventions::{Intervention, Snapshot, missing};
use super::{Followed, Position, ablation};
use crate::properties::{Judgement, Kind, Property};
use crate::state::action::{Action, Side};
use handoff_model::abi::call::{Call, ProcessCall, SocketCall};
use handoff_model::role::Role;
use handoff_model::text;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the causes of the violation in the last state of a run. The result is meaningless if the
/// property holds there.
pub fn causes(followed: &Followed<'_>, property: &Property) -> String {
    let (why, named) = match property.kind {
        Kind::Invariant(_) => of_state(followed, property),
        Kind::Action(_) | Kind::Refinement => (by_step(followed, property), BTreeSet::new()),
        Kind::Termination | Kind::Possibility(_) => (endless(followed), BTreeSet::new()),
    };
    let faults = needed(followed, property, &named);
    format!("because {why}{faults}")
}

/// Returns the causes in a state, and the numbers of the steps that they name.
fn of_state(followed: &Followed<'_>, property: &Property) -> (String, BTreeSet<usize>) {
    let system = followed.system();
    let seen: Vec<_> = followed.states().iter().map(|state| Snapshot::of(system, state)).collect();
    let fails = |seen: &Snapshot| seen.fails(property, system);
    let mut changes = changes(followed, &seen, fails);
    let named = changes.keys().copied().collect();
    let end = followed.steps().len();
    let last = changes.remove(&end).map(|texts| texts.join(" and "));
    let early = changes
        .iter()
        .map(|(step, texts)| format!("{} at {}", texts.join(" and "), at_step(followed, *step)));
    let early = early.collect::<Vec<_>>();
    let undone = if early.len() > 1 { "none of this was undone" } else { "this was not undone" };
    let early = early.join(", and ");
    let why = match (early.is_empty(), last) {
        (false, Some(last)) => {
            let end = at_step(followed, end);
            format!("{early}, and {undone} before {end}, when {last}")
        }
        (false, None) => format!("{early}, and {undone}"),
        (true, Some(last)) => {
            let end = at_step(followed, end);
            format!("at {end} {last}{}", what_is_missing(followed, &seen, fails))
        }
        (true, None) => turn(followed, property, seen.iter().rposition(|seen| !fails(seen))),
    };
    (why, named)
}

/// Returns, for each step, descriptions of its changes to those parts of the state that would save
/// the last state if they were restored.
fn changes(
    followed: &Followed<'_>,
    seen: &[Snapshot],
    fails: impl Fn(&Snapshot) -> bool,
) -> BTreeMap<usize, Vec<String>> {
    let (end, before) = seen.split_last().expect("there is always an initial state");
    let mut changes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for part in Intervention::all(&followed.system().constants().base) {
        let saves = |earlier: &Snapshot| {
            let other = part.put_back(end, earlier);
            other != *end && !fails(&other)
        };
        if let Some(last) = before.iter().rposition(saves) {
            let text = changed(followed, &part, &seen[last], &seen[last + 1]);
            changes.entry(last + 1).or_default().push(text);
        }
    }
    changes
}

/// Describes events that did not happen and would have saved the last state.
fn what_is_missing(
    followed: &Followed<'_>,
    seen: &[Snapshot],
    fails: impl Fn(&Snapshot) -> bool,
) -> String {
    let end = seen.last().expect("there is always an initial state");
    let missing = missing(end, |pid| followed.actor(pid), fails);
    if missing.is_empty() {
        return String::new();
    }
    format!(", while {}{}", missing.join(" and "), error(followed))
}

/// Returns where a role first reported an error.
fn error(followed: &Followed<'_>) -> String {
    let first = followed.steps().iter().position(|step| step.happening.error.is_some());
    first.map_or(String::new(), |first| {
        format!("; the first error was at {}", at_step(followed, first + 1))
    })
}

/// Names the first step after which the property is violated throughout: no single part explains
/// it.
fn turn(followed: &Followed<'_>, property: &Property, last_good: Option<usize>) -> String {
    let id = property.id;
    match last_good {
        Some(last) => {
            format!("of {}: {id} held before it, and not after it", at_step(followed, last + 1))
        }
        None => format!("{id} was violated from the initial state on"),
    }
}

/// Describes how a step changed a part.
fn changed(
    followed: &Followed<'_>,
    part: &Intervention,
    before: &Snapshot,
    after: &Snapshot,
) -> String {
    if let Intervention::Status(_, describe) = part {
        return describe(&after.status);
    }
    let facts = |seen: &Snapshot| followed.facts_of(&seen.view);
    let now = facts(after);
    let of_part = text::differences(&facts(&part.put_back(after, before)), &now);
    let is_of_part = |subject: &String| of_part.iter().any(|of_part| of_part.subject == *subject);
    let differences = text::differences(&facts(before), &now);
    let differences = differences.iter().filter(|difference| is_of_part(&difference.subject));
    let texts = differences.map(|difference| {
        let text::Difference { subject, before, after } = difference;
        format!("“{subject}” changed from “{before}” to “{after}”")
    });
    let texts: Vec<_> = texts.collect();
    match texts.split_first() {
        None => format!("{} changed in a part that is not shown", part.subject(followed)),
        Some((first, [])) => first.clone(),
        Some((first, more)) => format!("{first} (and {} more)", more.len()),
    }
}

/// Returns a step's number and description.
fn at_step(followed: &Followed<'_>, number: usize) -> String {
    let step = &followed.steps()[number - 1];
    let who = match step.place {
        Position::Old if !matches!(step.action, Action::Cancel) => "old VMM, ",
        Position::New => "new VMM, ",
        _ => "",
    };
    format!("step {number} ({who}{})", step.words)
}

/// Tests the environment's actions, and names those without which the run satisfies the property:
/// of the faults, and of other actions that are not named yet.
fn needed(followed: &Followed<'_>, property: &Property, named: &BTreeSet<usize>) -> String {
    let action = |step: usize| &followed.steps()[step - 1].action;
    let is_candidate = |step: &usize| match action(*step) {
        Action::Step(_) | Action::Die => false,
        action => action.is_fault() || !named.contains(step),
    };
    let candidates: Vec<_> = (1..=followed.steps().len()).filter(is_candidate).collect();
    let id = property.id;
    let holds = |steps: &[usize]| ablation::holds(followed, property, steps);
    let alone: Vec<_> = candidates.iter().filter(|step| holds(&[**step])).collect();
    let without = |step: &&usize| format!("without {}", at_step(followed, **step));
    if let Some((first, more)) = alone.split_first() {
        let also = |step| format!(", and so does the run {}", without(step));
        let also: String = more.iter().map(also).collect();
        return format!("; the same run {} satisfies {id}{also}", without(first));
    }
    let faults: Vec<_> = candidates.into_iter().filter(|step| action(*step).is_fault()).collect();
    if faults.is_empty() {
        return String::new();
    }
    let all = faults.iter().map(|step| at_step(followed, *step)).collect::<Vec<_>>().join(" and ");
    if holds(&faults) {
        format!("; the same run satisfies {id} only without all of {all}")
    } else {
        format!("; the same run without {all} still violates {id}")
    }
}

/// Names the step after the last state in which neither the state nor the step violated the
/// property.
fn by_step(followed: &Followed<'_>, property: &Property) -> String {
    let (system, states) = (followed.system(), followed.states());
    let fails = |at: usize| {
        let is_step = at > 0;
        is_step && system.judge_step(property, &states[at - 1], &states[at]).is_some()
            || matches!(system.judge_one(property, &states[at]), Judgement::Fails(_))
    };
    turn(followed, property, (0..states.len()).rev().find(|at| !fails(*at)))
}

/// Explains why a run is infinite, or ends with a process waiting.
fn endless(followed: &Followed<'_>) -> String {
    let end = followed.steps().len();
    if let Some(from) = followed.repeats_from() {
        let before =
            if from == 0 { "the initial state".to_owned() } else { format!("after step {from}") };
        return format!("the state after {} is the same as {before}", at_step(followed, end));
    }
    let waiting: Vec<_> =
        [Side::Old, Side::New].iter().filter_map(|side| waits(followed, *side)).collect();
    match (followed.system().judge_deadlock(followed.last()), waiting.is_empty()) {
        (Judgement::Fails(_), false) => {
            format!("{}, and no process can take a step", waiting.join(" and "))
        }
        _ if end == 0 => "the run has no steps".to_owned(),
        _ => format!("the run ends after {}", at_step(followed, end)),
    }
}

/// Describes the event for which a side waits, and since when.
fn waits(followed: &Followed<'_>, side: Side) -> Option<String> {
    let state = followed.last();
    let exec = state.is_exec();
    let (phase, call) = match (side, state.outgoing.acting(), state.incoming.acting()) {
        (Side::Old, Some(role), _) => (role.phase_name(), role.next_call()?),
        (Side::New, _, Some(role)) => (role.phase_name(), role.next_call()?),
        _ => return None,
    };
    let home = if exec { Side::Old } else { side };
    if !state.machine.would_block(home.pid(), &call) {
        return None;
    }
    let event = match call {
        Call::Socket(SocketCall::Receive { .. }) => "a message",
        Call::Process(ProcessCall::AwaitExit { .. }) => "the other process to exit",
        _ => call.name(),
    };
    let by_it =
        |action: &Action| matches!(action, Action::Step(by) | Action::Fail(by, _) if *by == home);
    let last = followed.steps().iter().rposition(|step| by_it(&step.action));
    let since =
        last.map_or(String::new(), |last| format!(" since {}", at_step(followed, last + 1)));
    let who = if side == Side::Old { "the old VMM" } else { "the new VMM" };
    Some(format!("{who} has been waiting for {event} ({phase}){since}"))
}
