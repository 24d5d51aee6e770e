//! Tests `handoff check` and `compare`: verdicts, limits, certificates and checkpoints.

use super::{Dir, VM, check, replay_of};
use handoff_checker::search::Limits;
use handoff_specs::counterexample::Checked;
use handoff_specs::properties::Severity;
use handoff_specs::report::check::CheckedScenario;
use handoff_specs::report::text::check::{LINES_MAX, line, summary};
use handoff_specs::scenario::bugs::{self, KnownBug};
use handoff_specs::scenario::library::{BUILT_IN, FOR_RFC, FOR_TYPE1, built_in as built_in_named};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn a_scenario_is_proved_with_exit_0() {
    let dir = Dir::new("proved");
    let file = dir.file("vm.toml", VM);
    check(
        &["check", &file],
        0,
        &["vm: proved: all 22 properties", "unique states", ": exhaustive"],
    );
    check(&["check", "exec"], 0, &["21 proved; 6 n/a"]);
    let reason = "READ-1  The new process changes nothing before the commit (only transfer mode";
    check(&["check", "exec", "--verbose"], 0, &["  proved            OWN-1   ", reason]);
}

#[test]
fn a_planted_bug_is_reported_with_exit_1() {
    let dir = Dir::new("planted");
    let planted = VM.replace("mode", "defects = [\"no-take-back\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let words = [
        "BACK-1 violated in 43 steps, 1 fault",
        "old VMM",
        "new VMM",
        "cause: ",
        "changed by the last step",
        "replay:",
    ];
    let story = check(&["check", &file, "--verbose"], 1, &words);
    let told = story.lines().filter(|line| line.contains("replay:")).count();
    assert_eq!(told, 2, "each run is printed once, for all properties that it violates");
    let replay = replay_of(&story);
    let words = ["· page set 0 (ram0), owner: old VMM → new VMM", "is violated", "cause: "];
    check(&["check", &file, "--steps", replay], 1, &words);
}

#[test]
fn a_search_that_a_limit_stops_exits_with_3() {
    check(&["check", "transfer", "--states", "500"], 3, &["NOT exhaustive", "nothing is proved"]);
}

#[test]
fn a_vacuous_property_exits_with_3() {
    let dir = Dir::new("vacuous");
    let file = dir.file("vm.toml", &format!("{VM}[may]\ninterrupts = 0\nguest_steps = 0\n"));
    check(
        &["check", &file],
        3,
        &["proved 20 of 22 properties, but 2 are vacuous", "vacuous: VM-2 IRQ-1"],
    );
}

/// The default output about any known scenario fits on a page of 60 lines, 100 columns wide.
#[test]
fn the_default_output_is_short() {
    let built_in = [BUILT_IN, FOR_RFC, FOR_TYPE1].concat();
    let built_in = built_in.iter().filter_map(|(name, _)| built_in_named(name));
    for scenario in built_in.chain(bugs::all().filter_map(KnownBug::scenario)) {
        let checked = Checked::new(&scenario, Limits::default()).expect("it can be set up");
        let text = summary(&CheckedScenario::new(&scenario.name, &scenario, &checked), 100);
        let lines = text.lines().count();
        assert!((5..=LINES_MAX).contains(&lines), "{} has {lines} lines:\n{text}", scenario.name);
    }
}

/// Findings come by severity, then by faults, then by steps, as numbers.
#[test]
fn findings_are_ordered_by_severity_and_length() {
    let text = check(&["check", "transfer", "--variant", "qemu-10.2"], 1, &["VIOLATED"]);
    let finding = |line: &str| {
        let severity = Severity::ALL.iter().position(|severity| {
            line.starts_with(&format!("  {severity} ")) && line.ends_with(')')
        })?;
        let (_, length) = line.trim_end_matches(')').rsplit_once('(')?;
        let mut numbers = length.split(", ").map(|part| part.split(' ').next()?.parse().ok());
        let steps: usize = numbers.next()??;
        Some((severity, numbers.next().flatten().unwrap_or(0), steps))
    };
    let found: Vec<(usize, usize, usize)> = text.lines().filter_map(finding).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(found, sorted, "{text}");
    let severities = found.iter().map(|(severity, ..)| severity).collect::<BTreeSet<_>>();
    assert!(found.len() > 8 && severities.len() > 3, "{found:?}");
}

/// A scenario that allows an event which never happens is not called proved.
#[test]
fn an_event_that_never_happens_is_not_called_proved() {
    let scenario = built_in_named("transfer").expect("built in");
    let checked = Checked::new(&scenario, Limits::default()).expect("it can be set up");
    let mut report = CheckedScenario::new("transfer", &scenario, &checked);
    assert!(summary(&report, 100).contains("proved: all 22 properties"));
    report.never.push("a kill");
    let text = summary(&report, 100);
    assert!(text.contains("but an event never happens") && text.contains("a kill"), "{text}");
    assert!(line(&report).starts_with("vacuous "), "{}", line(&report));
}

#[test]
fn a_certificate_is_written_verified_and_refused_when_it_was_changed() {
    let dir = Dir::new("certificate");
    let (vm, file) = (dir.file("vm.toml", VM), dir.file("vm.cert", ""));
    check(&["check", &vm, "--certificate", &file], 0, &["exhaustive"]);
    check(&["verify", &file], 0, &["vm: verified: ", "closed under", "OWN-1"]);
    let text = fs::read_to_string(&file).expect("it was written");
    let shorter = dir.file("shorter.cert", text.trim_end().rsplit_once('\n').expect("lines").0);
    check(&["verify", &shorter], 1, &["proves nothing", "has a successor that is not"]);
    check(&["verify", &vm], 1, &["proves nothing", "line 1"]);
    check(&["verify", "no-such-file"], 2, &["no-such-file"]);
    check(&["check", "--certificate", &file], 2, &["exactly one scenario"]);
    let cut = ["check", &vm, "--certificate", &file, "--states", "100"];
    check(&cut, 3, &["no certificate: only an exhaustive search"]);
    check(&["check", &vm, "--depth", "5"], 3, &["NOT exhaustive, stopped by the limit of 5 steps"]);
    check(
        &["check", &vm, "--memory", "1"],
        3,
        &["NOT exhaustive, stopped by the memory limit of 1 MiB"],
    );
}

/// A bug of another variant is a result, not a failure; the exit code reports on our own protocol.
#[test]
fn variants_are_compared_and_replace_one_another() {
    let told =
        check(&["check", "--all", "exec", "kvm-exec"], 0, &["A  safe, exec:", "B  qemu-10.2"]);
    let violated = told.lines().find(|line| line.starts_with("B  VM-3")).expect("it is told");
    assert!(
        violated.contains("the process that had the guest exited, and the guest with it"),
        "{violated}"
    );
    check(
        &["check", "kvm-exec", "--variant", "qemu-10.2"],
        1,
        &[
            "VM-3 violated in 10 steps",
            "replay: handoff check kvm-exec --variant qemu-10.2 --steps ",
        ],
    );
    check(&["check", "exec", "--variant", "rfc-v1"], 2, &["another kernel"]);
    check(&["check", "exec", "--variant", "none"], 2, &["unknown variant", "one of safe"]);
}

#[test]
fn a_stopped_check_resumes_with_the_same_result() {
    let dir = Dir::new("checkpoint");
    let (vm, file) = (dir.file("vm.toml", VM), dir.0.join("vm.checkpoint"));
    let name = file.to_str().expect("a readable path");
    let with = |more: &[&'static str]| {
        let arguments = ["check", &vm, "--checkpoint", name];
        [&arguments[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |more: &[&'static str], code, words: &[&str]| {
        let arguments = with(more);
        check(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), code, words)
    };
    let whole = check(&["check", &vm], 0, &["exhaustive"]);
    assert_same(&whole, &run(&[], 0, &[]));
    assert!(!file.exists(), "what is complete at once needs no file");

    run(&["--states", "1000"], 3, &["limit of 1000 states", "stopped; ", "higher limit"]);
    run(&["--time", "0"], 3, &["resumed from", "stopped; run the same command to resume"]);
    run(&["--depth", "9"], 2, &["vm.checkpoint: cannot resume", "depth limit"]);
    let cut = fs::read(&file).expect("it was written");
    let on = run(&[], 0, &["resumed from", "the search is complete; removed"]);
    assert_same(&whole, &on);
    assert!(!file.exists() && fs::read_dir(&dir.0).expect("a directory").count() == 1);

    fs::write(&file, &cut[..cut.len() - 9]).expect("a file for a test");
    run(&[], 2, &["damaged or truncated", "remove it to start again"]);
    fs::write(&file, &cut).expect("a file for a test");
    dir.file("vm.toml", &VM.replace("pages = 1", "pages = 2"));
    run(&[], 2, &["another scenario, '"]);
    assert_eq!(fs::read(&file).expect("still there"), cut);
    check(&["check", "--checkpoint", name], 2, &["exactly one scenario"]);
    check(&["check", "exec", "--checkpoint", "/no/such/place"], 2, &["/no/such/place: "]);
}

/// Compares two outputs, except for durations and the notes about the checkpoint file.
#[track_caller]
fn assert_same(one: &str, other: &str) {
    let verdicts = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("  "));
        lines.map(|line| line.rsplit_once(", ").map_or(line, |it| it.0).to_owned()).collect()
    };
    let (one, other): (Vec<String>, Vec<String>) = (verdicts(one), verdicts(other));
    assert!(one.len() > 2, "{one:?}");
    assert_eq!(one, other);
}
