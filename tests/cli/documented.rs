//! Every command and every block of code in the README and the pages of `docs/` runs.

use super::{Dir, handoff};
use crate::tidy::files;
use std::fs;
use std::process::{Command, Output};

/// Commands that are not run here, by their beginnings, with the reason.
const SKIPPED: &[(&str, &str)] = &[
    ("cargo ", "builds the project again; CI runs the tests themselves"),
    ("apt-get ", "installs packages"),
    ("export HANDOFF_KERNEL=", "builds a kernel for some 15 minutes"),
    ("jq ", "a program of others, which reads a report"),
    ("handoff conform --arm real", "needs root on a spare host"),
    ("handoff doctor ", "its exit code depends on this host"),
];

/// A command of a page, with the block that it stands in.
#[derive(Debug)]
struct Documented {
    page: String,
    line: String,
}

/// Returns the fenced blocks of a page: the word after the fence, and the text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), is_open) {
            (Some(word), false) => {
                blocks.push((word.to_owned(), String::new()));
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                let (_, text) = blocks.last_mut().expect("a block is open");
                text.push_str(line);
                text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// Returns the pages that people read: all Markdown outside of the crates.
fn pages() -> Vec<(String, String)> {
    let root = env!("CARGO_MANIFEST_DIR");
    let pages = files(&[".md"]).into_iter().filter_map(|path| {
        let name = path.strip_prefix(root).ok()?.display().to_string();
        let is_read = !name.contains('/') || name.starts_with("docs/");
        is_read.then(|| (name, fs::read_to_string(&path).expect("text")))
    });
    pages.collect()
}

/// Returns the commands in shell blocks, and those that generated pages give as replays.
fn commands() -> Vec<Documented> {
    let mut commands = Vec::new();
    for (page, text) in pages() {
        let shell = blocks(&text).into_iter().filter(|(word, _)| word == "sh" || word == "shell");
        for (_, block) in shell {
            let mut line = String::new();
            for part in block.lines() {
                line.push_str(part.split(" #").next().unwrap_or_default().trim());
                // A quoted word can go over several lines.
                if line.matches('\'').count().is_multiple_of(2) {
                    let line = std::mem::take(&mut line);
                    if !line.is_empty() && !line.starts_with('#') {
                        commands.push(Documented { page: page.clone(), line });
                    }
                }
            }
        }
    }
    commands
}

/// Splits a command into words; single quotes keep spaces and stars.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match (c, is_quoted) {
            ('\'', _) => is_quoted = !is_quoted,
            (' ', false) => words.push(String::new()),
            _ => words.last_mut().expect("a word").push(c),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// A folder with the files that documented commands name.
fn workplace() -> Dir {
    let dir = Dir::new("documented");
    let readme = include_str!("../../README.md");
    let vm = blocks(readme).into_iter().find(|(word, _)| word == "toml").expect("a scenario");
    dir.file("my-vm.toml", &vm.1);
    dir.file("vm.toml", &vm.1);
    dir.file("big.toml", &vm.1);
    let trace = handoff(&["show", "transfer", "0*4", "--format", "trace"]);
    dir.file("run.jsonl", &String::from_utf8(trace.stdout).expect("text"));
    dir
}

fn run(dir: &Dir, line: &str) -> Output {
    let words = split(line);
    let arguments = words.iter().skip(1).take_while(|word| *word != "|" && *word != ">");
    Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(arguments)
        .current_dir(&dir.0)
        .output()
        .expect("the command runs")
}

/// A command may find a violation, or may stop at a limit; it must not be refused.
#[test]
fn documented_commands_run() {
    let dir = workplace();
    let (mut ran, mut refused) = (0, Vec::new());
    for Documented { page, line } in commands() {
        if SKIPPED.iter().any(|(start, _)| line.starts_with(start)) {
            continue;
        }
        if !line.starts_with("handoff") {
            refused.push(format!("{page}: {line}: no command of this project"));
            continue;
        }
        ran += 1;
        let output = run(&dir, &line);
        let is_usable = matches!(output.status.code(), Some(0 | 1 | 3 | 4));
        if !is_usable {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            refused.push(format!("{page}: {line}: {:?} {stderr}", output.status.code()));
        }
    }
    assert!(ran > 10, "{ran} documented commands ran");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_skipped_command_is_documented() {
    let commands = commands();
    for (start, reason) in SKIPPED {
        let is_used = commands.iter().any(|it| it.line.starts_with(start));
        assert!(is_used, "no page has a command that starts with {start:?} ({reason})");
    }
}

#[test]
fn blocks_of_json_are_json() {
    for (page, text) in pages() {
        for (_, block) in blocks(&text).iter().filter(|(word, _)| word == "json") {
            let whole = serde_json::from_str::<serde_json::Value>(block);
            let by_line = || {
                let mut lines = block.lines().filter(|line| !line.trim().is_empty());
                lines.all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
            };
            assert!(whole.is_ok() || by_line(), "{page}: no JSON:\n{block}");
        }
    }
}
