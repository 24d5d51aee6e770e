//! The interface through which a role calls a kernel.

use crate::abi::call::{Call, CallResult};

/// The interface of one process to a kernel, simulated or real.
///
/// The trait has one method because every call is data: a decorator (tracing, fault injection,
/// counting) wraps it once and observes every call. An implementation returns the errnos that Linux
/// returns. A call that it does not support fails as on Linux (ENOTTY for an unknown ioctl); it
/// never reports a success that did not happen.
pub trait Kernel {
    /// Makes one call on behalf of the process.
    fn call(&mut self, call: &Call) -> CallResult;
}

impl<K: Kernel + ?Sized> Kernel for &mut K {
    fn call(&mut self, call: &Call) -> CallResult {
        (**self).call(call)
    }
}
