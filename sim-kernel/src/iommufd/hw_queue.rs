//! Hardware queues (`IOMMU_OBJ_HW_QUEUE`): memory of a guest that an IOMMU reads by physical
//! address.
//!
//! All of the memory must be mapped in the address space of the nesting parent and be physically
//! contiguous. A queue pins it through an access of its own, an object with a number, and locks its
//! areas: UNMAP fails with EBUSY. The mock driver has two queues per viommu; the second one depends
//! on the first.
//!
//! Mirrors `iommufd_hw_queue_alloc_ioctl` of `drivers/iommu/iommufd/viommu.c`, and
//! `mock_hw_queue_init_phys` of `selftest.c`.

use crate::iommufd::access::{Access, AccessOwner};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::pins::Pin;
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use iommufd_bindings as io;
use std::mem::offset_of;

/// A hardware queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HwQueue {
    pub(super) viommu: ObjectId,
    index: u32,
    /// The preceding queue, on which it depends.
    pub(super) after: Option<ObjectId>,
    /// The access that pins its memory.
    pub(super) access: ObjectId,
}

/// `IOMMU_HW_QUEUE_TYPE_SELFTEST`, `IOMMU_TEST_HW_QUEUE_MAX`.
const TYPE_SELFTEST: u32 = 0xdead_beef;
const QUEUES: u32 = 2;

/// Maximum number of pages: the kernel's array of pointers to them has at most `INT_MAX` bytes.
const PAGES_MAX: u64 = (i32::MAX as u64) / 8;

impl Context {
    /// Returns the queue with a number within a viommu.
    fn queue(&self, viommu: ObjectId, index: u32) -> Option<ObjectId> {
        let is_it = |object: &Object| match object {
            Object::HwQueue(queue) => (queue.viommu, queue.index) == (viommu, index),
            _ => false,
        };
        self.objects.iter().find(|(_, object)| is_it(object)).map(|(id, _)| *id)
    }

    /// Returns true if a queue locks a part of this range.
    pub(super) fn is_locked(&self, ioas: ObjectId, area: &IovaRange) -> bool {
        self.accesses(ioas).any(|access| match access.owner {
            AccessOwner::Queue(range) => range.overlaps(area),
            AccessOwner::Vfio(_) | AccessOwner::Mock(_) => false,
        })
    }
}

impl Machine {
    /// Allocates a queue (`iommufd_hw_queue_alloc_ioctl`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` (flags, no type), `EINVAL` (empty), `EOVERFLOW`, `ENOENT`, `EOPNOTSUPP` (type),
    /// then those of [`Self::lock_memory`], and those of the driver: `EINVAL`, `EEXIST`, `EIO` (by
    /// number); `EFAULT`.
    pub(super) fn hw_queue_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let kind = ucmd.cmd.u32(offset_of!(io::iommu_hw_queue_alloc, type_));
        if ucmd.cmd.u32(offset_of!(io::iommu_hw_queue_alloc, flags)) != 0 || kind == 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let first = Iova(ucmd.cmd.u64(offset_of!(io::iommu_hw_queue_alloc, nesting_parent_iova)));
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_hw_queue_alloc, length));
        if length_bytes == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let range = IovaRange::of(first, length_bytes).ok_or(fail(Errno::EOVERFLOW))?;
        let context = ucmd.context;
        let viommu = ucmd.cmd.id(offset_of!(io::iommu_hw_queue_alloc, viommu_id));
        let table = self.contexts.get(context);
        let parent = table.viommu(viommu)?.parent;
        if kind != TYPE_SELFTEST {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let ioas = table.hwpt(parent).expect("in use by the viommu").ioas;
        let index = ucmd.cmd.u32(offset_of!(io::iommu_hw_queue_alloc, index));
        self.atomically(|machine| {
            // The queue takes its number first, then its access.
            let queue = HwQueue { viommu, index, after: None, access: ObjectId(0) };
            let id = machine.contexts.get_mut(context).insert(Object::HwQueue(queue));
            let access = machine.lock_memory(context, ioas, &range)?;
            let table = machine.contexts.get_mut(context);
            let after = table.check_index(viommu, id, index)?;
            table.objects.insert(id, Object::HwQueue(HwQueue { after, access, ..queue }));
            ucmd.respond_with(offset_of!(io::iommu_hw_queue_alloc, out_hw_queue_id), id)
        })
    }

    /// Pins a queue's memory through a new access (`iommufd_hw_queue_alloc_phys`). Fails with
    /// `ERANGE` (too long), `ENOMEM` (too many pages), the errnos of attaching and pinning,
    /// `EFAULT` (not contiguous).
    fn lock_memory(
        &mut self,
        context: ContextId,
        ioas: ObjectId,
        range: &IovaRange,
    ) -> SyscallResult<ObjectId> {
        let offset = range.first.0 % PAGE_BYTES;
        let length_bytes = range.last.0 - range.first.0;
        let end = length_bytes.checked_add(offset + PAGE_BYTES);
        let pages = end.ok_or(fail(Errno::ERANGE))? / PAGE_BYTES;
        if pages > PAGES_MAX {
            return Err(fail(Errno::ENOMEM));
        }
        let first = Iova(range.first.0 - offset);
        let whole = IovaRange::of(first, pages * PAGE_BYTES).expect("whole pages below the top");
        let access = Access { owner: AccessOwner::Queue(whole), ioas: None };
        let table = self.contexts.get_mut(context);
        let id = table.insert(Object::Access(access));
        if !table.fits(ioas, PAGE_BYTES) {
            return Err(fail(Errno::EADDRINUSE));
        }
        let pinned = self.pin_for_access(context, ioas, &whole, false)?;
        if !pinned.windows(2).all(|pair| is_next(&pair[0], &pair[1])) {
            return Err(fail(Errno::EFAULT));
        }
        self.access_mut(context, id).ioas = Some(ioas);
        Ok(id)
    }

    /// Unpins a queue's memory (`iommufd_hw_queue_destroy`).
    pub(super) fn unlock_memory(&mut self, context: ContextId, access: ObjectId) {
        self.contexts.get_mut(context).objects.remove(&access);
        self.unpin_unwanted(context);
    }
}

impl Context {
    /// Returns the preceding queue (`mock_hw_queue_init_phys`). Fails with `EINVAL` (no such
    /// number), `EEXIST`, `EIO` (no preceding queue).
    fn check_index(
        &self,
        viommu: ObjectId,
        own: ObjectId,
        index: u32,
    ) -> SyscallResult<Option<ObjectId>> {
        if index >= QUEUES {
            return Err(fail(Errno::EINVAL));
        }
        let is_other = |id: &ObjectId| *id != own;
        let taken = self.objects.iter().any(|(id, object)| match object {
            Object::HwQueue(queue) => {
                is_other(id) && (queue.viommu, queue.index) == (viommu, index)
            }
            _ => false,
        });
        if taken {
            return Err(fail(Errno::EEXIST));
        }
        match index.checked_sub(1) {
            None => Ok(None),
            Some(before) => self.queue(viommu, before).map(Some).ok_or(fail(Errno::EIO)),
        }
    }
}

/// Returns true if `next` follows `pin` in memory.
fn is_next(pin: &Pin, next: &Pin) -> bool {
    pin.memory == next.memory && pin.page + pin.pages == next.page
}
