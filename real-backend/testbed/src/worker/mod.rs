//! Workers: processes that make the calls that another process, the controller, sends them.
//!
//! A worker has standard streams, no other descriptor that is visible to its calls, and one thread.
//! Requests and responses travel over a socket, one binary value per packet. A worker exits when
//! its controller exits.
//!
//! All workers are forks of one, the *zygote*, which is started as a program ([`Zygote`]). Each
//! then takes on a user, a capability and a limit (`Request::Become`).
//!
//! Invariants:
//! * a worker's end of the socket is `CONTROL_FD`, above its limit on descriptors, so that all
//!   lower numbers are free; programs that the worker executes inherit it;
//! * between two requests a worker has exactly the descriptors that its calls have created;
//! * every worker that exits is reaped at once, because all ignore SIGCHLD, and orphans are
//!   reparented to the zygote;
//! * a controller never waits longer than [`PATIENCE`].
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

/// The descriptor number of a worker's end of the socket.
const CONTROL_FD: Fd = Fd(1024);

/// The descriptor number of a worker's `fail-nth` file while it makes a call.
const COUNTER: Fd = Fd(1025);

/// The soft limit on descriptors of a worker: the lowest number that a call cannot get.
const FD_END: u64 = 1024;

/// The longest time that a request may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The credentials and the limit of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCredentials {
    /// The user ID. User 0 keeps every capability except, if so requested, `CAP_IPC_LOCK`.
    pub uid: Uid,
    /// True if it has `CAP_IPC_LOCK`; any user other than 0 has it as an ambient capability.
    pub cap_ipc_lock: bool,
    /// `RLIMIT_MEMLOCK` in bytes, soft and hard.
    pub memlock_bytes: u64,
}

/// A request to a worker. `C` is a call, owned or borrowed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Request<C> {
    /// Make this call; place a new mapping at this address.
    Call(C, Option<Va>),
    /// Make this ioctl, whose nth allocation fails.
    Fail(C, u32),
    /// Take on these credentials.
    Become(WorkerCredentials),
    /// Fork; the packet carries the child's socket.
    Fork,
    /// Execute the worker's own program.
    Exec,
    /// Keep the descriptor that the packet carries.
    Keep,
    /// Open a pidfd of this process.
    Pidfd(Pid),
    /// Make the test device behind a bound file raise an interrupt.
    Raise(Fd),
    /// Make the test device behind a bound file read and write at an IOVA, and report whether that
    /// IOVA maps the page.
    Reach(Reach),
}

/// The argument of `Request::Reach`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reach {
    /// A bound device file.
    pub device: Fd,
    /// The IOVA that the device accesses.
    pub iova: Iova,
    /// A writable memfd.
    pub memfd: Fd,
    /// Offset in the memfd of the page to check.
    pub offset_bytes: u64,
}

/// A worker's response to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Response {
    /// The answer of a call, or the result of the other system calls of a request.
    Answer(CallResult),
    /// The answer of a call with a failing allocation, and whether the call reached that
    /// allocation.
    Failed(CallResult, bool),
    /// The process ID of a new child.
    Child(Pid),
    /// The first response of a program: it runs.
    Hello,
}
