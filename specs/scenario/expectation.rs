//! What a protocol must make of a scenario, when nothing disturbs it.

/// What a protocol must make of a scenario where nothing disturbs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// It happens.
    HandedOver,
    /// It is refused before the guest stops.
    RefusedBeforeStop,
    /// It is refused before anything is changed.
    RefusedBeforeChange,
    /// It cannot happen, which nobody can know before.
    NotHandedOver,
}
