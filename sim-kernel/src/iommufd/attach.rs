//! Attaching: the domain that translates the DMA of a device, and that of each of its PASIDs.
//!
//! A device is attached to a domain, or to an address space: then to its auto HWPT, or to a new
//! one. A failed *replace* leaves the device as it was. The IOMMU cannot distinguish the devices of
//! a group by their DMA: the first attachment applies to all of them, the others join it, and a
//! replacement moves all that are attached. PASID 0 is the device itself ([`NO_PASID`]).
//!
//! Mirrors the attach path of `drivers/iommu/iommufd/device.c`, `iommu_attach_device_pasid` of
//! `drivers/iommu/iommu.c`, and `mock_domain_nop_attach` of `selftest.c`.

use crate::hardware::IommuDriver;
use crate::iommufd::device::Hardware;
use crate::iommufd::hw_pagetable::{Hwpt, PASID};
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;

/// `IOMMU_NO_PASID`: the device itself.
pub(crate) const NO_PASID: u32 = 0;

/// `IOMMU_TEST_PASID_RESERVED`: attaching a mock device's PASID of this number fails every second
/// time.
const FAILING_PASID: u32 = 1024;

/// The required previous state of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The slot must not be attached.
    Attach,
    /// The slot must be attached; the old attachment is replaced.
    Replace,
}

/// A device, or a PASID of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachSlot {
    pub(crate) context: ContextId,
    pub(crate) device: ObjectId,
    pub(crate) pasid: u32,
}

impl AttachSlot {
    /// Returns the slot of the device itself.
    pub(super) fn device(context: ContextId, device: ObjectId) -> Self {
        Self { context, device, pasid: NO_PASID }
    }
}

impl Context {
    /// Returns the domain that a device or a PASID of it is attached to.
    pub(crate) fn attached_to(&self, device: ObjectId, pasid: u32) -> Option<ObjectId> {
        if pasid != NO_PASID {
            return self.pasids.get(&(device, pasid)).copied();
        }
        match self.objects.get(&device) {
            Some(Object::Device { hwpt, .. }) => *hwpt,
            _ => None,
        }
    }

    /// Returns the domain itself, or the parent of a nested one (`find_hwpt_paging`).
    fn paging(&self, hwpt: ObjectId) -> &Hwpt {
        match self.objects.get(&hwpt) {
            Some(Object::Hwpt(hwpt)) => hwpt,
            Some(Object::Nested(nested)) => self.hwpt(nested.parent).expect("in use by it"),
            _ => unreachable!("what devices are attached to"),
        }
    }

    fn is_for_pasids(&self, hwpt: ObjectId) -> bool {
        match self.objects.get(&hwpt) {
            Some(Object::Hwpt(hwpt)) => hwpt.is_for(PASID),
            Some(Object::Nested(nested)) => nested.for_pasids,
            _ => unreachable!("what devices are attached to"),
        }
    }

    /// Returns the queue of a domain's page faults.
    pub(super) fn fault_queue(&self, hwpt: ObjectId) -> Option<ObjectId> {
        match self.objects.get(&hwpt)? {
            Object::Hwpt(hwpt) => hwpt.fault,
            Object::Nested(nested) => nested.fault,
            _ => None,
        }
    }

    /// Returns the HWPTs that devices attached to this IOAS share.
    fn auto_hwpts(&self, ioas: ObjectId) -> Vec<ObjectId> {
        let is_shared = |object: &Object| match object {
            Object::Hwpt(hwpt) => hwpt.auto && hwpt.ioas == ioas,
            _ => false,
        };
        self.objects.iter().filter(|(_, object)| is_shared(object)).map(|(id, _)| *id).collect()
    }
}

impl Machine {
    /// Returns the devices of a context in the IOMMU group of this one, including it.
    fn group(&self, context: ContextId, device: ObjectId) -> Vec<ObjectId> {
        let table = self.contexts.get(context);
        let group = |id: &ObjectId| match table.objects.get(id) {
            Some(Object::Device { hardware: Hardware::Vfio { device, .. }, .. }) => {
                Some(self.device(*device).spec.group)
            }
            _ => None,
        };
        let own = group(&device);
        let is_one = |id: &ObjectId| *id == device || own.is_some() && group(id) == own;
        table.objects.keys().copied().filter(is_one).collect()
    }

    /// Attaches a device (`iommufd_device_attach`), or replaces its attachment
    /// (`iommufd_device_replace`). Returns the HWPT, and whether another attachment was replaced.
    pub(crate) fn attach_device(
        &mut self,
        context: ContextId,
        device: ObjectId,
        page_table: ObjectId,
    ) -> Result<(ObjectId, bool), Failure> {
        let seat = AttachSlot::device(context, device);
        let old = self.contexts.get(context).attached_to(device, NO_PASID);
        let change = if old.is_some() { Change::Replace } else { Change::Attach };
        let new = self.attach_page_table(seat, page_table, change)?;
        Ok((new, old.is_some_and(|old| old != new)))
    }

    /// Attaches to a domain or an IOAS and returns the HWPT (`iommufd_device_change_pt`). Fails
    /// with `ENOENT`, `EINVAL` (an object of another kind), and with the errnos of attaching.
    pub(crate) fn attach_page_table(
        &mut self,
        seat: AttachSlot,
        page_table: ObjectId,
        change: Change,
    ) -> SyscallResult<ObjectId> {
        let table = self.contexts.get(seat.context);
        match table.objects.get(&page_table).ok_or(fail(Errno::ENOENT))? {
            Object::Hwpt(_) | Object::Nested(_) => {
                self.attach_to(seat, page_table, change)?;
                Ok(page_table)
            }
            Object::Ioas(_) => self.attach_to_ioas(seat, page_table, change),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    /// Attaches to the first auto HWPT that does not fail with `EINVAL`, or to a new one
    /// (`iommufd_device_auto_get_domain`).
    fn attach_to_ioas(
        &mut self,
        seat: AttachSlot,
        ioas: ObjectId,
        change: Change,
    ) -> SyscallResult<ObjectId> {
        for hwpt in self.contexts.get(seat.context).auto_hwpts(ioas) {
            match self.attach_to(seat, hwpt, change) {
                Err(refusal) if refusal.errno == Errno::EINVAL => {}
                attached => return attached.map(|()| hwpt),
            }
        }
        let iommu = self.iommu_of(seat.context, seat.device)?;
        let hwpt = Hwpt::auto(ioas, iommu);
        if change == Change::Attach {
            self.check_reserved(seat, &hwpt)?;
        }
        let id = self.add_domain(seat.context, hwpt)?;
        self.attach_to(seat, id, change).inspect_err(|_| self.drop_unused(seat.context, id))?;
        Ok(id)
    }

    /// Attaches to a domain, or replaces the attachment.
    ///
    /// # Errors
    ///
    /// Attaching (`iommufd_device_do_attach`): `EBUSY`, `EINVAL` (the group is attached elsewhere),
    /// `EADDRINUSE`, and the errnos of the driver. Replacing (`iommufd_device_do_replace`):
    /// `EINVAL` (not attached), `EADDRINUSE`, and the errnos of the driver.
    fn attach_to(&mut self, seat: AttachSlot, hwpt: ObjectId, change: Change) -> SyscallResult<()> {
        let AttachSlot { context, device, pasid } = seat;
        let group = self.group(context, device);
        let table = self.contexts.get(context);
        let own = table.attached_to(device, pasid);
        let shared = group.iter().find_map(|device| table.attached_to(*device, pasid));
        match change {
            Change::Attach if own.is_some() => return Err(fail(Errno::EBUSY)),
            Change::Attach if shared.is_some_and(|shared| shared != hwpt) => {
                return Err(fail(Errno::EINVAL));
            }
            Change::Replace if own.is_none() => return Err(fail(Errno::EINVAL)),
            Change::Replace if own == Some(hwpt) => return Ok(()),
            _ => {}
        }
        let paging = table.paging(hwpt);
        if own.is_none_or(|own| table.paging(own).ioas != paging.ioas) {
            self.check_reserved(seat, paging)?;
        }
        if shared != Some(hwpt) {
            self.check_pasids(seat, hwpt, &group)?;
            self.allocate()?;
            self.set_domain(seat, hwpt)?;
        }
        match change {
            Change::Attach => self.seat(seat, Some(hwpt)),
            Change::Replace => {
                for device in group {
                    let seat = AttachSlot { device, ..seat };
                    if self.contexts.get(context).attached_to(device, pasid).is_some() {
                        self.seat(seat, Some(hwpt));
                    }
                }
            }
        }
        Ok(())
    }

    /// Fails with `EADDRINUSE` if the device's reserved window is mapped or allowed
    /// (`iopt_table_enforce_dev_resv_regions`).
    fn check_reserved(&self, seat: AttachSlot, hwpt: &Hwpt) -> SyscallResult<()> {
        let reserved = self.iommu_of(seat.context, seat.device)?.reserved;
        match reserved.filter(|_| seat.pasid == NO_PASID) {
            Some(reserved) => {
                self.contexts.get(seat.context).check_reservable(hwpt.ioas, &reserved)
            }
            None => Ok(()),
        }
    }

    /// Fails with `EINVAL` unless the domains of the device and its PASIDs were all made for
    /// PASIDs, if any PASID is attached or is about to be (`iommufd_hwpt_pasid_compat`).
    fn check_pasids(
        &self,
        seat: AttachSlot,
        hwpt: ObjectId,
        group: &[ObjectId],
    ) -> SyscallResult<()> {
        let table = self.contexts.get(seat.context);
        let for_pasids = table.is_for_pasids(hwpt);
        if seat.pasid == NO_PASID {
            let has_pasids = table.pasids.keys().any(|(device, _)| group.contains(device));
            return if for_pasids || !has_pasids { Ok(()) } else { Err(fail(Errno::EINVAL)) };
        }
        if !for_pasids {
            return Err(fail(Errno::EINVAL));
        }
        let own = group.iter().find_map(|device| table.attached_to(*device, NO_PASID));
        if own.is_none_or(|own| table.is_for_pasids(own)) {
            return Ok(());
        }
        Err(fail(Errno::EINVAL))
    }

    /// Sets the domain in the device's driver. Fails with `EINVAL` for a domain of another driver.
    fn set_domain(&mut self, seat: AttachSlot, hwpt: ObjectId) -> SyscallResult<()> {
        let AttachSlot { context, device, pasid } = seat;
        let hardware = self.hardware_of(context, device)?;
        let table = self.contexts.get(context);
        if table.paging(hwpt).iommu.driver != hardware.iommu().driver {
            return Err(fail(Errno::EINVAL));
        }
        match (hardware.iommu().driver, pasid) {
            // The core skips devices without PASIDs when it sets the domain of a PASID.
            (IommuDriver::Vtd, NO_PASID) if table.fault_queue(hwpt).is_some() => {
                Err(fail(Errno::ENODEV))
            }
            (IommuDriver::Vtd, _) => Ok(()),
            (IommuDriver::Mock, NO_PASID) => self.set_mock_domain(context, device, hwpt),
            (IommuDriver::Mock, _) => self.set_mock_pasid(seat),
        }
    }

    /// Sets the domain of a mock device (`mock_domain_nop_attach`). Fails with `EINVAL` for a
    /// tracking domain if the device cannot track, and with `ENOENT` if the viommu does not have
    /// the device.
    fn set_mock_domain(
        &mut self,
        context: ContextId,
        device: ObjectId,
        hwpt: ObjectId,
    ) -> SyscallResult<()> {
        let hardware = self.hardware_of(context, device)?;
        let table = self.contexts.get(context);
        let viommu = match table.objects.get(&hwpt) {
            Some(Object::Hwpt(hwpt)) if hwpt.tracking.is_some() && !hardware.tracks_dirty() => {
                return Err(fail(Errno::EINVAL));
            }
            Some(Object::Nested(nested)) => nested.viommu,
            _ => None,
        };
        let virt_id = match viommu {
            Some(viommu) => {
                let found = table.virt_id(viommu, device);
                Some(found.ok_or(fail(Errno::ENOENT))?)
            }
            None => None,
        };
        self.settle_mock(context, device, viommu.zip(virt_id));
        Ok(())
    }

    /// Records the viommu through which a mock device is attached, and its number there, unless the
    /// viommu stays the same.
    fn settle_mock(
        &mut self,
        context: ContextId,
        device: ObjectId,
        viommu: Option<(ObjectId, u64)>,
    ) {
        let mock = self.mock_mut(context, device).expect("a mock device");
        if viommu.map(|(id, _)| id) != mock.viommu.map(|(id, _)| id) {
            mock.viommu = viommu;
        }
    }

    /// Sets the domain of a mock device's PASID (`iommu_attach_device_pasid`,
    /// `mock_domain_set_dev_pasid_nop`). Fails with `EINVAL` (out of range), and for one PASID with
    /// `ENOMEM` every second time.
    fn set_mock_pasid(&mut self, seat: AttachSlot) -> SyscallResult<()> {
        let mock = self.mock_mut(seat.context, seat.device).expect("a mock device");
        if seat.pasid >= mock.pasid_end() {
            return Err(fail(Errno::EINVAL));
        }
        if seat.pasid == FAILING_PASID {
            mock.fails_next = !mock.fails_next;
            if !mock.fails_next {
                return Err(fail(Errno::ENOMEM));
            }
        }
        Ok(())
    }

    /// Detaches a device (`iommufd_device_detach`). Returns true if it was attached.
    pub(crate) fn detach_device(&mut self, context: ContextId, device: ObjectId) -> bool {
        self.detach_seat(AttachSlot::device(context, device))
    }

    /// Detaches a device or a PASID (`iommufd_device_detach`). Returns true if it was attached.
    pub(crate) fn detach_seat(&mut self, seat: AttachSlot) -> bool {
        let AttachSlot { context, device, pasid } = seat;
        if self.contexts.get(context).attached_to(device, pasid).is_none() {
            return false;
        }
        self.seat(seat, None);
        match self.mock_mut(context, device) {
            Some(mock) if pasid == FAILING_PASID => mock.fails_next = false,
            Some(mock) if pasid == NO_PASID => mock.viommu = None,
            _ => {}
        }
        true
    }

    /// Unbinds a device (`iommufd_device_unbind`): detaches it and all its PASIDs, and drops its
    /// vdevice, whose number stays in use.
    pub(crate) fn unbind_device(&mut self, context: ContextId, device: ObjectId) {
        let table = self.contexts.get(context);
        let pasids = table.pasids.keys().filter(|(id, _)| *id == device);
        let pasids: Vec<u32> = pasids.map(|(_, pasid)| *pasid).collect();
        for pasid in pasids {
            self.detach_seat(AttachSlot { context, device, pasid });
        }
        self.detach_device(context, device);
        let table = self.contexts.get_mut(context);
        table.drop_vdevice(device);
        table.objects.remove(&device);
    }

    /// Records a new domain, or none. Drops pending page faults of the old one; an auto HWPT is
    /// destroyed with its last device, and its pages are unpinned.
    fn seat(&mut self, seat: AttachSlot, new: Option<ObjectId>) {
        let AttachSlot { context, device, pasid } = seat;
        let table = self.contexts.get_mut(context);
        let old = table.attached_to(device, pasid);
        match (table.objects.get_mut(&device), new) {
            (Some(Object::Device { hwpt, .. }), _) if pasid == NO_PASID => *hwpt = new,
            (_, Some(new)) => {
                table.pasids.insert((device, pasid), new);
            }
            (_, None) => {
                table.pasids.remove(&(device, pasid));
            }
        }
        let Some(old) = old else { return };
        table.drop_faults(old, (device, pasid));
        self.drop_unused(context, old);
    }

    /// Destroys an auto HWPT that no device uses, and unpins its pages.
    fn drop_unused(&mut self, context: ContextId, hwpt: ObjectId) {
        let table = self.contexts.get(context);
        if table.hwpt(hwpt).is_some_and(|hwpt| hwpt.auto) && !table.is_used(hwpt) {
            self.contexts.get_mut(context).objects.remove(&hwpt);
            self.unpin_unwanted(context);
        }
    }
}
