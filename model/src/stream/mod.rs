//! What crosses between the two processes.
//!
//! Two things do: small [`Message`]s over the socket (transfer only), and one [`State`], which the
//! old process writes into a memfd, so that it may be of any length and works by `execve` too. Both
//! travel in the same [`envelope`]. Descriptors never stand in a message as numbers: by transfer
//! they come with a message, in the order of [`State::descriptors`]; by `execve` they keep the
//! numbers that the state lists.
//!
//! Rules for records: once released, a field is never changed or removed; a new one has a default
//! that means "absent"; what an old reader must not ignore gets a bit in the envelope's
//! `incompatible` features.

pub mod envelope;
mod message;
mod state;

pub use envelope::{CorruptFrame, Kind};
pub use message::{Message, Offer};
pub use state::{InvalidState, State};
