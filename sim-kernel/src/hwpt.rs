//! Domains: the page tables of an IOMMU over an address space (`IOMMU_OBJ_HWPT_PAGING`).
//!
//! An *auto* HWPT is made when a device is attached to an IOAS and shared by all devices that are;
//! it goes with the last one. A *manual* HWPT is made by HWPT_ALLOC and stays until it is destroyed;
//! attaching to an IOAS never uses one. Either pins everything that its address space maps, at once
//! and at the expense of the recorded owners, or does nothing at all.
//!
//! Absent: nesting, dirty tracking, fault queues, PASIDs, viommus.
//!
//! Mirrors `drivers/iommu/iommufd/hw_pagetable.c`, the attach path of `device.c`, and
//! `iopt_table_add_domain` of `io_pagetable.c`.

use crate::hardware::Iommu;
use crate::iommufd::{Hwpt, Object};
use crate::machine::Machine;
use crate::refusal::{Answered, Refusal, refuse};
use crate::slots::ContextId;
use crate::ucmd::Ucmd;
use handoff_model::errno::Errno;
use handoff_model::ids::{ObjectId, PAGE_BYTES};
use iommufd_bindings as io;
use std::mem::offset_of;

impl Machine {
    /// `iommufd_hwpt_alloc`: device ENOENT, address space EINVAL (EOPNOTSUPP over an HWPT:
    /// nesting), then as adding a domain.
    pub(crate) fn hwpt_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let context = ucmd.context;
        let device = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, dev_id));
        let ioas = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, pt_id));
        let table = self.contexts.get(context);
        if !matches!(table.objects.get(&device), Some(Object::Device { .. })) {
            return Err(refuse(Errno::ENOENT));
        }
        match table.objects.get(&ioas) {
            Some(Object::Ioas(_)) => {}
            Some(Object::Hwpt(_)) => return Err(refuse(Errno::EOPNOTSUPP)),
            _ => return Err(refuse(Errno::EINVAL)),
        }
        self.atomically(|machine| {
            let id = machine.add_domain(context, ioas, false)?;
            ucmd.respond_with(offset_of!(io::iommu_hwpt_alloc, out_hwpt_id), id)
        })
    }

    /// `iommufd_hwpt_get_dirty_bitmap`: the object first, then the length where that is checked, and then
    /// this IOMMU tracks nothing.
    pub(crate) fn get_dirty_bitmap(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let hwpt = ucmd.cmd.id(offset_of!(io::iommu_hwpt_get_dirty_bitmap, hwpt_id));
        self.contexts.get(ucmd.context).hwpt(hwpt).ok_or(refuse(Errno::ENOENT))?;
        let length_bytes = ucmd.cmd.u64(offset_of!(io::iommu_hwpt_get_dirty_bitmap, length));
        if self.profile.refuses_empty_bitmap() && length_bytes == 0 {
            return Err(refuse(Errno::EINVAL));
        }
        Err(refuse(Errno::EOPNOTSUPP))
    }

    /// `iopt_table_add_domain`: EADDRINUSE for areas that are not whole pages or lie outside the
    /// aperture, then what pinning says. The caller undoes a failure.
    fn add_domain(
        &mut self,
        context: ContextId,
        ioas: ObjectId,
        auto: bool,
    ) -> Result<ObjectId, Refusal> {
        let beyond = Iommu::QEMU_VTD.beyond_aperture();
        let areas = &self.ioas(context, ioas)?.areas;
        let fits = |range| !beyond.overlaps(range);
        if !areas.iter().all(|area| area.is_aligned(PAGE_BYTES) && fits(&area.range)) {
            return Err(refuse(Errno::EADDRINUSE));
        }
        let hwpt = Object::Hwpt(Hwpt { ioas, auto });
        let id = self.contexts.get_mut(context).insert(hwpt);
        self.pin_ioas(context, ioas)?;
        Ok(id)
    }

    /// `iommufd_device_attach` and `iommufd_device_replace`: → the HWPT, and whether an attachment was
    /// replaced. ENOENT, EINVAL (neither IOAS nor HWPT), EADDRINUSE, and what pinning says; after a
    /// failure the device is attached as before.
    pub(crate) fn attach_device(
        &mut self,
        context: ContextId,
        device: ObjectId,
        page_table: ObjectId,
    ) -> Result<(ObjectId, bool), Refusal> {
        let table = self.contexts.get(context);
        let (ioas, hwpt) = match table.objects.get(&page_table).ok_or(refuse(Errno::ENOENT))? {
            Object::Hwpt(hwpt) => (hwpt.ioas, Some(page_table)),
            Object::Ioas(_) => (page_table, table.auto_hwpt(page_table)),
            Object::Device { .. } | Object::Access { .. } => return Err(refuse(Errno::EINVAL)),
        };
        let old = self.attached_hwpt(context, device);
        if let Some(hwpt) = hwpt.filter(|hwpt| old == Some(*hwpt)) {
            return Ok((hwpt, false));
        }
        let reserved = Iommu::QEMU_VTD.reserved;
        if self.ioas(context, ioas)?.areas.iter().any(|area| area.range.overlaps(&reserved)) {
            return Err(refuse(Errno::EADDRINUSE));
        }
        let hwpt = match hwpt {
            Some(hwpt) => hwpt,
            None => self.atomically(|machine| machine.add_domain(context, ioas, true))?,
        };
        self.set_hwpt(context, device, Some(hwpt));
        Ok((hwpt, old.is_some()))
    }

    /// `iommufd_device_detach`; → whether it was attached.
    pub(crate) fn detach_device(&mut self, context: ContextId, device: ObjectId) -> bool {
        let was_attached = self.attached_hwpt(context, device).is_some();
        if was_attached {
            self.set_hwpt(context, device, None);
        }
        was_attached
    }

    fn attached_hwpt(&self, context: ContextId, device: ObjectId) -> Option<ObjectId> {
        match self.contexts.get(context).objects.get(&device) {
            Some(Object::Device { hwpt, .. }) => *hwpt,
            _ => None,
        }
    }

    /// Attaches and detaches; an auto HWPT goes with its last device, and then its pins.
    fn set_hwpt(&mut self, context: ContextId, device: ObjectId, new: Option<ObjectId>) {
        let table = self.contexts.get_mut(context);
        let Some(Object::Device { hwpt, .. }) = table.objects.get_mut(&device) else {
            unreachable!("a bound device has its object")
        };
        let old = std::mem::replace(hwpt, new);
        let Some(old) = old.filter(|old| !table.is_used(*old)) else { return };
        if table.hwpt(old).is_some_and(|hwpt| hwpt.auto) {
            table.objects.remove(&old);
            self.unpin_unwanted(context);
        }
    }
}

impl crate::iommufd::Context {
    /// The HWPT that devices attached to this IOAS share.
    fn auto_hwpt(&self, ioas: ObjectId) -> Option<ObjectId> {
        let shared = Hwpt { ioas, auto: true };
        let mut hwpts = self.objects.iter();
        hwpts.find(|(_, object)| **object == Object::Hwpt(shared)).map(|(id, _)| *id)
    }
}
