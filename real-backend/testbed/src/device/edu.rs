//! QEMU's `edu` device, driven through its VFIO device file.
//!
//! It does what a passed-through device does, slowly enough to be caught in the act: a DMA takes
//! 100 ms of the machine's time and may raise an interrupt when it ends. It has a buffer of 4096
//! bytes of its own; a DMA goes between that and guest RAM.
//!
//! Vocabulary: *to RAM* is device → guest RAM, *from RAM* the other way. One DMA runs at a time.
//!
//! Invariants:
//! * registers are read and written through the file, 32 bits at a time, so there is no mapping to
//!   hand over; every value that matters has 32 bits (addresses have 28);
//! * a DMA that would leave the buffer or the device's 28 bits is refused here (EINVAL): some
//!   versions of QEMU abort on the one, all of them wrap the other;
//! * [`Edu::adopt`] only reads, so a new process may adopt a device whose DMA is running.
//!
//! A device that is handed over keeps what its open file description keeps. The *marker* is a byte
//! of that kind: the interrupt line register, which vfio-pci only shadows. It is what was written as
//! long as the description lives, and what the machine's firmware wrote after the last close. `edu`
//! itself has no reset: its own registers survive everything and prove nothing.
//!
//! Mirrors: `docs/specs/edu.rst` of QEMU 7.2 to 11.1; `drivers/vfio/pci/vfio_pci_config.c` of Linux 7.3.

use crate::calls;
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, Iova};
use handoff_real_backend::clock;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Vendor and device in config space.
pub const VENDOR_AND_DEVICE: (u16, u16) = (0x1234, 0x11e8);

/// The longest DMA: the device's own buffer, but for its last byte, at which QEMU 7.2 aborts.
pub const DMA_BYTES_MAX: u32 = 4095;

/// The lowest address that the device cannot reach.
pub const IOVA_END: u64 = 1 << 28;

/// `VFIO_PCI_BAR0_REGION_INDEX` and `VFIO_PCI_CONFIG_REGION_INDEX`.
const BAR0_INDEX: u32 = 0;
const CONFIG_INDEX: u32 = 7;

/// Registers in BAR 0.
mod register {
    pub(super) const ID: u64 = 0x00;
    pub(super) const LIVENESS: u64 = 0x04;
    pub(super) const FACTORIAL: u64 = 0x08;
    pub(super) const STATUS: u64 = 0x20;
    pub(super) const IRQ_RAISE: u64 = 0x60;
    pub(super) const IRQ_ACK: u64 = 0x64;
    pub(super) const DMA_SOURCE: u64 = 0x80;
    pub(super) const DMA_DESTINATION: u64 = 0x88;
    pub(super) const DMA_COUNT: u64 = 0x90;
    pub(super) const DMA_COMMAND: u64 = 0x98;
}

/// Registers in config space.
mod config {
    pub(super) const ID: u64 = 0x00;
    pub(super) const COMMAND: u64 = 0x04;
    pub(super) const INTERRUPT_LINE: u64 = 0x3c;
}

/// Version 1.0 of the device.
const ID: u32 = 0x0100_00ed;
/// Where the buffer is among the device's own addresses.
const BUFFER_ADDRESS: u32 = 0x4_0000;
/// Bits of the command register of PCI.
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
/// Bits of the DMA command register.
const DMA_RUN: u32 = 1;
const DMA_TO_RAM: u32 = 2;
const DMA_INTERRUPT: u32 = 4;
/// The factorial is being computed.
const STATUS_COMPUTING: u32 = 1;
/// What firmware never writes there: it uses 0 to 15 for a routed interrupt, 0xff for none.
const MARKER: u8 = 0xa5;

/// Why the device interrupted: the bits of its interrupt status.
pub const IRQ_DMA: u32 = 0x100;

/// A reason that the device never has by itself.
const IRQ_TEST: u32 = 0x1;

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Guest RAM → device.
    FromRam,
    /// Device → guest RAM.
    ToRam,
}

/// A DMA to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dma {
    /// Where bytes go.
    pub direction: Direction,
    /// The guest's end; the device's end is the beginning of its buffer.
    pub iova: Iova,
    /// 1 to [`DMA_BYTES_MAX`].
    pub length_bytes: u32,
    /// Raise an interrupt at the end.
    pub interrupt: bool,
}

impl Dma {
    fn is_possible(&self) -> bool {
        let end = self.iova.0.saturating_add(u64::from(self.length_bytes));
        (1..=DMA_BYTES_MAX).contains(&self.length_bytes) && end <= IOVA_END
    }

    fn command(&self) -> u32 {
        let direction = if self.direction == Direction::ToRam { DMA_TO_RAM } else { 0 };
        let interrupt = if self.interrupt { DMA_INTERRUPT } else { 0 };
        DMA_RUN | direction | interrupt
    }
}

/// The driver: a device file and where its registers are in it. Does not own the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edu {
    device: Fd,
    bar0_bytes: u64,
    config_bytes: u64,
}

impl Edu {
    /// Drives the device of a bound VFIO device file; only reads.
    ///
    /// ENODEV when it is another device, EINVAL when the file is not bound, EIO when its memory is
    /// disabled ([`Edu::enable`] it first).
    pub fn adopt(device: Fd) -> Result<Self, Errno> {
        let edu = Self::locate(device)?;
        if edu.read(register::ID)? == ID { Ok(edu) } else { Err(Errno::ENODEV) }
    }

    /// Switches memory and bus mastering on, as a VMM does for its guest, and drives the device.
    pub fn enable(device: Fd) -> Result<Self, Errno> {
        let edu = Self::locate(device)?;
        let command = edu.command()? | COMMAND_MEMORY | COMMAND_MASTER;
        edu.write_config(config::COMMAND, &command.to_le_bytes())?;
        Self::adopt(device)
    }

    /// Has the device interrupt as [`Edu::raise`] does, with memory and bus mastering on for the while.
    pub fn raise_once(device: Fd) -> Result<(), Errno> {
        let command = Self::locate(device)?.command()?;
        let edu = Self::enable(device)?;
        edu.raise()?;
        edu.write_config(config::COMMAND, &command.to_le_bytes())
    }

    fn locate(device: Fd) -> Result<Self, Errno> {
        let bar0_bytes = calls::region_offset(&mut calls::host(), device, BAR0_INDEX)?;
        let config_bytes = calls::region_offset(&mut calls::host(), device, CONFIG_INDEX)?;
        let edu = Self { device, bar0_bytes, config_bytes };
        let [v0, v1, d0, d1] = edu.read_config(config::ID)?;
        let ids = (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([d0, d1]));
        if ids == VENDOR_AND_DEVICE { Ok(edu) } else { Err(Errno::ENODEV) }
    }

    /// Whether it may do DMA.
    pub fn is_bus_master(&self) -> Result<bool, Errno> {
        Ok(self.command()? & COMMAND_MASTER != 0)
    }

    /// Marks the open file description; see the head of this module.
    pub fn plant_marker(&self) -> Result<(), Errno> {
        self.write_config(config::INTERRUPT_LINE, &[MARKER])
    }

    /// Whether the description that was marked is still the one.
    pub fn has_marker(&self) -> Result<bool, Errno> {
        self.read_config(config::INTERRUPT_LINE).map(|[line]| line == MARKER)
    }

    /// Starts a DMA and returns. EINVAL (impossible, see the head of this module), EBUSY (one runs).
    pub fn start(&self, dma: Dma) -> Result<(), Errno> {
        if !dma.is_possible() {
            return Err(Errno::EINVAL);
        }
        if self.is_running()? {
            return Err(Errno::EBUSY);
        }
        let ram = u32::try_from(dma.iova.0).map_err(|_| Errno::EINVAL)?;
        let (source, destination) = match dma.direction {
            Direction::FromRam => (ram, BUFFER_ADDRESS),
            Direction::ToRam => (BUFFER_ADDRESS, ram),
        };
        self.write(register::DMA_SOURCE, source)?;
        self.write(register::DMA_DESTINATION, destination)?;
        self.write(register::DMA_COUNT, dma.length_bytes)?;
        self.write(register::DMA_COMMAND, dma.command())
    }

    /// Whether a DMA runs.
    pub fn is_running(&self) -> Result<bool, Errno> {
        Ok(self.read(register::DMA_COMMAND)? & DMA_RUN != 0)
    }

    /// Sleeps until no DMA runs; EAGAIN when one still does after `limit`.
    pub fn wait(&self, limit: Duration) -> Result<(), Errno> {
        wait_until(limit, || self.is_running().map(|running| !running))
    }

    /// Has the device interrupt for no reason of its own, once.
    pub fn raise(&self) -> Result<(), Errno> {
        self.write(register::IRQ_RAISE, IRQ_TEST)?;
        self.ack(IRQ_TEST)
    }

    /// Takes reasons back.
    pub fn ack(&self, bits: u32) -> Result<(), Errno> {
        self.write(register::IRQ_ACK, bits)
    }

    /// Writes the liveness register and reads it back: `!value` from a device that is alive.
    pub fn liveness(&self, value: u32) -> Result<u32, Errno> {
        self.write(register::LIVENESS, value)?;
        self.read(register::LIVENESS)
    }

    /// Has the device compute `value!`, modulo 2³². EAGAIN when that takes longer than `limit`.
    pub fn factorial(&self, value: u32, limit: Duration) -> Result<u32, Errno> {
        self.write(register::FACTORIAL, value)?;
        wait_until(limit, || Ok(self.read(register::STATUS)? & STATUS_COMPUTING == 0))?;
        self.read(register::FACTORIAL)
    }

    fn command(&self) -> Result<u16, Errno> {
        self.read_config(config::COMMAND).map(u16::from_le_bytes)
    }

    fn read(&self, register: u64) -> Result<u32, Errno> {
        read_exactly(self.device, self.bar0_bytes + register).map(u32::from_le_bytes)
    }

    fn write(&self, register: u64, value: u32) -> Result<(), Errno> {
        write_exactly(self.device, self.bar0_bytes + register, &value.to_le_bytes())
    }

    fn read_config<const N: usize>(&self, register: u64) -> Result<[u8; N], Errno> {
        read_exactly(self.device, self.config_bytes + register)
    }

    fn write_config(&self, register: u64, bytes: &[u8]) -> Result<(), Errno> {
        write_exactly(self.device, self.config_bytes + register, bytes)
    }
}

fn read_exactly<const N: usize>(device: Fd, offset_bytes: u64) -> Result<[u8; N], Errno> {
    let bytes = calls::read_at(&mut calls::host(), device, offset_bytes, N as u64)?;
    bytes.try_into().map_err(|_| Errno::EIO)
}

fn write_exactly(device: Fd, offset_bytes: u64, bytes: &[u8]) -> Result<(), Errno> {
    let written = calls::write_at(&mut calls::host(), device, offset_bytes, bytes)?;
    if written == bytes.len() as u64 { Ok(()) } else { Err(Errno::EIO) }
}

/// Asks every millisecond.
fn wait_until(
    limit: Duration,
    mut is_so: impl FnMut() -> Result<bool, Errno>,
) -> Result<(), Errno> {
    let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    let end_ns = clock::monotonic_ns().saturating_add(limit_ns);
    while !is_so()? {
        if clock::monotonic_ns() >= end_ns {
            return Err(Errno::EAGAIN);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dma_stays_in_the_buffer_and_below_28_bits() {
        let rows = [
            (0, 1, true),
            (0x10_0000, DMA_BYTES_MAX, true),
            (IOVA_END - 4095, 4095, true),
            (IOVA_END - 4094, 4095, false),
            (0, 0, false),
            (0, DMA_BYTES_MAX + 1, false),
            (u64::MAX, 1, false),
        ];
        for (iova, length_bytes, expected) in rows {
            let direction = Direction::ToRam;
            let dma = Dma { direction, iova: Iova(iova), length_bytes, interrupt: false };
            assert_eq!(dma.is_possible(), expected, "{dma:?}");
        }
    }

    #[test]
    fn commands_are_those_of_the_device() {
        let command = |direction, interrupt| {
            Dma { direction, iova: Iova(0), length_bytes: 1, interrupt }.command()
        };
        assert_eq!(command(Direction::FromRam, false), 1);
        assert_eq!(command(Direction::ToRam, false), 3);
        assert_eq!(command(Direction::FromRam, true), 5);
        assert_eq!(command(Direction::ToRam, true), 7);
    }
}
