//! The ioctls of KVM that a handoff makes.
//!
//! No crate that this one depends on has KVM's structures; the two fields that matter of `struct kvm_irqfd` are at its
//! beginning. Mirrors `include/uapi/linux/kvm.h` of Linux 7.3.

use super::{Bytes, Fields};
use crate::abi::argument::{Argument, Ioctl};
use crate::abi::call::{Call, KvmCall, Reply};
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

pub(super) fn encode(call: &Call) -> Option<(Fd, Ioctl)> {
    Some(match *call {
        Call::Kvm(KvmCall::CreateVm { kvm }) => (kvm, Ioctl::with_value(KVM_CREATE_VM, 0)),
        Call::Kvm(KvmCall::CreateIrqchip { vm }) => (vm, Ioctl::with_value(KVM_CREATE_IRQCHIP, 0)),
        Call::Kvm(KvmCall::Irqfd { vm, eventfd, gsi, assign }) => {
            let flags = if assign { 0 } else { irqfd::DEASSIGN };
            let bytes = Bytes(vec![0; irqfd::SIZE])
                .fd(irqfd::FD, eventfd)
                .u32(irqfd::GSI, gsi)
                .u32(irqfd::FLAGS, flags);
            (vm, Ioctl { request: KVM_IRQFD, argument: Argument::of(bytes.0, Vec::new()) })
        }
        _ => return None,
    })
}

/// What an ioctl returned, as the reply of a call of KVM that succeeded; `None` for any other call.
pub(super) fn reply(call: &Call, result: u32) -> Option<Reply> {
    match call {
        Call::Kvm(KvmCall::CreateVm { .. }) => Some(Reply::Fd(Fd(result.cast_signed()))),
        _ => None,
    }
}

/// What the ioctl of a call with this reply returns: the inverse of [`reply`].
pub(super) fn result(call: &Call, reply: &Reply) -> Option<u32> {
    match (call, reply) {
        (Call::Kvm(KvmCall::CreateVm { .. }), Reply::Fd(fd)) => Some(fd.0.cast_unsigned()),
        _ => None,
    }
}

/// The call that an ioctl is; one whose argument is a number has no bytes.
pub(super) fn decode(fd: Fd, request: u32, argument: &[u8]) -> Option<Call> {
    let arg = Fields(argument);
    match request {
        KVM_CREATE_VM if argument.is_empty() => Some(Call::Kvm(KvmCall::CreateVm { kvm: fd })),
        KVM_CREATE_IRQCHIP if argument.is_empty() => {
            Some(Call::Kvm(KvmCall::CreateIrqchip { vm: fd }))
        }
        KVM_IRQFD if arg.u32(irqfd::FLAGS) & !irqfd::DEASSIGN == 0 => {
            Some(Call::Kvm(KvmCall::Irqfd {
                vm: fd,
                eventfd: arg.fd(irqfd::FD),
                gsi: arg.u32(irqfd::GSI),
                assign: arg.u32(irqfd::FLAGS) == 0,
            }))
        }
        _ => None,
    }
}
