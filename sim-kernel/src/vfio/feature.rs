//! `VFIO_DEVICE_FEATURE`: what a device can do, asked (PROBE), read (GET) and done (SET).
//!
//! Features of the core are those that a driver has operations for: only `mtty` has migration and DMA
//! logging ([`crate::vfio::mdev::migration`]). Of vfio-pci's own, low power is there; the others need hardware.
//!
//! A device that is let go to sleep does so at once. The next call on its file wakes it: with a wake-up
//! eventfd that is signalled, and low power is over; without one it goes back to sleep.
//!
//! A BAR is exported as a dma-buf where the hardware lets other devices reach it ([`crate::vfio::pci::dma_buf`]).
//!
//! Absent: VF tokens.
//!
//! Mirrors `vfio_ioctl_device_feature` of `drivers/vfio/vfio_main.c` and `vfio_pci_core_ioctl_feature` of
//! `drivers/vfio/pci/vfio_pci_core.c`.

use crate::hardware::Wakeup;
use crate::machine::{Machine, Placement};
use crate::syscall::ioctl::Request;
use crate::syscall::refusal::{Answered, refuse};
use crate::syscall::user_memory::{Fields, User};
use crate::value::slots::DeviceId;
use crate::vfio::mdev::dma_logging;
use crate::vfio::mdev::migration;
use crate::vfio::pci::sized;
use handoff_model::errno::Errno;
use handoff_model::ids::Pid;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
    VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
    VFIO_DEVICE_FEATURE_MASK, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 as MIG_PRECOPY_INFO_V2, VFIO_DEVICE_FEATURE_MIGRATION,
    VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET, vfio_device_feature,
    vfio_device_low_power_entry_with_wakeup,
};

/// A feature that is asked for.
#[derive(Debug)]
pub(crate) struct Feature<'a> {
    pub(crate) pid: Pid,
    pub(crate) user: &'a mut User,
    pub(crate) place: &'a Placement,
    flags: u32,
    /// How long the caller says that the data is.
    length: usize,
}

/// Where the data of a feature begins.
pub(crate) const DATA: usize = offset_of!(vfio_device_feature, data);

pub(crate) const GET: u32 = VFIO_DEVICE_FEATURE_GET;
pub(crate) const SET: u32 = VFIO_DEVICE_FEATURE_SET;

impl Feature<'_> {
    /// `vfio_check_feature`: → whether there is something to do. EINVAL for an operation that the feature
    /// does not have, for none, and for too little data.
    pub(crate) fn check(&self, operations: u32, min: usize) -> Answered<bool> {
        if self.flags & (GET | SET) & !operations != 0 {
            return Err(refuse(Errno::EINVAL));
        }
        if self.flags & VFIO_DEVICE_FEATURE_PROBE != 0 {
            return Ok(false);
        }
        if self.flags & (GET | SET) == 0 || self.length < min {
            return Err(refuse(Errno::EINVAL));
        }
        Ok(true)
    }

    pub(crate) fn sets(&self) -> bool {
        self.flags & SET != 0
    }

    /// The data. EFAULT.
    pub(crate) fn data(&self, length: usize) -> Answered<Fields> {
        Ok(Fields(self.user.copy(DATA + length)?.0.split_off(DATA)))
    }

    /// EFAULT.
    pub(crate) fn tell(&mut self, data: &[u8]) -> Answered<()> {
        self.user.write(DATA, data)
    }
}

impl Machine {
    /// EFAULT; EINVAL for a size, a flag, or GET and SET together without PROBE; ENOTTY for what the driver
    /// does not have.
    pub(crate) fn feature(&mut self, id: DeviceId, request: &mut Request<'_>) -> Answered<u32> {
        const KNOWN: u32 = VFIO_DEVICE_FEATURE_MASK | GET | SET | VFIO_DEVICE_FEATURE_PROBE;
        let header = sized(request, DATA)?;
        let flags = header.u32(offset_of!(vfio_device_feature, flags));
        let is_both = flags & (GET | SET) == GET | SET && flags & VFIO_DEVICE_FEATURE_PROBE == 0;
        if flags & !KNOWN != 0 || is_both {
            return Err(refuse(Errno::EINVAL));
        }
        let length = header.u32(0) as usize - DATA;
        let Request { pid, ref mut user, place, .. } = *request;
        let mut feature = Feature { pid, user, place, flags, length };
        let exports = self.device(id).spec.exports_bars && self.profile.maps_dma_bufs();
        let exported = exports.then(|| Self::wanted_of_bar(&feature)).flatten();
        match (self.device(id).is_emulated(), flags & VFIO_DEVICE_FEATURE_MASK) {
            (false, VFIO_DEVICE_FEATURE_DMA_BUF) if let Some(length_bytes) = exported => {
                return self.export_bar(&feature, length_bytes);
            }
            (true, VFIO_DEVICE_FEATURE_MIGRATION) => migration::tell_flags(&mut feature),
            (true, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE) => self.migration_state(id, &mut feature),
            (true, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE) => migration::tell_size(&mut feature),
            (true, VFIO_DEVICE_FEATURE_DMA_LOGGING_START) => dma_logging::start(&mut feature),
            (true, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP) => feature.check(SET, 0).map(drop),
            (true, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT) => dma_logging::report(&feature),
            (emulated, MIG_PRECOPY_INFO_V2) if self.profile.has_precopy_info_v2() => {
                if !emulated {
                    return Err(refuse(Errno::EINVAL));
                }
                self.precopy_info_v2(id, &feature)
            }
            (false, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY) => self.fall_asleep(id, &feature),
            (false, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP) => {
                self.fall_asleep_until(id, &feature)
            }
            (false, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT) => {
                if feature.check(SET, 0)? {
                    self.leave_low_power(id);
                }
                Ok(())
            }
            _ => Err(refuse(Errno::ENOTTY)),
        }?;
        Ok(0)
    }

    /// `vfio_pci_core_pm_entry`. EINVAL where it sleeps already.
    fn fall_asleep(&mut self, id: DeviceId, feature: &Feature<'_>) -> Answered<()> {
        if !feature.check(SET, 0)? {
            return Ok(());
        }
        if self.device(id).asleep.is_some() {
            return Err(refuse(Errno::EINVAL));
        }
        self.device_mut(id).asleep = Some(Wakeup(None));
        Ok(())
    }

    /// `vfio_pci_core_pm_entry_with_wakeup`. EFAULT, EINVAL (descriptor below 0), EBADF, EINVAL for what is no
    /// eventfd and where it sleeps already.
    fn fall_asleep_until(&mut self, id: DeviceId, feature: &Feature<'_>) -> Answered<()> {
        const SIZE: usize = size_of::<vfio_device_low_power_entry_with_wakeup>();
        if !feature.check(SET, SIZE)? {
            return Ok(());
        }
        let fd = feature.data(SIZE)?.fd(0);
        if fd.0 < 0 {
            return Err(refuse(Errno::EINVAL));
        }
        let event = self.eventfd_of(feature.pid, fd)?;
        if self.device(id).asleep.is_some() {
            return Err(refuse(Errno::EINVAL));
        }
        self.get_file(event);
        self.device_mut(id).asleep = Some(Wakeup(Some(event)));
        Ok(())
    }

    /// `vfio_pci_core_runtime_resume`, before a call on the file of a device.
    pub(crate) fn wake_device(&mut self, id: DeviceId) {
        if let Some(Wakeup(Some(event))) = self.device(id).asleep {
            self.signal(event);
            self.leave_low_power(id);
        }
    }

    /// `vfio_pci_runtime_pm_exit`.
    pub(crate) fn leave_low_power(&mut self, id: DeviceId) {
        if self.device(id).asleep.is_some() {
            let woken = self.device_mut(id).asleep.take();
            self.exchange(woken.and_then(|wakeup| wakeup.0), None);
        }
    }
}
