//! What the two processes say to each other over the socket, by transfer.
//!
//! ```text
//! old  Offer ────────────────────────────▶ new   is there a new process that could take over?
//!      ◀──────────────────────────── Ready       (nothing has been touched yet)
//!      [the guest stops; its state is cut]
//!      Descriptors, one or more ─────────▶       every descriptor, exactly once
//!      ◀───────────────────────── Prepared       all read, checked and mapped; nothing changed
//!      Commit ───────────────────────────▶       from here on the new process may change things
//!      ◀──────────────────────── Committed       it owns everything: the point of no return
//! ```
//!
//! Where the state is cut early, the guest stops only when the new process has adopted it:
//!
//! ```text
//!      [the state is cut; the guest runs]
//!      Descriptors, one or more ─────────▶
//!      ◀────────────────────────── Adopted       all read, checked and mapped; nothing changed
//!      [the guest stops]
//!      Unchanged ────────────────────────▶       and the state is the same
//!      ◀───────────────────────── Prepared       and so on
//! ```
//!
//! At any point the new process may answer `Refuse`, and the old one may `Abort` or just close. The
//! one message that decides is `Committed`: a packet that the kernel either queues before the old
//! process shuts down its receiving side, or refuses with EPIPE after. So both always agree.

use super::envelope::{self, CorruptFrame, Kind};
use crate::abi::ids::Uid;
use serde::{Deserialize, Serialize};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message")]
pub enum Message {
    /// Old to new: what taking over will need.
    Offer(Offer),
    /// New to old: it could.
    Ready {
        /// Who the new process is: it decides how much RLIMIT_MEMLOCK both need.
        uid: Uid,
    },
    /// New to old: it cannot, or could not, and has changed nothing that is not undone by its end.
    Refuse {
        /// Why, for people.
        reason: String,
    },
    /// Old to new: some of the descriptors, in order.
    Descriptors {
        /// The place of the first of them.
        first: u32,
        /// How many there are in all.
        total: u32,
    },
    /// New to old: what was cut early is adopted; nothing has been changed, and the guest may stop.
    Adopted,
    /// Old to new: the guest is stopped and saved, and the state is what it was when it was cut.
    Unchanged,
    /// New to old: everything is in place but the ownership.
    Prepared,
    /// Old to new: take it.
    Commit,
    /// New to old: taken. The guest is the new process's.
    Committed,
    /// Old to new: it is off; leave.
    Abort,
}

/// What taking over will need.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The name of the virtual machine.
    pub vm: String,
    /// Who the old process is.
    pub uid: Uid,
    /// Pages that are charged to its user.
    #[serde(default)]
    pub user_pages: u64,
    /// The state is cut while the guest still runs, and confirmed when it is stopped.
    #[serde(default)]
    pub early: bool,
}

impl Message {
    /// As a packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::Message, self)
    }

    /// From a packet.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CorruptFrame> {
        envelope::open(Kind::Message, bytes)
    }
}
