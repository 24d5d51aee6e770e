//! A run explained: the sentence that says why, what each step changed, and the run in other people's formats.

use handoff_model::defect::{DEFECTS, Defect};
use handoff_model::trace::Reader;
use handoff_specs::action::Action;
use handoff_specs::built_in::built_in;
use handoff_specs::check::{Run, check};
use handoff_specs::explain::Followed;
use handoff_specs::explain::because::because;
use handoff_specs::explain::itf::itf;
use handoff_specs::explain::mermaid::mermaid;
use handoff_specs::explain::trace::{INJECTED, trace};
use handoff_specs::property::{self, Judgement, PROPERTIES, Property};
use handoff_specs::replay::{Report, replay};
use handoff_specs::scenario::Scenario;
use handoff_specs::search::Limits;
use handoff_specs::story;
use handoff_specs::system::System;
use handoff_specs::words::Difference;
use serde_json::Value;
use stateright::Model;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The least VM in which a planted bug shows, and the run by which it breaks a property.
fn violated(defect: &str, property: &str) -> (Scenario, Run) {
    let defect = handoff_model::defect::find(defect).expect("a known bug");
    let scenario = crate::defects::scenario(defect);
    let report = check(&scenario, Limits::default()).expect("it can be set up");
    let found = report.violations().find(|(found, _)| found.id == property);
    let run = found.unwrap_or_else(|| panic!("{} keeps {property}", defect.id)).1.clone();
    (scenario, run)
}

fn known(id: &str) -> &'static Property {
    property::find(id).expect("a property")
}

/// The sentence must have these parts, in this order.
#[track_caller]
fn says(sentence: &str, parts: &[&str]) {
    let mut rest = sentence;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} (any more) in: {sentence}"));
        rest = &rest[at + part.len()..];
    }
}

/// Why: the change, the step that made it, the state of things in the end, and the fault without which it would not have come
/// to this.
const WHY: &[(&str, &str, &[&str])] = &[
    (
        "no-take-back",
        "OWN-1",
        &[
            "because “pages 0, owner” went from “old VMM” to “new VMM” at step 37 (new VMM, TakeOver: ",
            "nothing made that good before step 43 (old VMM, Part: close the new process)",
            "nothing was under way any more; ",
            "the same run without step 32 (somebody calls it off) keeps OWN-1",
        ],
    ),
    (
        "stays-stopped",
        "VM-3",
        &[
            "because “old VMM” went from “alive, guest runs” to “alive, guest stopped” at step 10 (",
            "nothing made that good before step 16",
            "the same run without step 11 (somebody calls it off) keeps VM-3",
        ],
    ),
    (
        "unwound",
        "DEV-1",
        &[
            "because at step 20 (new VMM, Unwind: VFIO_DEVICE_DETACH_IOMMUFD_PT nic0) ",
            "“nic0, attached to” went from “IOAS 1” to “nothing”",
            "without step 18 (new VMM, Verify: probe IOMMU_IOAS_CHANGE_PROCESS iommufd0 → ENOTTY (injected)) keeps",
        ],
    ),
    (
        "resumed-unrevoked",
        "VM-1",
        &[
            "because “old VMM” went from “alive, guest stopped” to “alive, guest runs” at step 36 (",
            "before step 37 (new VMM, Run: let the guest run)",
            "“new VMM” went from “alive, guest stopped” to “alive, guest runs”",
            "without step 32 (somebody calls it off) keeps VM-1",
        ],
    ),
    (
        "cut-while-running",
        "VM-2",
        &[
            "because the guest had come to step 1 at step 12 (old VMM, the guest works on)",
            "“new VMM, its guest has come to” went from “none” to “step 0” at step 29 (new VMM, Load: ",
            "before step 36 (new VMM, Run: let the guest run)",
        ],
    ),
    (
        "events-drained",
        "IRQ-1",
        &[
            "because at step 30 (new VMM, DrainEvents: ",
            "“nic0, interrupt 0” went from “raised 1, taken 0, waiting 1” to “raised 1, taken 0, waiting 0”",
            "without step 29 (nic0 writes to guest memory and raises an interrupt) keeps IRQ-1",
        ],
    ),
    (
        "lingering",
        "FD-1",
        &[
            "because “descriptors on their way” went from “0” to “6” at step 17 (old VMM, Hand: ",
            "before step 21",
            "without step 9 (new VMM, AwaitDescriptors: recvmsg → ENOMEM (injected)) keeps FD-1",
        ],
    ),
    (
        "window-left-open",
        "FD-2",
        &[
            "because “the VMM, inheritable descriptors” went from “0” to “1” at step 9 (old VMM, OpenWindow: ",
            "before step 17 (new VMM, ReadStream: pread the stream)",
            "descriptors might no longer be inheritable",
        ],
    ),
    (
        "charged-to-the-dead",
        "CHG-1",
        &[
            "because “charged to the VMM” went from “1 pages” to “none” at step 16 (old VMM, Exec: execve",
        ],
    ),
    // Nothing that happened explains these, but what did not.
    (
        "not-fenced",
        "FD-1",
        &["at step 37 (old VMM, AwaitCommitted: receive Committed)", "while old VMM had not ended"],
    ),
    (
        "ownership-not-taken",
        "OWN-1",
        &["at step 46", "nothing was under way any more, while new VMM did not own all pages"],
    ),
    (
        "overcautious",
        "DONE-1",
        &[
            "at step 12",
            "while the guest had not moved for good and nothing had disturbed it",
            "the first trouble was at step 10 (old VMM, AwaitReady: receive Refuse)",
        ],
    ),
    // Those that do not end: two that wait for each other, and one that goes round in a circle.
    (
        "waits-for-each-other",
        "END-1",
        &[
            "because old VMM waits for a message (AwaitCommitted) since step 31 (old VMM, Commit: send Commit)",
            "and new VMM waits for a message (AwaitCommit) since step 34 (",
            "no process can make a step",
            "without step 34 (new VMM, Committed: send Committed → ENOMEM (injected)) keeps END-1",
        ],
    ),
    (
        "waits-for-the-dead",
        "END-1",
        &[
            "because after step 18 (old VMM, AwaitPrepared: receive: the peer is gone) everything is as it was after step 17",
            "without step 16 (new VMM, KILLED) keeps END-1",
        ],
    ),
];

#[test]
fn the_sentence_names_the_step_that_did_it() {
    for (defect, id, parts) in WHY {
        let (scenario, run) = violated(defect, id);
        let system = System::new(&scenario).expect("set up");
        says(&because(&Followed::of(&system, &run.actions), known(id)), parts);
    }
}

/// Every violation by every planted bug, followed.
fn each_violation(mut look: impl FnMut(&Scenario, &Followed<'_>, &'static Property)) {
    static ALL: OnceLock<Vec<(Scenario, Vec<Violation>)>> = OnceLock::new();
    let all = ALL.get_or_init(|| DEFECTS.iter().map(violations).collect());
    for (scenario, violations) in all {
        let system = System::new(scenario).expect("set up");
        for (property, actions) in violations {
            look(scenario, &Followed::of(&system, actions), property);
        }
    }
}

type Violation = (&'static Property, Vec<Action>);

fn violations(defect: &Defect) -> (Scenario, Vec<Violation>) {
    let scenario = crate::defects::scenario(defect);
    let report = check(&scenario, Limits::default()).expect("it can be set up");
    let found = report.violations().map(|(property, run)| (property, run.actions.clone()));
    let found = found.collect();
    (scenario, found)
}

/// The numbers of the steps that a sentence names after some words.
fn steps_after(sentence: &str, words: &str) -> Vec<usize> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let found = sentence.match_indices(words).map(|(at, _)| digits(&sentence[at + words.len()..]));
    found.map(|digits| digits.parse().expect("a step has a number")).collect()
}

/// Whatever a sentence says of a change is so: that step made it. And what is said of another run is so: that run was made
/// here once more, by nothing but the model.
#[test]
fn what_a_sentence_says_of_the_run_and_of_the_run_without_a_step_is_true() {
    let mut without = 0;
    each_violation(|_, followed, property| {
        let sentence = because(followed, property);
        assert!(sentence.starts_with("because "), "{sentence}");
        assert!(!sentence.contains("cannot be told"), "{sentence}");
        let differences = (1..=followed.steps().len()).flat_map(|step| followed.differences(step));
        let said =
            |d: Difference| format!("“{}” went from “{}” to “{}”", d.subject, d.before, d.after);
        let changes: BTreeSet<_> = differences.map(said).collect();
        let told = changes.iter().map(|change| sentence.matches(change.as_str()).count());
        assert_eq!(told.sum::<usize>(), sentence.matches("went from").count(), "{sentence}");
        for step in steps_after(&sentence, "without step ") {
            assert!(!comes_to_it_without(followed, property, step), "{sentence}");
            without += 1;
        }
    });
    assert!(without > 20, "only {without} steps were left out");
}

/// Whether the same run without a step violates a property, too, where a failed call is made instead.
fn comes_to_it_without(followed: &Followed<'_>, property: &Property, left_out: usize) -> bool {
    let system = followed.system();
    let place = PROPERTIES.iter().position(|other| other.id == property.id).expect("registered");
    let mut planned: Vec<_> = followed.steps().iter().map(|step| step.action.clone()).collect();
    match planned[left_out - 1] {
        Action::Fail(side, _) => planned[left_out - 1] = Action::Step(side),
        _ => drop(planned.remove(left_out - 1)),
    }
    let (mut world, mut been) = (system.init().clone(), Vec::new());
    let mut planned = planned.into_iter();
    loop {
        if matches!(system.judge(&world)[place], Some(Judgement::Fails(_))) {
            return true;
        }
        if been.contains(&world) {
            return property.judge.is_none();
        }
        been.push(world.clone());
        let mut enabled = Vec::new();
        system.actions(&world, &mut enabled);
        let by_itself = |action: &&Action| matches!(action, Action::Step(_) | Action::Die);
        let next = planned.find(|action| enabled.contains(action));
        match next.as_ref().or_else(|| enabled.iter().find(by_itself)) {
            Some(action) => drop(world.act(system.setting(), action)),
            None => return false,
        }
    }
}

#[test]
fn each_step_tells_what_it_changed() {
    let (scenario, run) = violated("no-take-back", "OWN-1");
    let system = System::new(&scenario).expect("set up");
    let followed = Followed::of(&system, &run.actions);
    let changed =
        |step| followed.differences(step).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(changed(0), [""; 0]);
    assert_eq!(changed(4), [""; 0]);
    assert_eq!(changed(10), ["old VMM: alive, guest runs → alive, guest stopped"]);
    assert_eq!(changed(15), ["descriptors on their way: 0 → 6"]);
    let taken = [
        "VmPin of new VMM: 0 pages → 1 pages",
        "VmPin of old VMM: 1 pages → 0 pages",
        "pages 0, owner: old VMM → new VMM",
    ];
    assert_eq!(changed(37), taken);
    let story = story::replayed(&followed, 120);
    says(&story, &["\n  37 ", taken[0], taken[1], taken[2], "\n  38 "]);
}

/// What is the same in every value of one type.
fn shape(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(shape).collect::<BTreeSet<_>>();
    match value {
        Value::Null => panic!("the format has no null"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Array(items) => format!("list of {:?}", list(items)),
        Value::Object(fields) => match fields.keys().next().map(String::as_str) {
            Some("#bigint") => "number".to_owned(),
            Some("tag") => "variant".to_owned(),
            Some("#map" | "#set" | "#tup") => {
                let (form, items) = fields.iter().next().expect("a field");
                assert!(items.is_array() && fields.len() == 1, "{value}");
                form.clone()
            }
            _ => format!("{:?}", fields.keys().collect::<Vec<_>>()),
        },
    }
}

/// The trace of a run in ITF, if it is one: read back, complete, and of one type throughout.
#[track_caller]
fn checked_itf(followed: &Followed<'_>) -> Value {
    let trace: Value = serde_json::from_str(&itf(followed, "a test")).expect("JSON");
    assert_eq!(trace["#meta"]["format"], "ITF");
    let vars: BTreeSet<_> =
        trace["vars"].as_array().expect("vars").iter().filter_map(Value::as_str).collect();
    assert!(
        ["action", "who", "call", "answer", "processes", "page_sets"]
            .iter()
            .all(|var| vars.contains(var))
    );
    let states = trace["states"].as_array().expect("states");
    assert_eq!(states.len(), followed.steps().len() + 1);
    for (at, state) in states.iter().enumerate() {
        let fields = state.as_object().expect("a state");
        let has: BTreeSet<_> =
            fields.keys().map(String::as_str).filter(|name| *name != "#meta").collect();
        assert_eq!(has, vars, "state {at}");
        assert_eq!(state["#meta"]["index"], at);
        for var in vars.iter().filter(|var| !state[var].is_array()) {
            assert_eq!(shape(&state[var]), shape(&states[0][var]), "{var} in state {at}");
        }
        assert!(!state.to_string().contains("null"), "state {at} has a null");
    }
    trace
}

#[test]
fn every_violation_has_an_itf_trace() {
    let mut lassos = 0;
    each_violation(|_, followed, _| {
        let trace = checked_itf(followed);
        assert_eq!(trace.get("loop").is_some(), followed.repeats_from().is_some());
        let Some(from) = trace["loop"].as_u64() else { return };
        // What is seen in the last state is what is seen before the one that follows it.
        let states = trace["states"].as_array().expect("states");
        let (last, same) =
            (&states[states.len() - 1], &states[usize::try_from(from).expect("few") - 1]);
        for var in ["processes", "devices", "page_sets", "old_phase", "new_phase"] {
            assert_eq!(last[var], same[var], "{var}");
        }
        lassos += 1;
    });
    assert_eq!(lassos, 1);
}

#[test]
fn an_itf_trace_tells_who_did_what() {
    let (scenario, run) = violated("waits-for-each-other", "END-1");
    let system = System::new(&scenario).expect("set up");
    let trace = checked_itf(&Followed::of(&system, &run.actions));
    let told =
        |state: usize, var: &str| trace["states"][state][var].as_str().expect("words").to_owned();
    assert_eq!((told(0, "action"), told(0, "call")), ("start".to_owned(), String::new()));
    let of_last =
        ["action", "who", "call", "answer", "old_phase", "new_phase"].map(|var| told(34, var));
    assert_eq!(
        of_last,
        ["a call that fails", "new", "sendmsg", "ENOMEM", "AwaitCommitted", "AwaitCommit"]
    );
    assert_eq!(
        trace["states"][0]["page_sets"][0]["owner"],
        serde_json::json!({"tag": "Some", "value": 1})
    );
}

/// What a line of a diagram may be.
fn is_mermaid(line: &str) -> bool {
    let line = line.trim_start();
    let (head, words) = line.split_once(": ").unwrap_or((line, ""));
    let ids = ["old", "new", "kernel", "guest", "device0"];
    let is_arrow = |arrow: &str| {
        head.split_once(arrow).is_some_and(|(a, b)| ids.contains(&a) && ids.contains(&b))
    };
    let is_note = ["Note over old", "Note over new", "Note over old,new"].contains(&head);
    let is_known = is_arrow("->>") || is_arrow("-x") || is_note;
    // Entities are the only things with a semicolon, and there is nothing else that Mermaid reads as its own.
    let rest: String = words
        .split('#')
        .enumerate()
        .map(|(at, part)| match at {
            0 => part,
            _ => part.split_once(';').expect("a # begins an entity").1,
        })
        .collect();
    let is_plain =
        !rest.contains([';', '"', '<', '>', '%']) && !rest.split(' ').any(|word| word == "end");
    is_known && is_plain && !words.is_empty()
}

#[test]
fn every_violation_has_a_mermaid_diagram() {
    each_violation(|_, followed, property| {
        let text = mermaid(followed, &[format!("{} does not hold", property.id)]);
        let mut lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "sequenceDiagram");
        let is_block = |line: &&str| ["    loop for ever", "    end"].contains(line);
        let blocks = lines.iter().filter(|line| is_block(line)).count();
        assert_eq!(blocks, if followed.repeats_from().is_some() { 2 } else { 0 });
        lines.retain(|line| !is_block(line) && !line.starts_with("    participant "));
        for line in &lines[1..] {
            assert!(is_mermaid(line), "{line:?} in\n{text}");
        }
        for number in 1..=followed.steps().len() {
            assert_eq!(
                text.matches(&format!(": {number}. ")).count(),
                1,
                "step {number} in\n{text}"
            );
        }
        assert!(text.ends_with(" does not hold\n"));
    });
}

#[test]
fn a_diagram_shows_messages_faults_and_circles() {
    let (scenario, run) = violated("waits-for-the-dead", "END-1");
    let system = System::new(&scenario).expect("set up");
    let text = mermaid(&Followed::of(&system, &run.actions), &[]);
    let parts = [
        "participant device0 as nic0\n",
        "old-xkernel: 1. Preflight: probe ",
        "old->>new: 4. Offer: send Offer\n",
        "Note over new: 5. AwaitOffer: receive Offer\n",
        "old->>guest: 10. Stop: stop the guest\n",
        "Note over new: 16. KILLED\n",
        "loop for ever\n",
        "Note over old: 18. AwaitPrepared: receive: the peer is gone\n",
        "    end\n",
    ];
    says(&text, &parts);
}

/// Replays a run; how many calls it made, and how many of them were failed by the environment.
#[track_caller]
fn replayed(scenario: &Scenario, followed: &Followed<'_>) -> (Report, usize, usize) {
    let lines = trace(scenario, followed);
    let read = Reader::new(lines.iter().cloned()).expect("a header").collect::<Result<Vec<_>, _>>();
    assert_eq!(read.expect("events").len(), lines.len() - 1);
    let report = replay(lines.into_iter()).expect("a trace");
    assert!(report.agrees(), "{report}");
    let steps = || followed.steps().iter().map(|step| &step.action);
    let failed = steps().filter(|action| matches!(action, Action::Fail(..))).count();
    let made = steps().filter(|action| matches!(action, Action::Step(_))).count();
    let injected = report.not_modelled.get(INJECTED).copied().unwrap_or_default();
    assert_eq!((injected, report.not_modelled.values().sum()), (failed, failed), "{report}");
    (report, made, failed)
}

#[test]
fn every_violation_replays_as_a_trace_without_a_difference() {
    each_violation(|scenario, followed, _| {
        replayed(scenario, followed);
    });
}

/// Runs of any sort, to their ends: each picks its steps by a number of its own.
#[test]
fn any_run_replays_as_a_trace_without_a_difference() {
    let mut faults = 0;
    for name in ["transfer", "exec", "two-iommufds", "another-user", "old-kernel", "tied-mdev"] {
        let scenario = built_in(name).expect("built in");
        let system = System::new(&scenario).expect("set up");
        for seed in 0..60_u64 {
            let actions = walk(&system, seed);
            let (_, _, failed) = replayed(&scenario, &Followed::of(&system, &actions));
            faults += failed;
        }
    }
    assert!(faults > 50, "only {faults} calls were failed");
}

/// A run in which mostly the processes go on, and now and then something else happens.
fn walk(system: &System, seed: u64) -> Vec<Action> {
    let (mut world, mut run, mut state) = (system.init().clone(), Vec::new(), seed);
    loop {
        let mut enabled = Vec::new();
        system.actions(&world, &mut enabled);
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = usize::try_from(state >> 40).expect("24 bits");
        if !(pick / 1024).is_multiple_of(30)
            && enabled.iter().any(|action| matches!(action, Action::Step(_)))
        {
            enabled.retain(|action| matches!(action, Action::Step(_)));
        }
        if enabled.is_empty() {
            return run;
        }
        let action = enabled.swap_remove(pick % enabled.len());
        world.act(system.setting(), &action);
        run.push(action);
    }
}
