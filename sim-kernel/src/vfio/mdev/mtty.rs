//! `mtty`: the kernel's sample of a mediated device, a serial port without DMA.
//!
//! The driver differs from vfio-pci: it reports no interrupt indexes until GET_INFO has been called
//! once; every region can be read and written, even an empty one; a failed access returns `EFAULT`;
//! only INTx or MSI can be enabled, with one vector. Signalling INTx masks it.
//!
//! Absent: the serial port itself. Its registers read as zeroes and ignore writes.
//!
//! Mirrors `samples/vfio-mdev/mtty.c`, with one port.

use crate::machine::Machine;
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::{DeviceId, FileId};
use crate::vfio::device::{Armed, Intx};
use crate::vfio::irq_set::{Action, Data, INDEXES, INTX, IrqSet, MSI};
use crate::vfio::pci::{
    BAR0_BYTES, CONFIG_REGION, EVENTFD_MASKABLE_AUTOMASKED, EVENTFD_NORESIZE, region_of,
    region_offset,
};
use crate::vfio::sized;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::request as nr;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// `VFIO_PCI_NUM_REGIONS`.
const REGIONS: u32 = 9;

/// Sizes of the regions in bytes: `MTTY_CONFIG_SPACE_SIZE`, `MTTY_IO_BAR_SIZE`.
const CONFIG_BYTES: u64 = 0xff;
const IO_BYTES: u64 = 8;

/// `VFIO_REGION_INFO_FLAG_READ` and `_WRITE`.
const READ_WRITE: u32 = 3;

const BAR0: u8 = 0x10;
const INTERRUPT_LINE: u8 = 0x3c;

/// Initial configuration space, where it is not zero: ids, I/O enabled, status, class, BAR 0 of
/// I/O, subsystem, interrupt pin, and vendor-specific bytes.
const AT_BOOT: [(u8, &[u8]); 7] = [
    (0x00, &[0x48, 0x43, 0x53, 0x32, 0x01, 0x00, 0x00, 0x02, 0x10, 0x02, 0x00, 0x07]),
    (BAR0, &[0x01]),
    (0x2c, &[0x48, 0x43, 0x53, 0x32]),
    (0x3d, &[0x01]),
    (0x40, &[0x23, 0, 0, 0x80, 0x23, 0, 0, 0, 0x23, 0, 0, 0, 0x23]),
    (0x60, b"PCI Serial/UART"),
    (0x6f, &[0]),
];

impl Machine {
    /// Handles an ioctl of an mtty (`mtty_ioctl`). Fails with `ENOTTY` for an unknown request.
    pub(in crate::vfio) fn mtty_ioctl(
        &mut self,
        id: DeviceId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        match request.number {
            nr::VFIO_DEVICE_GET_INFO => self.mtty_info(id, request),
            nr::VFIO_DEVICE_GET_IRQ_INFO => self.mtty_irq_info(id, request),
            nr::VFIO_DEVICE_SET_IRQS => self.mtty_set_irqs(id, request),
            nr::VFIO_DEVICE_RESET => {
                self.reset_migration(id);
                self.device_mut(id).disrupt();
                Ok(())
            }
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    /// Handles GET_INFO. Fails with `EFAULT`, or `EINVAL` (size).
    fn mtty_info(&mut self, id: DeviceId, request: &mut Request<'_>) -> SyscallResult<()> {
        let mut info = sized(request, offset_of!(vfio::vfio_device_info, cap_offset))?;
        info.set_u32(offset_of!(vfio::vfio_device_info, flags), vfio::VFIO_DEVICE_FLAGS_PCI);
        info.set_u32(offset_of!(vfio::vfio_device_info, num_regions), REGIONS);
        info.set_u32(offset_of!(vfio::vfio_device_info, num_irqs), INDEXES);
        self.device_mut(id).migration.is_known = true;
        request.user.write(0, &info.0)
    }

    /// Returns the number of interrupt indexes that the driver reports.
    fn mtty_interrupts(&self, id: DeviceId) -> u32 {
        if self.device(id).migration.is_known { INDEXES } else { 0 }
    }

    /// Handles GET_REGION_INFO. Fails with `EFAULT`, or `EINVAL` (size, index).
    pub(in crate::vfio) fn mtty_region_info(request: &mut Request<'_>) -> SyscallResult<()> {
        let mut info = sized(request, size_of::<vfio::vfio_region_info>())?;
        let index = info.u32(offset_of!(vfio::vfio_region_info, index));
        if index >= REGIONS {
            return Err(fail(Errno::EINVAL));
        }
        let length_bytes = match index {
            CONFIG_REGION => CONFIG_BYTES,
            0 => IO_BYTES,
            _ => 0,
        };
        info.set_u32(offset_of!(vfio::vfio_region_info, flags), READ_WRITE);
        info.set_u64(offset_of!(vfio::vfio_region_info, size), length_bytes);
        info.set_u64(offset_of!(vfio::vfio_region_info, offset), region_offset(index));
        request.user.write(0, &info.0)
    }

    /// Handles GET_IRQ_INFO. Fails with `EFAULT`, or `EINVAL` (size, index; before GET_INFO, any
    /// index).
    fn mtty_irq_info(&self, id: DeviceId, request: &mut Request<'_>) -> SyscallResult<()> {
        let mut info = sized(request, size_of::<vfio::vfio_irq_info>())?;
        let index = info.u32(offset_of!(vfio::vfio_irq_info, index));
        if index >= self.mtty_interrupts(id) {
            return Err(fail(Errno::EINVAL));
        }
        let flags = match index {
            INTX => EVENTFD_MASKABLE_AUTOMASKED,
            MSI => EVENTFD_NORESIZE,
            _ => return Err(fail(Errno::EINVAL)),
        };
        info.set_u32(offset_of!(vfio::vfio_irq_info, flags), flags);
        info.set_u32(offset_of!(vfio::vfio_irq_info, count), 1);
        request.user.write(0, &info.0)
    }

    /// Handles SET_IRQS (`mtty_set_irqs`). A request without a known action has no effect.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL`; `ENOTTY` for an action that the index does not support.
    fn mtty_set_irqs(&mut self, id: DeviceId, request: &Request<'_>) -> SyscallResult<()> {
        let set = IrqSet::copy(request, |_| self.mtty_interrupts(id))?;
        match (set.index, set.action) {
            (INTX, Action::Mask | Action::Unmask) => self.mtty_mask(id, &set),
            (INTX | MSI, Action::Trigger) => self.mtty_trigger(id, &set),
            (INTX | MSI, Action::Unknown) => Ok(()),
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    /// Masks or unmasks INTx. Fails with `EINVAL` if INTx is not enabled, or with `ENOTTY` for
    /// eventfds.
    fn mtty_mask(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        let armed = self.device_mut(id).armed.as_mut().filter(|armed| armed.index == INTX);
        let armed = armed.filter(|_| set.is_single()).ok_or(fail(Errno::EINVAL))?;
        match &set.data {
            Data::None => armed.intx.masked = set.action == Action::Mask,
            Data::Bool(bools) if bools[0] => armed.intx.masked = set.action == Action::Mask,
            Data::Bool(_) => {}
            Data::Eventfd(_) => return Err(fail(Errno::ENOTTY)),
        }
        Ok(())
    }

    /// Sets or fires a trigger. The old trigger is removed before the new one is validated.
    ///
    /// # Errors
    /// `EINVAL` if the other index is enabled, for more than one vector, and to fire an index that
    /// is not enabled; `EBADF`; `EINVAL` for a file that is not an eventfd.
    fn mtty_trigger(&mut self, id: DeviceId, set: &IrqSet) -> SyscallResult<()> {
        let armed = self.device(id).armed.as_ref().map(|armed| armed.index);
        if armed == Some(set.index) && set.disables() {
            self.disarm(id);
            self.device_mut(id).disrupt();
            return Ok(());
        }
        if armed.is_some_and(|armed| armed != set.index) || !set.is_single() {
            return Err(fail(Errno::EINVAL));
        }
        if let Data::Eventfd(fds) = &set.data {
            self.disarm(id);
            if let Some(event) = self.trigger_of(set.pid, fds[0])? {
                let (index, intx) = (set.index, Intx::default());
                self.arm(id, Armed { index, triggers: vec![None], intx });
                self.swap_trigger(id, 0, Some(event));
            }
            return Ok(());
        }
        if armed.is_none() {
            return Err(fail(Errno::EINVAL));
        }
        if set.data != Data::Bool(vec![false]) && self.assert_intx(id) {
            self.trigger_by_software(id, 0);
        }
        Ok(())
    }

    // ---- regions --------------------------------------------------------------------------------

    /// Finds the region of an access (`mdev_access`). Fails with `EINVAL` before BIND, or with
    /// `EFAULT` for a region that the driver does not serve.
    fn mtty_access(
        &self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
    ) -> SyscallResult<(u64, u64)> {
        if !self.is_bound_file(id, file) {
            return Err(fail(Errno::EINVAL));
        }
        let (index, at) = region_of(offset_bytes);
        let is_served = index == u64::from(CONFIG_REGION) || index < 6;
        if is_served { Ok((index, at)) } else { Err(fail(Errno::EFAULT)) }
    }

    fn mtty_config_byte(&self, id: DeviceId, at: u64) -> u8 {
        let Ok(at) = u8::try_from(at) else { return 0 };
        let stored = self.device(id).config.get(&at).copied();
        let table = AT_BOOT
            .iter()
            .find_map(|(from, bytes)| bytes.get(usize::from(at.checked_sub(*from)?)).copied());
        stored.or(table).unwrap_or(0)
    }

    /// Reads a region (`mtty_read`).
    pub(in crate::vfio) fn read_mtty(
        &self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> SyscallResult<Vec<u8>> {
        let (index, at) = self.mtty_access(file, id, offset_bytes)?;
        let length_bytes = length_bytes.min(BAR0_BYTES);
        let byte = |at| if index == 0 { 0 } else { self.mtty_config_byte(id, at) };
        Ok((at..at + length_bytes).map(byte).collect())
    }

    /// Writes a region (`mtty_write`). Only the interrupt line and BAR 0 keep the written value.
    pub(in crate::vfio) fn write_mtty(
        &mut self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> SyscallResult<u64> {
        let (index, first) = self.mtty_access(file, id, offset_bytes)?;
        if index == u64::from(CONFIG_REGION) {
            for (at, byte) in (first..CONFIG_BYTES).zip(bytes) {
                let at = u8::try_from(at).expect("within configuration space");
                let byte = match at {
                    INTERRUPT_LINE | 0x11..0x14 => *byte,
                    BAR0 => byte & 0xf8 | 1,
                    _ => continue,
                };
                self.set_mtty_config(id, at, byte);
            }
        }
        Ok(bytes.len() as u64)
    }

    /// Sets a byte of configuration space; initial values are not stored.
    fn set_mtty_config(&mut self, id: DeviceId, at: u8, byte: u8) {
        self.device_mut(id).config.remove(&at);
        if self.mtty_config_byte(id, at.into()) != byte {
            self.device_mut(id).config.insert(at, byte);
        }
    }
}
