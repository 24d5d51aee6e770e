//! How far a handoff is from its end: a rank that every step lowers.
//!
//! Ranks are compared from the first component to the last. Each is made of numbers, so there is no
//! endless way down: if every step lowers the rank every run ends, whatever the scheduler does.
//! That is seen from each state and its successors alone, without the graph, and in a search that
//! keeps of each state but a hash.
//!
//! Why a step lowers it. What the environment does takes from its budget. By exec the old program
//! hands over to the new one, and that at most once to the old one again. A call of a role takes
//! from what is left of it ([`handoff_model::protocol::measure`]), of the old process first: what
//! that does may begin or end the new one. A process that has been sent a signal dies once. What
//! else can happen takes what had arrived: a message that a role was not waiting for, an interrupt.
//!
//! What has arrived counts last, for calls and devices may add to it; whatever does lowers a
//! component before it.

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

/// At most so much can still happen; compared from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// By the environment.
    pub(crate) environment: u32,
    /// By exec: the old program may still be executed again.
    pub(crate) fallback: bool,
    /// By the old process; nothing once it does nothing more.
    pub(crate) old: Option<ProgressMeasure>,
    /// By the new process.
    pub(crate) new: Option<ProgressMeasure>,
    /// The new process has been sent a signal that it will die of.
    pub(crate) dying: bool,
    /// What has arrived and is not taken.
    pub(crate) untaken: u64,
}

impl Rank {
    /// Describes why the step to another rank, which is not lower, does not lower this one.
    fn why_not_above(&self, next: &Self) -> String {
        let first = self.parts().into_iter().zip(next.parts()).find(|(here, next)| here != next);
        match first {
            None => "as much is left after the last step as before it".to_owned(),
            Some(((what, before), (_, after))) => {
                format!("the last step makes more be left of {what}: {after}; before it: {before}")
            }
        }
    }

    fn parts(&self) -> [(&'static str, String); 6] {
        let role = |left: Option<ProgressMeasure>| {
            left.map_or("nothing".to_owned(), |left| left.to_string())
        };
        [
            ("what the environment may do", self.environment.to_string()),
            ("the ways back to the old program", u8::from(self.fallback).to_string()),
            ("the old process", role(self.old)),
            ("the new process", role(self.new)),
            ("what the new process must die of", u8::from(self.dying).to_string()),
            ("what has arrived and is not taken", self.untaken.to_string()),
        ]
    }
}
