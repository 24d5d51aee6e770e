//! The ioctls as bytes: one codec for the real kernel, for traces and for replay.
//!
//! [`encode`] lays a [`Call`] out as the kernel's argument structure, [`decode`] reads one back,
//! and [`answer`] takes the answer out of the structure that the kernel wrote. Layouts come from
//! the bindings of the kernel's own headers (`offset_of!` and `size_of`), so that no offset is
//! typed in, and because the real backend sends exactly these bytes, an error here shows on a real
//! kernel.
//!
//! Only the forms that [`Call`] has are known: fixed IOVAs, no PASID, MSI triggers from vector 0.
//! Anything else is `None`, never a guess, and is made as [`Call::Ioctl`].
//!
//! The ioctls of each subsystem have a file with four functions, which match its calls without a
//! wildcard: `encode`; `reply`, which reads what the kernel wrote; its inverse `written`; `decode`.

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

/// The descriptor to call on and the ioctl to make; `None` when the call is not an ioctl.
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

/// What came of the ioctl that `call` is, as its answer.
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

/// What came of an ioctl with this answer: the inverse of [`answer`], by which a simulated run
/// becomes a trace.
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

/// The call that an ioctl on `fd` is; `None` where [`Call`] has no such form.
pub fn decode(fd: Fd, request: u32, argument: &Argument) -> Option<Call> {
    (iommufd::decode(fd, request, argument).map(Call::Iommufd))
        .or_else(|| device::decode(fd, request, argument).map(Call::Device))
        .or_else(|| container::decode(fd, request, argument).map(Call::Container))
        .or_else(|| kvm::decode(fd, request, argument).map(Call::Kvm))
}
