//! Reading, writing and mapping the regions of a device file.
//!
//! Configuration space is modelled ([`crate::vfio::pci::config`]). BAR 0 exists, reads as zeroes
//! and ignores writes. There is no other BAR, ROM or VGA region.
//!
//! A mapping of a BAR holds a reference to the device's file, so the device stays open while it is
//! mapped.
//!
//! Mirrors `vfio_pci_rw` and `vfio_pci_core_mmap` of `drivers/vfio/pci/vfio_pci_core.c`, and
//! `vfio_pci_bar_rw` of `vfio_pci_rdwr.c`.

use crate::fs::DeviceFile;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::{DeviceId, FileId};
use crate::vfio::pci::config::{CONFIG_BYTES, MEMORY};
use crate::vfio::pci::layout::{BAR0_BYTES, CONFIG_REGION, region_of};
use handoff_model::abi::errno::Errno;
use std::ops::Range;

/// The part of a region that a read or write accesses.
enum RegionAccess {
    Nothing,
    /// A range of bytes in configuration space.
    Config(Range<u64>),
    /// A number of bytes in BAR 0.
    Bar(u64),
}

impl Machine {
    /// Reads from a device file (`vfio_device_fops_read`).
    pub(crate) fn read_device(
        &self,
        file: FileId,
        of: DeviceFile,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> SyscallResult<Vec<u8>> {
        let device = self.device(of.device);
        if device.is_emulated() {
            return self.read_mtty(file, of.device, offset_bytes, length_bytes);
        }
        let byte = |at: u64| device.config_byte(u8::try_from(at).expect("within the region"));
        Ok(match self.region_access(file, of.device, offset_bytes, length_bytes)? {
            RegionAccess::Nothing => Vec::new(),
            RegionAccess::Config(range) => range.map(byte).collect(),
            RegionAccess::Bar(count) => vec![0; usize::try_from(count).expect("within the region")],
        })
    }

    /// Writes to a device file (`vfio_device_fops_write`).
    pub(crate) fn write_device(
        &mut self,
        file: FileId,
        of: DeviceFile,
        offset_bytes: u64,
        bytes: &[u8],
    ) -> SyscallResult<u64> {
        let length_bytes = bytes.len() as u64;
        if self.device(of.device).is_emulated() {
            return self.write_mtty(file, of.device, offset_bytes, bytes);
        }
        Ok(match self.region_access(file, of.device, offset_bytes, length_bytes)? {
            RegionAccess::Nothing => 0,
            RegionAccess::Config(range) => {
                let first = u8::try_from(range.start).expect("within the region");
                self.write_config(of.device, first, bytes);
                length_bytes
            }
            RegionAccess::Bar(count) => count,
        })
    }

    /// Resolves an access to a region (`vfio_pci_rw`).
    ///
    /// # Errors
    /// `EINVAL` before BIND, and for a region or an offset that does not exist; `EFAULT` beyond
    /// configuration space; `EIO` if the BARs are disabled.
    fn region_access(
        &self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> SyscallResult<RegionAccess> {
        if !self.is_bound_file(id, file) {
            return Err(fail(Errno::EINVAL));
        }
        if length_bytes == 0 {
            return Ok(RegionAccess::Nothing);
        }
        let (index, at) = region_of(offset_bytes);
        if index >= u64::from(self.device(id).spec.regions) {
            return Err(fail(Errno::EINVAL));
        }
        if index == u64::from(CONFIG_REGION) {
            let end = at.saturating_add(length_bytes);
            if end > CONFIG_BYTES {
                return Err(fail(Errno::EFAULT));
            }
            return Ok(RegionAccess::Config(at..end));
        }
        if at >= self.bar_bytes(id, index) {
            return Err(fail(Errno::EINVAL));
        }
        if !self.has_memory_on(id) {
            return Err(fail(Errno::EIO));
        }
        Ok(RegionAccess::Bar(length_bytes.min(BAR0_BYTES - at)))
    }

    /// Returns true if the device's BARs are enabled (`__vfio_pci_memory_enabled`).
    pub(in crate::vfio) fn has_memory_on(&self, id: DeviceId) -> bool {
        self.device(id).command & MEMORY != 0
    }

    /// Returns the size of a BAR in bytes (`pci_resource_len`).
    pub(super) fn bar_bytes(&self, id: DeviceId, index: u64) -> u64 {
        if index == 0 && !self.device(id).is_emulated() { BAR0_BYTES } else { 0 }
    }

    /// Validates a mapping of a device file (`vfio_device_fops_mmap`). Fails with `EINVAL` unless
    /// it is a non-empty part of a BAR and the file is bound.
    pub(crate) fn check_mmap(
        &self,
        file: FileId,
        id: DeviceId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> SyscallResult<()> {
        let (index, at) = region_of(offset_bytes);
        let fits = at.saturating_add(length_bytes) <= self.bar_bytes(id, index);
        if self.is_bound_file(id, file) && fits { Ok(()) } else { Err(fail(Errno::EINVAL)) }
    }
}
