//! The data that crosses between the two processes.
//!
//! There are two kinds of records. A [`Message`] is one packet on the socket (transfer only). The
//! [`State`] is the inventory with the list of its descriptors; the old process writes it into a
//! memfd, so it can have any length and also works across an `execve`. Both are framed by the same
//! [`envelope`].
//!
//! Descriptors are never sent as numbers. By transfer they are attached to messages (SCM_RIGHTS),
//! in the order of [`State::descriptors`]; across an `execve` they are inherited, and keep the
//! numbers that the state lists.
//!
//! **Invariant:** a record is checked before anything in it is used: its frame in [`envelope`], a
//! state in [`State::check`].
//!
//! Compatibility: a released field is never changed or removed; a new field has a default that
//! means "absent"; a feature that an old reader must not ignore gets a bit in the envelope's
//! `incompatible` field.

pub mod envelope;
mod message;
mod state;

pub use envelope::{CorruptFrame, Kind};
pub use message::{Message, Offer};
pub use state::{InvalidState, State};
