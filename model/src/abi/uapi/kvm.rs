//! The ioctls of KVM that a handoff makes.
//!
//! The crates that this one depends on have no bindings of KVM's structures, so the offsets of
//! `struct kvm_irqfd` are written out. Mirrors `include/uapi/linux/kvm.h` of Linux 7.3.

use super::structure::{Bytes, Fields};
use crate::abi::argument::{Argument, Ioctl, IoctlOutcome};
use crate::abi::call::{KvmCall, Reply};
use crate::abi::ids::Fd;
use crate::abi::request::{KVM_CREATE_IRQCHIP, KVM_CREATE_VM, KVM_IRQFD};

/// `struct kvm_irqfd`, without its padding.
mod irqfd {
    pub(super) const FD: usize = 0;
    pub(super) const GSI: usize = 4;
    pub(super) const FLAGS: usize = 8;
    pub(super) const SIZE: usize = 32;
    /// `KVM_IRQFD_FLAG_DEASSIGN`.
    pub(super) const DEASSIGN: u32 = 1;
}

/// Returns the file of KVM to call on and the ioctl to make.
pub(super) fn encode(call: &KvmCall) -> (Fd, Ioctl) {
    match *call {
        KvmCall::CreateVm { kvm } => (kvm, Ioctl::with_value(KVM_CREATE_VM, 0)),
        KvmCall::CreateIrqchip { vm } => (vm, Ioctl::with_value(KVM_CREATE_IRQCHIP, 0)),
        KvmCall::Irqfd { vm, eventfd, gsi, assign } => {
            let bytes = Bytes(vec![0; irqfd::SIZE])
                .fd(irqfd::FD, eventfd)
                .u32(irqfd::GSI, gsi)
                .u32(irqfd::FLAGS, if assign { 0 } else { irqfd::DEASSIGN });
            (vm, bytes.ioctl(KVM_IRQFD))
        }
    }
}

/// Returns the reply of a call that succeeded, from the return value of its ioctl.
pub(super) fn reply(call: &KvmCall, result: u32) -> Reply {
    match call {
        KvmCall::CreateVm { .. } => Reply::Fd(Fd(result.cast_signed())),
        KvmCall::CreateIrqchip { .. } | KvmCall::Irqfd { .. } => Reply::Done,
    }
}

/// Returns the outcome of a call with this reply: the inverse of [`reply`].
pub(super) fn written(call: &KvmCall, reply: &Reply, outcome: IoctlOutcome) -> IoctlOutcome {
    match (call, reply) {
        (KvmCall::CreateVm { .. }, Reply::Fd(fd)) => {
            IoctlOutcome { result: Ok(fd.0.cast_unsigned()), ..outcome }
        }
        (KvmCall::CreateVm { .. } | KvmCall::CreateIrqchip { .. } | KvmCall::Irqfd { .. }, _) => {
            outcome
        }
    }
}

/// Returns the call of an ioctl on a file of KVM. An argument that is a number has no bytes.
pub(super) fn decode(fd: Fd, request: u32, argument: &Argument) -> Option<KvmCall> {
    let arg = Fields(argument.bytes());
    let has_none = argument.bytes().is_empty();
    match request {
        KVM_CREATE_VM if has_none => Some(KvmCall::CreateVm { kvm: fd }),
        KVM_CREATE_IRQCHIP if has_none => Some(KvmCall::CreateIrqchip { vm: fd }),
        KVM_IRQFD if arg.u32(irqfd::FLAGS) & !irqfd::DEASSIGN == 0 => Some(KvmCall::Irqfd {
            vm: fd,
            eventfd: arg.fd(irqfd::FD),
            gsi: arg.u32(irqfd::GSI),
            assign: arg.u32(irqfd::FLAGS) == 0,
        }),
        _ => None,
    }
}
