//! Defines what a test device is ([`TestDevice`]), and lists the kinds that there are ([`KINDS`]).
//!
//! A kind is a file beside this one that implements [`TestDevice`], and a row of [`KINDS`]. A
//! device file says by its vendor and device which kind it is ([`probe`]).
//!
//! Vocabulary: a *DMA* goes between guest RAM and the device's own store; *to RAM* is device →
//! guest RAM, *from RAM* the other way. One DMA of a device runs at a time.
//!
//! Invariants:
//! * a driver is a value of one process that can be dropped and made again at any time, also while
//!   a DMA runs: what it must remember lies in the device or in its [`Queue`], which is guest RAM,
//!   and so both cross a handoff;
//! * to make a driver only reads, so a new process may drive a device whose DMA is running.

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
    /// The ids in config space.
    pub vendor_and_device: (u16, u16),
    /// What it can do.
    pub limits: Limits,
    /// Drives a device of this kind; only reads. EIO while its memory is disabled.
    drive: fn(Pci, Option<Queue>) -> Result<Driver, Errno>,
}

/// What a device can do, and the guest RAM that its driver needs. By default, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The longest DMA, in bytes; at most a page. A device without DMA has 0.
    pub dma_bytes_max: u32,
    /// The lowest address that DMA cannot reach.
    pub iova_end: u64,
    /// Pages of the driver's [`Queue`]; without any it has none.
    pub queue_pages: u64,
}

impl Limits {
    /// Returns whether a DMA lies within them.
    pub fn allow(&self, dma: &Dma) -> bool {
        let end = dma.iova.0.saturating_add(u64::from(dma.length_bytes));
        (1..=self.dma_bytes_max).contains(&dma.length_bytes) && end <= self.iova_end
    }
}

/// Guest RAM that belongs to a device and its driver: command queues, and what the driver
/// remembers.
#[derive(Clone, Debug)]
pub struct Queue {
    /// The mapped memory of this process.
    pub memory: Memory,
    /// The first byte for this process.
    pub va: Va,
    /// The first byte for the device.
    pub iova: Iova,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Guest RAM → device.
    FromRam,
    /// Device → guest RAM: the bytes that the last DMA from RAM took.
    ToRam,
}

/// A DMA to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dma {
    /// Where bytes go.
    pub direction: Direction,
    /// The guest's end.
    pub iova: Iova,
    /// At most [`Limits::dma_bytes_max`]. 0 for a device without DMA, which only interrupts.
    pub length_bytes: u32,
    /// Raise an interrupt at the end.
    pub interrupt: bool,
}

/// A driver of any kind of device.
pub type Driver = Box<dyn TestDevice>;

/// The driver of a bound device file. It does not own the file.
pub trait TestDevice: fmt::Debug + Send {
    /// Returns what the device can do.
    fn limits(&self) -> Limits;

    /// Readies the device for its first DMA, and marks it. The process that launches the guest
    /// calls this once; a process that takes the device over does not.
    fn prepare(&mut self) -> Result<(), Errno>;

    /// Returns whether the device has its mark, so that it was neither closed nor reset since.
    fn is_marked(&mut self) -> Result<bool, Errno>;

    /// Returns whether nothing keeps the device from the DMA that its limits allow.
    fn may_do_dma(&mut self) -> Result<bool, Errno>;

    /// Starts a DMA and returns. EINVAL (beyond the limits), EBUSY (one runs).
    fn start(&mut self, dma: Dma) -> Result<(), Errno>;

    /// Returns whether a DMA runs.
    fn is_running(&mut self) -> Result<bool, Errno>;

    /// Tells the device that the interrupt of its last DMA was seen.
    fn acknowledge(&mut self) -> Result<(), Errno>;

    /// Makes the device interrupt once, without a DMA.
    fn raise(&mut self) -> Result<(), Errno>;

    /// Sleeps until no DMA runs. EAGAIN when one still does after `limit`.
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

/// Returns the kind with these ids.
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

/// Finds out which kind of device is behind a bound file; only reads.
///
/// ENODEV for a kind that is not in [`KINDS`], EINVAL when the file is not bound.
pub fn probe(device: Fd) -> Result<Probed, Errno> {
    let mut pci = Pci::locate(Box::new(calls::host()), device)?;
    let kind = kind_of(pci.vendor_and_device()?).ok_or(Errno::ENODEV)?;
    Ok(Probed { kind, pci })
}

impl Probed {
    /// Switches memory and bus mastering on, as a VMM does for its guest.
    pub fn enable(&mut self) -> Result<(), Errno> {
        self.pci.enable()
    }

    /// Drives the device; only reads. EIO while its memory is disabled.
    pub fn drive(self, queue: Option<Queue>) -> Result<Driver, Errno> {
        (self.kind.drive)(self.pci, queue)
    }
}

/// Makes a device interrupt once, with memory and bus mastering on for the while.
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
