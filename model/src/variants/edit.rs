//! Differences between protocols, as data.

use super::mutants::Mutation;
use crate::protocol::edit::{put_after, redirect, take_out, undo_by};
use crate::protocol::misreport::Misreport;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Protocol, Rule};
use crate::vm::blocker::BlockerKind;

/// A difference from a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// In the rows of the old process.
    Out(Change<OutPhase>),
    /// In the rows of the new process.
    In(Change<InPhase>),
    /// A precondition that nobody judges.
    Waive(BlockerKind),
    /// Something that is not done.
    Omit(Mutation),
    /// Something that the old process tells wrong.
    Misreport(Misreport),
}

/// A change of a table. Where the phase that it begins with has no row nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<P> {
    /// After the first phase comes the second, wherever it was before: it is undone and tried as
    /// the first.
    After(P, P),
    /// A phase is left out: what led to it leads to what followed it.
    Remove(P),
    /// In the place of the first phase stands the second.
    Instead(P, P),
    /// The second phase follows the first.
    Next(P, P),
    /// The second phase undoes the first, which is tried once.
    Undo(P, P),
    /// A row more, listed before what follows it.
    New(Rule<P>),
}

impl Protocol {
    /// This protocol with differences.
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
