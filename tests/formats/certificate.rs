//! Tests of certificates: the independent checker confirms each proof, and refuses modified files.

use handoff_checker::search::{Exploration, Limits};
use handoff_model::protocol::Mode;
use handoff_specs::check::certificate::{Verified, verify, write};
use handoff_specs::check::packed::Packed;
use handoff_specs::check::{Report, check_with};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::builder::ScenarioBuilder;
use handoff_specs::scenario::library::{built_in, text_of};

fn certificate_of(scenario: &Scenario, text: &str) -> Result<String, String> {
    let mut file = Vec::new();
    let (_, written) = check_with(scenario, Limits::default(), |report, exploration| {
        write(report, exploration, text, &mut file).map_err(|error| error.to_string())
    })
    .expect("it can be set up");
    written.map(|()| String::from_utf8(file).expect("text"))
}

fn certificate(name: &str) -> String {
    let text = text_of(name).expect("built in");
    certificate_of(&built_in(name).expect("built in"), &text).expect("it is proved")
}

#[test]
fn a_certificate_is_verified() {
    for (name, states, transitions, proved) in
        [("small-memlock", 1_152, 4_160, "PRE-1"), ("exec", 4_500, 12_786, "END-1")]
    {
        let verified = verify(certificate(name).as_bytes()).expect("a certificate");
        let Verified { states: all, transitions: edges, proved: ids, .. } = verified;
        assert_eq!((all, edges), (states, transitions), "{name}");
        assert!(ids.iter().any(|id| id == proved), "{name}: {ids:?}");
    }
}

/// The error of a certificate whose lines were changed.
fn tampered(change: impl FnOnce(&mut Vec<String>)) -> String {
    let mut lines = certificate("small-memlock").lines().map(str::to_owned).collect();
    change(&mut lines);
    verify(lines.join("\n").as_bytes()).expect_err("it was tampered with")
}

#[test]
fn a_modified_certificate_is_refused() {
    type Change = fn(&mut Vec<String>);
    let cases: [(Change, &str); 10] = [
        (|lines| lines.clear(), "it is empty"),
        (|lines| lines[0].insert(0, 'x'), "line 1: "),
        (|lines| lines[0] = lines[0].replace("certificate 1", "certificate 2"), "its format is "),
        (|lines| lines[0] = lines[0].replace("mode = ", "mood = "), "unknown field"),
        (|lines| lines[0] = lines[0].replace("1152", "1151"), "it claims 1151 states"),
        (|lines| lines[0] = lines[0].replace("\"proved\":[", "\"proved\":[\"CHG-9\","), "CHG-9"),
        (|lines| drop(lines.pop()), "has a successor that is not listed"),
        (|lines| lines.truncate(1), "the initial state is not listed"),
        // The last line is the parent of no other state.
        (
            |lines| {
                lines.pop();
                lines.push(lines[lines.len() - 1].clone());
            },
            "a state is listed twice",
        ),
        (|lines| lines[20] = "3 99".to_owned(), "line 21: '3 99' is no step of the model"),
    ];
    for (change, words) in cases {
        let wrong = tampered(change);
        assert!(wrong.contains(words), "'{wrong}' does not contain '{words}'");
    }
}

/// The error of a certificate of a scenario with a bug, with all of its states, that claims a
/// property.
fn lie(planted: &str, claim: &str) -> String {
    let world = ScenarioBuilder::new(Mode::Transfer).defect(planted);
    let text = world.text();
    let scenario = world.build().expect("a scenario");
    let lines = |report: &Report, exploration: &Exploration<Packed>| {
        let head = serde_json::json!({
            "format": "handoff certificate 1", "scenario": text, "states": report.states,
            "transitions": report.transitions, "proved": [claim],
        });
        let line = |at| match exploration.parent(at) {
            Some((parent, action)) => format!("{parent} {action}"),
            None => "initial".to_owned(),
        };
        let states = (0..report.states).map(line);
        std::iter::once(head.to_string()).chain(states).collect::<Vec<_>>().join("\n")
    };
    let (_, text) = check_with(&scenario, Limits::default(), lines).expect("it can be set up");
    verify(text.as_bytes()).expect_err("it is a lie")
}

#[test]
fn a_violated_property_and_a_nonterminating_run_are_detected() {
    let cases = [
        ("ram-initialised", "OWN-1", " fails in state "),
        ("waits-for-the-dead", "END-1", "some run is infinite"),
        ("waits-for-the-dead", "END-2", " violates it: the last step does not lower the rank"),
        ("waits-for-the-dead", "END-3", "no fault-free run leads from state "),
        ("word-given-blind", "REF-1", " is not allowed by the abstract spec"),
        ("lingering", "REF-1", "REF-1 fails in state "),
    ];
    for (planted, claim, words) in cases {
        let wrong = lie(planted, claim);
        assert!(wrong.contains(words), "{planted}: '{wrong}' does not contain '{words}'");
    }
}

#[test]
fn a_violated_scenario_has_no_certificate() {
    let text = text_of("transfer").expect("built in");
    let planted = text.replacen("mode =", "defects = [\"ram-initialised\"]\nmode =", 1);
    let scenario = Scenario::parse("planted.toml", &planted).expect("a scenario");
    let refused = certificate_of(&scenario, &planted).expect_err("it is violated");
    assert!(refused.contains("no property is violated"), "{refused}");
}
