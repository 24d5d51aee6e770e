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

use crate::iommu::IommuDriver;
use crate::iommufd::{Context, Hwpt, Object};
use crate::machine::Machine;
use crate::refusal::{Answered, Refusal, refuse};
use crate::slots::ContextId;
use crate::ucmd::Ucmd;
use handoff_model::errno::Errno;
use handoff_model::ids::ObjectId;
use iommufd_bindings as io;
use std::mem::offset_of;

impl Machine {
    /// `iommufd_hwpt_alloc`: device ENOENT, address space EINVAL (EOPNOTSUPP over an HWPT:
    /// nesting), then as adding a domain.
    pub(crate) fn hwpt_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let context = ucmd.context;
        let device = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, dev_id));
        let ioas = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, pt_id));
        let iommu = self.iommu_of(context, device)?;
        let table = self.contexts.get(context);
        match table.objects.get(&ioas) {
            Some(Object::Ioas(_)) => {}
            Some(Object::Hwpt(_)) => return Err(refuse(Errno::EOPNOTSUPP)),
            _ => return Err(refuse(Errno::EINVAL)),
        }
        self.atomically(|machine| {
            let id = machine.add_domain(context, Hwpt { ioas, iommu, auto: false })?;
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

    /// `iopt_table_add_domain`: EADDRINUSE for areas that are not whole pages of it, and for areas and
    /// allowed addresses outside its aperture, then what pinning says. All or nothing.
    fn add_domain(&mut self, context: ContextId, hwpt: Hwpt) -> Result<ObjectId, Refusal> {
        let table = self.contexts.get(context);
        if !table.fits(hwpt.ioas, hwpt.iommu.io_page_bytes) {
            return Err(refuse(Errno::EADDRINUSE));
        }
        for range in hwpt.iommu.beyond_aperture() {
            table.check_reservable(hwpt.ioas, &range)?;
        }
        let id = self.contexts.get_mut(context).insert(Object::Hwpt(hwpt));
        let areas = self.ioas(context, hwpt.ioas)?.areas.clone();
        self.pin_areas(context, &areas).inspect_err(|_| {
            self.contexts.get_mut(context).objects.remove(&id);
            self.unpin_unwanted(context);
        })?;
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
        let iommu = self.iommu_of(context, device)?;
        let table = self.contexts.get(context);
        let (ioas, hwpt) = match table.objects.get(&page_table).ok_or(refuse(Errno::ENOENT))? {
            Object::Hwpt(hwpt) => (hwpt.ioas, Some(page_table)),
            Object::Ioas(_) => (page_table, table.auto_hwpt(page_table, iommu.driver)),
            Object::Device { .. } | Object::Access(_) | Object::Stdev { .. } => {
                return Err(refuse(Errno::EINVAL));
            }
        };
        let old = self.attached_hwpt(context, device);
        if let Some(hwpt) = hwpt.filter(|hwpt| old == Some(*hwpt)) {
            return Ok((hwpt, false));
        }
        if let Some(reserved) = iommu.reserved {
            self.contexts.get(context).check_reservable(ioas, &reserved)?;
        }
        let hwpt = match hwpt {
            Some(hwpt) if !self.takes_devices_of(context, hwpt, iommu.driver) => {
                return Err(refuse(Errno::EINVAL));
            }
            Some(hwpt) => hwpt,
            None => {
                let hwpt = Hwpt { ioas, iommu, auto: true };
                self.add_domain(context, hwpt)?
            }
        };
        self.set_hwpt(context, device, Some(hwpt));
        Ok((hwpt, old.is_some()))
    }

    /// `__iommu_attach_group`: a domain takes the devices of the driver that made it.
    fn takes_devices_of(&self, context: ContextId, hwpt: ObjectId, driver: IommuDriver) -> bool {
        self.contexts.get(context).hwpt(hwpt).is_some_and(|hwpt| hwpt.iommu.driver == driver)
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

impl Context {
    /// The HWPT that devices of this driver share when they are attached to this IOAS.
    fn auto_hwpt(&self, ioas: ObjectId, driver: IommuDriver) -> Option<ObjectId> {
        let is_shared = |object: &Object| match object {
            Object::Hwpt(hwpt) => hwpt.auto && hwpt.ioas == ioas && hwpt.iommu.driver == driver,
            _ => false,
        };
        self.objects.iter().find(|(_, object)| is_shared(object)).map(|(id, _)| *id)
    }
}
