//! VFIO device files: binding to a context, attaching to an address space, interrupts, last close.
//!
//! A device file may be opened many times; the one that binds first owns the device until its last
//! reference goes, and every other one cannot bind. All state belongs to that open file, so whoever
//! holds a descriptor of it may use it. Before BIND every ioctl but BIND says EINVAL.
//!
//! The last close, in order: bus mastering off, interrupts freed, function reset, detached (an auto
//! HWPT goes, its pages are unpinned), the object removed, the context released.
//!
//! An emulated device (mdev) is an access: ATTACH names an IOAS, no HWPT is made, nothing is pinned.
//!
//! Absent: groups and containers, PASIDs, tokens, hot reset, features (migration, low power, logging),
//! KVM, reset recovery, masking.
//!
//! Mirrors `drivers/vfio/device_cdev.c`, `vfio_main.c`, `iommufd.c`, `pci/vfio_pci_core.c` and
//! `pci/vfio_pci_intrs.c`.

use crate::file::File;
use crate::hardware::{Armed, Binding, CONFIG_BYTES, CONFIG_REGION, DeviceKind, region_offset};
use crate::iommufd::Object;
use crate::machine::Machine;
use crate::slots::{ContextId, DeviceId, FileId};
use handoff_model::call::{Answer, Call, Reply};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, ObjectId, PAGE_BYTES, Pid};

/// Interrupt indexes (`VFIO_PCI_*_IRQ_INDEX`).
const INTX: u32 = 0;
const MSIX: u32 = 2;
const ERROR: u32 = 3;

/// `VFIO_PCI_VGA_REGION_INDEX`.
const VGA_REGION: u32 = 8;

/// `VFIO_DEVICE_FLAGS_RESET` and `_PCI`.
const FLAG_RESET: u32 = 1;
const FLAG_PCI: u32 = 2;

impl Machine {
    pub(crate) fn is_bound_file(&self, device: DeviceId, file: FileId) -> bool {
        self.device(device).binding.is_some_and(|binding| binding.file == file)
    }

    /// The device of a descriptor. EBADF, ENOTTY.
    fn device_of(&self, pid: Pid, fd: Fd) -> Result<(DeviceId, FileId), Errno> {
        let file = self.usable(pid, fd)?;
        match *self.file(file) {
            File::Device(device) => Ok((device, file)),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// The device of a descriptor, and its binding. EBADF, ENOTTY, EINVAL before BIND.
    fn bound_device_of(&self, pid: Pid, fd: Fd) -> Result<(DeviceId, Binding), Errno> {
        let (device, file) = self.device_of(pid, fd)?;
        let binding = self.device(device).binding.filter(|binding| binding.file == file);
        binding.map(|binding| (device, binding)).ok_or(Errno::EINVAL)
    }

    pub(crate) fn vfio_call(&mut self, pid: Pid, call: &Call) -> Option<Answer> {
        Some(match *call {
            Call::Bind { device, iommufd } => self.bind(pid, device, iommufd),
            Call::Attach { device, page_table } => self.attach(pid, device, page_table),
            Call::Detach { device } => self.detach(pid, device),
            Call::DeviceInfo { device } => self.device_info(pid, device),
            Call::RegionInfo { device, index } => self.region_info(pid, device, index),
            Call::IrqInfo { device, index } => self.irq_info(pid, device, index),
            Call::SetIrqs { device, index, ref eventfds } => {
                self.set_irqs(pid, device, index, eventfds)
            }
            Call::Reset { device } => self.reset(pid, device),
            _ => return None,
        })
    }

    /// `vfio_df_ioctl_bind_iommufd`: EINVAL (no descriptor, bound already), EBADF, EBADFD, EINVAL
    /// (another open file has the device), and what the driver says.
    fn bind(&mut self, pid: Pid, fd: Fd, iommufd: Fd) -> Answer {
        let (id, file) = self.device_of(pid, fd)?;
        if iommufd.0 < 0 || self.is_bound_file(id, file) {
            return Err(Errno::EINVAL);
        }
        let iommufd = self.usable(pid, iommufd)?;
        let File::Iommufd(context) = *self.file(iommufd) else { return Err(Errno::EBADFD) };
        if self.device(id).binding.is_some() {
            return Err(Errno::EINVAL);
        }
        let object = match self.device(id).spec.kind {
            DeviceKind::Mdev { needs_kvm: true } => return Err(Errno::ESRCH),
            DeviceKind::Mdev { needs_kvm: false } => Object::Access { device: id, ioas: None },
            DeviceKind::Pci { .. } => Object::Device { device: id, hwpt: None },
        };
        let object = self.contexts.get_mut(context).insert(object);
        self.get_file(iommufd);
        let device = self.device_mut(id);
        device.binding = Some(Binding { file, iommufd, context, object });
        if !device.is_emulated() {
            device.clear_bus_master();
        }
        Ok(Reply::Object(object))
    }

    /// `vfio_df_ioctl_attach_pt`. Replaces an attachment atomically. → the HWPT, or for an emulated
    /// device the IOAS as given.
    fn attach(&mut self, pid: Pid, fd: Fd, page_table: ObjectId) -> Answer {
        let (id, Binding { context, object, .. }) = self.bound_device_of(pid, fd)?;
        let (attached, replaced) = if self.device(id).is_emulated() {
            (page_table, self.attach_access(context, object, page_table)?)
        } else {
            self.attach_device(context, object, page_table)?
        };
        if replaced {
            self.device_mut(id).upset();
        }
        self.reclaim();
        Ok(Reply::Object(attached))
    }

    /// `iommufd_access_attach` and `iommufd_access_replace`: → whether another IOAS was replaced.
    /// ENOENT, EADDRINUSE for areas that are not whole pages.
    fn attach_access(
        &mut self,
        context: ContextId,
        access: ObjectId,
        page_table: ObjectId,
    ) -> Result<bool, Errno> {
        let ioas = self.ioas(context, page_table)?;
        if !ioas.areas.iter().all(|area| area.is_aligned(PAGE_BYTES)) {
            return Err(Errno::EADDRINUSE);
        }
        let old = self.set_access(context, access, Some(page_table));
        Ok(old.is_some_and(|old| old != page_table))
    }

    /// Points an access elsewhere; → where it pointed before.
    fn set_access(
        &mut self,
        context: ContextId,
        access: ObjectId,
        new: Option<ObjectId>,
    ) -> Option<ObjectId> {
        match self.contexts.get_mut(context).objects.get_mut(&access) {
            Some(Object::Access { ioas, .. }) => std::mem::replace(ioas, new),
            _ => unreachable!("a bound emulated device has its access"),
        }
    }

    /// `vfio_df_ioctl_detach_pt`: succeeds also when nothing is attached.
    fn detach(&mut self, pid: Pid, fd: Fd) -> Answer {
        let (id, _) = self.bound_device_of(pid, fd)?;
        if self.detach_any(id) {
            self.device_mut(id).upset();
            self.reclaim();
        }
        Ok(Reply::Done)
    }

    /// → whether it was attached.
    fn detach_any(&mut self, id: DeviceId) -> bool {
        let Some(Binding { context, object, .. }) = self.device(id).binding else { return false };
        if self.device(id).is_emulated() {
            self.set_access(context, object, None).is_some()
        } else {
            self.detach_device(context, object)
        }
    }

    fn device_info(&self, pid: Pid, fd: Fd) -> Answer {
        let (id, _) = self.bound_device_of(pid, fd)?;
        let spec = &self.device(id).spec;
        let irqs = u32::try_from(spec.irqs.len()).expect("indexes are few");
        let reset = if self.can_reset(id) { FLAG_RESET } else { 0 };
        Ok(Reply::DeviceInfo { flags: FLAG_PCI | reset, regions: spec.regions, irqs })
    }

    fn can_reset(&self, id: DeviceId) -> bool {
        !matches!(self.device(id).spec.kind, DeviceKind::Pci { can_reset: false })
    }

    /// BAR 0 and configuration space, as an `edu` has them; the others are empty, and there is no VGA.
    fn region_info(&self, pid: Pid, fd: Fd, index: u32) -> Answer {
        let (id, _) = self.bound_device_of(pid, fd)?;
        if index >= self.device(id).spec.regions || index == VGA_REGION {
            return Err(Errno::EINVAL);
        }
        let (flags, length_bytes) = match index {
            0 => (7, 1 << 20),
            CONFIG_REGION => (3, CONFIG_BYTES),
            _ => (0, 0),
        };
        Ok(Reply::RegionInfo { flags, length_bytes, offset_bytes: region_offset(index) })
    }

    /// EINVAL for an index that does not exist, and for the error index where there is none.
    fn irq_info(&self, pid: Pid, fd: Fd, index: u32) -> Answer {
        const EVENTFD_MASKABLE_AUTOMASKED: u32 = 7;
        const EVENTFD_NORESIZE: u32 = 9;
        let (id, _) = self.bound_device_of(pid, fd)?;
        let count = self.vectors(id, index)?;
        if index == ERROR && count == 0 {
            return Err(Errno::EINVAL);
        }
        let flags = if index == INTX { EVENTFD_MASKABLE_AUTOMASKED } else { EVENTFD_NORESIZE };
        Ok(Reply::IrqInfo { flags, count })
    }

    fn vectors(&self, id: DeviceId, index: u32) -> Result<u32, Errno> {
        let irqs = &self.device(id).spec.irqs;
        irqs.get(index as usize).copied().ok_or(Errno::EINVAL)
    }

    /// `vfio_pci_ioctl_reset`: EINVAL where the device cannot.
    fn reset(&mut self, pid: Pid, fd: Fd) -> Answer {
        let (id, _) = self.bound_device_of(pid, fd)?;
        if !self.can_reset(id) {
            return Err(Errno::EINVAL);
        }
        self.device_mut(id).upset();
        Ok(Reply::Done)
    }

    /// `vfio_set_irqs_validate_and_prepare`, then by index.
    fn set_irqs(&mut self, pid: Pid, fd: Fd, index: u32, eventfds: &[Fd]) -> Answer {
        let (id, _) = self.bound_device_of(pid, fd)?;
        let vectors = self.vectors(id, index)? as usize;
        if vectors == 0 || eventfds.len() > vectors {
            return Err(Errno::EINVAL);
        }
        match index {
            INTX..=MSIX => self.set_triggers(pid, id, index, eventfds),
            _ => self.set_notifier(pid, id, (index - ERROR) as usize, eventfds.first()),
        }
    }

    /// `vfio_pci_set_intx_trigger` and `vfio_pci_set_msi_trigger`: one index at a time; no eventfds
    /// disable it. EINVAL when another index is armed, or when this one is not and should be disabled.
    fn set_triggers(&mut self, pid: Pid, id: DeviceId, index: u32, eventfds: &[Fd]) -> Answer {
        let armed = self.device(id).armed.as_ref().map(|armed| armed.index);
        if armed.map_or(eventfds.is_empty(), |armed| armed != index) {
            return Err(Errno::EINVAL);
        }
        if eventfds.is_empty() {
            self.disarm(id);
            self.device_mut(id).upset();
            return Ok(Reply::Done);
        }
        if index == INTX {
            self.trigger_of(pid, eventfds[0])?;
        }
        if armed.is_none() {
            let triggers = vec![None; eventfds.len()];
            self.device_mut(id).armed = Some(Armed { index, triggers });
        }
        let result = self.set_block(pid, id, eventfds);
        if result.is_err() && armed.is_none() {
            self.disarm(id);
        } else if result.is_err() {
            self.device_mut(id).upset();
        }
        result.map(|()| Reply::Done)
    }

    /// `vfio_msi_set_block`: vector after vector, the old trigger off before the new one on. Where one
    /// fails, it and all before it are left without.
    fn set_block(&mut self, pid: Pid, id: DeviceId, eventfds: &[Fd]) -> Result<(), Errno> {
        for (vector, eventfd) in eventfds.iter().enumerate() {
            let set = self.set_vector(pid, id, vector, *eventfd);
            if set.is_err() {
                for earlier in 0..vector {
                    self.swap_trigger(id, earlier, None);
                }
                return set;
            }
        }
        Ok(())
    }

    /// `vfio_msi_set_vector_signal`: EINVAL beyond the vectors that were enabled.
    fn set_vector(&mut self, pid: Pid, id: DeviceId, vector: usize, fd: Fd) -> Result<(), Errno> {
        let enabled = self.device(id).armed.as_ref().map_or(0, |armed| armed.triggers.len());
        if vector >= enabled {
            return Err(Errno::EINVAL);
        }
        let trigger = self.trigger_of(pid, fd);
        self.swap_trigger(id, vector, trigger.ok().flatten());
        trigger.map(|_| ())
    }

    /// The eventfd that a trigger names; a negative descriptor names none. EBADF, EINVAL.
    fn trigger_of(&self, pid: Pid, fd: Fd) -> Result<Option<FileId>, Errno> {
        if fd.0 < 0 {
            return Ok(None);
        }
        let file = self.usable(pid, fd)?;
        let is_eventfd = matches!(self.file(file), File::Eventfd(_));
        if is_eventfd { Ok(Some(file)) } else { Err(Errno::EINVAL) }
    }

    fn swap_trigger(&mut self, id: DeviceId, vector: usize, new: Option<FileId>) {
        let armed = self.device_mut(id).armed.as_mut().expect("an armed index");
        let old = std::mem::replace(&mut armed.triggers[vector], new);
        self.exchange(old, new);
    }

    fn exchange(&mut self, old: Option<FileId>, new: Option<FileId>) {
        if let Some(new) = new {
            self.get_file(new);
        }
        if let Some(old) = old {
            self.put_file(old);
        }
    }

    fn disarm(&mut self, id: DeviceId) {
        let armed = self.device_mut(id).armed.take();
        for trigger in armed.into_iter().flat_map(|armed| armed.triggers) {
            self.exchange(trigger, None);
        }
    }

    /// `vfio_pci_set_ctx_trigger_single`: EINVAL to disable what is not set.
    fn set_notifier(
        &mut self,
        pid: Pid,
        id: DeviceId,
        which: usize,
        eventfd: Option<&Fd>,
    ) -> Answer {
        let old = *self.device(id).notifiers.get(which).ok_or(Errno::ENOTTY)?;
        let new = match eventfd {
            Some(fd) => self.trigger_of(pid, *fd)?,
            None if old.is_none() => return Err(Errno::EINVAL),
            None => None,
        };
        self.device_mut(id).notifiers[which] = new;
        self.exchange(old, new);
        Ok(Reply::Done)
    }

    /// The last reference to an open device file is gone (`vfio_df_close` and below, in its order).
    pub(crate) fn release_device_file(&mut self, id: DeviceId, file: FileId) {
        let Some(binding) = self.device(id).binding.filter(|binding| binding.file == file) else {
            return;
        };
        if !self.device(id).is_emulated() {
            self.device_mut(id).clear_bus_master();
        }
        self.disarm(id);
        for which in 0..2 {
            let old = self.device_mut(id).notifiers[which].take();
            self.exchange(old, None);
        }
        self.device_mut(id).upset();
        self.detach_any(id);
        self.contexts.get_mut(binding.context).objects.remove(&binding.object);
        self.device_mut(id).binding = None;
        self.put_file(binding.iommufd);
    }
}
