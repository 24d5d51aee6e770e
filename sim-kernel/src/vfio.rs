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

use crate::access::{Access, AccessOwner};
use crate::file::File;
use crate::hardware::{Armed, Binding, CONFIG_BYTES, CONFIG_REGION, DeviceKind, region_offset};
use crate::ioctl::Request;
use crate::iommufd::{Hardware, Object};
use crate::machine::Machine;
use crate::refusal::{Answered, Refusal, refuse};
use crate::slots::{ContextId, DeviceId, FileId};
use crate::user::Fields;
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, ObjectId, Pid};
use handoff_model::request as nr;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// Interrupt indexes (`VFIO_PCI_*_IRQ_INDEX`).
const INTX: u32 = 0;
const MSIX: u32 = 2;
const ERROR: u32 = 3;

/// `VFIO_PCI_VGA_REGION_INDEX`.
const VGA_REGION: u32 = 8;

/// `VFIO_DEVICE_FLAGS_RESET` and `_PCI`.
const FLAG_RESET: u32 = 1;
const FLAG_PCI: u32 = 2;

/// A structure of which at least the first `min` bytes must be there. EFAULT, EINVAL (size).
fn sized(request: &Request<'_>, min: usize) -> Answered<Fields> {
    let fields = request.user.copy(min)?;
    if (fields.u32(0) as usize) < min {
        return Err(refuse(Errno::EINVAL));
    }
    Ok(fields)
}

/// What ATTACH and DETACH have in common: size and flags. EFAULT, EINVAL.
fn attachment(request: &Request<'_>) -> Answered<Fields> {
    let min = match request.number {
        nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT => {
            offset_of!(vfio::vfio_device_attach_iommufd_pt, pasid)
        }
        _ => offset_of!(vfio::vfio_device_detach_iommufd_pt, pasid),
    };
    let fields = sized(request, min)?;
    if fields.u32(offset_of!(vfio::vfio_device_attach_iommufd_pt, flags)) != 0 {
        return Err(refuse(Errno::EINVAL));
    }
    Ok(fields)
}

impl Machine {
    pub(crate) fn is_bound_file(&self, device: DeviceId, file: FileId) -> bool {
        self.device(device).binding.is_some_and(|binding| binding.file == file)
    }

    /// `vfio_device_fops_unl_ioctl`: BIND; before it, everything else is EINVAL.
    pub(crate) fn device_ioctl(
        &mut self,
        device: DeviceId,
        request: &mut Request<'_>,
    ) -> Answered<u32> {
        if request.number == nr::VFIO_DEVICE_BIND_IOMMUFD {
            return self.bind(device, request).map(|()| 0);
        }
        if !self.is_bound_file(device, request.file) {
            return Err(refuse(Errno::EINVAL));
        }
        match request.number {
            nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT => self.attach(device, request),
            nr::VFIO_DEVICE_DETACH_IOMMUFD_PT => self.detach(device, request),
            nr::VFIO_DEVICE_GET_INFO => self.device_info(device, request),
            nr::VFIO_DEVICE_GET_REGION_INFO => self.region_info(device, request),
            nr::VFIO_DEVICE_GET_IRQ_INFO => self.irq_info(device, request),
            nr::VFIO_DEVICE_SET_IRQS => self.set_irqs(device, request),
            nr::VFIO_DEVICE_RESET => self.reset(device),
            _ => return Err(refuse(Errno::ENOTTY)),
        }?;
        Ok(0)
    }

    /// The binding of a bound device.
    fn binding(&self, device: DeviceId) -> Binding {
        self.device(device).binding.expect("looked up before")
    }

    /// `vfio_df_ioctl_bind_iommufd`: EFAULT, EINVAL (size, flags, no descriptor, bound already), E2BIG,
    /// EBADF, EBADFD, EINVAL (another open file has the device), and what the driver says.
    fn bind(&mut self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        const SIZE: usize = size_of::<vfio::vfio_device_bind_iommufd>();
        const OUT: usize = offset_of!(vfio::vfio_device_bind_iommufd, out_devid);
        const MIN: usize = OUT + size_of::<u32>();
        let size = request.user.word(0)? as usize;
        if size < MIN {
            return Err(refuse(Errno::EINVAL));
        }
        let cmd = request.user.copy_structure(SIZE, size)?;
        let iommufd = cmd.fd(offset_of!(vfio::vfio_device_bind_iommufd, iommufd));
        if cmd.u32(offset_of!(vfio::vfio_device_bind_iommufd, flags)) != 0 || iommufd.0 < 0 {
            return Err(refuse(Errno::EINVAL));
        }
        if self.is_bound_file(id, request.file) {
            return Err(refuse(Errno::EINVAL));
        }
        let iommufd = self.usable(request.pid, iommufd)?;
        let File::Iommufd(context) = *self.file(iommufd) else {
            return Err(refuse(Errno::EBADFD));
        };
        if self.device(id).binding.is_some() {
            return Err(refuse(Errno::EINVAL));
        }
        let object = match self.device(id).spec.kind {
            DeviceKind::Mdev { needs_kvm: true } => return Err(refuse(Errno::ESRCH)),
            DeviceKind::Mdev { needs_kvm: false } => {
                Object::Access(Access { owner: AccessOwner::Vfio(id), ioas: None })
            }
            DeviceKind::Pci { .. } => Object::Device { hardware: Hardware::Vfio(id), hwpt: None },
        };
        self.atomically(|machine| {
            let object = machine.contexts.get_mut(context).insert(object);
            machine.get_file(iommufd);
            let device = machine.device_mut(id);
            device.binding = Some(Binding { file: request.file, iommufd, context, object });
            if !device.is_emulated() {
                device.clear_bus_master();
            }
            request.user.write(OUT, &object.0.to_ne_bytes())
        })
    }

    /// `vfio_df_ioctl_attach_pt`. Replaces an attachment atomically. Tells the HWPT, or for an emulated
    /// device the IOAS as given; detaches where that cannot be told.
    fn attach(&mut self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        const PAGE_TABLE: usize = offset_of!(vfio::vfio_device_attach_iommufd_pt, pt_id);
        let cmd = attachment(request)?;
        let Binding { context, object, .. } = self.binding(id);
        let page_table = cmd.id(PAGE_TABLE);
        let (attached, replaced) = if self.device(id).is_emulated() {
            (page_table, self.attach_access(context, object, page_table)?)
        } else {
            self.attach_device(context, object, page_table)?
        };
        if replaced {
            self.device_mut(id).upset();
        }
        let told = request.user.write(PAGE_TABLE, &attached.0.to_ne_bytes());
        if told.is_err() && self.detach_any(id) {
            self.device_mut(id).upset();
        }
        self.reclaim();
        told
    }

    /// `iommufd_access_attach` and `iommufd_access_replace`: → whether another IOAS was replaced.
    /// ENOENT, EADDRINUSE for areas that are not whole pages.
    fn attach_access(
        &mut self,
        context: ContextId,
        access: ObjectId,
        page_table: ObjectId,
    ) -> Result<bool, Refusal> {
        self.ioas(context, page_table)?;
        let old = self.change_access(context, access, Some(page_table))?;
        Ok(old.is_some_and(|old| old != page_table))
    }

    /// `vfio_df_ioctl_detach_pt`: succeeds also when nothing is attached.
    fn detach(&mut self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        attachment(request)?;
        if self.detach_any(id) {
            self.device_mut(id).upset();
            self.reclaim();
        }
        Ok(())
    }

    /// → whether it was attached.
    fn detach_any(&mut self, id: DeviceId) -> bool {
        let Some(Binding { context, object, .. }) = self.device(id).binding else { return false };
        if self.device(id).is_emulated() {
            let old = self.change_access(context, object, None);
            old.expect("nothing to fit into").is_some()
        } else {
            self.detach_device(context, object)
        }
    }

    /// `vfio_pci_ioctl_get_info`. EFAULT, EINVAL (size).
    fn device_info(&self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        const MIN: usize = offset_of!(vfio::vfio_device_info, cap_offset);
        let mut info = sized(request, MIN)?;
        let spec = &self.device(id).spec;
        let irqs = u32::try_from(spec.irqs.len()).expect("indexes are few");
        let reset = if self.can_reset(id) { FLAG_RESET } else { 0 };
        info.set_u32(offset_of!(vfio::vfio_device_info, flags), FLAG_PCI | reset);
        info.set_u32(offset_of!(vfio::vfio_device_info, num_regions), spec.regions);
        info.set_u32(offset_of!(vfio::vfio_device_info, num_irqs), irqs);
        request.user.write(0, &info.0)
    }

    fn can_reset(&self, id: DeviceId) -> bool {
        !matches!(self.device(id).spec.kind, DeviceKind::Pci { can_reset: false })
    }

    /// BAR 0 and configuration space, as an `edu` has them; the others are empty, and there is no VGA.
    fn region_info(&self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        let mut info = sized(request, size_of::<vfio::vfio_region_info>())?;
        let index = info.u32(offset_of!(vfio::vfio_region_info, index));
        if index >= self.device(id).spec.regions || index == VGA_REGION {
            return Err(refuse(Errno::EINVAL));
        }
        let (flags, length_bytes) = match index {
            0 => (7, 1 << 20),
            CONFIG_REGION => (3, CONFIG_BYTES),
            _ => (0, 0),
        };
        info.set_u32(offset_of!(vfio::vfio_region_info, flags), flags);
        info.set_u64(offset_of!(vfio::vfio_region_info, size), length_bytes);
        info.set_u64(offset_of!(vfio::vfio_region_info, offset), region_offset(index));
        request.user.write(0, &info.0)
    }

    /// EINVAL for an index that does not exist, and for the error index where there is none.
    fn irq_info(&self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        const EVENTFD_MASKABLE_AUTOMASKED: u32 = 7;
        const EVENTFD_NORESIZE: u32 = 9;
        let mut info = sized(request, size_of::<vfio::vfio_irq_info>())?;
        let index = info.u32(offset_of!(vfio::vfio_irq_info, index));
        let count = self.vectors(id, index)?;
        if index == ERROR && count == 0 {
            return Err(refuse(Errno::EINVAL));
        }
        let flags = if index == INTX { EVENTFD_MASKABLE_AUTOMASKED } else { EVENTFD_NORESIZE };
        info.set_u32(offset_of!(vfio::vfio_irq_info, flags), flags);
        info.set_u32(offset_of!(vfio::vfio_irq_info, count), count);
        request.user.write(0, &info.0)
    }

    fn vectors(&self, id: DeviceId, index: u32) -> Result<u32, Refusal> {
        let irqs = &self.device(id).spec.irqs;
        irqs.get(index as usize).copied().ok_or(refuse(Errno::EINVAL))
    }

    /// `vfio_pci_ioctl_reset`: EINVAL where the device cannot.
    fn reset(&mut self, id: DeviceId) -> Answered<()> {
        if !self.can_reset(id) {
            return Err(refuse(Errno::EINVAL));
        }
        self.device_mut(id).upset();
        Ok(())
    }

    /// `vfio_set_irqs_validate_and_prepare`, then by index.
    fn set_irqs(&mut self, id: DeviceId, request: &mut Request<'_>) -> Answered<()> {
        const SET: usize = offset_of!(vfio::vfio_irq_set, data);
        const EVENTFD: u32 = vfio::VFIO_IRQ_SET_DATA_EVENTFD | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
        let set = sized(request, SET)?;
        let pid = request.pid;
        let index = set.u32(offset_of!(vfio::vfio_irq_set, index));
        let count = set.u32(offset_of!(vfio::vfio_irq_set, count)) as usize;
        let flags = set.u32(offset_of!(vfio::vfio_irq_set, flags));
        let eventfds: Vec<Fd> = if flags == EVENTFD {
            let all = request.user.copy(SET + 4 * count)?;
            (0..count).map(|at| all.fd(SET + 4 * at)).collect()
        } else {
            Vec::new()
        };
        let eventfds = eventfds.as_slice();
        let vectors = self.vectors(id, index)? as usize;
        if vectors == 0 || eventfds.len() > vectors {
            return Err(refuse(Errno::EINVAL));
        }
        match index {
            INTX..=MSIX => self.set_triggers(pid, id, index, eventfds),
            _ => self.set_notifier(pid, id, (index - ERROR) as usize, eventfds.first()),
        }
    }

    /// `vfio_pci_set_intx_trigger` and `vfio_pci_set_msi_trigger`: one index at a time; no eventfds
    /// disable it. EINVAL when another index is armed, or when this one is not and should be disabled.
    fn set_triggers(
        &mut self,
        pid: Pid,
        id: DeviceId,
        index: u32,
        eventfds: &[Fd],
    ) -> Answered<()> {
        let armed = self.device(id).armed.as_ref().map(|armed| armed.index);
        if armed.map_or(eventfds.is_empty(), |armed| armed != index) {
            return Err(refuse(Errno::EINVAL));
        }
        if eventfds.is_empty() {
            self.disarm(id);
            self.device_mut(id).upset();
            return Ok(());
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
        result
    }

    /// `vfio_msi_set_block`: vector after vector, the old trigger off before the new one on. Where one
    /// fails, it and all before it are left without.
    fn set_block(&mut self, pid: Pid, id: DeviceId, eventfds: &[Fd]) -> Result<(), Refusal> {
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
    fn set_vector(&mut self, pid: Pid, id: DeviceId, vector: usize, fd: Fd) -> Result<(), Refusal> {
        let enabled = self.device(id).armed.as_ref().map_or(0, |armed| armed.triggers.len());
        if vector >= enabled {
            return Err(refuse(Errno::EINVAL));
        }
        let trigger = self.trigger_of(pid, fd);
        self.swap_trigger(id, vector, trigger.ok().flatten());
        trigger.map(|_| ())
    }

    /// The eventfd that a trigger names; a negative descriptor names none. EBADF, EINVAL.
    fn trigger_of(&self, pid: Pid, fd: Fd) -> Result<Option<FileId>, Refusal> {
        if fd.0 < 0 {
            return Ok(None);
        }
        let file = self.usable(pid, fd)?;
        let is_eventfd = matches!(self.file(file), File::Eventfd(_));
        if is_eventfd { Ok(Some(file)) } else { Err(refuse(Errno::EINVAL)) }
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
    ) -> Answered<()> {
        let old = *self.device(id).notifiers.get(which).ok_or(refuse(Errno::ENOTTY))?;
        let new = match eventfd {
            Some(fd) => self.trigger_of(pid, *fd)?,
            None if old.is_none() => return Err(refuse(Errno::EINVAL)),
            None => None,
        };
        self.device_mut(id).notifiers[which] = new;
        self.exchange(old, new);
        Ok(())
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
