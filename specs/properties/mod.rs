//! Properties: what every run of a scenario must satisfy.
//!
//! A property has an id, a title, a sentence that states it, the reason why it matters, and a
//! [`Severity`]. An invariant is a predicate over a [`PropertyInput`]: the view of a state, the
//! view before the update, and the [`Status`] of the handoff. A predicate never sees a kernel's
//! inside, so it judges a simulated and a real machine alike.
//!
//! A predicate returns [`Judgement::Vacuous`] if its antecedent does not hold. A property that is
//! vacuous in every reachable state proves nothing, and the check reports it so.

mod descriptors;
mod guest;
mod input;
mod memory;
mod names;
mod ordering;
pub mod ranking;
mod registry;
mod restoration;
mod scope;

use handoff_model::abi::view::View;
pub use input::{Judgement, PropertyInput, Status};
pub use names::Names;
use ranking::Rank;
pub use registry::PROPERTIES;
pub use scope::{Scope, Setup};
use std::fmt;

/// A requirement on every run of a scenario.
#[derive(Debug)]
pub struct Property {
    /// Name in every report, such as "OWN-1".
    pub id: &'static str,
    /// Short title, at most 55 columns.
    pub title: &'static str,
    /// The requirement, in a sentence.
    pub sentence: &'static str,
    /// Consequence of a violation.
    pub reason: &'static str,
    /// Damage that a violation does in the worst case.
    pub severity: Severity,
    /// Scenarios to which it applies.
    pub scope: Scope,
    /// Kind of requirement, with its predicate or relation.
    pub kind: Kind,
    /// True if a host shows, at the end of a run, all that the predicate needs.
    pub on_host: bool,
}

/// Damage that a violation does in the worst case, from the worst to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Guest memory, or the guest's state, is corrupted.
    MemoryCorrupted,
    /// The guest stops for ever, or exits.
    GuestLost,
    /// A device, or one of its interrupts, stops working for the guest.
    DeviceDead,
    /// Pages, charges or descriptors are leaked, or accounted wrongly.
    Leak,
    /// The protocol breaks its own order; no harm is done yet.
    Untidy,
}

impl Severity {
    /// Every severity, the worst first.
    pub const ALL: [Self; 5] =
        [Self::MemoryCorrupted, Self::GuestLost, Self::DeviceDead, Self::Leak, Self::Untidy];
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MemoryCorrupted => "memory corrupted",
            Self::GuestLost => "guest lost",
            Self::DeviceDead => "device dead",
            Self::Leak => "leak",
            Self::Untidy => "untidy",
        })
    }
}

/// Kind of a property. One evaluator (`check::evaluate`) handles every kind.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A predicate that holds in every reachable state.
    Invariant(fn(&PropertyInput<'_>) -> Judgement),
    /// A relation that holds for every transition (an action property).
    Action(Relation),
    /// Every run terminates: the state space has no fair cycle and no deadlock.
    Termination,
    /// From every reachable state a run without a further fault reaches a goal (`AG EF` in CTL).
    Possibility(fn(&PropertyInput<'_>) -> bool),
    /// Every transition is an action of the abstract spec or stutters, and the spec has no action
    /// left in a state where no role acts.
    Refinement,
}

/// A relation between the two states of a transition.
#[derive(Clone, Copy, Debug)]
pub struct Relation {
    /// Returns true if the relation restricts transitions from this state; if it does so for none,
    /// the property is vacuous.
    pub applies: fn(&PropertyInput<'_>) -> bool,
    /// Returns true if a transition satisfies the relation. Evaluated for every transition, so it
    /// should be cheap.
    pub holds: fn(&dyn Snapshot, &dyn Snapshot) -> bool,
    /// Describes a transition that violates the relation.
    pub violation: fn(&dyn Snapshot, &dyn Snapshot) -> String,
}

/// One state of a transition as a [`Relation`] sees it; each answer is computed on demand.
pub trait Snapshot {
    /// Returns the value of the ranking function.
    fn rank(&self) -> Rank;
    /// Returns the status of the handoff.
    fn status(&self) -> Status;
    /// Returns the view of the machine.
    fn view(&self) -> View;
}

/// Returns the property with this id.
pub fn find(id: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.id == id)
}

impl Property {
    /// Returns the predicate of an invariant.
    pub fn predicate(&self) -> Option<fn(&PropertyInput<'_>) -> Judgement> {
        match self.kind {
            Kind::Invariant(predicate) => Some(predicate),
            Kind::Action(_) | Kind::Termination | Kind::Possibility(_) | Kind::Refinement => None,
        }
    }

    /// Returns true if an infinite run violates it.
    pub(crate) fn is_liveness(&self) -> bool {
        matches!(self.kind, Kind::Termination | Kind::Possibility(_))
    }
}
