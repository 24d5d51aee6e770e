//! Tests of the command as a shell sees it: output, exit codes, bad input.

mod check;
mod completions;
mod documented;
mod explain;
mod json;
mod readme;
mod reports;
mod show;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory that is removed with its test.
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

/// Runs the command and checks that it exits with `code` and prints all `words` on the right
/// stream.
#[track_caller]
fn check(arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = handoff(arguments);
    let stdout = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    let (used, unused) = if code == 2 { (&stderr, &stdout) } else { (&stdout, &stderr) };
    for word in words {
        assert!(used.contains(word), "{arguments:?} does not print {word:?}:\n{used}");
    }
    assert_eq!(unused, "", "{arguments:?} prints on the wrong stream");
    used.clone()
}

/// Returns the run that the replay line of a counterexample names.
fn replay_of(story: &str) -> &str {
    let mut lines = story.lines().filter(|line| line.contains("replay:"));
    let (_, run) = lines.find_map(|line| line.split_once("--steps ")).expect("a replay line");
    run.strip_prefix('\'').and_then(|run| run.strip_suffix('\'')).expect("in quotes")
}

const VM: &str = "name = \"vm\"\nmode = \"transfer\"\n[[ram]]\nname = \"ram0\"\npages = 1\niova = \
                  0\n\
                  [[device]]\nname = \"nic0\"\n";

#[test]
fn bad_input_is_reported_in_one_line_with_exit_2() {
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
fn everything_is_listed() {
    let words = ["transfer", "OWN-1", "END-1", "no-take-back", "6.12", "fixed"];
    check(&["list"], 0, &words);
    check(&["list", "properties"], 0, &["READ-1"]);
}

#[test]
fn a_known_bug_is_shown_and_replayed() {
    let shown = check(
        &["zoo", "Z17"],
        0,
        &["QEMU d59db04aed", "planted bug space-of-first: ", "DONE-1 violated in 12"],
    );
    check(&["check", "Z17", "--steps", replay_of(&shown)], 1, &["DONE-1 is violated"]);
    check(&["zoo", "K6"], 0, &["the simulated kernel's locks"]);
    check(&["zoo", "K10"], 0, &["compat/unmap", "kernel 6.13 differs", "ENOENT"]);
    check(&["zoo", "L15"], 0, &["Not a bug"]);
    check(&["zoo", "Z14"], 0, &["No scenario reproduces it"]);
    check(&["zoo", "Z99"], 2, &["not a known bug"]);
}

#[test]
fn a_broken_pipe_is_not_an_error() {
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

/// Former names of commands and options still work.
#[test]
fn former_names_of_commands_still_work() {
    for (name, older) in [
        (vec!["compare", "old-kernel"], vec!["check", "--all", "old-kernel"]),
        (vec!["show", "Z02", "0*4"], vec!["check", "Z02", "--steps", "0*4"]),
        (vec!["show", "Z02", "0*4", "--format", "text"], vec!["check", "Z02", "--steps", "0*4"]),
        (
            vec!["show", "exec", "0*4", "--variant", "qemu-10.2", "--format", "trace"],
            vec!["check", "exec", "--variant", "qemu-10.2", "--steps", "0*4", "--format", "trace"],
        ),
        (vec!["show", "Z02", "0*4"], vec!["show", "Z02", "0*4", "--format", "story"]),
        (vec!["conform", "--target", "simulated"], vec!["conform", "--arm", "simulated"]),
        (vec!["bugs", "L15"], vec!["zoo", "L15"]),
    ] {
        let (new, old) = (handoff(&name), handoff(&older));
        assert_eq!((new.status.code(), &new.stderr), (old.status.code(), &old.stderr), "{name:?}");
        assert!(!new.stdout.is_empty() && new.stdout == old.stdout, "{name:?}");
    }
}

/// The scenario's name imitates lines of a verdict, a terminal's control sequence, and markup.
#[test]
fn a_name_from_a_file_forges_nothing() {
    let dir = Dir::new("forged");
    let named =
        VM.replace("\"vm\"", "\"v\\u001b[2J]]><\"\nabout = \"x\\n  proved: OWN-1\\u202e & more\"");
    let file = dir.file("vm.toml", &named);
    let cannot = dir.file("cannot.toml", &named.replace("iova = 0", "iova = 0xfee00000"));
    let (xml, certificate) = (dir.0.join("r.xml"), dir.0.join("c").display().to_string());
    let junit = format!("junit={}", xml.display());
    let words = ["v\\u{1b}[2J]]><: proved: ", "  x\\n  proved: OWN-1\\u{202e} & more\n"];
    let text =
        check(&["check", &file, "--report", &junit, "--certificate", &certificate], 0, &words);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("  proved: ")).count(), 0, "{text}");
    check(&["verify", &certificate], 0, &["v\\u{1b}[2J]]><: verified: "]);
    check(&["check", &cannot], 2, &["v\\u{1b}[2J]]><: the VM cannot be started"]);
    assert!(fs::read_to_string(xml).expect("a report").ends_with("</testsuites>\n"));
    let unknown = dir.file("unknown.toml", &VM.replace("pages", "\"pa\\u001bges\""));
    check(&["check", &unknown], 2, &["line 5: ", "\\u{1b}"]);
}

/// A host runs its own kernel: a scenario about another kernel is refused before the host is
/// examined.
#[test]
fn a_run_refuses_scenarios_about_simulated_kernels() {
    let dir = Dir::new("simulated-kernels");
    for (kernel, variant) in [
        ("6.2", "safe"),
        ("6.12", "safe"),
        ("7.2", "safe"),
        ("fixed", "safe"),
        ("rfc-v1", "rfc-v1"),
    ] {
        let text = format!(
            "name = \"vm\"\nmode = \"exec\"\nkernel = \"{kernel}\"\nvariant = \"{variant}\"\n\
             [[ram]]\nname = \"ram0\"\npages = 4\niova = 0\n[[device]]\nname = \"nic0\"\n"
        );
        let file = dir.file(&format!("{kernel}.toml"), &text);
        let device = "0000:00:05.0";
        let hint = format!("use one without kernel = \"{kernel}\"");
        check(&["run", "--device", device, "--scenario", &file], 2, &[&hint]);
    }
}
