//! The argument of `VFIO_DEVICE_SET_IRQS`, validated against the number of vectors.
//!
//! Mirrors `vfio_set_irqs_validate_and_prepare` of `drivers/vfio/vfio_main.c`.

use crate::syscall::{Request, SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_TYPE_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_TYPE_MASK, vfio_irq_set,
};

/// Interrupt indexes (`VFIO_PCI_*_IRQ_INDEX`), and their number.
pub(super) const INTX: u32 = 0;
pub(super) const MSI: u32 = 1;
pub(super) const MSIX: u32 = 2;
pub(super) const ERROR: u32 = 3;
pub(super) const REQUEST: u32 = 4;
pub(super) const INDEXES: u32 = 5;

/// The action on each vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Mask,
    Unmask,
    Trigger,
    /// No action, or several.
    Unknown,
}

/// Data for each vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    None,
    Bool(Vec<bool>),
    Eventfd(Vec<Fd>),
}

/// A validated `struct vfio_irq_set`.
#[derive(Clone, Debug)]
pub(super) struct IrqSet {
    pub(super) pid: Pid,
    pub(super) index: u32,
    pub(super) start: u32,
    pub(super) count: u32,
    pub(super) action: Action,
    pub(super) data: Data,
}

impl IrqSet {
    /// Copies and validates the structure (`vfio_set_irqs_validate_and_prepare`). `vectors` returns
    /// the number of vectors of an index.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL`.
    pub(super) fn copy(request: &Request<'_>, vectors: impl Fn(u32) -> u32) -> SyscallResult<Self> {
        const MIN: usize = offset_of!(vfio_irq_set, data);
        const KNOWN: u32 = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
        let header = request.user.copy(MIN)?;
        let argsz = header.u32(offset_of!(vfio_irq_set, argsz)) as usize;
        let flags = header.u32(offset_of!(vfio_irq_set, flags));
        let index = header.u32(offset_of!(vfio_irq_set, index));
        let start = header.u32(offset_of!(vfio_irq_set, start));
        let count = header.u32(offset_of!(vfio_irq_set, count));
        if argsz < MIN || index >= INDEXES || count >= u32::MAX - start || flags & !KNOWN != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let there = vectors(index);
        if start >= there || start + count > there {
            return Err(fail(Errno::EINVAL));
        }
        let length = count as usize;
        let each = match flags & VFIO_IRQ_SET_DATA_TYPE_MASK {
            VFIO_IRQ_SET_DATA_NONE => 0,
            VFIO_IRQ_SET_DATA_BOOL => size_of::<u8>(),
            VFIO_IRQ_SET_DATA_EVENTFD => size_of::<i32>(),
            _ => return Err(fail(Errno::EINVAL)),
        };
        if argsz - MIN < length * each {
            return Err(fail(Errno::EINVAL));
        }
        let all = request.user.copy(MIN + length * each)?;
        let data = match each {
            0 => Data::None,
            1 => Data::Bool(all.0[MIN..].iter().map(|byte| *byte != 0).collect()),
            _ => Data::Eventfd((0..length).map(|at| all.fd(MIN + at * each)).collect()),
        };
        let action = match flags & VFIO_IRQ_SET_ACTION_TYPE_MASK {
            VFIO_IRQ_SET_ACTION_MASK => Action::Mask,
            VFIO_IRQ_SET_ACTION_UNMASK => Action::Unmask,
            VFIO_IRQ_SET_ACTION_TRIGGER => Action::Trigger,
            _ => Action::Unknown,
        };
        Ok(Self { pid: request.pid, index, start, count, action, data })
    }

    /// Returns true if the request disables its index.
    pub(super) fn disables(&self) -> bool {
        self.count == 0 && self.data == Data::None
    }

    /// Returns true if the request names exactly the first vector.
    pub(super) fn is_single(&self) -> bool {
        self.start == 0 && self.count == 1
    }
}
