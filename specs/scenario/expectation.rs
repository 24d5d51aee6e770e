//! The outcome that a protocol must reach in a scenario if no fault occurs.

/// The outcome that a protocol must reach in a scenario if no fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// The new process takes over.
    HandedOver,
    /// The handoff is refused before the guest stops.
    RefusedBeforeStop,
    /// The handoff is refused before any kernel state is changed.
    RefusedBeforeChange,
    /// The handoff fails, for a reason that neither process can check in advance.
    NotHandedOver,
}
