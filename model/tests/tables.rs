//! The tables of every variant and every known bug are those of the golden listing.
//!
//! A variant is listed row by row, in order. Of a known bug those rows are listed that a role can
//! reach and that differ from its variant's.

use handoff_model::protocol::{Protocol, Rule};
use handoff_model::variants::Edit;
use handoff_model::variants::defects::{self, Defect};
use handoff_model::variants::{self, VARIANTS};
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};

const GOLDEN: &str = include_str!("golden/tables.txt");

#[test]
fn tables_are_as_listed() {
    let mut text = String::new();
    for variant in VARIANTS {
        let _ = writeln!(text, "variant {}, {:?}", variant.id, variant.mode);
        let protocol = Protocol::of(variant);
        assert_eq!(protocol.mode, variant.mode, "{}", variant.id);
        list(&mut text, "old", &protocol.outgoing);
        list(&mut text, "new", &protocol.incoming);
        list_others(&mut text, &protocol);
    }
    defects::all().for_each(|defect| list_defect(&mut text, defect));
    assert_eq!(text, GOLDEN, "the listing is now:\n{text}");
}

fn list_defect(text: &mut String, defect: &Defect) {
    let variant = variants::find(defect.variant, defect.mode).expect("a variant");
    let (good, bad) = (Protocol::of(variant), defect.plant(Protocol::of(variant)));
    let _ = writeln!(text, "defect {} of {}, {:?}", defect.id, defect.variant, defect.mode);
    list(text, "old", changed(&good.outgoing, &bad.outgoing, &bad.outgoing_jumps));
    list(text, "new", changed(&good.incoming, &bad.incoming, &bad.incoming_jumps));
    list_others(text, &bad);
    for edit in defect.edits {
        if let Edit::Omit(omission) = edit {
            let _ = writeln!(text, "  omitted {omission}");
        }
    }
}

fn list<'a, P: Debug + 'a>(
    text: &mut String,
    side: &str,
    rows: impl IntoIterator<Item = &'a Rule<P>>,
) {
    for Rule { phase, next, undo, tries, is_rollback, in_window } in rows {
        let undo = undo.as_ref().map_or("-".to_owned(), |undo| format!("{undo:?}"));
        let rollback = if *is_rollback { ", rollback" } else { "" };
        let window = if *in_window { ", window" } else { "" };
        let marks = format!("{rollback}{window}");
        let _ =
            writeln!(text, "  {side} {phase:?}: next {next:?}, undo {undo}, tries {tries}{marks}");
    }
}

fn list_others(text: &mut String, protocol: &Protocol) {
    let Protocol { waived, slips, .. } = protocol;
    for kind in waived {
        let _ = writeln!(text, "  waived {kind:?}");
    }
    for slip in slips {
        let _ = writeln!(text, "  slip {slip:?}");
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
