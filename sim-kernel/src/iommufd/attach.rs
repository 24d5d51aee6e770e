//! Attaching: which domain the DMA of a device goes through, and that of each of its PASIDs.
//!
//! A device is attached to a domain, or to an address space: then to the auto HWPT that is there,
//! or to a new one. To *replace* leaves the device as it was where that fails. The devices of a
//! group cannot be told apart by their DMA: what is attached first holds for all of them, the
//! others join it, and a replacement moves all that are attached. PASID 0 is the device itself
//! ([`NO_PASID`]).
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

/// `IOMMU_TEST_PASID_RESERVED`: every other domain that a mock device is given for it fails.
const FAILING_PASID: u32 = 1024;

/// Whether what is attached may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It must not.
    Attach,
    /// It must, and gives way.
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
    /// The device itself.
    pub(super) fn device(context: ContextId, device: ObjectId) -> Self {
        Self { context, device, pasid: NO_PASID }
    }
}

impl Context {
    /// The domain that a device or a PASID of it is attached to.
    pub(crate) fn attached_to(&self, device: ObjectId, pasid: u32) -> Option<ObjectId> {
        if pasid != NO_PASID {
            return self.pasids.get(&(device, pasid)).copied();
        }
        match self.objects.get(&device) {
            Some(Object::Device { hwpt, .. }) => *hwpt,
            _ => None,
        }
    }

    /// The domain with the page table of an address space that is behind a domain
    /// (`find_hwpt_paging`).
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

    /// Where the page faults of a domain go.
    pub(super) fn fault_queue(&self, hwpt: ObjectId) -> Option<ObjectId> {
        match self.objects.get(&hwpt)? {
            Object::Hwpt(hwpt) => hwpt.fault,
            Object::Nested(nested) => nested.fault,
            _ => None,
        }
    }

    /// The HWPTs that devices share when they are attached to this IOAS.
    fn auto_hwpts(&self, ioas: ObjectId) -> Vec<ObjectId> {
        let is_shared = |object: &Object| match object {
            Object::Hwpt(hwpt) => hwpt.auto && hwpt.ioas == ioas,
            _ => false,
        };
        self.objects.iter().filter(|(_, object)| is_shared(object)).map(|(id, _)| *id).collect()
    }
}

impl Machine {
    /// The devices of a context in the IOMMU group of this one, with it.
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

    /// `iommufd_device_attach` where nothing is attached, `iommufd_device_replace` where something
    /// is: → the HWPT, and whether an attachment was replaced.
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

    /// `iommufd_device_change_pt`: → the HWPT. ENOENT, EINVAL (nothing to attach to), and what
    /// attaching says.
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

    /// `iommufd_device_auto_get_domain`: the first auto HWPT that does not say EINVAL, or a new
    /// one.
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

    /// `iommufd_device_do_attach`: EBUSY, EINVAL (the group is attached elsewhere), EADDRINUSE, and
    /// what the driver says. `iommufd_device_do_replace`: EINVAL (nothing to replace), EADDRINUSE,
    /// the driver.
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

    /// `iopt_table_enforce_dev_resv_regions`: EADDRINUSE.
    fn check_reserved(&self, seat: AttachSlot, hwpt: &Hwpt) -> SyscallResult<()> {
        let reserved = self.iommu_of(seat.context, seat.device)?.reserved;
        match reserved.filter(|_| seat.pasid == NO_PASID) {
            Some(reserved) => {
                self.contexts.get(seat.context).check_reservable(hwpt.ioas, &reserved)
            }
            None => Ok(()),
        }
    }

    /// `iommufd_hwpt_pasid_compat`: a device and its PASIDs have domains that were made for PASIDs,
    /// if any PASID has one. EINVAL.
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

    /// What the driver of the device says to a domain: EINVAL for one of another driver.
    fn set_domain(&mut self, seat: AttachSlot, hwpt: ObjectId) -> SyscallResult<()> {
        let AttachSlot { context, device, pasid } = seat;
        let hardware = self.hardware_of(context, device)?;
        let table = self.contexts.get(context);
        if table.paging(hwpt).iommu.driver != hardware.iommu().driver {
            return Err(fail(Errno::EINVAL));
        }
        match (hardware.iommu().driver, pasid) {
            // Without PASIDs of its own, a device has nothing to be told.
            (IommuDriver::Vtd, NO_PASID) if table.fault_queue(hwpt).is_some() => {
                Err(fail(Errno::ENODEV))
            }
            (IommuDriver::Vtd, _) => Ok(()),
            (IommuDriver::Mock, NO_PASID) => self.set_mock_domain(context, device, hwpt),
            (IommuDriver::Mock, _) => self.set_mock_pasid(seat),
        }
    }

    /// `mock_domain_nop_attach`: EINVAL for a tracking domain of a device that cannot track, ENOENT
    /// where the viommu does not have the device.
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

    /// Remembers through which viommu a mock device works, and as which of its devices, while that
    /// stays the same viommu.
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

    /// `iommu_attach_device_pasid` and `mock_domain_set_dev_pasid_nop`: EINVAL (out of range), and
    /// for one PASID ENOMEM every second time.
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

    /// `iommufd_device_detach`; → whether it was attached.
    pub(crate) fn detach_device(&mut self, context: ContextId, device: ObjectId) -> bool {
        self.detach_seat(AttachSlot::device(context, device))
    }

    /// `iommufd_device_detach`; → whether it was attached.
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

    /// `iommufd_device_unbind`: its device and all PASIDs are detached, and its vdevice leaves its
    /// number taken.
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

    /// Attaches and detaches; page faults that wait for an answer are dropped, and an auto HWPT
    /// goes with its last device, and then its pins.
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

    /// An auto HWPT goes with its last device, and then its pins.
    fn drop_unused(&mut self, context: ContextId, hwpt: ObjectId) {
        let table = self.contexts.get(context);
        if table.hwpt(hwpt).is_some_and(|hwpt| hwpt.auto) && !table.is_used(hwpt) {
            self.contexts.get_mut(context).objects.remove(&hwpt);
            self.unpin_unwanted(context);
        }
    }
}
