//! The protocol tables of variants, and the differences that defects make to them, as Markdown.
//!
//! Of a defect's rules only those are listed that are reachable and differ from its variant's.

use crate::survey::docgen::capitalized;
use handoff_model::protocol::misreport::Misreport;
use handoff_model::protocol::phase::{InPhase, OutPhase};
use handoff_model::protocol::{Protocol, Rule};
use handoff_model::variants::defects::Defect;
use handoff_model::variants::{self, Edit, Variant};
use handoff_model::vm::blocker::BlockerKind;
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};

/// Returns the tables of a variant as Markdown tables.
pub(super) fn of_variant(variant: &Variant) -> String {
    let protocol = Protocol::of(variant);
    let mut text = String::new();
    list(&mut text, "old", &protocol.outgoing, OutPhase::sentence);
    text.push('\n');
    list(&mut text, "new", &protocol.incoming, InPhase::sentence);
    for line in others(&protocol, &[], &[]) {
        let _ = write!(text, "\n* {line}");
    }
    text
}

/// Returns the differences of a defect's protocol from its variant's.
pub(super) fn of_defect(defect: &Defect) -> Vec<String> {
    let variant = variants::find(defect.variant, defect.mode).expect("defects name their variant");
    let (good, bad) = (Protocol::of(variant), defect.plant(Protocol::of(variant)));
    let mut lines = Vec::new();
    let old = changed(&good.outgoing, &bad.outgoing, &bad.outgoing_jumps);
    lines.extend(old.into_iter().map(|rule| change("old", rule)));
    let new = changed(&good.incoming, &bad.incoming, &bad.incoming_jumps);
    lines.extend(new.into_iter().map(|rule| change("new", rule)));
    lines.extend(others(&bad, &good.skipped_preconditions, &good.misreports));
    for edit in defect.edits {
        if let Edit::Omit(mutation) = edit {
            lines.push(format!("omitted: {mutation}"));
        }
    }
    lines
}

/// Writes the rules of one process as a Markdown table. `sentence` describes a phase.
fn list<P: Copy + Debug>(
    text: &mut String,
    side: &str,
    rules: &[Rule<P>],
    sentence: fn(P) -> &'static str,
) {
    let head = format!("{side} VMM | what it does | next | on failure | attempts | remarks");
    let _ = writeln!(text, "| {head} |\n|---|---|---|---|---|---|");
    for rule in rules {
        let Rule { phase, next, tries, .. } = rule;
        let sentence = capitalized(sentence(*phase).trim_start_matches("Not in `safe`: "));
        let (undo, marks) = (undo(rule), marks(rule));
        let _ =
            writeln!(text, "| {phase:?} | {sentence} | {next:?} | {undo} | {tries} | {marks} |");
    }
}

/// Describes a rule in a line.
fn change<P: Debug>(side: &str, rule: &Rule<P>) -> String {
    let Rule { phase, next, tries, .. } = rule;
    let marks = marks(rule);
    let marks = if marks.is_empty() { marks } else { format!(" ({marks})") };
    format!("{side} {phase:?}: next {next:?}, on failure {}, attempts {tries}{marks}", undo(rule))
}

fn undo<P: Debug>(rule: &Rule<P>) -> String {
    rule.undo.as_ref().map_or_else(|| "continue".to_owned(), |undo| format!("{undo:?}"))
}

fn marks<P>(rule: &Rule<P>) -> String {
    let Rule { is_rollback, in_window, is_committed, .. } = rule;
    let marks = [
        (is_rollback, "rollback"),
        (in_window, "descriptors inheritable"),
        (is_committed, "committed"),
    ];
    let marks: Vec<_> = marks.iter().filter(|(is, _)| **is).map(|(_, mark)| *mark).collect();
    marks.join(", ")
}

/// Describes the preconditions that a protocol skips and its misreports, but for those given.
fn others(protocol: &Protocol, skipped: &[BlockerKind], misreports: &[Misreport]) -> Vec<String> {
    let preconditions = protocol.skipped_preconditions.iter().filter(|it| !skipped.contains(it));
    let preconditions = preconditions.map(|kind| format!("precondition not checked: {kind:?}"));
    let misreported = protocol.misreports.iter().filter(|it| !misreports.contains(it));
    preconditions.chain(misreported.map(|it| format!("misreport: {it:?}"))).collect()
}

/// Returns the reachable rules of `to` that are not in `from`, sorted by phase.
fn changed<'a, P: Copy + Ord>(
    from: &[Rule<P>],
    to: &'a [Rule<P>],
    jumps: &[(P, P)],
) -> Vec<&'a Rule<P>> {
    assert!(from[0].phase == to[0].phase, "a defect begins with the first phase of its variant");
    let (mut reached, mut open) = (BTreeSet::new(), vec![to[0].phase]);
    while let Some(phase) = open.pop() {
        if reached.insert(phase) {
            let rows = to.iter().filter(|rule| rule.phase == phase);
            open.extend(rows.flat_map(|rule| [Some(rule.next), rule.undo]).flatten());
            open.extend(jumps.iter().filter(|(from, _)| *from == phase).map(|(_, to)| *to));
        }
    }
    let mut rows: Vec<_> =
        to.iter().filter(|rule| reached.contains(&rule.phase) && !from.contains(rule)).collect();
    rows.sort_by_key(|rule| rule.phase);
    rows
}
