//! A decorator that reports each call to a sink, with its answer and the times of entry and return.
//!
//! A call that does not return cannot be reported afterwards. [`ProcessCall::Exec`] and
//! [`ProcessCall::Exit`] are therefore reported before they are made, as successful. An `Exec` that
//! fails is reported a second time, with its error; the second record is the valid one.

use crate::clock::monotonic_ns;
use handoff_model::abi::call::{Call, CallResult, CompletedCall, ProcessCall, Reply};
use handoff_model::abi::ids::Pid;
use handoff_model::abi::kernel::Kernel;
use std::fmt;

/// A kernel `K` whose calls are reported to `W`: the call, its entry time, its return time (ns).
pub struct Recorder<K, W> {
    kernel: K,
    pid: Pid,
    sink: W,
}

impl<K, W> fmt::Debug for Recorder<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl<K: Kernel, W: FnMut(CompletedCall, u64, u64)> Recorder<K, W> {
    /// Records the calls of process `pid`, which `kernel` makes.
    pub fn new(kernel: K, pid: Pid, sink: W) -> Self {
        Self { kernel, pid, sink }
    }

    fn record(&mut self, call: &Call, answer: &CallResult, enter_ns: u64) {
        let made = CompletedCall { pid: self.pid, call: call.clone(), answer: answer.clone() };
        (self.sink)(made, enter_ns, monotonic_ns());
    }
}

impl<K: Kernel, W: FnMut(CompletedCall, u64, u64)> Kernel for Recorder<K, W> {
    fn call(&mut self, call: &Call) -> CallResult {
        let enter_ns = monotonic_ns();
        if matches!(call, Call::Process(ProcessCall::Exec { .. } | ProcessCall::Exit { .. })) {
            self.record(call, &Ok(Reply::Done), enter_ns);
        }
        let answer = self.kernel.call(call);
        self.record(call, &answer, enter_ns);
        answer
    }
}
