//! The messages between the two processes on the socket (transfer only).
//!
//! ```text
//! old  Offer ────────────────────────────▶ new   are the preconditions of a takeover met?
//!      ◀──────────────────────────── Ready       (no side effects so far)
//!      [the guest stops; the snapshot is taken]
//!      Descriptors, one or more ─────────▶       every descriptor, exactly once
//!      ◀───────────────────────── Prepared       all received, checked and mapped; no changes
//!      Commit ───────────────────────────▶       the new process may now change shared objects
//!      ◀──────────────────────── Committed       it owns everything: the point of no return
//! ```
//!
//! In the early variant the guest stops only after the new process has adopted the snapshot:
//!
//! ```text
//!      [the snapshot is taken; the guest runs]
//!      Descriptors, one or more ─────────▶
//!      ◀────────────────────────── Adopted       all received, checked and mapped; no changes
//!      [the guest stops]
//!      Unchanged ────────────────────────▶       the snapshot is still up to date
//!      ◀───────────────────────── Prepared       continues as above
//! ```
//!
//! At any point the new process may answer `Refuse`, and the old one may send `Abort` or close the
//! socket. `Committed` alone decides: the kernel either queues this packet before the old process
//! shuts down its receiving side, or rejects it with EPIPE after that. EPIPE also means that the
//! old process may have died, so the new process then sends `Refuse` and waits: an old process that
//! lives sends `Abort`, and the end of the stream is its death. So both always agree.

use super::envelope::{self, CorruptFrame, Kind};
use crate::abi::ids::Uid;
use serde::{Deserialize, Serialize};

/// A message between the two processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message")]
pub enum Message {
    /// Old to new: the requirements for taking over.
    Offer(Offer),
    /// New to old: the preconditions hold.
    Ready {
        /// The user of the new process, which determines how much RLIMIT_MEMLOCK both processes
        /// need.
        uid: Uid,
    },
    /// New to old: the takeover is refused or has failed. All changes so far are undone by the
    /// process's exit.
    Refuse {
        /// The reason, for people.
        reason: String,
    },
    /// Old to new: the next descriptors of the list, in order.
    Descriptors {
        /// Index of the first descriptor in this message.
        first: u32,
        /// Total number of descriptors.
        total: u32,
    },
    /// New to old: the early snapshot is adopted without any change, and the guest may stop.
    Adopted,
    /// Old to new: the guest is stopped and saved, and the early snapshot is still up to date.
    Unchanged,
    /// New to old: prepared; only the ownership is missing.
    Prepared,
    /// Old to new: permission to take the ownership.
    Commit,
    /// New to old: the ownership is taken, and the guest belongs to the new process.
    Committed,
    /// Old to new: the handoff is cancelled; exit.
    Abort,
}

/// The requirements for taking over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The name of the virtual machine.
    pub vm: String,
    /// The user of the old process.
    pub uid: Uid,
    /// Number of pages charged to that user.
    #[serde(default)]
    pub user_pages: u64,
    /// True in the early variant: the snapshot is taken while the guest runs, and confirmed after
    /// it has stopped.
    #[serde(default)]
    pub early: bool,
}

impl Message {
    /// Encodes the message as a packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::Message, self)
    }

    /// Decodes a packet.
    ///
    /// # Errors
    /// The first check of the frame that fails.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CorruptFrame> {
        envelope::open(Kind::Message, bytes)
    }
}
