//! The tables of variants and of known bugs as text, row by row.
//!
//! Of a known bug those rows are listed that a role can reach and that differ from its variant's.

use handoff_model::protocol::{Protocol, Rule};
use handoff_model::variants::defects::Defect;
use handoff_model::variants::{self, Edit, Variant};
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};

/// The tables of a variant.
pub(super) fn of_variant(variant: &Variant) -> String {
    let protocol = Protocol::of(variant);
    let mut text = String::new();
    list(&mut text, "old", &protocol.outgoing);
    list(&mut text, "new", &protocol.incoming);
    list_others(&mut text, &protocol);
    text
}

/// Where the tables of a known bug differ from those of its variant.
pub(super) fn of_defect(defect: &Defect) -> String {
    let variant = variants::find(defect.variant, defect.mode).expect("defects name their variant");
    let (good, bad) = (Protocol::of(variant), defect.plant(Protocol::of(variant)));
    let mut text = format!("{}, of {}, {}\n", defect.id, defect.variant, defect.mode);
    list(&mut text, "  old", changed(&good.outgoing, &bad.outgoing, &bad.outgoing_jumps));
    list(&mut text, "  new", changed(&good.incoming, &bad.incoming, &bad.incoming_jumps));
    let (waived, slips) = (&good.skipped_preconditions, &good.misreports);
    for kind in bad.skipped_preconditions.iter().filter(|kind| !waived.contains(kind)) {
        let _ = writeln!(text, "  waived {kind:?}");
    }
    for slip in bad.misreports.iter().filter(|slip| !slips.contains(slip)) {
        let _ = writeln!(text, "  slip {slip:?}");
    }
    for edit in defect.edits {
        if let Edit::Omit(omission) = edit {
            let _ = writeln!(text, "  omitted {omission}");
        }
    }
    text
}

fn list<'a, P: Debug + 'a>(
    text: &mut String,
    side: &str,
    rows: impl IntoIterator<Item = &'a Rule<P>>,
) {
    for Rule { phase, next, undo, tries, is_rollback, in_window, is_committed } in rows {
        let undo = undo.as_ref().map_or("-".to_owned(), |undo| format!("{undo:?}"));
        let marks = [(is_rollback, "rollback"), (in_window, "window"), (is_committed, "committed")];
        let marks = marks.into_iter().filter(|(is, _)| **is);
        let marks: Vec<_> = marks.map(|(_, mark)| format!(", {mark}")).collect();
        let marks = marks.concat();
        let _ =
            writeln!(text, "{side} {phase:?}: next {next:?}, undo {undo}, tries {tries}{marks}");
    }
}

fn list_others(text: &mut String, protocol: &Protocol) {
    let Protocol { skipped_preconditions: waived, misreports: slips, .. } = protocol;
    for kind in waived {
        let _ = writeln!(text, "waived {kind:?}");
    }
    for slip in slips {
        let _ = writeln!(text, "slip {slip:?}");
    }
}

/// The reachable rows of a table that are not rows of another, sorted by their phases.
fn changed<'a, P: Copy + Ord>(
    from: &[Rule<P>],
    to: &'a [Rule<P>],
    jumps: &[(P, P)],
) -> Vec<&'a Rule<P>> {
    assert!(from[0].phase == to[0].phase, "every defect begins as its variant");
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
