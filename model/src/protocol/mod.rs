//! The protocol as a table: for each phase, what follows and what a failure leads to.
//!
//! The tables of the protocol that a VMM should use, with a picture of them, are in [`safe`].
//!
//! Until `Stop` a failure leaves the guest untouched. From there to `Commit` the old process lets
//! it run again, and nothing has moved; later it takes the ownership back first. The new process
//! changes nothing before `ChangeOwner`. If `Committed` cannot be sent, it learns in
//! `ResolveInDoubt` whether the old process lives, and goes on if that has died. By exec,
//! `Fallback` is the old program again, by the same rows, with nowhere to fall.
//!
//! Interrupts that KVM takes by irqfds are parked in their eventfds while the guest stands: what
//! reaches a virtual machine after it was saved is lost with it. For the same reason the new
//! process claims them only when there is no way back any more: an interrupt that has reached its
//! virtual machine dies with it. Without KVM these phases are empty.
//!
//! Where the state is cut early, the new process has adopted and verified all of it before the
//! guest stops, so that the guest stands still for as many calls with a hundred mappings as with
//! one; what is left of its size are two calls for each vector in KVM, and one for each iommufd. If
//! the virtual machine changes in between, that is found at the latest when the guest stands, and
//! the handoff is called off.
//!
//! Every row of a way back can be entered more than once and from a state in which there is nothing
//! to undo. Rows without an undo go on whatever happens: they try a few times and then skip the
//! call.
//!
//! A variant or a known bug is this table with other rows; the roles have no branch for one.

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
