//! The boundary: what a role may ask of the system.

use crate::abi::call::{Call, CallResult};

/// A process's door to a kernel, simulated or real.
///
/// One method, because every call is data: a decorator (tracing, fault injection, counting) wraps
/// it once and sees everything. The implementor answers as Linux does, errno by errno; what it does
/// not support it refuses as Linux would (ENOTTY for an unknown ioctl), never with a made-up
/// success.
pub trait Kernel {
    /// Makes one call on behalf of the process that this door belongs to.
    fn call(&mut self, call: &Call) -> CallResult;
}

impl<K: Kernel + ?Sized> Kernel for &mut K {
    fn call(&mut self, call: &Call) -> CallResult {
        (**self).call(call)
    }
}
