//! ATTACH and DETACH: the address space that a device's DMA or accesses use.
//!
//! Attaching an attached device replaces its attachment; if that fails, the old attachment stays.
//! An emulated device attaches to an IOAS only: no HWPT is created and no page is pinned. A PASID
//! is attached like a separate device.
//!
//! Mirrors `vfio_df_ioctl_attach_pt` and `_detach_pt` of `drivers/vfio/device_cdev.c`, and
//! `drivers/vfio/iommufd.c`.

use crate::iommufd::{AttachSlot, Change, NO_PASID, Object};
use crate::machine::Machine;
use crate::syscall::{Fields, Request, SyscallResult, fail};
use crate::value::{ContextId, DeviceId};
use crate::vfio::device::Binding;
use crate::vfio::sized;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;
use handoff_model::abi::request as nr;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// `VFIO_DEVICE_ATTACH_PASID`, `VFIO_DEVICE_DETACH_PASID`.
const PASID: u32 = 1;

impl Machine {
    /// Reads the structure of ATTACH or DETACH; also returns true if it names a PASID.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, flags); `EOPNOTSUPP` for a PASID of a device without DMA.
    fn attachment_request(
        &self,
        id: DeviceId,
        request: &Request<'_>,
    ) -> SyscallResult<(Fields, bool)> {
        let min = match request.number {
            nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT => {
                offset_of!(vfio::vfio_device_attach_iommufd_pt, pasid)
            }
            _ => offset_of!(vfio::vfio_device_detach_iommufd_pt, pasid),
        };
        let cmd = sized(request, min)?;
        let flags = cmd.u32(offset_of!(vfio::vfio_device_attach_iommufd_pt, flags));
        let known = if self.profile.has_tokens_and_pasids() { PASID } else { 0 };
        if flags & !known != 0 {
            return Err(fail(Errno::EINVAL));
        }
        if flags == 0 {
            return Ok((cmd, false));
        }
        if self.device(id).is_emulated() {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let longer = min + size_of::<u32>();
        if (cmd.u32(0) as usize) < longer {
            return Err(fail(Errno::EINVAL));
        }
        Ok((request.user.copy(longer)?, true))
    }

    /// Handles ATTACH (`vfio_df_ioctl_attach_pt`). Writes the id of the HWPT to the caller, or of
    /// the IOAS for an emulated device; detaches if that write fails.
    pub(super) fn attach(&mut self, id: DeviceId, request: &mut Request<'_>) -> SyscallResult<()> {
        const PAGE_TABLE: usize = offset_of!(vfio::vfio_device_attach_iommufd_pt, pt_id);
        let (cmd, is_pasid) = self.attachment_request(id, request)?;
        let Binding { context, object, .. } = self.binding(id);
        let page_table = cmd.id(PAGE_TABLE);
        if is_pasid {
            let pasid = cmd.u32(offset_of!(vfio::vfio_device_attach_iommufd_pt, pasid));
            return self.attach_pasid(
                AttachSlot { context, device: object, pasid },
                request,
                page_table,
            );
        }
        let (attached, replaced) = self.attach_any(id, page_table)?;
        if replaced {
            self.device_mut(id).disrupt();
        }
        let told = request.user.write(PAGE_TABLE, &attached.0.to_ne_bytes());
        if told.is_err() && self.detach_any(id) {
            self.device_mut(id).disrupt();
        }
        self.reclaim();
        told
    }

    /// Attaches or replaces a PASID (`vfio_iommufd_physical_pasid_attach_ioas`); detaches it if the
    /// id cannot be written to the caller.
    fn attach_pasid(
        &mut self,
        seat: AttachSlot,
        request: &mut Request<'_>,
        page_table: ObjectId,
    ) -> SyscallResult<()> {
        const PAGE_TABLE: usize = offset_of!(vfio::vfio_device_attach_iommufd_pt, pt_id);
        let old = self.contexts.get(seat.context).attached_to(seat.device, seat.pasid);
        let is_replaced = old.is_some() && seat.pasid != NO_PASID;
        let change = if is_replaced { Change::Replace } else { Change::Attach };
        let attached = self.attach_page_table(seat, page_table, change)?;
        let told = request.user.write(PAGE_TABLE, &attached.0.to_ne_bytes());
        if told.is_err() {
            self.detach_seat(seat);
        }
        self.reclaim();
        told
    }

    /// Returns the context and the IOAS that the device's accesses use.
    pub(crate) fn attachment(&self, id: DeviceId) -> Option<(ContextId, ObjectId)> {
        let Binding { context, object, .. } = self.device(id).binding?;
        let table = self.contexts.get(context);
        let ioas = match table.objects.get(&object)? {
            Object::Device { hwpt, .. } => table.hwpt((*hwpt)?)?.ioas,
            Object::Access(access) => access.ioas?,
            _ => return None,
        };
        Some((context, ioas))
    }

    /// Attaches an emulated device (`vfio_iommufd_emulated_attach_ioas`). Returns true if this
    /// replaced another IOAS.
    ///
    /// # Errors
    /// `ENOENT`, and the errors of changing the access.
    fn attach_access(
        &mut self,
        context: ContextId,
        access: ObjectId,
        page_table: ObjectId,
    ) -> SyscallResult<bool> {
        self.ioas(context, page_table)?;
        let old = self.change_access(context, access, Some(page_table))?;
        Ok(old.is_some_and(|old| old != page_table))
    }

    /// Attaches a bound device of either kind. Returns the object that it is attached to, and true
    /// if that replaced another one.
    pub(super) fn attach_any(
        &mut self,
        id: DeviceId,
        page_table: ObjectId,
    ) -> SyscallResult<(ObjectId, bool)> {
        let Binding { context, object, .. } = self.binding(id);
        if self.device(id).is_emulated() {
            Ok((page_table, self.attach_access(context, object, page_table)?))
        } else {
            self.attach_device(context, object, page_table)
        }
    }

    /// Handles DETACH (`vfio_df_ioctl_detach_pt`). Succeeds even if the device is not attached.
    pub(super) fn detach(&mut self, id: DeviceId, request: &Request<'_>) -> SyscallResult<()> {
        let (cmd, is_pasid) = self.attachment_request(id, request)?;
        if is_pasid {
            let Binding { context, object, .. } = self.binding(id);
            let pasid = cmd.u32(offset_of!(vfio::vfio_device_detach_iommufd_pt, pasid));
            if pasid != NO_PASID {
                self.detach_seat(AttachSlot { context, device: object, pasid });
                self.reclaim();
            }
        } else if self.detach_any(id) {
            self.device_mut(id).disrupt();
            self.reclaim();
        }
        Ok(())
    }

    /// Detaches a device. Returns true if it was attached.
    pub(super) fn detach_any(&mut self, id: DeviceId) -> bool {
        let Some(Binding { context, object, .. }) = self.device(id).binding else { return false };
        if self.device(id).is_emulated() {
            let old = self.change_access(context, object, None);
            old.expect("nothing to fit into").is_some()
        } else {
            self.detach_device(context, object)
        }
    }
}
