//! Tests reports for scripts: the JSON of every command against its schema, the schemas, and the
//! documented example.

use super::{Dir, VM, handoff};
use crate::formats::pages::is_up_to_date;
use handoff_specs::report::schema::schemas;
use serde_json::Value;
use std::fs;

/// Runs a command with JSON output; returns the document and the exit code.
#[track_caller]
fn document(arguments: &[&str]) -> (Value, i32) {
    let output = handoff(&[arguments, &["--format", "json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "", "{arguments:?}");
    let document = serde_json::from_slice(&output.stdout).expect("one JSON document");
    (document, output.status.code().expect("it exits"))
}

fn schema(name: &str) -> Value {
    let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).expect("a schema")).expect("JSON")
}

/// Checks a document's kind and exit code, and validates it by its schema and the envelope's.
#[track_caller]
fn check(arguments: &[&str], kind: &str, code: i32) -> Value {
    let (document, exit) = document(arguments);
    assert_eq!((exit, &document["exit"]), (code, &Value::from(code)), "{arguments:?}");
    assert_eq!(document["kind"], kind, "{arguments:?}");
    for name in [kind, "envelope"] {
        let validator = jsonschema::validator_for(&schema(name)).expect("a valid schema");
        let errors: Vec<_> = validator.iter_errors(&document).map(|it| it.to_string()).collect();
        assert_eq!(errors, [""; 0], "{arguments:?} by {name}.json");
    }
    document
}

#[test]
fn every_command_writes_a_valid_document() {
    let dir = Dir::new("json");
    let planted = |id| VM.replace("mode", &format!("defects = [\"{id}\"]\nmode"));
    let back = dir.file("back.toml", &planted("no-take-back"));
    let cycle = dir.file("cycle.toml", &planted("waits-for-the-dead"));
    let vacuous = dir.file("vacuous.toml", &format!("{VM}[may]\ninterrupts = 0\nkill = 0\n"));
    let checkpoint = dir.0.join("vm.checkpoint").display().to_string();
    let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats/traces");
    let (alike, header) = (
        format!("{traces}/change_process.account_user.jsonl.gz"),
        dir.file(
            "header.jsonl",
            "{\"format\":\"handoff-trace\",\"version\":1,\"source\":\"sim\",\"kernel\":\"7.3\",\
             \"page_size\":4096}\n",
        ),
    );
    let table: &[(&[&str], &str, i32)] = &[
        (&["check", "exec", "old-kernel"], "check", 0),
        (&["check", &back], "check", 1),
        (&["check", &cycle], "check", 1),
        (&["check", &vacuous], "check", 3),
        (&["check", "transfer", "--states", "500", "--checkpoint", &checkpoint], "check", 3),
        (&["check", "--all", "exec"], "compare", 0),
        (&["compare", "exec", "kvm-exec"], "compare", 0),
        (&["compare", "exec", "--states", "100"], "compare", 3),
        (&["show", "transfer", "0*3"], "show", 0),
        (&["show", "kvm-exec", "0*9", "--variant", "qemu-10.2"], "show", 0),
        (&["check", "Z02", "--steps", "0*4"], "show", 1),
        (&["bugs", "Z17"], "bugs", 0),
        (&["bugs", "K6"], "bugs", 0),
        (&["bugs", "K10"], "bugs", 0),
        (&["bugs", "L15"], "bugs", 0),
        (&["zoo", "Z14"], "bugs", 0),
        (&["conform", "change-process"], "conform", 0),
        (&["lockstep", "--against", "7.3", "--calls", "300"], "lockstep", 0),
        (&["lockstep", "--against", "6.2", "--calls", "3000"], "lockstep", 1),
        (&["replay", &alike], "replay", 0),
        (&["replay", &header], "replay", 0),
    ];
    for (arguments, kind, code) in table {
        check(arguments, kind, *code);
    }
    let (found, exit) = document(&["doctor"]);
    assert_eq!(
        check(&["doctor"], "doctor", exit)["failed"].as_u64() == Some(0),
        exit == 0,
        "{found}"
    );
}

/// The document contains what the text output reports.
#[test]
fn a_violation_is_reported_once_for_each_run() {
    let dir = Dir::new("once");
    let file = dir.file("vm.toml", &VM.replace("mode", "defects = [\"no-take-back\"]\nmode"));
    let found = check(&["check", &file], "check", 1);
    let checked = &found["scenarios"][0];
    assert_eq!(
        (&checked["exhaustive"], &checked["name"]),
        (&Value::from(true), &Value::from("vm"))
    );
    let runs = checked["counterexamples"].as_array().expect("a list");
    let violated = |run: &Value| {
        let violated = run["violated"].as_array().expect("a list").iter();
        violated.map(|it| it["property"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let steps = |run: &Value| run["steps"].as_array().expect("a list").len();
    let told: Vec<_> = runs.iter().map(|run| (steps(run), violated(run).join(" "))).collect();
    let expected = [(41, "OWN-2 REF-1"), (43, "OWN-1 BACK-1 NEXT-1")];
    assert_eq!(told, expected.map(|(steps, violated)| (steps, violated.to_owned())));
    let run = runs[1]["run"].as_str().expect("a word");
    let shown = check(&["show", &file, run], "show", 1);
    assert_eq!(shown["steps"], runs[1]["steps"]);
    let shown = violated(&shown);
    assert!(violated(&runs[1]).iter().all(|id| shown.contains(id)), "{shown:?}");
}

#[test]
fn documents_are_deterministic_except_for_durations() {
    let arguments = ["check", "old-kernel", "Z02", "--threads"];
    let told = |threads| {
        let output = handoff(&[&arguments[..], &[threads, "--format", "json"]].concat());
        let text = String::from_utf8(output.stdout).expect("text");
        let lasting = text.lines().filter(|line| !line.contains("_ms\": "));
        lasting.map(str::to_owned).collect::<Vec<_>>()
    };
    let one = told("1");
    assert!(one.len() > 100);
    assert_eq!(one, told("2"));
}

#[test]
fn the_schemas_in_docs_are_current() {
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
        is_up_to_date(&format!("schema/{name}.json"), &text);
        assert!(jsonschema::meta::is_valid(schema.as_value()), "{name}");
    }
}

/// The example on the page, except for the build.
#[test]
fn the_documented_example_is_current() {
    let output = handoff(&["show", "Z02", "0*4", "--format", "json"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let build = |line: &str| match line.split_once("\"build\": ") {
        Some((indent, _)) => format!("{indent}\"build\": \"0123abcd\",\n"),
        None => format!("{line}\n"),
    };
    let example: String = text.lines().map(build).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");
    let page = fs::read_to_string(path).expect("the page");
    let (before, rest) = page.split_once("```json\n").expect("an example");
    let (_, after) = rest.split_once("```\n").expect("its end");
    is_up_to_date("json.md", &format!("{before}```json\n{example}```\n{after}"));
}
