//! Changes of a table that name the rows that they are about, and no others.
//!
//! A phase without a row is let be: changes may be made one after another.

use super::table::Rule;

/// Puts a phase after another: what followed that one follows it, and it is undone and tried as
/// that one is. If the phase has a row already, that row is taken out first, and stays what it is
/// else. A new one is not behind the point of no return.
pub(crate) fn put_after<P: Copy + PartialEq>(rows: &mut Vec<Rule<P>>, after: P, phase: P) {
    if after == phase || !rows.iter().any(|row| row.phase == after) {
        return;
    }
    let moved = take_out(rows, phase);
    let at = rows.iter().position(|row| row.phase == after).expect("only the other was taken out");
    let anchor = &mut rows[at];
    let Rule { is_rollback, in_window, .. } = moved.unwrap_or(*anchor);
    let is_committed = moved.is_some_and(|row| row.is_committed);
    let row = Rule { phase, is_rollback, in_window, is_committed, ..*anchor };
    anchor.next = phase;
    rows.insert(at + 1, row);
}

/// Makes a row one that can fail: the second phase undoes the first.
pub(crate) fn undo_by<P: Copy + PartialEq>(rows: &mut [Rule<P>], phase: P, undo: P) {
    for row in rows.iter_mut().filter(|row| row.phase == phase) {
        *row = Rule { undo: Some(undo), tries: 1, ..*row };
    }
}

/// Takes the row of a phase out: what led to it leads to what followed it.
pub(crate) fn take_out<P: Copy + PartialEq>(rows: &mut Vec<Rule<P>>, phase: P) -> Option<Rule<P>> {
    let at = rows.iter().position(|row| row.phase == phase)?;
    let row = rows.remove(at);
    redirect(rows, phase, row.next);
    if at == 0 {
        rows.sort_by_key(|other| other.phase != row.next);
    }
    Some(row)
}

/// Makes what leads to a phase lead to another.
pub(crate) fn redirect<P: Copy + PartialEq>(rows: &mut [Rule<P>], from: P, to: P) {
    let ways = rows.iter_mut().flat_map(|row| [Some(&mut row.next), row.undo.as_mut()]);
    ways.flatten().filter(|way| **way == from).for_each(|way| *way = to);
}
