//! Tests of a run in other tools' formats: ITF, Mermaid, and the trace that `handoff replay` reads.

use super::{each_violation, says, violated, walk};
use handoff_conformance::replay::{Report, replay};
use handoff_model::trace::Reader;
use handoff_specs::counterexample::Followed;
use handoff_specs::counterexample::itf::itf;
use handoff_specs::counterexample::mermaid::mermaid;
use handoff_specs::counterexample::trace::{INJECTED, trace};
use handoff_specs::scenario::library::{BUILT_IN, FOR_RFC, FOR_TYPE1, built_in};
use handoff_specs::scenario::{Credentials, Scenario};
use handoff_specs::state::action::Action;
use handoff_specs::state::system::System;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Collects the types of the values at each place; ITF requires one type per place in all states.
fn types(place: &str, value: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let mut is = |what: String| found.entry(place.to_owned()).or_default().insert(what);
    match value {
        Value::Null => panic!("the format has no null, as at {place}"),
        Value::Bool(_) => drop(is("a boolean".to_owned())),
        Value::Number(_) => drop(is("a number".to_owned())),
        Value::String(_) => drop(is("words".to_owned())),
        Value::Array(items) => {
            is("a list".to_owned());
            for item in items {
                types(&format!("{place}[]"), item, found);
            }
        }
        Value::Object(fields) => {
            let names: Vec<_> = fields.keys().map(String::as_str).collect();
            match (&names[..], fields.get("tag").and_then(Value::as_str)) {
                (["#bigint"], _) => drop(is("a number".to_owned())),
                ([form @ ("#map" | "#set" | "#tup")], _) => {
                    is((*form).to_owned());
                    for (at, item) in fields[*form].as_array().expect("items").iter().enumerate() {
                        let at = if *form == "#tup" { at.to_string() } else { String::new() };
                        let place = format!("{place}{form}{at}");
                        match item.as_array().filter(|_| *form == "#map").map(Vec::as_slice) {
                            Some([key, value]) => {
                                types(&format!("{place}, key"), key, found);
                                types(&format!("{place}, value"), value, found);
                            }
                            _ => types(&place, item, found),
                        }
                    }
                }
                (["tag", "value"], Some(tag)) => {
                    is("a variant".to_owned());
                    types(&format!("{place}.{tag}"), &fields["value"], found);
                }
                _ => {
                    is(format!("a record of {names:?}"));
                    fields
                        .iter()
                        .for_each(|(name, field)| types(&format!("{place}.{name}"), field, found));
                }
            }
        }
    }
}

/// Returns the run's ITF trace after checks: it parses, is complete, and has one type at each
/// place.
#[track_caller]
fn checked_itf(followed: &Followed<'_>) -> Value {
    let trace: Value = serde_json::from_str(&itf(followed, "a test")).expect("JSON");
    assert_eq!(trace["#meta"]["format"], "ITF");
    let vars = trace["vars"].as_array().expect("vars").iter().filter_map(Value::as_str);
    let vars: BTreeSet<_> = vars.collect();
    let wanted = ["action", "who", "call", "answer", "processes", "page_sets"];
    assert!(wanted.iter().all(|var| vars.contains(var)), "{vars:?}");
    let states = trace["states"].as_array().expect("states");
    assert_eq!(states.len(), followed.steps().len() + 1);
    let mut found = BTreeMap::new();
    for (at, state) in states.iter().enumerate() {
        assert_eq!(state["#meta"]["index"], at);
        let fields = state.as_object().expect("a state").iter();
        let fields: BTreeMap<_, _> = fields.filter(|(name, _)| *name != "#meta").collect();
        assert!(fields.keys().map(|name| name.as_str()).eq(vars.iter().copied()), "state {at}");
        for (name, value) in fields {
            types(name, value, &mut found);
        }
    }
    let is_mixed = |(_, types): &(&String, &BTreeSet<String>)| types.len() > 1;
    assert_eq!(found.iter().find(is_mixed), None);
    trace
}

/// Covers each optional value, present and absent.
#[test]
fn every_scenario_has_an_itf_trace() {
    for (name, _) in BUILT_IN.iter().chain(FOR_RFC).chain(FOR_TYPE1) {
        let scenario = built_in(name).expect("built in");
        let exempt = Credentials { cap_ipc_lock: true, ..scenario.old };
        for scenario in [Scenario { old: exempt, ..scenario.clone() }, scenario] {
            let system = System::new(&scenario).expect("set up");
            checked_itf(&Followed::of(&system, &walk(&system, 1)));
        }
    }
}

#[test]
fn every_violation_has_an_itf_trace() {
    let mut lassos = 0;
    each_violation(|_, followed, _| {
        let trace = checked_itf(followed);
        assert_eq!(trace.get("loop").is_some(), followed.repeats_from().is_some());
        let Some(from) = trace["loop"].as_u64() else { return };
        // The last state looks like the state before the one at which the loop continues.
        let states = trace["states"].as_array().expect("states");
        let (last, same) =
            (&states[states.len() - 1], &states[usize::try_from(from).expect("few") - 1]);
        for var in ["processes", "devices", "page_sets", "old_phase", "new_phase"] {
            assert_eq!(last[var], same[var], "{var}");
        }
        let first = &followed.steps()[followed.repeats_from().expect("it repeats")];
        assert_eq!(states[usize::try_from(from).expect("few")]["told"], first.describe());
        lassos += 1;
    });
    // `waits-for-the-dead`, by END-1 and END-3.
    assert_eq!(lassos, 2);
}

#[test]
fn an_itf_trace_has_the_action_of_each_state() {
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
        ["a failing call", "new", "sendmsg", "ENOMEM", "AwaitCommitted", "AwaitCommit"]
    );
    assert_eq!(
        trace["states"][0]["page_sets"][0]["owner"],
        serde_json::json!({"tag": "Some", "value": 1})
    );
}

/// True if a line is valid in these diagrams.
fn is_mermaid(line: &str) -> bool {
    let line = line.trim_start();
    let (head, words) = line.split_once(": ").unwrap_or((line, ""));
    let ids = ["old", "new", "kernel", "guest", "device0"];
    let is_arrow = |arrow: &str| {
        head.split_once(arrow).is_some_and(|(a, b)| ids.contains(&a) && ids.contains(&b))
    };
    let is_note = ["Note over old", "Note over new", "Note over old,new"].contains(&head);
    let is_known = is_arrow("->>") || is_arrow("-x") || is_note;
    // A semicolon may only end an entity; no other text may have a meaning in Mermaid.
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
fn a_diagram_shows_messages_faults_and_cycles() {
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
        "Note over old: 18. AwaitPrepared: receive: the peer closed the socket\n",
        "    end\n",
    ];
    says(&text, &parts);
}

/// Replays a run. Returns the report, the number of its calls, and the number of injected failures.
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

/// Pseudo-random runs to their ends, each with its own seed.
#[test]
fn any_run_replays_as_a_trace_without_a_difference() {
    let mut faults = 0;
    let names = ["transfer", "exec", "two-iommufds", "another-user", "old-kernel", "by-address"];
    let others = ["kvm-transfer", "type1-transfer", "type1-two-containers-exec", "type1-kvm-exec"];
    for name in names.into_iter().chain(others) {
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
