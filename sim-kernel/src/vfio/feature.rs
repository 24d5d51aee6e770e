//! `VFIO_DEVICE_FEATURE`: tests for (PROBE), reads (GET) and sets (SET) features of a device.
//!
//! Features of the VFIO core (migration, DMA logging) exist if the driver has operations for them;
//! the others belong to a driver.
//!
//! Absent: VF tokens.
//!
//! Mirrors `vfio_ioctl_device_feature` of `drivers/vfio/vfio_main.c`.

use crate::machine::{Machine, Placement};
use crate::syscall::{Fields, Request, SyscallResult, User, fail};
use crate::value::DeviceId;
use crate::vfio::sized;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MASK, VFIO_DEVICE_FEATURE_PROBE,
    VFIO_DEVICE_FEATURE_SET, vfio_device_feature,
};

/// A request for a feature.
#[derive(Debug)]
pub(super) struct Feature<'a> {
    pub(super) pid: Pid,
    pub(super) user: &'a mut User,
    pub(super) place: &'a Placement,
    flags: u32,
    /// Length of the data in bytes, according to the caller.
    length: usize,
}

/// Offset of a feature's data.
pub(super) const DATA: usize = offset_of!(vfio_device_feature, data);

pub(super) const GET: u32 = VFIO_DEVICE_FEATURE_GET;
pub(super) const SET: u32 = VFIO_DEVICE_FEATURE_SET;

impl Feature<'_> {
    /// Validates the request (`vfio_check_feature`). Returns true if the operation must be
    /// performed, false for a PROBE.
    ///
    /// # Errors
    /// `EINVAL` if the feature does not support the operation, if there is no operation, or if
    /// there is too little data.
    pub(super) fn check(&self, operations: u32, min: usize) -> SyscallResult<bool> {
        if self.flags & (GET | SET) & !operations != 0 {
            return Err(fail(Errno::EINVAL));
        }
        if self.flags & VFIO_DEVICE_FEATURE_PROBE != 0 {
            return Ok(false);
        }
        if self.flags & (GET | SET) == 0 || self.length < min {
            return Err(fail(Errno::EINVAL));
        }
        Ok(true)
    }

    pub(super) fn sets(&self) -> bool {
        self.flags & SET != 0
    }

    /// Copies the data of the request. Fails with `EFAULT`.
    pub(super) fn data(&self, length: usize) -> SyscallResult<Fields> {
        Ok(Fields(self.user.copy(DATA + length)?.0.split_off(DATA)))
    }

    /// Writes the data to the caller. Fails with `EFAULT`.
    pub(super) fn tell(&mut self, data: &[u8]) -> SyscallResult<()> {
        self.user.write(DATA, data)
    }
}

impl Machine {
    /// Handles `VFIO_DEVICE_FEATURE`.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (size, unknown flags, GET and SET together without PROBE); `ENOTTY` for a
    /// feature that the driver does not have; and the errors of the feature.
    pub(super) fn feature(
        &mut self,
        id: DeviceId,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        const KNOWN: u32 = VFIO_DEVICE_FEATURE_MASK | GET | SET | VFIO_DEVICE_FEATURE_PROBE;
        let header = sized(request, DATA)?;
        let flags = header.u32(offset_of!(vfio_device_feature, flags));
        let is_both = flags & (GET | SET) == GET | SET && flags & VFIO_DEVICE_FEATURE_PROBE == 0;
        if flags & !KNOWN != 0 || is_both {
            return Err(fail(Errno::EINVAL));
        }
        let length = header.u32(0) as usize - DATA;
        let Request { pid, ref mut user, place, .. } = *request;
        let mut feature = Feature { pid, user, place, flags, length };
        let which = flags & VFIO_DEVICE_FEATURE_MASK;
        if self.device(id).is_emulated() {
            self.mtty_feature(id, which, &mut feature).map(|()| 0)
        } else {
            self.pci_feature(id, which, &feature)
        }
    }
}
