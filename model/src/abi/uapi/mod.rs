//! The ioctls as bytes: one codec for the real kernel, for traces and for replay.
//!
//! [`encode`] writes a [`Call`] as the kernel's argument structure, [`decode`] reads one back, and
//! [`answer`] extracts the answer from the structure that the kernel wrote. Offsets and sizes come
//! from bindings of the kernel's headers (`offset_of!` and `size_of`), never from literals. The
//! real backend sends exactly these bytes, so an error here becomes visible on a real kernel.
//!
//! Only the variants of [`Call`] are encoded and decoded: fixed IOVAs, no PASID, MSI triggers from
//! vector
//! 0. Any other ioctl decodes to `None`, never to an approximation, and is made as [`Call::Ioctl`].
//!
//! The ioctls of each subsystem have a file with four functions that match its calls without a
//! wildcard: `encode`; `reply`, which reads the structure that the kernel wrote; its inverse
//! `written`; `decode`.

mod container;
mod device;
mod iommufd;
mod kvm;
pub mod rfc_v1;
mod structure;
#[cfg(test)]
mod tests;

use crate::abi::argument::{Argument, Ioctl, IoctlOutcome};
use crate::abi::call::{Call, CallResult, Reply};
use crate::abi::ids::Fd;
pub use device::export_bar;

/// Returns the descriptor to call on and the ioctl to make; `None` if the call is not an ioctl.
pub fn encode(call: &Call) -> Option<(Fd, Ioctl)> {
    match call {
        Call::Iommufd(call) => Some(iommufd::encode(call)),
        Call::Device(call) => Some(device::encode(call)),
        Call::Container(call) => Some(container::encode(call)),
        Call::Kvm(call) => Some(kvm::encode(call)),
        Call::Ioctl { fd, ioctl } => Some((*fd, ioctl.clone())),
        Call::File(_) | Call::Memory(_) | Call::Process(_) | Call::Socket(_) | Call::Guest(_) => {
            None
        }
    }
}

/// Returns the answer of `call`, whose ioctl had this outcome.
pub fn answer(call: &Call, outcome: IoctlOutcome) -> CallResult {
    let result = outcome.result;
    match call {
        Call::Iommufd(call) => result.map(|_| iommufd::reply(call, &outcome)),
        Call::Device(call) => result.map(|_| device::reply(call, &outcome)),
        Call::Container(call) => result.map(|value| container::reply(call, value, &outcome)),
        Call::Kvm(call) => result.map(|value| kvm::reply(call, value)),
        Call::Ioctl { .. } => Ok(Reply::Ioctl(outcome)),
        Call::File(_) | Call::Memory(_) | Call::Process(_) | Call::Socket(_) | Call::Guest(_) => {
            result.map(|_| Reply::Done)
        }
    }
}

/// Returns the outcome of an ioctl with this answer: the inverse of [`answer`], used to write a
/// simulated run as a trace.
pub fn outcome(call: &Call, ioctl: &Ioctl, answer: &CallResult) -> IoctlOutcome {
    let reply = match answer {
        Ok(Reply::Ioctl(outcome)) => return outcome.clone(),
        Ok(reply) => reply,
        Err(errno) => return ioctl.argument.untouched(Err(*errno)),
    };
    let untouched = ioctl.argument.untouched(Ok(0));
    match call {
        Call::Iommufd(call) => iommufd::written(call, reply, untouched),
        Call::Device(call) => device::written(call, reply, untouched),
        Call::Container(call) => container::written(call, reply, untouched),
        Call::Kvm(call) => kvm::written(call, reply, untouched),
        Call::Ioctl { .. }
        | Call::File(_)
        | Call::Memory(_)
        | Call::Process(_)
        | Call::Socket(_)
        | Call::Guest(_) => untouched,
    }
}

/// Returns the call of an ioctl on `fd`; `None` if [`Call`] has no variant for it.
pub fn decode(fd: Fd, request: u32, argument: &Argument) -> Option<Call> {
    (iommufd::decode(fd, request, argument).map(Call::Iommufd))
        .or_else(|| device::decode(fd, request, argument).map(Call::Device))
        .or_else(|| container::decode(fd, request, argument).map(Call::Container))
        .or_else(|| kvm::decode(fd, request, argument).map(Call::Kvm))
}
