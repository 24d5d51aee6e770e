//! Differences between protocols, as data: edits of a protocol's tables and checks.

use super::mutants::Mutation;
use crate::protocol::edit::{put_after, redirect, take_out, undo_by};
use crate::protocol::misreport::Misreport;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Protocol, Rule};
use crate::vm::blocker::BlockerKind;

/// One difference from a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A change in the table of the old process.
    Out(Change<OutPhase>),
    /// A change in the table of the new process.
    In(Change<InPhase>),
    /// A precondition that is not checked.
    Waive(BlockerKind),
    /// A step that is omitted.
    Omit(Mutation),
    /// A wrong entry in what the old process sends.
    Misreport(Misreport),
}

/// A change of a protocol table. It has no effect if its first phase has no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<P> {
    /// Moves or inserts the second phase after the first, with the undo and tries of the first.
    After(P, P),
    /// Removes a phase: its predecessors lead to its successor.
    Remove(P),
    /// Replaces the first phase by the second.
    Instead(P, P),
    /// Makes the second phase the successor of the first.
    Next(P, P),
    /// Makes the second phase the undo of the first, which is tried once.
    Undo(P, P),
    /// Adds a rule, listed before its successor.
    New(Rule<P>),
}

impl Protocol {
    /// Returns this protocol with the edits applied in order.
    #[must_use]
    pub fn edited(mut self, edits: &[Edit]) -> Self {
        for edit in edits {
            match *edit {
                Edit::Out(change) => change.make(&mut self.outgoing),
                Edit::In(change) => change.make(&mut self.incoming),
                Edit::Waive(kind) => self.skipped_preconditions.push(kind),
                Edit::Omit(omission) => self = self.without(omission),
                Edit::Misreport(slip) => self.misreports.push(slip),
            }
        }
        self
    }
}

impl<P: Copy + PartialEq> Change<P> {
    fn make(self, rows: &mut Vec<Rule<P>>) {
        match self {
            Self::After(after, phase) => put_after(rows, after, phase),
            Self::Remove(phase) => {
                take_out(rows, phase);
            }
            Self::Instead(phase, other) => {
                redirect(rows, phase, other);
                let of_phase = rows.iter_mut().filter(|row| row.phase == phase);
                of_phase.for_each(|row| row.phase = other);
            }
            Self::Next(phase, next) => {
                let of_phase = rows.iter_mut().filter(|row| row.phase == phase);
                of_phase.for_each(|row| row.next = next);
            }
            Self::Undo(phase, undo) => undo_by(rows, phase, undo),
            Self::New(row) => {
                let next = rows.iter().position(|other| other.phase == row.next);
                rows.insert(next.unwrap_or(rows.len()), row);
            }
        }
    }
}
