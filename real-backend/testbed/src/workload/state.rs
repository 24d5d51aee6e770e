//! The state of the workload, as a value that one process saves and another loads.
//!
//! Invariants: descriptor numbers and addresses of one process appear only in [`Ram`] and
//! [`Wires`], never in [`State`]; a [`State`] of another version is refused; counters never
//! decrease.

use crate::calls;
use crate::device::{self, Limits, Queue};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES};
use handoff_real_backend::descriptors::{self, Identity};
use handoff_real_backend::memory::Memory;
use serde::{Deserialize, Serialize};

/// The file behind guest RAM, by its descriptor number in the process that starts the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    /// A memfd.
    pub fd: Fd,
    /// The address of its first byte, as devices see it.
    pub iova: Iova,
    /// Its length in pages.
    pub pages: u64,
}

/// A page or pages in guest RAM: for one DMA, or for a driver's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The offset in the file behind guest RAM.
    pub(super) offset_bytes: u64,
    /// The address for the device.
    pub(super) iova: Iova,
}

/// Returns the number of pages of guest RAM that a device takes: a source and a destination of
/// patterns, and its driver's queue.
pub const fn pages(limits: Limits) -> u64 {
    2 + limits.queue_pages
}

/// Allocates guest RAM, page by page.
struct Layout {
    ram: Ram,
    used_pages: u64,
}

impl Layout {
    /// Fails with `EINVAL` if guest RAM is exhausted.
    fn take(&mut self, pages: u64) -> Result<Place, Errno> {
        let offset_bytes = self.used_pages * PAGE_BYTES;
        self.used_pages += pages;
        let fits = self.used_pages <= self.ram.pages;
        let place = Place { offset_bytes, iova: Iova(self.ram.iova.0 + offset_bytes) };
        fits.then_some(place).ok_or(Errno::EINVAL)
    }
}

/// The files of a device, by descriptor number in the process that starts the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wires {
    /// Its bound and attached device file.
    pub device: Fd,
    /// The eventfd of its first interrupt vector.
    pub trigger: Fd,
}

/// The files of a device by identity, and its places in guest RAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wiring {
    pub(super) device: Identity,
    pub(super) trigger: Identity,
    pub(super) ram: Identity,
    /// The source of patterns.
    pub(super) out: Place,
    /// The destination of patterns.
    pub(super) back: Place,
    /// The pages of the driver's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<Place>,
}

/// A violation that a guest must never observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A byte came back changed.
    Data {
        /// The DMA.
        dma: u64,
        /// The index of the first such byte.
        at_byte: u64,
        /// The byte in the pattern.
        expected: u8,
        /// The byte in guest RAM.
        found: u8,
    },
    /// A DMA has ended, but its interrupt did not arrive.
    InterruptMissing {
        /// The DMA.
        dma: u64,
    },
    /// Interrupts arrived that no DMA had raised.
    InterruptSurplus {
        /// Their number.
        count: u64,
    },
    /// A DMA does not end.
    DmaStuck {
        /// The DMA.
        dma: u64,
    },
    /// The device was reset, or closed and reopened, since its marker was planted.
    MarkerGone,
    /// Bus mastering was disabled.
    BusMasterOff,
    /// An operation of the driver failed.
    Refused {
        /// The errno.
        errno: Errno,
    },
}

impl Fault {
    /// True if the device's work ends with it: the verdict is known, and repeating it adds no
    /// information.
    fn is_final(self) -> bool {
        !matches!(self, Self::InterruptSurplus { .. } | Self::MarkerGone | Self::BusMasterOff)
    }
}

/// The progress of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of DMAs started.
    pub started: u64,
    /// Number of DMAs that ended, each of which raised an interrupt.
    pub raised: u64,
    /// Number of interrupts counted.
    pub delivered: u64,
    /// Number of DMAs finished.
    pub finished: u64,
    /// Number of bytes that were compared and equal.
    pub compared_bytes: u64,
    /// The faults, in order.
    pub faults: Vec<Fault>,
}

impl Progress {
    /// True if its work has ended with a fault.
    pub(super) fn is_over(&self) -> bool {
        self.faults.iter().any(|fault| fault.is_final())
    }

    fn surplus(&self) -> u64 {
        let count = |fault: &Fault| match fault {
            Fault::InterruptSurplus { count } => *count,
            _ => 0,
        };
        self.faults.iter().map(count).sum()
    }

    /// Number of interrupts still expected; negative if too many arrived.
    pub(super) fn outstanding(&self) -> i64 {
        (self.raised + self.surplus()).cast_signed() - self.delivered.cast_signed()
    }
}

/// The complete state of the workload: saved, sent and loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    pub(super) seed: u64,
    pub(super) devices: Vec<Device>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) wiring: Wiring,
    /// The time at which its last DMA was started (monotonic, ns).
    pub(super) started_ns: u64,
    pub(super) progress: Progress,
}

/// The version of [`State`] that this program writes and reads.
const VERSION: u32 = 1;

impl State {
    /// A workload that has not started, on idle devices. Enables and prepares each device and
    /// empties its eventfd.
    ///
    /// # Errors
    /// `ENODEV` (not a known kind of device), `EINVAL` (too little guest RAM), `EBADF`, `EFAULT`
    /// (the RAM of a queue is not mapped), and errnos of the device file.
    pub fn new(seed: u64, ram: Ram, wires: &[Wires], memory: &Memory) -> Result<Self, Errno> {
        let mut layout = Layout { ram, used_pages: 0 };
        let devices = wires.iter().map(|wires| Device::new(*wires, &mut layout, memory));
        Ok(Self::of(seed, devices.collect::<Result<_, _>>()?))
    }

    pub(super) fn of(seed: u64, devices: Vec<Device>) -> Self {
        Self { version: VERSION, seed, devices }
    }

    /// The serialized state.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a tree of numbers and names")
    }

    /// Parses a file that may have trailing zeros. Fails with `EINVAL`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Errno> {
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let state: Self = serde_json::from_slice(&bytes[..written]).map_err(|_| Errno::EINVAL)?;
        if state.version == VERSION { Ok(state) } else { Err(Errno::EINVAL) }
    }

    /// Progress of each device.
    pub fn progress(&self) -> Vec<Progress> {
        self.devices.iter().map(|device| device.progress.clone()).collect()
    }
}

impl Device {
    fn new(wires: Wires, layout: &mut Layout, memory: &Memory) -> Result<Self, Errno> {
        let mut probed = device::probe(wires.device)?;
        let Limits { queue_pages, .. } = probed.kind.limits;
        let (out, back) = (layout.take(1)?, layout.take(1)?);
        let queue = (queue_pages > 0).then(|| layout.take(queue_pages)).transpose()?;
        let ram = descriptors::own(layout.ram.fd)?.identity;
        let mapped = queue.map(|Place { offset_bytes, iova }| {
            let va = memory.find(ram.inode, offset_bytes, queue_pages * PAGE_BYTES);
            va.map(|va| Queue { memory: memory.clone(), va, iova }).ok_or(Errno::EFAULT)
        });
        probed.enable()?;
        probed.drive(mapped.transpose()?)?.prepare()?;
        calls::take_events(&mut calls::host(), wires.trigger)?;
        let identity = |fd| descriptors::own(fd).map(|descriptor| descriptor.identity);
        let wiring = Wiring {
            device: identity(wires.device)?,
            trigger: identity(wires.trigger)?,
            ram,
            out,
            back,
            queue,
        };
        Ok(Self::with(wiring))
    }

    /// A device that has not started.
    pub(super) fn with(wiring: Wiring) -> Self {
        Self { wiring, started_ns: 0, progress: Progress::default() }
    }
}

/// The pattern of a round, different for each seed, device and round.
pub(super) fn pattern(seed: u64, device: usize, round: u64, length_bytes: u32) -> Vec<u8> {
    let mut state = seed ^ (device as u64) << 56 ^ round << 16;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length_bytes as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_differ_by_seed_device_and_round() {
        let pattern = |seed, device, round| pattern(seed, device, round, 4095);
        let patterns = [pattern(1, 0, 0), pattern(2, 0, 0), pattern(1, 1, 0), pattern(1, 0, 1)];
        for (at, one) in patterns.iter().enumerate() {
            assert_eq!(one.len(), 4095);
            assert!(patterns[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(pattern(1, 0, 0), patterns[0], "and by no other input");
    }

    #[test]
    fn state_is_parsed_from_a_file_with_trailing_zeros() {
        let state = State { version: VERSION, seed: 7, devices: Vec::new() };
        let mut file = state.to_json();
        file.resize(4096, 0);
        assert_eq!(State::from_json(&file), Ok(state.clone()));
        let newer = State { version: VERSION + 1, ..state };
        for bad in [&b""[..], b"{}", b"\0\0", &newer.to_json()] {
            assert_eq!(State::from_json(bad), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn the_encoding_of_a_device_without_a_queue_is_stable() {
        let identity = r#"{"device":1,"inode":2,"special":3,"event":4}"#;
        let wiring = [
            format!(r#"{{"device":{identity},"trigger":{identity},"ram":{identity}"#),
            r#""out":{"offset_bytes":0,"iova":1048576}"#.to_owned(),
            r#""back":{"offset_bytes":4096,"iova":1052672}}"#.to_owned(),
        ];
        let progress = r#"{"started":2,"raised":1,"delivered":1,"finished":1,"compared_bytes":0,"#
            .to_owned()
            + r#""faults":["marker_gone"]}"#;
        let device =
            format!(r#"{{"wiring":{},"started_ns":5,"progress":{progress}}}"#, wiring.join(","));
        let saved = format!(r#"{{"version":1,"seed":7,"devices":[{device}]}}"#);
        let state = State::from_json(saved.as_bytes()).expect("readable");
        assert_eq!(String::from_utf8(state.to_json()).expect("text"), saved);
    }

    #[test]
    fn guest_ram_is_allocated_page_by_page() {
        let ram = Ram { fd: Fd(3), iova: Iova(0x10_0000), pages: 5 };
        let mut layout = Layout { ram, used_pages: 0 };
        let mut take = |pages| layout.take(pages).map(|at| (at.offset_bytes, at.iova.0));
        assert_eq!(take(1), Ok((0, 0x10_0000)));
        assert_eq!(take(1), Ok((0x1000, 0x10_1000)));
        assert_eq!(take(3), Ok((0x2000, 0x10_2000)));
        assert_eq!(take(1), Err(Errno::EINVAL));
    }

    #[test]
    fn delivered_interrupts_are_subtracted_from_raised_ones() {
        let progress = |raised, delivered, faults: &[Fault]| {
            Progress { raised, delivered, faults: faults.to_vec(), ..Progress::default() }
                .outstanding()
        };
        assert_eq!(progress(3, 3, &[]), 0);
        assert_eq!(progress(3, 2, &[]), 1);
        assert_eq!(progress(3, 5, &[]), -2);
        assert_eq!(progress(3, 5, &[Fault::InterruptSurplus { count: 2 }]), 0);
    }
}
