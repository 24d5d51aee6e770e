//! vfio-pci: information about a PCI device, and its resets.
//!
//! A device that can be reset is alone behind its own root port, so a bus reset resets no other
//! device. A device that cannot be reset is on the root bus.
//!
//! Absent: the ROM, VGA, vendor-specific regions, MSI-X in a BAR other than 0.
//!
//! Mirrors `drivers/vfio/pci/vfio_pci_core.c`.

mod config;
mod dma_buf;
mod feature;
mod ioeventfd;
mod irqs;
mod layout;
mod region;

pub use config::COMMAND_OFFSET;
pub(super) use layout::{BAR0_BYTES, CONFIG_REGION, region_of, region_offset};

use crate::hardware::DeviceKind;
use crate::machine::Machine;
use crate::syscall::{Fields, Request, SyscallResult, fail};
use crate::value::{DeviceId, SmallId};
use crate::vfio::irq_set::{ERROR, INDEXES, INTX, MSIX};
use crate::vfio::pci::config::CONFIG_BYTES;
use crate::vfio::pci::layout::VGA_REGION;
use crate::vfio::sized;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::request as nr;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// `VFIO_REGION_INFO_FLAG_READ`, `_WRITE`, `_MMAP` and `_CAPS`.
const READ_WRITE: u32 = 3;
const MMAP: u32 = 4;
const CAPS: u32 = 8;

/// `VFIO_IRQ_INFO_EVENTFD`, with `_MASKABLE` and `_AUTOMASKED`, with `_NORESIZE`.
const EVENTFD: u32 = 1;
pub(super) const EVENTFD_MASKABLE_AUTOMASKED: u32 = 7;
pub(super) const EVENTFD_NORESIZE: u32 = 9;

/// The capability that permits mapping the MSI-X table (`VFIO_REGION_INFO_CAP_MSIX_MAPPABLE`),
/// version 1, the last of its chain.
const MSIX_MAPPABLE: [u8; 8] = [3, 0, 1, 0, 0, 0, 0, 0];

impl Machine {
    /// Handles an ioctl of a PCI device (`vfio_pci_core_ioctl`). Fails with `ENOTTY` for an unknown
    /// request.
    pub(super) fn pci_ioctl(
        &mut self,
        id: DeviceId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        match request.number {
            nr::VFIO_DEVICE_GET_INFO => self.pci_info(id, request),
            nr::VFIO_DEVICE_GET_IRQ_INFO => self.pci_irq_info(id, request),
            nr::VFIO_DEVICE_SET_IRQS => self.set_irqs(id, request),
            nr::VFIO_DEVICE_RESET => self.pci_reset(id),
            nr::VFIO_DEVICE_GET_PCI_HOT_RESET_INFO => self.hot_reset_info(id, request),
            nr::VFIO_DEVICE_PCI_HOT_RESET => self.hot_reset(id, request),
            nr::VFIO_DEVICE_IOEVENTFD => self.ioeventfd(id, request),
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    fn can_reset(&self, id: DeviceId) -> bool {
        self.device(id).spec.kind == DeviceKind::Pci { can_reset: true }
    }

    /// Handles GET_INFO (`vfio_pci_ioctl_get_info`). Fails with `EFAULT`, or `EINVAL` (size).
    fn pci_info(&self, id: DeviceId, request: &mut Request<'_>) -> SyscallResult<()> {
        const MIN: usize = offset_of!(vfio::vfio_device_info, cap_offset);
        let known = sized(request, MIN)?;
        let size = (known.u32(0) as usize).min(size_of::<vfio::vfio_device_info>());
        let mut info = Fields(vec![0; size]);
        let reset = if self.can_reset(id) { vfio::VFIO_DEVICE_FLAGS_RESET } else { 0 };
        info.set_u32(0, known.u32(0));
        info.set_u32(
            offset_of!(vfio::vfio_device_info, flags),
            vfio::VFIO_DEVICE_FLAGS_PCI | reset,
        );
        info.set_u32(offset_of!(vfio::vfio_device_info, num_regions), self.device(id).spec.regions);
        info.set_u32(offset_of!(vfio::vfio_device_info, num_irqs), INDEXES);
        request.user.write(0, &info.0)
    }

    /// Handles GET_REGION_INFO (`vfio_get_region_info`, `vfio_pci_ioctl_get_region_info`). A
    /// capability without room is reported only in `argsz`.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, index).
    pub(super) fn pci_region_info(
        &self,
        id: DeviceId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        const MIN: usize = size_of::<vfio::vfio_region_info>();
        let mut info = sized(request, MIN)?;
        let index = info.u32(offset_of!(vfio::vfio_region_info, index));
        if index >= self.device(id).spec.regions || index == VGA_REGION {
            return Err(fail(Errno::EINVAL));
        }
        let length_bytes = match index {
            CONFIG_REGION => CONFIG_BYTES,
            _ => self.bar_bytes(id, index.into()),
        };
        let mut flags = match index {
            CONFIG_REGION => READ_WRITE,
            _ if length_bytes > 0 => READ_WRITE | MMAP,
            _ => 0,
        };
        if index == 0 && self.vectors(id, MSIX) > 0 {
            flags |= CAPS;
            let room = info.u32(0) as usize;
            let offset = if room < MIN + MSIX_MAPPABLE.len() {
                info.set_u32(0, u32::try_from(MIN + MSIX_MAPPABLE.len()).expect("a few bytes"));
                0
            } else {
                request.user.write(MIN, &MSIX_MAPPABLE)?;
                u32::try_from(MIN).expect("a few bytes")
            };
            info.set_u32(offset_of!(vfio::vfio_region_info, cap_offset), offset);
        }
        info.set_u32(offset_of!(vfio::vfio_region_info, flags), flags);
        info.set_u64(offset_of!(vfio::vfio_region_info, size), length_bytes);
        info.set_u64(offset_of!(vfio::vfio_region_info, offset), region_offset(index));
        request.user.write(0, &info.0)
    }

    /// Handles GET_IRQ_INFO (`vfio_pci_ioctl_get_irq_info`).
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, index, the error index of a device that has none).
    fn pci_irq_info(&self, id: DeviceId, request: &mut Request<'_>) -> SyscallResult<()> {
        let mut info = sized(request, size_of::<vfio::vfio_irq_info>())?;
        let index = info.u32(offset_of!(vfio::vfio_irq_info, index));
        if index >= INDEXES {
            return Err(fail(Errno::EINVAL));
        }
        let count = self.vectors(id, index);
        if index == ERROR && count == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let flags = match index {
            INTX => EVENTFD_MASKABLE_AUTOMASKED,
            MSIX if count > 0 => EVENTFD,
            _ => EVENTFD_NORESIZE,
        };
        info.set_u32(offset_of!(vfio::vfio_irq_info, flags), flags);
        info.set_u32(offset_of!(vfio::vfio_irq_info, count), count);
        request.user.write(0, &info.0)
    }

    /// Resets the function (`vfio_pci_ioctl_reset`). Configuration space keeps its values. Fails
    /// with `EINVAL` if the device cannot be reset.
    fn pci_reset(&mut self, id: DeviceId) -> SyscallResult<()> {
        if !self.can_reset(id) {
            return Err(fail(Errno::EINVAL));
        }
        self.device_mut(id).disrupt();
        Ok(())
    }

    /// Lists the devices of a bus reset (`vfio_pci_ioctl_get_pci_hot_reset_info`).
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size); `ENODEV` if the device cannot be reset; `ENOSPC`, with the count,
    /// if there is no room.
    fn hot_reset_info(&self, id: DeviceId, request: &mut Request<'_>) -> SyscallResult<()> {
        const HEADER: usize = size_of::<vfio::vfio_pci_hot_reset_info>();
        const EACH: usize = size_of::<vfio::vfio_pci_dependent_device>();
        let mut info = sized(request, HEADER)?;
        if !self.can_reset(id) {
            return Err(fail(Errno::ENODEV));
        }
        let has_room = (info.u32(0) as usize - HEADER) / EACH >= 1;
        let mut flags = 0;
        if has_room {
            let bound = self.device(id).binding.filter(|binding| binding.file.is_some());
            let name = match bound {
                Some(binding) => {
                    flags = vfio::VFIO_PCI_HOT_RESET_FLAG_DEV_ID
                        | vfio::VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
                    binding.object.0
                }
                None => self.device(id).spec.group,
            };
            let bus = u8::try_from(id.index() + 1).expect("devices are few");
            let place = [0, 0, bus, 0];
            request.user.write(HEADER, &[name.to_ne_bytes(), place].concat())?;
        }
        info.set_u32(offset_of!(vfio::vfio_pci_hot_reset_info, flags), flags);
        info.set_u32(offset_of!(vfio::vfio_pci_hot_reset_info, count), 1);
        request.user.write(0, &info.0)?;
        if has_room { Ok(()) } else { Err(fail(Errno::ENOSPC)) }
    }

    /// Resets the bus (`vfio_pci_ioctl_pci_hot_reset`).
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, flags, groups for a device that is bound by its own file, no group
    /// for one that was opened through its group); `ENODEV` if the device cannot be reset; and the
    /// errors of `check_reset_groups`.
    fn hot_reset(&mut self, id: DeviceId, request: &Request<'_>) -> SyscallResult<()> {
        let reset = sized(request, size_of::<vfio::vfio_pci_hot_reset>())?;
        let flags = reset.u32(offset_of!(vfio::vfio_pci_hot_reset, flags));
        let groups = reset.u32(offset_of!(vfio::vfio_pci_hot_reset, count));
        if flags != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let is_bound = self.device(id).binding.is_some_and(|binding| binding.file.is_some());
        if (groups != 0) == is_bound {
            return Err(fail(Errno::EINVAL));
        }
        if !self.can_reset(id) {
            return Err(fail(Errno::ENODEV));
        }
        if !is_bound {
            self.check_reset_groups(id, groups, request)?;
        }
        self.device_mut(id).disrupt();
        Ok(())
    }
}
