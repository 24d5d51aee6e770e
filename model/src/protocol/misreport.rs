//! What an old process tells wrong: mistakes in what it writes into the stream and hands over.
//!
//! They are in known bugs only. What goes wrong on the way, or is a lie, is not of the protocol.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misreport {
    /// The address space is noted of the first device of each, and of no other.
    SpaceOfFirst,
    /// The first device's descriptor counts as absent, as one does whose number is 0 for a program
    /// that asks whether it is greater.
    ZeroIsNone,
}
