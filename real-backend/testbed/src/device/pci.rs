//! Accesses a PCI device through its VFIO device file: config space and the registers of BAR 0.
//!
//! Registers are read and written through the file, so no mapping of a BAR has to be handed over.
//!
//! A device keeps across a handoff the state that belongs to its open file description. The
//! *marker* is a byte of that state: the interrupt line register, which vfio-pci only shadows. It
//! keeps the value written as long as the description exists; after the last close it reads as the
//! firmware's value again.
//!
//! Mirrors: `drivers/vfio/pci/vfio_pci_config.c` of Linux 7.3.

use crate::calls;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use std::fmt;

/// `VFIO_PCI_BAR0_REGION_INDEX` and `VFIO_PCI_CONFIG_REGION_INDEX`.
const BAR0_INDEX: u32 = 0;
const CONFIG_INDEX: u32 = 7;

/// Registers in config space.
const ID: u64 = 0x00;
const COMMAND: u64 = 0x04;
const INTERRUPT_LINE: u64 = 0x3c;

/// Bits of the command register.
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;

/// A value that firmware never writes there: it uses 0 to 15 for a routed interrupt, 0xff for none.
const MARKER: u8 = 0xa5;

/// A bound device file, and the offsets of its regions. Does not own the file.
pub(super) struct Pci {
    kernel: Box<dyn Kernel + Send>,
    device: Fd,
    bar0_bytes: u64,
    config_bytes: u64,
}

impl fmt::Debug for Pci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pci").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Pci {
    /// Queries the offsets of the regions. Fails with `EINVAL` if the file is not bound.
    pub(super) fn locate(mut kernel: Box<dyn Kernel + Send>, device: Fd) -> Result<Self, Errno> {
        let bar0_bytes = calls::region_offset(&mut *kernel, device, BAR0_INDEX)?;
        let config_bytes = calls::region_offset(&mut *kernel, device, CONFIG_INDEX)?;
        Ok(Self { kernel, device, bar0_bytes, config_bytes })
    }

    /// Reads a 32-bit register of BAR 0. Fails with `EIO` while memory is disabled.
    pub(super) fn read(&mut self, register: u64) -> Result<u32, Errno> {
        self.read_exactly(self.bar0_bytes + register).map(u32::from_le_bytes)
    }

    /// Writes a 32-bit register of BAR 0.
    pub(super) fn write(&mut self, register: u64, value: u32) -> Result<(), Errno> {
        self.write_exactly(self.bar0_bytes + register, &value.to_le_bytes())
    }

    /// Reads the vendor and device IDs.
    pub(super) fn vendor_and_device(&mut self) -> Result<(u16, u16), Errno> {
        let [v0, v1, d0, d1] = self.read_exactly(self.config_bytes + ID)?;
        Ok((u16::from_le_bytes([v0, v1]), u16::from_le_bytes([d0, d1])))
    }

    /// Enables memory and bus mastering.
    pub(super) fn enable(&mut self) -> Result<(), Errno> {
        let command = self.command()?;
        self.set_command(command | COMMAND_MEMORY | COMMAND_MASTER)
    }

    /// Returns true if it may do DMA.
    pub(super) fn is_bus_master(&mut self) -> Result<bool, Errno> {
        Ok(self.command()? & COMMAND_MASTER != 0)
    }

    /// Marks the open file description; see the module head.
    pub(super) fn plant_marker(&mut self) -> Result<(), Errno> {
        self.write_exactly(self.config_bytes + INTERRUPT_LINE, &[MARKER])
    }

    /// Returns true if the open file description is still the one that was marked.
    pub(super) fn has_marker(&mut self) -> Result<bool, Errno> {
        self.read_exactly(self.config_bytes + INTERRUPT_LINE).map(|[line]| line == MARKER)
    }

    pub(super) fn command(&mut self) -> Result<u16, Errno> {
        self.read_exactly(self.config_bytes + COMMAND).map(u16::from_le_bytes)
    }

    pub(super) fn set_command(&mut self, command: u16) -> Result<(), Errno> {
        self.write_exactly(self.config_bytes + COMMAND, &command.to_le_bytes())
    }

    fn read_exactly<const N: usize>(&mut self, offset_bytes: u64) -> Result<[u8; N], Errno> {
        let bytes = calls::read_at(&mut *self.kernel, self.device, offset_bytes, N as u64)?;
        bytes.try_into().map_err(|_| Errno::EIO)
    }

    fn write_exactly(&mut self, offset_bytes: u64, bytes: &[u8]) -> Result<(), Errno> {
        let written = calls::write_at(&mut *self.kernel, self.device, offset_bytes, bytes)?;
        if written == bytes.len() as u64 { Ok(()) } else { Err(Errno::EIO) }
    }
}
