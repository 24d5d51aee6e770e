//! The diagrams in the heads of files match their tables.

use handoff_model::protocol::{Mode, Protocol, Rule};
use handoff_model::variants;
use std::fmt::Debug;
use std::{env, fs};

/// Column at which the second column begins, which is also the width of the first.
const COLUMN: usize = 46;

#[test]
fn the_head_of_safe_shows_its_tables() {
    let [late, early, exec] =
        [Protocol::safe(Mode::Transfer), Protocol::safe_early(), Protocol::safe(Mode::Exec)];
    let mut text = diagram("transfer", &late);
    let is_other = |group: &String| !text.contains(group);
    let other: Vec<_> = diagram("early", &early).into_iter().filter(is_other).collect();
    text.extend(other);
    text.extend(diagram("exec", &exec));
    check("protocol/safe.rs", &text);
}

#[test]
fn the_heads_of_variants_show_their_tables() {
    let of = |id, mode: Mode| {
        let variant = variants::find(id, mode).expect("a variant");
        diagram(&mode.to_string(), &Protocol::of(variant))
    };
    let both = |id| [of(id, Mode::Transfer), of(id, Mode::Exec)].concat();
    check("variants/qemu.rs", &both("qemu-10.2"));
    check("variants/type1.rs", &both("type1"));
    let rfc = of("rfc-v1", Mode::Exec);
    check("variants/rfc_v1.rs", &rfc);
}

/// Checks that the first block of text in a file's head is the diagram; rewrites it if
/// `HANDOFF_PAGES` is set.
#[track_caller]
fn check(file: &str, diagram: &[String]) {
    let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(&path).expect("a source file");
    let (before, rest) = source.split_once("//! ```text\n").expect("a block of text");
    let (found, after) = rest.split_once("//! ```\n").expect("its end");
    let lines = diagram.iter().flat_map(|group| group.lines());
    let expected = lines.map(|line| format!("//! {line}\n")).collect::<Vec<_>>().concat();
    if env::var_os("HANDOFF_PAGES").is_some() {
        let text = format!("{before}//! ```text\n{expected}//! ```\n{after}");
        fs::write(&path, text).expect("the file can be written");
        return;
    }
    assert_eq!(
        found, expected,
        "the diagram of {file} is not that of its tables; HANDOFF_PAGES=1 cargo test writes it"
    );
}

/// Returns the title and the groups of rules of each role.
fn diagram(form: &str, protocol: &Protocol) -> Vec<String> {
    let title = format!("{form}, old process");
    let mut lines = vec![format!("{title:COLUMN$}on failure")];
    lines.extend(rows(&protocol.outgoing, &protocol.outgoing_jumps));
    lines.push(format!("{form}, new process"));
    lines.extend(rows(&protocol.incoming, &protocol.incoming_jumps));
    lines
}

/// Returns the rules of the success path, grouped if a failure leads to the same rollback; then
/// those rollback rules that can fail themselves.
fn rows<P: Copy + PartialEq + Debug>(rows: &[Rule<P>], jumps: &[(P, P)]) -> Vec<String> {
    let row = |phase: P| rows.iter().find(|row| row.phase == phase);
    let forward: Vec<_> = std::iter::successors(rows.first(), |at| row(at.next)).collect();
    let back = rows.iter().filter(|row| row.undo.is_some() && !forward.contains(row));
    let on_failure = |of: &Rule<P>| {
        let Some(undo) = of.undo else { return vec!["goes on".to_owned()] };
        let mut way = Vec::new();
        let mut at = undo;
        while let Some(row) = row(at).filter(|row| !forward.contains(row)) {
            let jump = jumps.iter().find(|(from, _)| *from == at);
            let or = jump.map_or(String::new(), |(_, to)| format!(" (or {to:?})"));
            way.push(format!("{at:?}{or}"));
            at = row.next;
        }
        match row(at) {
            Some(_) => way.push(format!("→ {at:?}")),
            None if way.is_empty() => way.push(format!("{at:?}")),
            None => {}
        }
        way
    };
    let mut groups: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for row in forward.iter().copied().chain(back) {
        let (name, way) = (format!("{:?}", row.phase), on_failure(row));
        match groups.last_mut() {
            Some((names, of)) if *of == way => names.push(name),
            _ => groups.push((vec![name], way)),
        }
    }
    groups.iter().map(|(names, way)| columns(names, way)).collect()
}

fn columns(names: &[String], way: &[String]) -> String {
    let (left, right) = (wrap(names), wrap(way));
    let line = |at: usize| {
        let of = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        format!("  {:1$}{2}", of(&left), COLUMN - 2, of(&right)).trim_end().to_owned()
    };
    (0..left.len().max(right.len())).map(line).collect::<Vec<_>>().join("\n")
}

fn wrap(words: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < COLUMN - 5 => {
                line.push_str("  ");
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}
