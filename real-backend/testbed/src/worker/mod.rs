//! Puppets: processes that make the calls that another process, the player, tells them to make.
//!
//! A puppet has standard streams, no other descriptor that it knows of, and one thread. What it is
//! told and what it says travel over a socket of which each packet is one order or one answer, a
//! binary value. It dies when the player does.
//!
//! All puppets are forks of one, the *mother*, which is started as a program of its own
//! ([`Zygote`]). They are then given a user, a capability and a limit (`Order::Become`).
//!
//! Invariants:
//! * a puppet's end of the socket is `CONTROL_FD`, beyond the limit on descriptors, so that all
//!   numbers below are free, and it is inherited by what the puppet executes;
//! * between two orders a puppet has the descriptors that its calls have made, and no other;
//! * whoever of them ends is reaped at once, because all ignore SIGCHLD, and orphans go to the
//!   mother;
//! * a player waits for nothing longer than [`PATIENCE`].
//!
//! Mirrors: `fork(2)`, `unix(7)`, `capabilities(7)`.

mod agent;
mod controller;
mod wire;

pub use agent::{live, live_on};
pub use controller::{Worker, WorkerError, Zygote};

use handoff_model::abi::call::CallResult;
use handoff_model::abi::ids::{Fd, Iova, Pid, Uid, Va};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where a puppet's end of the socket is.
const CONTROL_FD: Fd = Fd(1024);

/// Where a puppet has the counter of its failing allocations while it makes a call.
const COUNTER: Fd = Fd(1025);

/// The soft limit on descriptors of a puppet: the lowest number that a call cannot get.
const FD_END: u64 = 1024;

/// The longest that an order may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Who a puppet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCredentials {
    /// The user. User 0 keeps every capability but, as told here, `CAP_IPC_LOCK`.
    pub uid: Uid,
    /// Whether it has `CAP_IPC_LOCK`; another user than 0 has it as an ambient capability.
    pub cap_ipc_lock: bool,
    /// `RLIMIT_MEMLOCK`, soft and hard.
    pub memlock_bytes: u64,
}

/// What a player tells a puppet. `C` is a call, owned or borrowed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Request<C> {
    /// Make this call; the place is where a new mapping shall go.
    Call(C, Option<Va>),
    /// Make this ioctl, of which the nth allocation fails.
    Fail(C, u32),
    /// Be this person.
    Become(WorkerCredentials),
    /// Fork; the child's socket comes with the packet.
    Fork,
    /// Execute the puppet's own program.
    Exec,
    /// Keep the descriptor that comes with the packet.
    Keep,
    /// Open a pidfd of this process.
    Pidfd(Pid),
    /// Have the test device behind a bound file raise an interrupt.
    Raise(Fd),
    /// Have the test device behind a bound file read and write at an address; does it reach the
    /// file?
    Reach(Reach),
}

/// What `Order::Reach` asks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reach {
    /// A bound device file.
    pub device: Fd,
    /// Where the device's accesses go.
    pub iova: Iova,
    /// A memfd that can be written.
    pub memfd: Fd,
    /// The first byte of the page in question.
    pub offset_bytes: u64,
}

/// What a puppet says when it has done what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Response {
    /// What a call came back with, or whatever else it was that a system call did.
    Answer(CallResult),
    /// The same of a call with a failing allocation, and whether it came to that.
    Failed(CallResult, bool),
    /// A child's number.
    Child(Pid),
    /// It lives: what a program says first.
    Hello,
}
