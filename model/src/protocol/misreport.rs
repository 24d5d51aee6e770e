//! Mistakes of an old process in the snapshot that it writes and the descriptors that it sends.
//!
//! Only known bugs have them. Corruption in transit and deliberately false input are not part of a
//! protocol.

/// A mistake in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misreport {
    /// Only the first device's address space is recorded.
    SpaceOfFirst,
    /// The first device's descriptor is treated as absent, as by a program that tests `fd > 0` when
    /// the descriptor is 0.
    ZeroIsNone,
}
