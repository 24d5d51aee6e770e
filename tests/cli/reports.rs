//! Tests `--report KIND=FILE`: files for other tools, written completely or not at all.

use super::{Dir, VM, check};
use clap::ValueEnum;
use handoff_specs::report::Format;
use junit_parser::{TestCase, TestStatus, TestSuites};
use std::fs;
use std::io::BufReader;

/// Parses a report as JUnit XML with a third-party parser.
fn read(path: &str) -> TestSuites {
    let file = fs::File::open(path).expect("a report");
    junit_parser::from_reader(BufReader::new(file)).expect("JUnit XML")
}

fn case<'a>(report: &'a TestSuites, suite: &str, name: &str) -> &'a TestCase {
    let suite = report.suites.iter().find(|it| it.name == suite).expect("a suite");
    suite.cases.iter().find(|case| case.original_name == name).expect("a case")
}

/// The status of a case, and its message.
fn outcome(case: &TestCase) -> (&'static str, String) {
    match &case.status {
        TestStatus::Success => ("passed", String::new()),
        TestStatus::Failure(it) => ("failure", format!("{}\n{}", it.message, it.text)),
        TestStatus::Error(it) => ("error", format!("{}\n{}", it.message, it.text)),
        TestStatus::Skipped(it) => ("skipped", format!("{}\n{}", it.message, it.text)),
    }
}

#[test]
fn every_kind_is_in_the_help_and_described() {
    let help = check(&["check", "--help"], 0, &["--report"]);
    let page = include_str!("../../docs/json.md");
    for kind in Format::value_variants() {
        let kind = kind.to_possible_value().expect("none is hidden");
        let kind = kind.get_name();
        assert!(page.contains(&format!("`--report {kind}=FILE`")), "docs/json.md lacks {kind}");
        assert!(help.contains(kind), "the help lacks {kind}:\n{help}");
    }
}

#[test]
fn verdicts_are_test_cases() {
    let dir = Dir::new("junit");
    let planted =
        dir.file("planted.toml", &VM.replace("mode", "defects = [\"no-take-back\"]\nmode"));
    let vacuous =
        dir.file("vacuous.toml", &format!("{VM}[may]\ninterrupts = 0\nguest_steps = 0\n"));
    let path = dir.0.join("report.xml").display().to_string();
    let junit = format!("junit={path}");
    check(&["check", "exec", &planted, "--report", &junit], 1, &["proved ", "VIOLATED"]);
    let report = read(&path);
    assert_eq!((report.suites.len(), report.failures, report.errors), (2, 5, 0));
    for (suite, name, word, says) in [
        ("exec", "OWN-1", "passed", ""),
        ("exec", "READ-1", "skipped", "only transfer mode has two processes"),
        ("exec", "state space", "passed", ""),
        (&planted, "VM-1", "passed", ""),
        (&planted, "OWN-1", "failure", "OWN-1 violated in 43 steps, 1 fault"),
        (
            &planted,
            "OWN-1",
            "failure",
            "cause: “page set 0 (ram0), owner” changed from “old VMM” to “new VMM”",
        ),
        (&planted, "OWN-1", "failure", "replay: handoff check "),
    ] {
        let (found, said) = outcome(case(&report, suite, name));
        assert_eq!(found, word, "{suite} {name}");
        assert!(said.contains(says), "{suite} {name}: {said}");
    }

    check(&["check", &vacuous, "--report", &junit], 3, &["vacuous"]);
    assert_eq!(outcome(case(&read(&path), &vacuous, "VM-2")).0, "error");
    check(&["check", "exec", "--states", "100", "--report", &junit], 3, &["nothing is proved"]);
    let (word, said) = outcome(case(&read(&path), "exec", "state space"));
    assert_eq!(
        (word, said.trim()),
        ("error", "not exhaustive: stopped by the limit of 100 states")
    );

    check(&["compare", "kvm-exec", "--report", &junit], 0, &["VM-3"]);
    let report = read(&path);
    assert_eq!((report.failures, report.errors), (0, 0), "others' bugs fail nothing");
    assert_eq!(outcome(case(&report, "safe, exec", "VM-3")).0, "passed");
    let (word, said) = outcome(case(&report, "qemu-10.2, exec", "VM-3"));
    assert!(word == "skipped" && said.contains("VM-3 violated in 10 steps"), "{word} {said}");

    check(&["conform", "change-process", "--report", &junit], 0, &["agree"]);
    let report = read(&path);
    assert_eq!((report.suites.len(), report.failures), (1, 0));
    assert!(report.suites[0].cases.len() > 5);
}

#[test]
fn a_report_is_written_as_a_whole_or_refused_at_once() {
    let dir = Dir::new("reports");
    let (junit, json) = (dir.0.join("r.xml"), dir.0.join("r.json"));
    let (to_junit, to_json) =
        (format!("junit={}", junit.display()), format!("json={}", json.display()));
    check(&["check", "exec", "--report", &to_junit, "--report", &to_json], 0, &["exec: proved"]);
    let names = || fs::read_dir(&dir.0).expect("a directory").count();
    assert_eq!(names(), 2, "no temporary file is left");
    assert!(fs::read_to_string(&json).expect("JSON").starts_with("{\n  \"format\": \"handoff\""));

    let before = fs::read(&junit).expect("a report");
    let folder = format!("junit={}", dir.0.display());
    for (report, says) in [
        ("junit=/no/such/folder/r.xml", "/no/such/folder/r.xml: No such file"),
        (folder.as_str(), "not a regular file"),
        ("junit=/dev/null", "not a regular file"),
        ("junit=", "name of the file is missing"),
        ("r.xml", "expected KIND=FILE"),
        ("html=r.html", "\"html\" is not a kind of report"),
    ] {
        check(&["check", "exec", "--report", report], 2, &[says]);
    }
    check(&["check", "nowhere", "--report", &to_junit], 2, &["nowhere"]);
    check(&["check", "exec", "--steps", "0", "--report", &to_junit], 2, &["--steps"]);
    assert_eq!((fs::read(&junit).expect("a report"), names()), (before, 2));
}
