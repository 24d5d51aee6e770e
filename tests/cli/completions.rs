//! Tests `handoff completions` and `handoff man`.

use super::{Dir, check, handoff};
use std::fs;

/// Commands in the help; `help` itself has no page.
fn commands() -> Vec<String> {
    let help = check(&["--help"], 0, &["Commands:"]);
    let (_, rest) = help.split_once("Commands:\n").expect("a list");
    let (list, _) = rest.split_once("\n\n").expect("its end");
    let lines = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn completions_know_every_command_and_no_hidden_one() {
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = check(&["completions", shell], 0, &["handoff"]);
        for command in &commands {
            assert!(script.contains(command), "the script for {shell} lacks {command}");
        }
        for hidden in ["vmm", "worker", "puppet"] {
            assert!(!script.contains(hidden), "the script for {shell} has {hidden}");
        }
    }
    let bash = check(&["completions", "bash"], 0, &["--certificate", "--report"]);
    for command in &commands {
        assert!(bash.contains(&format!("handoff,{command})")), "{command}");
    }
    assert_eq!(handoff(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = Dir::new("man");
    let pages = dir.0.join("pages");
    let path = pages.display().to_string();
    check(&["man", &path], 0, &["pages in"]);
    let mut expected: Vec<_> = commands().iter().map(|it| format!("handoff-{it}.1")).collect();
    expected.push("handoff.1".to_owned());
    expected.sort();
    let written = fs::read_dir(&pages).expect("the directory");
    let mut written: Vec<_> =
        written.map(|it| it.expect("a file").file_name().into_string().expect("a name")).collect();
    written.sort();
    assert_eq!(written, expected);
    let page = fs::read_to_string(pages.join("handoff-check.1")).expect("a page");
    assert!(page.starts_with(".ie") && page.contains("certificate"), "{page}");
    check(&["man", "/dev/null/pages"], 2, &["/dev/null/pages: "]);
}
