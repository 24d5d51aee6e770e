//! Features of vfio-pci: low power, and export of a BAR as a dma-buf. The others need hardware.
//!
//! A device enters low power immediately. The next call on its file wakes it: if it has a wake-up
//! eventfd, this is signalled and the device leaves low power; otherwise it returns to low power
//! after the call.
//!
//! A BAR is exported if the hardware supports peer-to-peer DMA.
//!
//! Mirrors `vfio_pci_core_ioctl_feature` of `drivers/vfio/pci/vfio_pci_core.c`.

use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::DeviceId;
use crate::vfio::device::Wakeup;
use crate::vfio::feature::{Feature, SET};
use handoff_model::abi::errno::Errno;
use std::mem::size_of;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
    VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 as MIG_PRECOPY_INFO_V2,
    vfio_device_low_power_entry_with_wakeup,
};

impl Machine {
    /// Handles a feature of a PCI device.
    ///
    /// # Errors
    /// `EINVAL` for a core feature without operations in the driver; `ENOTTY` for an unknown
    /// feature.
    pub(in crate::vfio) fn pci_feature(
        &mut self,
        id: DeviceId,
        which: u32,
        feature: &Feature<'_>,
    ) -> SyscallResult<u32> {
        let exports = self.device(id).spec.exports_bars && self.profile.maps_dma_bufs();
        let exported = exports.then(|| Self::wanted_of_bar(feature)).flatten();
        match which {
            VFIO_DEVICE_FEATURE_DMA_BUF if let Some(length_bytes) = exported => {
                return self.export_bar(feature, length_bytes);
            }
            MIG_PRECOPY_INFO_V2 if self.profile.has_precopy_info_v2() => {
                return Err(fail(Errno::EINVAL));
            }
            VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY => self.enter_low_power(id, feature),
            VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP => {
                self.enter_low_power_until(id, feature)
            }
            VFIO_DEVICE_FEATURE_LOW_POWER_EXIT => {
                if feature.check(SET, 0)? {
                    self.leave_low_power(id);
                }
                Ok(())
            }
            _ => Err(fail(Errno::ENOTTY)),
        }?;
        Ok(0)
    }

    /// Enters low power (`vfio_pci_core_pm_entry`). Fails with `EINVAL` if already in low power.
    fn enter_low_power(&mut self, id: DeviceId, feature: &Feature<'_>) -> SyscallResult<()> {
        if !feature.check(SET, 0)? {
            return Ok(());
        }
        if self.device(id).asleep.is_some() {
            return Err(fail(Errno::EINVAL));
        }
        self.device_mut(id).asleep = Some(Wakeup(None));
        Ok(())
    }

    /// Enters low power with a wake-up eventfd (`vfio_pci_core_pm_entry_with_wakeup`).
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (negative descriptor); `EBADF`; `EINVAL` for a file that is not an
    /// eventfd, or if already in low power.
    fn enter_low_power_until(&mut self, id: DeviceId, feature: &Feature<'_>) -> SyscallResult<()> {
        const SIZE: usize = size_of::<vfio_device_low_power_entry_with_wakeup>();
        if !feature.check(SET, SIZE)? {
            return Ok(());
        }
        let fd = feature.data(SIZE)?.fd(0);
        if fd.0 < 0 {
            return Err(fail(Errno::EINVAL));
        }
        let event = self.eventfd_of(feature.pid, fd)?;
        if self.device(id).asleep.is_some() {
            return Err(fail(Errno::EINVAL));
        }
        self.get_file(event);
        self.device_mut(id).asleep = Some(Wakeup(Some(event)));
        Ok(())
    }

    /// Wakes a device before a call on its file (`vfio_pci_core_runtime_resume`).
    pub(in crate::vfio) fn wake_device(&mut self, id: DeviceId) {
        if let Some(Wakeup(Some(event))) = self.device(id).asleep {
            self.signal(event);
            self.leave_low_power(id);
        }
    }

    /// Leaves low power (`vfio_pci_runtime_pm_exit`).
    pub(in crate::vfio) fn leave_low_power(&mut self, id: DeviceId) {
        if self.device(id).asleep.is_some() {
            let woken = self.device_mut(id).asleep.take();
            self.exchange(woken.and_then(|wakeup| wakeup.0), None);
        }
    }
}
