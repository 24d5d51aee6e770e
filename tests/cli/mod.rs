//! The command, as a shell sees it: output, exit codes, bad input.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory that goes away with its test.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("handoff-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for a test");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file for a test");
        path.to_str().expect("a readable path").to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn handoff(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(arguments)
        .env("COLUMNS", "120")
        .output()
        .expect("the command runs")
}

/// Runs the command; it must end with `code`, and say every one of `words` on the right stream.
#[track_caller]
fn check(arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = handoff(arguments);
    let stdout = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    let (spoken, silent) = if code == 2 { (&stderr, &stdout) } else { (&stdout, &stderr) };
    for word in words {
        assert!(spoken.contains(word), "{arguments:?} does not say {word:?}:\n{spoken}");
    }
    assert_eq!(silent, "", "{arguments:?} speaks on the wrong stream");
    spoken.clone()
}

/// What the last line of a story says after `--steps`.
fn replay_of(story: &str) -> &str {
    let mut lines = story.lines().filter(|line| line.contains("replay:"));
    lines.find_map(|line| line.split_once("--steps ")).expect("a replay line").1
}

const VM: &str = "name = \"vm\"\nmode = \"transfer\"\n[[ram]]\nname = \"ram0\"\npages = 1\niova = 0\n\
                  [[device]]\nname = \"nic0\"\n";

#[test]
fn a_scenario_is_proved_with_exit_0() {
    let dir = Dir::new("proved");
    let file = dir.file("vm.toml", VM);
    check(&["check", &file], 0, &["exhaustive", "unique states", "proved: OWN-1"]);
    check(&["check", "exec"], 0, &["not asked (asked only by transfer): READ-1"]);
}

#[test]
fn a_planted_bug_is_told_as_a_story_with_exit_1() {
    let dir = Dir::new("planted");
    let planted = VM.replace("mode", "defects = [\"no-take-back\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let words = [
        "BACK-1 violated in 43 steps",
        "old VMM",
        "new VMM",
        "because ",
        "the last step changed",
        "replay:",
    ];
    let story = check(&["check", &file], 1, &words);
    let replay = replay_of(&story);
    let words = ["· pages 0, owner: old VMM → new VMM", "does not hold", "because "];
    check(&["check", &file, "--steps", replay], 1, &words);
}

/// Each format by what its readers look for; a trace goes straight into `handoff replay`.
#[test]
fn a_run_is_told_in_the_format_that_is_asked_for() {
    let dir = Dir::new("format");
    let file = dir.file("vm.toml", &VM.replace("mode", "defects = [\"not-fenced\"]\nmode"));
    let stories = check(&["check", &file], 1, &["FD-1"]);
    let (_, story) = stories.split_once("\nFD-1 violated").expect("it is told");
    let told = |format| ["check", &file, "--steps", replay_of(story), "--format", format];
    check(&told("story"), 1, &["old VMM  ", "· pages 0, owner: old VMM → new VMM"]);
    check(&told("itf"), 1, &["\"format\":\"ITF\"", "\"vars\":[", "\"states\":[", &file]);
    check(&told("mermaid"), 1, &["sequenceDiagram\n", "old->>new: 4. Offer", "FD-1 does not hold"]);
    let trace = check(&told("trace"), 1, &["\"source\":\"sim\"", "\"sys\":\"sendmsg\""]);
    let trace = dir.file("vm.jsonl", &trace);
    check(&["replay", &trace], 0, &["0 calls answered differently", "0 calls not modelled"]);
    check(&["check", "transfer", "--steps", "0*3", "--format", "trace"], 0, &["handoff-trace"]);
    check(&["check", "transfer", "--format", "itf"], 2, &["--steps <RUN>"]);
    check(&told("picture"), 2, &["possible values: story, trace, itf, mermaid"]);
}

#[test]
fn a_run_that_goes_round_for_ever_is_told_and_replayed_as_one() {
    let dir = Dir::new("cycle");
    let planted = VM.replace("mode", "defects = [\"waits-for-the-dead\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let story = check(&["check", &file], 1, &["END-1 violated", "from here on for ever"]);
    let replay = replay_of(&story);
    check(&["check", &file, "--steps", replay], 1, &["can repeat for ever"]);
}

#[test]
fn a_step_that_leads_back_is_told_and_replayed_as_one() {
    let dir = Dir::new("back");
    let planted = VM.replace("mode", "defects = [\"begins-anew\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let words = "makes more be left of the old process: phases 18";
    let story = check(&["check", &file], 1, &["END-2 violated in 6 steps", "longest run"]);
    assert!(story.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{story}");
    check(&["check", &file, "--steps", replay_of(&story)], 1, &["END-2 does not hold", words]);
}

#[test]
fn a_step_that_no_handoff_has_is_told_and_replayed_as_one() {
    let dir = Dir::new("blind");
    let planted = VM.replace("mode", "defects = [\"word-given-blind\"]\nmode");
    let file = dir.file("vm.toml", &planted);
    let words = "no step of a handoff does this (the word: open → given)";
    let story = check(&["check", &file], 1, &["REF-1 violated in 16 steps", words]);
    check(&["check", &file, "--steps", replay_of(&story)], 1, &["REF-1 does not hold", words]);
}

#[test]
fn a_search_that_is_cut_short_ends_with_exit_3() {
    check(&["check", "transfer", "--states", "500"], 3, &["NOT exhaustive", "not proved"]);
}

#[test]
fn a_property_that_nothing_could_break_is_vacuous_and_ends_with_exit_3() {
    let dir = Dir::new("vacuous");
    let file = dir.file("vm.toml", &format!("{VM}[may]\ninterrupts = 0\nguest_steps = 0\n"));
    check(&["check", &file], 3, &["vacuous, proves nothing: VM-2 IRQ-1"]);
}

#[test]
fn bad_input_is_told_in_one_line_with_exit_2() {
    let dir = Dir::new("bad");
    let unknown = dir.file("unknown.toml", &VM.replace("pages", "pagez"));
    for (arguments, word) in [
        (vec!["check", "nowhere.toml"], "nowhere.toml"),
        (vec!["check", &unknown], "line 5"),
        (vec!["check", "transfer", "--steps", "x"], "\"x\" is not a step"),
        (vec!["check", "transfer", "--steps", "99"], "there is no action 99"),
        (vec!["check", "transfer", "--steps", "0*0"], "at least one step"),
        (vec!["check", "transfer", "--steps", "0*99999999999"], "at most 100000"),
        (vec!["check", "--steps", "0"], "exactly one scenario"),
    ] {
        let line = check(&arguments, 2, &[word]);
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_certificate_is_written_verified_and_refused_when_it_was_changed() {
    let dir = Dir::new("certificate");
    let (vm, file) = (dir.file("vm.toml", VM), dir.file("vm.cert", ""));
    check(&["check", &vm, "--certificate", &file], 0, &["exhaustive"]);
    check(&["verify", &file], 0, &["vm: verified: ", "and no other", "OWN-1"]);
    let text = fs::read_to_string(&file).expect("it was written");
    let shorter = dir.file("shorter.cert", text.trim_end().rsplit_once('\n').expect("lines").0);
    check(&["verify", &shorter], 1, &["proves nothing", "missing"]);
    check(&["verify", &vm], 1, &["proves nothing", "line 1"]);
    check(&["verify", "no-such-file"], 2, &["no-such-file"]);
    check(&["check", "--certificate", &file], 2, &["of one scenario"]);
    let cut = ["check", &vm, "--certificate", &file, "--states", "100"];
    check(&cut, 3, &["no certificate: only a complete search"]);
    check(&["check", &vm, "--depth", "5"], 3, &["NOT exhaustive: cut by the limit of 5 steps"]);
    check(
        &["check", &vm, "--memory", "1"],
        3,
        &["NOT exhaustive: cut by the memory limit of 1 MiB"],
    );
}

#[test]
fn everything_is_listed() {
    let words = ["transfer", "OWN-1", "END-1", "no-take-back", "6.12", "fixed"];
    check(&["list"], 0, &words);
    check(&["list", "properties"], 0, &["READ-1"]);
}

/// Others' bugs are a result and no failure; that ours keeps everything is what is asked.
#[test]
fn variants_are_compared_and_one_is_put_in_the_place_of_another() {
    let told =
        check(&["check", "--all", "exec", "kvm-exec"], 0, &["A  safe, exec:", "B  qemu-10.2"]);
    let violated = told.lines().find(|line| line.starts_with("B  VM-3")).expect("it is told");
    assert!(violated.contains("the process that had the guest has ended by itself"), "{violated}");
    check(
        &["check", "kvm-exec", "--variant", "qemu-10.2"],
        1,
        &[
            "VM-3 violated in 10 steps",
            "replay: handoff check kvm-exec --variant qemu-10.2 --steps ",
        ],
    );
    check(&["check", "exec", "--variant", "rfc-v1"], 2, &["another kernel"]);
    check(&["check", "exec", "--variant", "none"], 2, &["not known", "one of safe"]);
}

/// An ioctl that is made of bytes says in its answer that it failed.
#[test]
fn an_ioctl_that_is_refused_is_told_as_refused() {
    let run = ["check", "rfc-v1", "--steps", "0*33.1"];
    let refused = "TakeAddresses: IOMMU_IOAS_CHANGE_PROCESS → ENOMEM (injected)";
    for (format, words) in [
        ("story", refused),
        ("itf", "\"answer\":\"ENOMEM\""),
        ("mermaid", "new-xkernel: 34. TakeAddresses"),
    ] {
        check(&[&run[..], &["--format", format]].concat(), 0, &[words]);
    }
}

#[test]
fn a_known_bug_is_told_as_a_story_and_replayed() {
    let told =
        check(&["zoo", "Z17"], 0, &["QEMU d59db04aed", "planted: ", "DONE-1 violated in 12"]);
    check(&["check", "Z17", "--steps", replay_of(&told)], 1, &["DONE-1 does not hold"]);
    check(&["zoo", "K6"], 0, &["the simulated kernel's locks"]);
    check(&["zoo", "K10"], 0, &["compat/unmap", "does not hold on 6.13", "ENOENT"]);
    check(&["zoo", "L15"], 0, &["It is no bug"]);
    check(&["zoo", "Z14"], 0, &["No world shows it"]);
    check(&["zoo", "Z99"], 2, &["no known bug"]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_handoff"))
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_check_that_was_stopped_goes_on_and_comes_to_the_same_end() {
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
    run(&["--time", "0"], 3, &["went on from", "stopped; the same command goes on"]);
    run(&["--depth", "9"], 2, &["vm.checkpoint: cannot go on", "limit of steps"]);
    let cut = fs::read(&file).expect("it was written");
    let on = run(&[], 0, &["went on from", "come to its end", "is removed"]);
    assert_same(&whole, &on);
    assert!(!file.exists() && fs::read_dir(&dir.0).expect("a directory").count() == 1);

    fs::write(&file, &cut[..cut.len() - 9]).expect("a file for a test");
    run(&[], 2, &["its end is missing", "remove it to begin anew"]);
    fs::write(&file, &cut).expect("a file for a test");
    dir.file("vm.toml", &VM.replace("pages = 1", "pages = 2"));
    run(&[], 2, &["another scenario, '"]);
    assert_eq!(fs::read(&file).expect("still there"), cut);
    check(&["check", "--checkpoint", name], 2, &["of one scenario"]);
    check(&["check", "exec", "--checkpoint", "/no/such/place"], 2, &["/no/such/place: "]);
}

/// But for the time, and what is said of the file.
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
