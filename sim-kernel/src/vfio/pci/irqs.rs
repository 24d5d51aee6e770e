//! `VFIO_DEVICE_SET_IRQS` of vfio-pci.
//!
//! A PCI device uses one of INTx, MSI and MSI-X at a time: setting triggers of another index fails
//! with `EINVAL` until the first is disabled. There are also two notifiers, for errors and for
//! requests to release the device. A request is validated against the number of vectors, then
//! handled by index and action; an action that the index does not support fails with `ENOTTY`.
//!
//! A request is not atomic: if one vector of a block fails, it and all vectors before it in the
//! block lose their triggers.
//!
//! Mirrors `drivers/vfio/pci/vfio_pci_intrs.c`.

use crate::machine::Machine;
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::{DeviceId, FileId};
use crate::vfio::device::{Armed, Intx};
use crate::vfio::irq_set::{Action, Data, ERROR, INTX, IrqSet, MSI, MSIX, REQUEST};
use crate::vfio::pci::config::INTX_DISABLE;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};

impl Machine {
    /// Returns the number of vectors of an index (`vfio_pci_get_irq_count`).
    pub(super) fn vectors(&self, id: DeviceId, index: u32) -> u32 {
        if index == ERROR && self.profile.has_every_error_index() {
            return 1;
        }
        self.device(id).spec.irqs.get(index as usize).copied().unwrap_or(0)
    }

    /// Handles SET_IRQS (`vfio_pci_set_irqs_ioctl`).
    pub(super) fn set_irqs(&mut self, id: DeviceId, request: &Request<'_>) -> SyscallResult<()> {
        let set = IrqSet::copy(request, |index| self.vectors(id, index))?;
        match (set.index, set.action) {
            (INTX, Action::Mask | Action::Unmask) => self.set_intx_mask(id, &set),
            (INTX, Action::Trigger) => self.set_intx_trigger(id, &set),
            (MSI | MSIX, Action::Trigger) => self.set_msi_trigger(id, &set),
            (ERROR | REQUEST, Action::Trigger) => self.set_notifier(id, &set),
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    fn armed_index(&self, id: DeviceId) -> Option<u32> {
        self.device(id).armed.as_ref().map(|armed| armed.index)
    }

    // ---- INTx -----------------------------------------------------------------------------------

    /// Masks or unmasks INTx (`vfio_pci_set_intx_mask` and `_unmask`).
    ///
    /// # Errors
    /// `EINVAL` if INTx is not enabled; `ENOTTY` for masking by eventfd; `EBADF`, `EINVAL` or
    /// `EBUSY` for the eventfd that unmasks.
    fn set_intx_mask(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        if self.armed_index(id) != Some(INTX) || !set.is_single() {
            return Err(fail(Errno::EINVAL));
        }
        let wanted = match &set.data {
            Data::None => true,
            Data::Bool(bools) => bools[0],
            Data::Eventfd(_) if set.action == Action::Mask => return Err(fail(Errno::ENOTTY)),
            Data::Eventfd(fds) => return self.set_unmask_trigger(id, set.pid, fds[0]),
        };
        match (wanted, set.action) {
            (false, _) => {}
            (true, Action::Mask) => self.mask_intx(id),
            (true, _) => self.unmask_intx(id),
        }
        Ok(())
    }

    fn intx_mut(&mut self, id: DeviceId) -> Option<&mut Intx> {
        let armed = self.device_mut(id).armed.as_mut()?;
        (armed.index == INTX).then_some(&mut armed.intx)
    }

    /// Sets the eventfd that unmasks INTx (`vfio_virqfd_enable` and `_disable`). If it is already
    /// signalled, INTx is unmasked immediately.
    fn set_unmask_trigger(&mut self, id: DeviceId, pid: Pid, fd: Fd) -> SyscallResult<()> {
        if fd.0 < 0 {
            self.drop_unmask_trigger(id);
            return Ok(());
        }
        let event = self.eventfd_of(pid, fd)?;
        let intx = self.intx_mut(id).expect("INTx is in use");
        if intx.unmask.is_some() {
            return Err(fail(Errno::EBUSY));
        }
        intx.unmask = Some(event);
        self.get_file(event);
        if self.event(event).count() > 0 {
            self.unmask_intx(id);
        }
        Ok(())
    }

    /// Removes the eventfd that unmasks INTx, and clears its counter.
    fn drop_unmask_trigger(&mut self, id: DeviceId) {
        if let Some(event) = self.intx_mut(id).and_then(|intx| intx.unmask.take()) {
            std::mem::take(self.event_mut(event));
            self.put_file(event);
        }
    }

    /// Stops waiting for an eventfd that has no references left except the kernel's.
    pub(crate) fn stop_waiting(&mut self, id: DeviceId, event: FileId) {
        if self.device(id).unmask_trigger() == Some(event) {
            self.drop_unmask_trigger(id);
        }
        self.silence_ioeventfds(id, event);
    }

    /// Handles an interrupt of a device (`vfio_intx_handler`). INTx is masked. Returns true if the
    /// interrupt is delivered.
    pub(crate) fn assert_intx(&mut self, id: DeviceId) -> bool {
        let device = self.device(id);
        if device.armed.as_ref().is_none_or(|armed| armed.index != INTX) {
            return true;
        }
        let is_level = !device.is_emulated();
        let armed = self.device_mut(id).armed.as_mut().expect("just seen");
        let passes = !armed.intx.masked;
        armed.intx.masked = true;
        armed.intx.asserted |= !passes && is_level;
        passes
    }

    /// Masks INTx (`__vfio_pci_intx_mask`).
    pub(super) fn mask_intx(&mut self, id: DeviceId) {
        if let Some(intx) = self.intx_mut(id) {
            intx.masked = true;
        }
    }

    /// Unmasks INTx (`__vfio_pci_intx_unmask`). A pending interrupt is signalled, which masks INTx
    /// again.
    pub(crate) fn unmask_intx(&mut self, id: DeviceId) {
        if self.device(id).command & INTX_DISABLE != 0 {
            return;
        }
        let Some(intx) = self.intx_mut(id).filter(|intx| intx.masked) else { return };
        intx.masked = std::mem::take(&mut intx.asserted);
        if intx.masked
            && let Some(event) = self.device(id).trigger(0)
        {
            self.device_mut(id).counter_mut(0).raised += 1;
            self.signal_vector(event, id, 0);
        }
    }

    /// Sets, removes or fires the trigger of INTx (`vfio_pci_set_intx_trigger`).
    ///
    /// # Errors
    /// `EINVAL` if another index is enabled, or for other vectors than the one; `EBADF`; `EINVAL`
    /// for a file that is not an eventfd.
    fn set_intx_trigger(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        let armed = self.armed_index(id);
        if armed == Some(INTX) && set.disables() {
            self.disarm(id);
            self.device_mut(id).disrupt();
            return Ok(());
        }
        if armed.is_some_and(|armed| armed != INTX) || !set.is_single() {
            return Err(fail(Errno::EINVAL));
        }
        if let Data::Eventfd(fds) = &set.data {
            let trigger = self.trigger_of(set.pid, fds[0])?;
            if armed.is_none() {
                let masked = self.device(id).command & INTX_DISABLE != 0;
                let intx = Intx { masked, ..Intx::default() };
                self.arm(id, Armed { index: INTX, triggers: vec![None], intx });
            }
            self.swap_trigger(id, 0, trigger);
            return Ok(());
        }
        if armed != Some(INTX) {
            return Err(fail(Errno::EINVAL));
        }
        if set.data != Data::Bool(vec![false]) && self.device(id).command & INTX_DISABLE == 0 {
            self.trigger_by_software(id, 0);
        }
        Ok(())
    }

    // ---- MSI and MSI-X --------------------------------------------------------------------------

    /// Sets, removes or fires triggers of MSI or MSI-X (`vfio_pci_set_msi_trigger`).
    ///
    /// # Errors
    /// `EINVAL` if another index is enabled, or if none is and the data is not eventfds; and the
    /// errors of `set_block`, after which an index that this call enabled is disabled again.
    fn set_msi_trigger(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        let armed = self.armed_index(id);
        if armed == Some(set.index) && set.disables() {
            self.disarm(id);
            self.device_mut(id).disrupt();
            return Ok(());
        }
        if armed.is_some_and(|armed| armed != set.index) {
            return Err(fail(Errno::EINVAL));
        }
        if let Data::Eventfd(fds) = &set.data {
            if armed.is_none() {
                self.enable_msi(id, set)?;
            }
            let result = self.set_block(id, set, fds);
            if result.is_err() && armed.is_none() {
                self.disarm(id);
            } else if result.is_err() {
                self.device_mut(id).disrupt();
            }
            return result;
        }
        if armed.is_none() {
            return Err(fail(Errno::EINVAL));
        }
        for at in 0..set.count {
            let is_wanted = match &set.data {
                Data::Bool(bools) => bools[at as usize],
                _ => true,
            };
            if is_wanted {
                self.trigger_by_software(id, (set.start + at) as usize);
            }
        }
        Ok(())
    }

    /// Enables as many vectors as the request uses (`vfio_msi_enable`). Fails with `ERANGE` for
    /// none.
    fn enable_msi(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        let vectors = (set.start + set.count) as usize;
        if vectors == 0 {
            return Err(fail(Errno::ERANGE));
        }
        let (triggers, intx) = (vec![None; vectors], Intx::default());
        self.arm(id, Armed { index: set.index, triggers, intx });
        Ok(())
    }

    /// Sets the triggers of a block vector by vector (`vfio_msi_set_block`). The old trigger of a
    /// vector is removed before the new one is set.
    fn set_block(&mut self, id: DeviceId, set: &IrqSet, fds: &[Fd]) -> SyscallResult<()> {
        for (vector, fd) in (set.start as usize..).zip(fds) {
            let done = self.set_vector(id, set.pid, vector, *fd);
            if done.is_err() {
                for earlier in set.start as usize..vector {
                    self.swap_trigger(id, earlier, None);
                }
                return done;
            }
        }
        Ok(())
    }

    /// Sets the trigger of a vector (`vfio_msi_set_vector_signal`). MSI-X adds vectors on demand.
    ///
    /// # Errors
    /// `EINVAL` for a trigger beyond the enabled vectors of MSI; `EBADF`; `EINVAL` for a file that
    /// is not an eventfd.
    fn set_vector(&mut self, id: DeviceId, pid: Pid, vector: usize, fd: Fd) -> SyscallResult<()> {
        let armed = self.device_mut(id).armed.as_mut().expect("an index is in use");
        if vector >= armed.triggers.len() {
            if fd.0 < 0 {
                return Ok(());
            }
            if armed.index == MSI {
                return Err(fail(Errno::EINVAL));
            }
            armed.triggers.resize(vector + 1, None);
        }
        let trigger = self.trigger_of(pid, fd);
        self.swap_trigger(id, vector, trigger.ok().flatten());
        trigger.map(|_| ())
    }

    // ---- notifiers ------------------------------------------------------------------------------

    /// Sets, removes or signals a notifier (`vfio_pci_set_ctx_trigger_single`).
    ///
    /// # Errors
    /// `EINVAL` if there is no notifier to remove or signal, for no vector, and for a descriptor
    /// below -1; `EBADF`; `EINVAL` for a file that is not an eventfd.
    fn set_notifier(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        let which = (set.index - ERROR) as usize;
        let old = self.device(id).notifiers[which];
        match &set.data {
            Data::None => {
                let event = old.ok_or(fail(Errno::EINVAL))?;
                match set.count {
                    0 => self.swap_notifier(id, which, None),
                    _ => self.signal(event),
                }
            }
            Data::Bool(bools) => {
                let is_wanted = *bools.first().ok_or(fail(Errno::EINVAL))?;
                if let Some(event) = old.filter(|_| is_wanted) {
                    self.signal(event);
                }
            }
            Data::Eventfd(fds) => {
                let fd = fds.first().filter(|fd| fd.0 >= -1).ok_or(fail(Errno::EINVAL))?;
                let new = self.trigger_of(set.pid, *fd)?;
                self.swap_notifier(id, which, new);
            }
        }
        Ok(())
    }

    fn swap_notifier(&mut self, id: DeviceId, which: usize, new: Option<FileId>) {
        let old = std::mem::replace(&mut self.device_mut(id).notifiers[which], new);
        self.exchange(old, new);
    }

    // ---- triggers -------------------------------------------------------------------------------

    /// Returns the eventfd of a trigger; a negative descriptor means none. Fails with `EBADF`, or
    /// `EINVAL` for a file that is not an eventfd.
    pub(in crate::vfio) fn trigger_of(&self, pid: Pid, fd: Fd) -> SyscallResult<Option<FileId>> {
        if fd.0 < 0 { Ok(None) } else { self.eventfd_of(pid, fd).map(Some) }
    }

    pub(in crate::vfio) fn trigger_by_software(&mut self, id: DeviceId, vector: usize) {
        if let Some(event) = self.device(id).trigger(vector) {
            self.signal(event);
        }
    }

    pub(in crate::vfio) fn arm(&mut self, id: DeviceId, armed: Armed) {
        self.device_mut(id).armed = Some(armed);
    }

    pub(in crate::vfio) fn swap_trigger(
        &mut self,
        id: DeviceId,
        vector: usize,
        new: Option<FileId>,
    ) {
        let armed = self.device_mut(id).armed.as_mut().expect("an index is in use");
        let Some(place) = armed.triggers.get_mut(vector) else { return };
        let old = std::mem::replace(place, new);
        self.exchange(old, new);
    }

    pub(in crate::vfio) fn exchange(&mut self, old: Option<FileId>, new: Option<FileId>) {
        if let Some(new) = new {
            self.get_file(new);
        }
        if let Some(old) = old {
            self.put_file(old);
        }
    }

    /// Disables the enabled index (`vfio_intx_disable`, `vfio_msi_disable`).
    pub(in crate::vfio) fn disarm(&mut self, id: DeviceId) {
        self.drop_unmask_trigger(id);
        let armed = self.device_mut(id).armed.take();
        for trigger in armed.into_iter().flat_map(|armed| armed.triggers) {
            self.exchange(trigger, None);
        }
    }

    /// Removes both notifiers at the last close.
    pub(in crate::vfio) fn drop_notifiers(&mut self, id: DeviceId) {
        (0..2).for_each(|which| self.swap_notifier(id, which, None));
    }
}
