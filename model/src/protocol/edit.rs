//! Edits of a protocol table that affect only the rules they name.
//!
//! An edit that names a phase without a rule has no effect, so edits can be applied one after
//! another.

use super::table::Rule;

/// Moves a phase behind `after`: the phase that followed `after` now follows it, and it takes over
/// the undo phase and tries of `after`. If the phase has a rule, that rule is removed first and
/// keeps its flags. A new rule is not past the point of no return.
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

/// Makes a rule fallible: `undo` undoes `phase`.
pub(crate) fn undo_by<P: Copy + PartialEq>(rows: &mut [Rule<P>], phase: P, undo: P) {
    for row in rows.iter_mut().filter(|row| row.phase == phase) {
        *row = Rule { undo: Some(undo), tries: 1, ..*row };
    }
}

/// Removes and returns the rule of a phase; rules that led to it now lead to its successor.
pub(crate) fn take_out<P: Copy + PartialEq>(rows: &mut Vec<Rule<P>>, phase: P) -> Option<Rule<P>> {
    let at = rows.iter().position(|row| row.phase == phase)?;
    let row = rows.remove(at);
    redirect(rows, phase, row.next);
    if at == 0 {
        rows.sort_by_key(|other| other.phase != row.next);
    }
    Some(row)
}

/// Redirects every rule that leads to the phase `from` to the phase `to`.
pub(crate) fn redirect<P: Copy + PartialEq>(rows: &mut [Rule<P>], from: P, to: P) {
    let ways = rows.iter_mut().flat_map(|row| [Some(&mut row.next), row.undo.as_mut()]);
    ways.flatten().filter(|way| **way == from).for_each(|way| *way = to);
}
