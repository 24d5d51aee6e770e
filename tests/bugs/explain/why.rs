//! Tests of explanations: the sentence that gives the cause, and the changes of each step.

use super::{each_violation, says, violated, walk};
use handoff_model::text::Difference;
use handoff_model::variants::defects::DEFECTS;
use handoff_specs::counterexample::causes::causes;
use handoff_specs::counterexample::{Counterexample, Followed};
use handoff_specs::properties::{Judgement, PROPERTIES, Property, find};
use handoff_specs::report::run::Run;
use handoff_specs::report::text::run::shown;
use handoff_specs::scenario::{FaultBudget, Scenario};
use handoff_specs::state::action::{Action, Side};
use handoff_specs::state::system::System;
use stateright::Model;

/// For each bug and property, the parts of the sentence: the change, the step that made it, the
/// resulting state, and the faults without which the property holds.
const WHY: &[(&str, &str, &[&str])] = &[
    (
        "no-take-back",
        "OWN-1",
        &[
            "because “page set 0 (ram0), owner” changed from “old VMM” to “new VMM” at step # \
             (new VMM, ChangeOwner: ",
            "this was not undone before step # (old VMM, Disconnect: close the pidfd of the new \
             VMM)",
            "the handoff terminated; ",
            "the same run without step # (old VMM, AwaitCommitted: recvmsg → ENOMEM (injected)",
        ],
    ),
    (
        "stays-stopped",
        "VM-3",
        &[
            "because “old VMM” changed from “alive, guest runs” to “alive, guest stopped” at step \
             # (",
            "this was not undone before step #",
            "the same run without step # (old VMM, Save: ftruncate the saved guest → ENOMEM \
             (injected)) satisfies VM-3",
        ],
    ),
    (
        "unwound",
        "DEV-1",
        &[
            "because at step # (new VMM, Unwind: VFIO_DEVICE_DETACH_IOMMUFD_PT nic0) ",
            "“nic0, attached to” changed from “IOAS 1” to “nothing”",
            "without step # (new VMM, Verify: probe IOMMU_IOAS_CHANGE_PROCESS iommufd0 → ENOTTY \
             (injected)) satisfies",
        ],
    ),
    (
        "resumed-unrevoked",
        "VM-1",
        &[
            "because “old VMM” changed from “alive, guest stopped” to “alive, guest runs” at step \
             # (old VMM, Resume: ",
            "before step # (new VMM, Run: start the guest)",
            "“new VMM” changed from “alive, guest stopped” to “alive, guest runs”",
            "without step # (old VMM, AwaitCommitted: recvmsg → ENOMEM (injected)",
        ],
    ),
    (
        "cut-while-running",
        "VM-2",
        &[
            "because the guest's progress reached 1 at step # (old VMM, the guest makes progress)",
            "“new VMM, guest progress” changed from “none” to “step 0” at step # (new VMM, \
             Load: ",
            "before step # (new VMM, Run: start the guest)",
        ],
    ),
    (
        "events-drained",
        "IRQ-1",
        &[
            "because at step # (new VMM, DrainEvents: ",
            "“nic0, interrupt 0” changed from “raised 1, delivered 0, pending 1” to “raised 1, \
             delivered 0, pending 0”",
            "without step # (nic0 writes to guest memory and raises an interrupt) satisfies IRQ-1",
        ],
    ),
    (
        "lingering",
        "FD-1",
        &[
            "because at step # (new VMM, Refuse: ",
            "the handoff terminated",
            "without step # (old VMM, AwaitReady: recvmsg → ENOMEM (injected)) satisfies FD-1",
        ],
    ),
    (
        "window-left-open",
        "FD-2",
        &[
            "because “the VMM, inheritable descriptors” changed from “0” to “1” at step # (old \
             VMM, OpenWindow: ",
            "before step # (new VMM, ReadStream: pread the stream)",
            "the window for inheritable descriptors closed",
        ],
    ),
    (
        "charged-to-the-dead",
        "CHG-1",
        &["because “charged to the VMM” changed from “1 pages” to “none” at step # (old VMM, \
             Exec: execve"],
    ),
    // Violations that are caused by a step that was not made.
    (
        "not-fenced",
        "FD-1",
        &[
            "because at step # (new VMM, ",
            ") the handoff terminated, while the old VMM had not exited",
        ],
    ),
    (
        "ownership-not-taken",
        "OWN-1",
        &["at step #", "the handoff terminated, while the new VMM did not own all pages"],
    ),
    (
        "overcautious",
        "DONE-1",
        &[
            "at step #",
            "while the new VMM had not completed the takeover and no fault had occurred",
            "the first error was at step # (old VMM, AwaitReady: receive Refuse)",
        ],
    ),
    // Runs that do not terminate: one with a deadlock, and one that cycles.
    (
        "waits-for-each-other",
        "END-1",
        &[
            "because the old VMM has been waiting for a message (AwaitCommitted) since step # (old \
             VMM, Commit: send Commit)",
            "and the new VMM has been waiting for a message (AwaitCommit) since step # (",
            "no process can take a step",
            "without step # (new VMM, Committed: send Committed → ENOMEM (injected)) satisfies \
             END-1",
        ],
    ),
    (
        "waits-for-the-dead",
        "END-1",
        &[
            "because the state after step # (old VMM, AwaitPrepared: receive: the peer closed \
             the socket) is the same as after step #",
            "without step # (new VMM, KILLED) satisfies END-1",
        ],
    ),
];

#[test]
fn the_sentence_names_the_step_that_caused_the_violation() {
    for (defect, id, parts) in WHY {
        let (scenario, run) = violated(defect, id);
        let property = find(id).expect("a property");
        let system = System::new(&scenario).expect("set up");
        let sentence = causes(&Followed::of(&system, &run.actions), property);
        says(&unnumbered(&sentence), parts);
    }
}

/// Replaces the step numbers in a sentence, because any change of the protocol shifts them.
/// [`check_claims`] compares them with the run.
fn unnumbered(sentence: &str) -> String {
    let without = |sentence: String, before: &str| {
        let mut parts = sentence.split(before);
        let first = parts.next().expect("there is one").to_owned();
        parts.fold(first, |text, part| {
            text + before + "#" + part.trim_start_matches(|it: char| it.is_ascii_digit())
        })
    };
    ["at step ", "before step ", "without step ", "since step ", "after step "]
        .iter()
        .fold(sentence.to_owned(), |sentence, before| without(sentence, before))
}

/// The numbers of the steps that a sentence names after these words.
fn steps_after(sentence: &str, words: &str) -> Vec<usize> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let found = sentence.match_indices(words).map(|(at, _)| digits(&sentence[at + words.len()..]));
    found.map(|digits| digits.parse().expect("a step has a number")).collect()
}

/// The step to which a sentence attributes the change at position `at`: the one named after it in
/// the same clause, otherwise the last one named before it.
fn step_of_change(sentence: &str, at: (usize, usize)) -> Option<usize> {
    let number = |text: &str| {
        let digits = text.chars().take_while(char::is_ascii_digit).collect::<String>();
        digits.parse().ok()
    };
    match sentence[at.1..].split_once(" at step ") {
        Some((between, behind)) if !between.contains(", ") => number(behind),
        _ => sentence[..at.0].rsplit_once("step ").and_then(|(_, rest)| number(rest)),
    }
}

/// Counts of the sentences by their claim about the run without its faults: it keeps the property
/// without any one of them, only without all of them, or not even then.
#[derive(Debug, Default)]
struct Claims {
    alone: usize,
    together: usize,
    none: usize,
}

/// Checks a sentence against the run. Each change it names was made by the step it names, and each
/// step is described as recorded. A claim about another run holds when that run is made by the
/// model alone.
#[track_caller]
fn check_claims(followed: &Followed<'_>, property: &'static Property, claims: &mut Claims) {
    let sentence = causes(followed, property);
    assert!(sentence.starts_with("because "), "{sentence}");
    assert!(!sentence.contains("is not shown"), "{sentence}");
    let mut told = 0;
    for step in 1..=followed.steps().len() {
        for Difference { subject, before, after } in followed.differences(step) {
            let change = format!("“{subject}” changed from “{before}” to “{after}”");
            let places =
                sentence.match_indices(&change).map(|(at, change)| (at, at + change.len()));
            told += places.filter(|at| step_of_change(&sentence, *at) == Some(step)).count();
        }
    }
    assert_eq!(told, sentence.matches("changed from").count(), "{sentence}");
    for (at, step) in sentence.match_indices("step ") {
        let named = sentence[at + step.len()..].split_once(" (");
        let Some((number, Ok(step))) = named.map(|(it, _)| (it, it.parse::<usize>())) else {
            continue;
        };
        let words = &followed.steps()[step - 1].words;
        let (_, rest) = sentence[at..].split_once(&format!("{number} (")).expect("it stands there");
        let comes = rest.find(words.as_str());
        assert!(comes.is_some_and(|at| at < 20), "step {step} is “{words}”: {sentence}");
    }
    let Some((_, other)) = sentence.split_once("; the same run ") else { return };
    let comes_to_it = |left_out: &[usize]| comes_to_it_without(followed, property, left_out);
    let all = steps_after(other, "step ");
    if other.starts_with("satisfies") {
        assert!(!comes_to_it(&all) && all.iter().all(|step| comes_to_it(&[*step])), "{sentence}");
        claims.together += 1;
    } else if other.contains(" still violates ") {
        assert!(comes_to_it(&all), "{sentence}");
        claims.none += 1;
    } else {
        assert!(!all.iter().any(|step| comes_to_it(&[*step])), "{sentence}");
        claims.alone += 1;
    }
}

#[test]
fn explanations_of_violations_are_true() {
    let mut claims = Claims::default();
    each_violation(|_, followed, property| check_claims(followed, property, &mut claims));
    // A minimal trace has no unnecessary fault.
    assert!(claims.alone > 20 && claims.together == 0 && claims.none == 0);
}

/// Arbitrary runs have irrelevant faults, and faults of which one suffices.
#[test]
fn explanations_of_arbitrary_runs_are_true() {
    let mut claims = Claims::default();
    for defect in DEFECTS {
        let scenario = Scenario {
            fault_budget: FaultBudget { fail_calls: 2, ..FaultBudget::default() },
            ..crate::bugs::defects::scenario(defect)
        };
        let system = System::new(&scenario).expect("set up");
        for seed in 0..40 {
            let followed = Followed::of(&system, &walk(&system, seed));
            for (property, judgement) in PROPERTIES.iter().zip(system.judge(followed.last())) {
                if matches!(judgement, Some(Judgement::Fails(_))) {
                    check_claims(&followed, property, &mut claims);
                }
            }
        }
    }
    assert!(claims.alone > 20 && claims.none > 50, "{claims:?}");
}

/// An irrelevant fault is reported as such, and of two faults that each suffice, neither is blamed
/// alone.
#[test]
fn an_irrelevant_fault_is_not_blamed() {
    let killed = || Action::Kill(Side::New);
    for (defect, id, steps, faults, said) in [
        (
            "checked-late",
            "PRE-1",
            9,
            vec![killed()],
            "the same run without step 10 (new VMM, KILLED) still violates PRE-1",
        ),
        (
            "probe-takes-ownership",
            "OWN-1",
            27,
            vec![Action::Cancel, killed()],
            "satisfies OWN-1 only without all of step 28 (the handoff is cancelled) and step 29 \
             (new VMM, KILLED)",
        ),
    ] {
        let (scenario, mut run) = violated(defect, id);
        let property = find(id).expect("a property");
        run.actions.splice(steps.., faults);
        let system = System::new(&scenario).expect("set up");
        let actions = to_the_end(&system, run.actions);
        let followed = Followed::of(&system, &actions);
        says(&causes(&followed, property), &[said]);
        check_claims(&followed, property, &mut Claims::default());
    }
}

/// Extends a run with the steps that the processes then make without further faults.
fn to_the_end(system: &System, mut actions: Vec<Action>) -> Vec<Action> {
    let mut state = system.play(&actions);
    loop {
        let mut enabled = Vec::new();
        system.actions(&state, &mut enabled);
        let by_itself = |action: &Action| matches!(action, Action::Step(_) | Action::Die);
        let Some(action) = enabled.into_iter().find(by_itself) else { return actions };
        state.act(system.constants(), &action);
        actions.push(action);
    }
}

/// True if the run violates a property even without these steps, where each failing call is
/// replaced by the call itself.
fn comes_to_it_without(followed: &Followed<'_>, property: &Property, left_out: &[usize]) -> bool {
    let system = followed.system();
    let place = PROPERTIES.iter().position(|other| other.id == property.id).expect("registered");
    let instead = |(number, action): (usize, &Action)| match action {
        action if !left_out.contains(&number) => Some(action.clone()),
        Action::Fail(side, _) => Some(Action::Step(*side)),
        _ => None,
    };
    let actions = followed.steps().iter().map(|step| &step.action);
    let mut planned = (1..).zip(actions).filter_map(instead);
    let (mut state, mut been) = (system.init().clone(), Vec::new());
    loop {
        if matches!(system.judge(&state)[place], Some(Judgement::Fails(_))) {
            return true;
        }
        if been.contains(&state) {
            return matches!(property.id, "END-1" | "END-3");
        }
        been.push(state.clone());
        let mut enabled = Vec::new();
        system.actions(&state, &mut enabled);
        let by_itself = |action: &&Action| matches!(action, Action::Step(_) | Action::Die);
        let next = planned.find(|action| enabled.contains(action));
        match next.as_ref().or_else(|| enabled.iter().find(by_itself)) {
            Some(action) => {
                state.act(system.constants(), action);
                let before = been.last().expect("it was just there");
                if system.judge_step(property, before, &state).is_some() {
                    return true;
                }
            }
            None => return false,
        }
    }
}

#[test]
fn each_step_lists_its_changes() {
    let (scenario, run) = violated("no-take-back", "OWN-1");
    let system = System::new(&scenario).expect("set up");
    let followed = Followed::of(&system, &run.actions);
    let changed =
        |step| followed.differences(step).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(changed(0), [""; 0]);
    assert_eq!(changed(4), [""; 0]);
    assert_eq!(changed(10), ["old VMM: alive, guest runs → alive, guest stopped"]);
    assert_eq!(changed(15), ["descriptors in flight: 0 → 6"]);
    let taken = [
        "VmPin of new VMM: 0 pages → 1 pages",
        "VmPin of old VMM: 1 pages → 0 pages",
        "page set 0 (ram0), owner: old VMM → new VMM",
    ];
    assert_eq!(changed(38), taken);
    let judged = Counterexample::judge(&system, &run.actions);
    let report = shown(&Run::new(&judged, "file.toml"), 120);
    says(&report, &["\n  38 ", taken[0], taken[1], taken[2], "\n  39 "]);
}
