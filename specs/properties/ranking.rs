//! The ranking function: a tuple that every step lowers, which proves termination.
//!
//! Ranks are compared lexicographically. Each component is a natural number, so the order is
//! well-founded: if every step lowers the rank, every run terminates under any scheduler. The check
//! needs a state and its successors only, so it also works in a search that stores hashes.
//!
//! Every step lowers one component and no earlier one:
//!
//! * A fault or an event from outside consumes its budget.
//! * By exec the old program starts the new one, which can return to the old one at most once.
//! * A call of a role lowers its progress measure ([`handoff_model::protocol::measure`]). The old
//!   process comes first, because its calls can start or end the new one.
//! * A process with a pending signal dies once.
//! * Every other step consumes a message or an interrupt that had arrived. Calls and devices can
//!   add to these, but each of those steps lowers an earlier component.

use super::{Relation, Snapshot};
use handoff_model::protocol::measure::ProgressMeasure;

/// END-2: every step lowers the rank.
pub(super) const EVERY_STEP_LOWERS_IT: Relation =
    Relation { applies: |case| !case.status.quiescent, holds: is_lower, violation };

fn is_lower(from: &dyn Snapshot, to: &dyn Snapshot) -> bool {
    to.rank() < from.rank()
}

fn violation(from: &dyn Snapshot, to: &dyn Snapshot) -> String {
    from.rank().why_not_above(&to.rank())
}

/// Upper bound on the remaining steps, compared lexicographically from the first field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Remaining faults and events from outside.
    pub(crate) environment: u32,
    /// True if the old program can still be executed again, by exec.
    pub(crate) fallback: bool,
    /// Progress measure of the old process; `None` once its role has ended.
    pub(crate) old: Option<ProgressMeasure>,
    /// Progress measure of the new process; `None` once its role has ended.
    pub(crate) new: Option<ProgressMeasure>,
    /// True if the new process has a fatal signal pending.
    pub(crate) dying: bool,
    /// Messages and interrupts that have arrived and are not consumed.
    pub(crate) unread: u64,
}

impl Rank {
    /// Describes why the step to `next`, which is not lower, does not lower this rank.
    fn why_not_above(&self, next: &Self) -> String {
        let first = self.parts().into_iter().zip(next.parts()).find(|(here, next)| here != next);
        match first {
            None => "the last step does not lower the rank".to_owned(),
            Some(((component, before), (_, after))) => {
                format!("the last step raises “{component}” from {before} to {after}")
            }
        }
    }

    fn parts(&self) -> [(&'static str, String); 6] {
        let role = |left: Option<ProgressMeasure>| {
            left.map_or_else(|| "ended".to_owned(), |left| left.to_string())
        };
        [
            ("remaining faults and events", self.environment.to_string()),
            ("remaining returns to the old program", u8::from(self.fallback).to_string()),
            ("progress of the old process", role(self.old)),
            ("progress of the new process", role(self.new)),
            ("pending fatal signals", u8::from(self.dying).to_string()),
            ("unread messages and interrupts", self.unread.to_string()),
        ]
    }
}
