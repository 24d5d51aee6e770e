//! The handoff protocol: one table of rules for each role.
//!
//! A [`Rule`] names a phase, the phase that follows it, and the phase that undoes it if a call
//! fails. The tables that a VMM should use are in [`safe`], with a diagram. The roles
//! ([`crate::role`]) execute these tables and have no branch for a variant or a known bug: those
//! are other tables.
//!
//! # Transfer: from one process to another
//!
//! 1. **Before `Stop`** each process checks its preconditions. A failure leaves the guest
//!    untouched.
//! 2. **From `Stop` to `Commit`** the old process stops and saves the guest, writes a snapshot of
//!    its inventory, and sends the descriptors. The new process adopts and verifies them and
//!    changes nothing. On a failure the old process resumes the guest; no ownership has moved.
//! 3. **After `Commit`** the new process takes the ownership in `ChangeOwner`, its first mutating
//!    call. To roll back, the old process revokes the commit, terminates the new process, reclaims
//!    the ownership, and only then resumes the guest.
//! 4. **`Committed`** is the point of no return: one packet from the new process. If it cannot be
//!    sent, the new process is in doubt. `ResolveInDoubt` finds out whether the old process lives;
//!    the new process continues if the old one has died, and leaves otherwise.
//!
//! # Exec: a new program in the same process
//!
//! The phases are the same without the messages. If the new program cannot take over, `Fallback`
//! executes the old program, which adopts the guest by the same rules; if that fails too, no
//! further fallback exists ([`Protocol::last_resort`]).
//!
//! # Interrupts
//!
//! While the guest is stopped, interrupts that KVM takes by irqfds are parked in their eventfds: an
//! interrupt injected into a virtual machine after its state was saved would be lost. For the same
//! reason the new process assigns its irqfds only after the point of no return, because an
//! interrupt injected into its virtual machine is lost if it has to leave. Without KVM these phases
//! are empty.
//!
//! # Early variant
//!
//! [`Protocol::safe_early`] takes the snapshot while the guest runs, and the new process adopts and
//! verifies all of it before the guest stops. The blackout is then the same for one mapping and for
//! a hundred; it grows only by two calls for each vector in KVM and one for each iommufd. A change
//! of the virtual machine after the snapshot is detected when the guest has stopped, at the latest,
//! and causes a rollback.
//!
//! # Rollback
//!
//! Rollback phases are idempotent: a role can enter each of them repeatedly, and in states in which
//! there is nothing to undo. Rules without an undo phase always complete: a failing call is retried
//! a few times and then skipped.

pub mod checks;
pub(crate) mod edit;
pub mod measure;
#[cfg(feature = "lab")]
pub mod misreport;
pub mod mutation;
pub mod phase;
pub mod safe;
mod table;

pub use safe::{IN_JUMPS, OUT_JUMPS};
pub use table::{
    Mode, Protocol, RETRY_LIMIT, Rule, best_effort, confirms, fallible, must_complete,
};
