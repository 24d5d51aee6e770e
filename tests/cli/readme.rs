//! Tests that the samples in the README are the command's output.

use super::{Dir, handoff};
use handoff_checker::search::Limits;
use handoff_specs::scenario::library::to_compare;
use handoff_specs::survey::compare::compare;
use handoff_specs::survey::severities::severities;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// Held while a test reads the README and writes it.
static WRITING: Mutex<()> = Mutex::new(());

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// The block after a fence in the current README.
fn block<'a>(readme: &'a str, fence: &str) -> &'a str {
    let (_, rest) = readme.split_once(&format!("```{fence}")).expect("the README has the sample");
    let (block, _) = rest.split_once("\n```").expect("its end");
    block
}

fn printed(arguments: &[&str]) -> String {
    String::from_utf8(handoff(arguments).stdout).expect("text")
}

/// The text without durations.
fn without_time(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(", ") {
        Some((before, time)) if time.ends_with(" s: exhaustive") => {
            format!("{before}, 0.5 s: exhaustive\n")
        }
        _ => format!("{line}\n"),
    };
    text.trim().lines().map(line).collect()
}

#[test]
fn the_proof_is_what_the_command_prints() {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let readme = fs::read_to_string(README).expect("the README");
    let (shown, now) = (block(&readme, "text\ntransfer"), printed(&["check", "transfer"]));
    let (shown, now) = (format!("transfer{shown}"), without_time(&now));
    if env::var_os("HANDOFF_PAGES").is_some() {
        fs::write(README, readme.replace(&shown, now.trim_end())).expect("it can be written");
        return;
    }
    assert_eq!(shown.trim_end(), now.trim_end(), "HANDOFF_PAGES=1 cargo test writes it");
}

/// The table of variants, between two marks.
#[test]
fn the_table_is_what_the_checks_find() {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let readme = fs::read_to_string(README).expect("the README");
    let (mark, end) = ("<!-- made by `HANDOFF_PAGES=1 cargo test` -->\n", "<!-- end -->");
    let (before, rest) = readme.split_once(mark).expect("the mark");
    let (shown, after) = rest.split_once(end).expect("the end of the table");
    let columns = compare(&to_compare(), Limits::default()).expect("they can be set up");
    let now = severities(&columns);
    if env::var_os("HANDOFF_PAGES").is_some() {
        fs::write(README, [before, mark, &now, end, after].concat()).expect("it can be written");
        return;
    }
    assert_eq!(shown, now, "HANDOFF_PAGES=1 cargo test writes it");
}

/// A line of dots stands for omitted lines.
#[test]
fn the_counterexample_is_what_the_command_prints() {
    let readme = fs::read_to_string(README).expect("the README");
    let dir = Dir::new("readme");
    let file = dir.file("my-vm.toml", &block(&readme, "toml\n").replace("# defects", "defects"));
    let printed = printed(&["check", &file]).replace(&file, "my-vm.toml");
    let mut rest = printed.lines();
    let (mut may_skip, mut found) = (false, 0);
    for line in block(&readme, "text\n$ handoff check my-vm.toml\n").lines() {
        if line.trim() == "…" {
            may_skip = true;
            continue;
        }
        let next = if may_skip { rest.find(|it| *it == line) } else { rest.next() };
        assert_eq!(next, Some(line), "in what the command prints:\n{printed}");
        (may_skip, found) = (false, found + 1);
    }
    assert!(found > 10, "the README shows {found} lines");
}
