//! ioeventfds: eventfds that write a value to a BAR when signalled.
//!
//! The signal is consumed; the write has no effect, because the registers are not modelled.
//!
//! Mirrors `vfio_pci_ioctl_ioeventfd` of `drivers/vfio/pci/vfio_pci_core.c` and
//! `vfio_pci_ioeventfd` of `vfio_pci_rdwr.c`.

use crate::machine::Machine;
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::{DeviceId, FileId};
use crate::vfio::device::{Ioeventfd, Write};
use crate::vfio::pci::layout::region_of;
use crate::vfio::sized;
use handoff_model::abi::errno::Errno;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{VFIO_DEVICE_IOEVENTFD_SIZE_MASK, vfio_device_ioeventfd};

/// `VFIO_PCI_IOEVENTFD_MAX`.
const MOST: usize = 1000;

impl Machine {
    /// Handles `VFIO_DEVICE_IOEVENTFD`.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, unknown flags, width, descriptor below -1, not within a BAR);
    /// `EEXIST`; `ENODEV` if there is none to remove; `ENOSPC`; `EBADF`; `EINVAL` for a file that
    /// is not an eventfd.
    pub(in crate::vfio) fn ioeventfd(
        &mut self,
        id: DeviceId,
        request: &Request<'_>,
    ) -> SyscallResult<()> {
        let cmd = sized(request, offset_of!(vfio_device_ioeventfd, reserved))?;
        let bytes = cmd.u32(offset_of!(vfio_device_ioeventfd, flags));
        let fd = cmd.fd(offset_of!(vfio_device_ioeventfd, fd));
        let is_one_width = bytes & !VFIO_DEVICE_IOEVENTFD_SIZE_MASK == 0 && bytes.is_power_of_two();
        if !is_one_width || fd.0 < -1 {
            return Err(fail(Errno::EINVAL));
        }
        let (bar, at) = region_of(cmd.u64(offset_of!(vfio_device_ioeventfd, offset)));
        if at + u64::from(bytes) > self.bar_bytes(id, bar) {
            return Err(fail(Errno::EINVAL));
        }
        let data = cmd.u64(offset_of!(vfio_device_ioeventfd, data));
        let write = Write { bar, at, data, bytes };
        let known = &self.device(id).ioeventfds;
        match (known.iter().any(|ioeventfd| ioeventfd.write == write), fd.0) {
            (true, -1) => {
                self.drop_ioeventfds(id, |ioeventfd| ioeventfd.write == write);
                return Ok(());
            }
            (true, _) => return Err(fail(Errno::EEXIST)),
            (false, -1) => return Err(fail(Errno::ENODEV)),
            (false, _) if known.len() >= MOST => return Err(fail(Errno::ENOSPC)),
            (false, _) => {}
        }
        let event = self.eventfd_of(request.pid, fd)?;
        self.get_file(event);
        std::mem::take(self.event_mut(event));
        let known = &mut self.device_mut(id).ioeventfds;
        known.push(Ioeventfd { write, event: Some(event) });
        known.sort_unstable();
        Ok(())
    }

    /// Removes the selected ioeventfds (`vfio_virqfd_disable`) and clears the counters of their
    /// eventfds.
    pub(in crate::vfio) fn drop_ioeventfds(
        &mut self,
        id: DeviceId,
        which: impl Fn(&Ioeventfd) -> bool,
    ) {
        if self.device(id).ioeventfds.is_empty() {
            return;
        }
        let known = &mut self.device_mut(id).ioeventfds;
        let gone: Vec<Ioeventfd> = known.extract_if(.., |ioeventfd| which(ioeventfd)).collect();
        for event in gone.into_iter().filter_map(|ioeventfd| ioeventfd.event) {
            std::mem::take(self.event_mut(event));
            self.put_file(event);
        }
    }

    /// Drops the references to an eventfd that has no other references left; the slots stay
    /// occupied.
    pub(super) fn silence_ioeventfds(&mut self, id: DeviceId, event: FileId) {
        let count = self.device(id).ioeventfds.len();
        for at in 0..count {
            if self.device(id).ioeventfds[at].event == Some(event) {
                self.device_mut(id).ioeventfds[at].event = None;
                self.put_file(event);
            }
        }
    }
}
