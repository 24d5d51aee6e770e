//! Defines the trait of a test device ([`TestDevice`]) and lists all kinds ([`KINDS`]).
//!
//! A kind is a file beside this one that implements [`TestDevice`], and an entry of [`KINDS`]. The
//! vendor and device IDs behind a device file determine its kind ([`probe`]).
//!
//! Vocabulary: a *DMA* copies between guest RAM and the device's own memory; *to RAM* is device →
//! guest RAM, *from RAM* the opposite. A device runs one DMA at a time.
//!
//! Invariants:
//! * a driver is a value of one process that can be dropped and created again at any time, even
//!   while a DMA runs: all its state lies in the device or in its [`Queue`], which is guest RAM, so
//!   that it crosses a handoff;
//! * creating a driver only reads, so a new process may drive a device whose DMA is running.

mod edu;
mod pci;
#[cfg(test)]
mod registers;

use crate::calls;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, Va};
use handoff_real_backend::clock;
use handoff_real_backend::memory::Memory;
use pci::Pci;
use std::fmt;
use std::time::Duration;

pub use edu::EDU;

/// Every kind of test device.
pub const KINDS: &[Kind] = &[EDU];

/// A kind of test device.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// QEMU's name of the device, as in `-device NAME`.
    pub name: &'static str,
    /// The vendor and device IDs in config space.
    pub vendor_and_device: (u16, u16),
    /// Its capabilities.
    pub limits: Limits,
    /// Creates a driver for a device of this kind; only reads. Fails with `EIO` while its memory is
    /// disabled.
    drive: fn(Pci, Option<Queue>) -> Result<Driver, Errno>,
}

/// The capabilities of a device, and the guest RAM that its driver needs. All zero by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The longest DMA, in bytes; at most a page. A device without DMA has 0.
    pub dma_bytes_max: u32,
    /// The lowest address that DMA cannot reach.
    pub iova_end: u64,
    /// Pages of the driver's [`Queue`]; 0 if it has none.
    pub queue_pages: u64,
}

impl Limits {
    /// Returns true if a DMA lies within them.
    pub fn allow(&self, dma: &Dma) -> bool {
        let end = dma.iova.0.saturating_add(u64::from(dma.length_bytes));
        (1..=self.dma_bytes_max).contains(&dma.length_bytes) && end <= self.iova_end
    }
}

/// Guest RAM that a device and its driver share: command queues, and the driver's state.
#[derive(Clone, Debug)]
pub struct Queue {
    /// The register of this process's mappings.
    pub memory: Memory,
    /// Its first byte, as an address of this process.
    pub va: Va,
    /// Its first byte, as an address of the device.
    pub iova: Iova,
}

/// The direction of a DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Guest RAM → device.
    FromRam,
    /// Device → guest RAM: the bytes of the last DMA from RAM.
    ToRam,
}

/// A DMA to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dma {
    /// The direction.
    pub direction: Direction,
    /// The address of guest RAM.
    pub iova: Iova,
    /// Length in bytes, at most [`Limits::dma_bytes_max`]. 0 for a device without DMA, which only
    /// interrupts.
    pub length_bytes: u32,
    /// True to raise an interrupt at the end.
    pub interrupt: bool,
}

/// A driver of a device of any kind.
pub type Driver = Box<dyn TestDevice>;

/// The driver of a bound device file. It does not own the file.
pub trait TestDevice: fmt::Debug + Send {
    /// Returns the capabilities of the device.
    fn limits(&self) -> Limits;

    /// Readies the device for its first DMA, and marks it. Called once, by the process that
    /// launches the guest; not by a process that takes the device over.
    fn prepare(&mut self) -> Result<(), Errno>;

    /// Returns true if the device still has its mark: it was neither closed nor reset since.
    fn is_marked(&mut self) -> Result<bool, Errno>;

    /// Returns true if the device can do any DMA within its limits.
    fn may_do_dma(&mut self) -> Result<bool, Errno>;

    /// Starts a DMA and returns. Fails with `EINVAL` (beyond the limits) or `EBUSY` (one is
    /// running).
    fn start(&mut self, dma: Dma) -> Result<(), Errno>;

    /// Returns true if a DMA is running.
    fn is_running(&mut self) -> Result<bool, Errno>;

    /// Acknowledges the interrupt of the last DMA to the device.
    fn acknowledge(&mut self) -> Result<(), Errno>;

    /// Makes the device interrupt once, without a DMA.
    fn raise(&mut self) -> Result<(), Errno>;

    /// Sleeps until no DMA is running. Fails with `EAGAIN` if one still is after `limit`.
    fn wait(&mut self, limit: Duration) -> Result<(), Errno> {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let end_ns = clock::monotonic_ns().saturating_add(limit_ns);
        while self.is_running()? {
            if clock::monotonic_ns() >= end_ns {
                return Err(Errno::EAGAIN);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Returns the kind with these vendor and device IDs.
pub fn kind_of(vendor_and_device: (u16, u16)) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.vendor_and_device == vendor_and_device)
}

/// Returns the names of all kinds, which are also QEMU's.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// A bound device file of a known kind.
#[derive(Debug)]
pub struct Probed {
    /// Its kind.
    pub kind: &'static Kind,
    pci: Pci,
}

/// Determines the kind of device behind a bound file; only reads.
///
/// # Errors
/// `ENODEV` if no kind in [`KINDS`] matches, `EINVAL` if the file is not bound.
pub fn probe(device: Fd) -> Result<Probed, Errno> {
    let mut pci = Pci::locate(Box::new(calls::host()), device)?;
    let kind = kind_of(pci.vendor_and_device()?).ok_or(Errno::ENODEV)?;
    Ok(Probed { kind, pci })
}

impl Probed {
    /// Enables memory and bus mastering, as a VMM does for its guest.
    pub fn enable(&mut self) -> Result<(), Errno> {
        self.pci.enable()
    }

    /// Creates a driver for the device; only reads. Fails with `EIO` while its memory is disabled.
    pub fn drive(self, queue: Option<Queue>) -> Result<Driver, Errno> {
        (self.kind.drive)(self.pci, queue)
    }
}

/// Makes a device interrupt once, with memory and bus mastering enabled temporarily.
pub(crate) fn raise_once(device: Fd) -> Result<(), Errno> {
    let mut pci = Pci::locate(Box::new(calls::host()), device)?;
    let command = pci.command()?;
    let mut probed = probe(device)?;
    probed.enable()?;
    probed.drive(None)?.raise()?;
    pci.set_command(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_one_kind() {
        for kind in KINDS {
            let found = kind_of(kind.vendor_and_device).map(|kind| kind.name);
            assert_eq!(found, Some(kind.name));
        }
        assert_eq!(kind_of((0x8086, 0x1234)).map(|kind| kind.name), None);
    }
}
