//! What the guest knows of its work, as a value: saved by one process, loaded by another.
//!
//! Invariants: numbers of one process are in [`Wires`] only, never in [`State`]; a [`State`] of
//! another version is refused; counters only grow.

use crate::calls;
use crate::device::edu::{DMA_BYTES_MAX, Edu};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, Iova};
use handoff_real_backend::descriptors::{self, Identity};
use serde::{Deserialize, Serialize};

/// A place in guest RAM for one DMA, [`DMA_BYTES_MAX`] long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// In the file behind guest RAM.
    pub offset_bytes: u64,
    /// For the device.
    pub iova: Iova,
}

/// What a device is wired to, in numbers of the process that starts the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wires {
    /// Its bound and attached device file.
    pub device: Fd,
    /// The eventfd of its MSI.
    pub trigger: Fd,
    /// The memfd of guest RAM.
    pub ram: Fd,
    /// Where patterns are taken from.
    pub out: Place,
    /// Where they come back to.
    pub back: Place,
}

/// The same in identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wiring {
    pub(super) device: Identity,
    pub(super) trigger: Identity,
    pub(super) ram: Identity,
    pub(super) out: Place,
    pub(super) back: Place,
}

/// Something that a guest must never see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A byte came back changed.
    Data {
        /// Of which DMA.
        dma: u64,
        /// The first such byte.
        at_byte: u64,
        /// What the pattern has there.
        expected: u8,
        /// What guest RAM has.
        found: u8,
    },
    /// A DMA has ended, its interrupt did not come.
    InterruptMissing {
        /// Of which DMA.
        dma: u64,
    },
    /// Interrupts came that no DMA had raised.
    InterruptSurplus {
        /// How many.
        count: u64,
    },
    /// A DMA does not end.
    DmaStuck {
        /// Which.
        dma: u64,
    },
    /// The device was closed and opened, or reset, since its marker was planted.
    MarkerGone,
    /// The device may not do DMA any more.
    BusMasterOff,
    /// The driver was refused something.
    Refused {
        /// With which number.
        errno: Errno,
    },
}

impl Fault {
    /// The device's work ends with it: the verdict is known, and more of the same tells nothing.
    fn is_final(self) -> bool {
        !matches!(self, Self::InterruptSurplus { .. } | Self::MarkerGone | Self::BusMasterOff)
    }
}

/// How far a device has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// DMAs started.
    pub started: u64,
    /// DMAs ended, each with an interrupt.
    pub raised: u64,
    /// Interrupts counted.
    pub delivered: u64,
    /// DMAs done with.
    pub finished: u64,
    /// Bytes that were compared and were right.
    pub compared_bytes: u64,
    /// What went wrong, in order.
    pub faults: Vec<Fault>,
}

impl Progress {
    /// It does not go on.
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

    /// Interrupts that are still to come; negative when too many came.
    pub(super) fn outstanding(&self) -> i64 {
        (self.raised + self.surplus()).cast_signed() - self.delivered.cast_signed()
    }
}

/// All that the guest knows: what is saved, sent and loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    pub(super) seed: u64,
    pub(super) devices: Vec<Device>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) wiring: Wiring,
    /// When its last DMA was started.
    pub(super) started_ns: u64,
    pub(super) progress: Progress,
}

/// The version of [`State`] that this program writes and reads.
const VERSION: u32 = 1;

impl State {
    /// Work not yet begun, on idle devices. Enables each, marks its open file description and
    /// empties its eventfd.
    ///
    /// ENODEV (no `edu`), EBADF, and what the device file says.
    pub fn new(seed: u64, wires: &[Wires]) -> Result<Self, Errno> {
        let devices = wires.iter().map(Device::new).collect::<Result<_, _>>()?;
        Ok(Self { version: VERSION, seed, devices })
    }

    /// As it is saved.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a tree of numbers and names")
    }

    /// From a file that may be longer than what was written to it. EINVAL.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Errno> {
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let state: Self = serde_json::from_slice(&bytes[..written]).map_err(|_| Errno::EINVAL)?;
        if state.version == VERSION { Ok(state) } else { Err(Errno::EINVAL) }
    }

    /// Of each device.
    pub fn progress(&self) -> Vec<Progress> {
        self.devices.iter().map(|device| device.progress.clone()).collect()
    }
}

impl Device {
    fn new(wires: &Wires) -> Result<Self, Errno> {
        Edu::enable(wires.device)?.plant_marker()?;
        calls::take_events(&mut calls::host(), wires.trigger)?;
        let identity = |fd| descriptors::own(fd).map(|descriptor| descriptor.identity);
        let wiring = Wiring {
            device: identity(wires.device)?,
            trigger: identity(wires.trigger)?,
            ram: identity(wires.ram)?,
            out: wires.out,
            back: wires.back,
        };
        Ok(Self { wiring, started_ns: 0, progress: Progress::default() })
    }
}

/// The pattern of a round: bytes that no other round and no other device has in that order.
pub fn pattern(seed: u64, device: usize, round: u64) -> Vec<u8> {
    let mut state = seed ^ (device as u64) << 56 ^ round << 16;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(DMA_BYTES_MAX as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_differ_by_seed_device_and_round() {
        let patterns = [pattern(1, 0, 0), pattern(2, 0, 0), pattern(1, 1, 0), pattern(1, 0, 1)];
        for (at, one) in patterns.iter().enumerate() {
            assert_eq!(one.len(), DMA_BYTES_MAX as usize);
            assert!(patterns[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(pattern(1, 0, 0), patterns[0], "and by nothing else");
    }

    #[test]
    fn state_is_read_back_also_out_of_a_longer_file() {
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
    fn interrupts_are_counted_against_what_was_raised() {
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
