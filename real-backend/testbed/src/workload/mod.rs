//! What the test guest does with its `edu` devices: DMA there and back, for ever, checking each byte.
//!
//! Vocabulary. *DMA k* of a device (from 0): an even one takes a pattern out of guest RAM into the
//! device, the odd one after it brings the pattern back to another place, where it is compared.
//! *Round* k / 2 has one pattern. A DMA has *ended* when the device says so; it has then *raised* one
//! interrupt, and is *finished* once that was *delivered* (counted out of the eventfd) and the bytes
//! were compared. At most one DMA of a device is unfinished, so no two interrupts can merge.
//!
//! So at every moment `finished ≤ raised ≤ started ≤ finished + 1`, and nothing was lost if and only
//! if `delivered` meets `raised` and there is no [`Fault`]. A DMA that is under way while the guest is
//! stopped ends, and interrupts, without anybody; the next tick, in whichever process, counts it.
//!
//! All that is in [`State`], which names files by [`descriptors::Identity`] and not by number, so that the new
//! process finds them in its own table and its own memory; no process is told any number.
//!
//! No thread and no clock of its own: [`Workload::tick`] does what can be done now. `crate::guest` calls it.

mod state;

use crate::calls;
use crate::device::edu::{DMA_BYTES_MAX, Direction, Dma, Edu, IRQ_DMA};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, Iova, Pid, Va};
use handoff_model::view::FileKind;
use handoff_real_backend::clock::monotonic_ns;
use handoff_real_backend::descriptors::{self, Descriptor};
use handoff_real_backend::memory::Memory;
use state::{Device, Wiring};

pub use state::{Fault, Place, Progress, State, Wires, pattern};

/// How long after its start, or after the guest went on, a DMA or its interrupt is given up: 100
/// times what a DMA takes.
pub const LATE_NS: u64 = 10_000_000_000;

/// The work, with everything found that it needs in this process.
#[derive(Debug)]
pub struct Workload {
    state: State,
    found: Vec<Found>,
    memory: Memory,
    resumed_ns: u64,
}

/// A device's things in this process.
#[derive(Clone, Copy, Debug)]
struct Found {
    edu: Edu,
    trigger: Fd,
    out: Va,
    back: Va,
}

impl Workload {
    /// Goes on from `state` in this process, whichever it was before.
    ///
    /// ENODEV (no bound file of a device), EBADF (no eventfd), EFAULT (its RAM is not mapped here).
    /// That a device was reset meanwhile, or lost bus mastering, is a [`Fault`] and no error.
    pub fn resume(mut state: State, memory: Memory) -> Result<Self, Errno> {
        let table = descriptors::table(Pid(std::process::id()))?;
        let mut found = Vec::new();
        for device in &mut state.devices {
            let here = find(&device.wiring, &table, &memory)?;
            device.check(&here)?;
            found.push(here);
        }
        Ok(Self { state, found, memory, resumed_ns: monotonic_ns() })
    }

    /// Does what can be done now: counts interrupts, finishes DMAs, starts the next ones. Between two
    /// ticks every device that works has a DMA under way.
    pub fn tick(&mut self) {
        for at in 0..self.found.len() {
            let device = &mut self.state.devices[at];
            if device.progress.is_over() {
                continue;
            }
            let work = Work {
                device,
                found: self.found[at],
                memory: &self.memory,
                identity: (self.state.seed, at),
                resumed_ns: self.resumed_ns,
            };
            if let Err(errno) = work.step() {
                self.state.devices[at].progress.faults.push(Fault::Refused { errno });
            }
        }
    }

    /// How far it has come.
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn find(wiring: &Wiring, table: &[Descriptor], memory: &Memory) -> Result<Found, Errno> {
    let place = |place: &Place| {
        memory
            .find(wiring.ram.inode, place.offset_bytes, u64::from(DMA_BYTES_MAX))
            .ok_or(Errno::EFAULT)
    };
    let mut devices = table.iter().filter(|entry| {
        entry.kind == FileKind::Device && entry.identity.special == wiring.device.special
    });
    let trigger = table.iter().find(|entry| entry.identity == wiring.trigger);
    Ok(Found {
        edu: devices.find_map(|entry| Edu::adopt(entry.fd).ok()).ok_or(Errno::ENODEV)?,
        trigger: trigger.ok_or(Errno::EBADF)?.fd,
        out: place(&wiring.out)?,
        back: place(&wiring.back)?,
    })
}

impl Device {
    fn check(&mut self, here: &Found) -> Result<(), Errno> {
        if !here.edu.has_marker()? {
            self.progress.faults.push(Fault::MarkerGone);
        }
        if !here.edu.is_bus_master()? {
            self.progress.faults.push(Fault::BusMasterOff);
        }
        Ok(())
    }
}

/// One device for the time of one tick.
struct Work<'a> {
    device: &'a mut Device,
    found: Found,
    memory: &'a Memory,
    identity: (u64, usize),
    resumed_ns: u64,
}

impl Work<'_> {
    /// Interrupts are counted first: one that is there was raised by a DMA that has ended.
    fn step(mut self) -> Result<(), Errno> {
        self.count_interrupts()?;
        self.see_end()?;
        self.judge();
        self.finish()?;
        self.start()
    }

    fn count_interrupts(&mut self) -> Result<(), Errno> {
        let count = calls::take_events(&mut calls::host(), self.found.trigger)?;
        self.device.progress.delivered += count;
        Ok(())
    }

    fn see_end(&mut self) -> Result<(), Errno> {
        let under_way = self.device.progress.started > self.device.progress.raised;
        if under_way && !self.found.edu.is_running()? {
            self.device.progress.raised += 1;
            self.found.edu.ack(IRQ_DMA)?;
        }
        Ok(())
    }

    fn judge(&mut self) {
        let since_ns = self.device.started_ns.max(self.resumed_ns);
        let late = monotonic_ns().saturating_sub(since_ns) > LATE_NS;
        let Progress { started, raised, finished, .. } = self.device.progress;
        let outstanding = self.device.progress.outstanding();
        let fault = if outstanding < 0 {
            Fault::InterruptSurplus { count: outstanding.unsigned_abs() }
        } else if late && outstanding > 0 {
            Fault::InterruptMissing { dma: finished }
        } else if late && started > raised {
            Fault::DmaStuck { dma: raised }
        } else {
            return;
        };
        self.device.progress.faults.push(fault);
    }

    fn finish(&mut self) -> Result<(), Errno> {
        let progress = &self.device.progress;
        let dma = progress.finished;
        if dma == progress.raised || progress.outstanding() > 0 {
            return Ok(());
        }
        if direction(dma) == Direction::ToRam {
            self.compare(dma)?;
        }
        self.device.progress.finished += 1;
        Ok(())
    }

    fn compare(&mut self, dma: u64) -> Result<(), Errno> {
        let expected = self.pattern(dma);
        let mut found = vec![0; expected.len()];
        self.memory.read(self.found.back, &mut found)?;
        let progress = &mut self.device.progress;
        match expected.iter().zip(&found).position(|(expected, found)| expected != found) {
            None => progress.compared_bytes += expected.len() as u64,
            Some(at) => progress.faults.push(Fault::Data {
                dma,
                at_byte: at as u64,
                expected: expected[at],
                found: found[at],
            }),
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Errno> {
        let dma = self.device.progress.started;
        if dma > self.device.progress.finished || self.device.progress.is_over() {
            return Ok(());
        }
        let iova = self.prepare(dma)?;
        self.device.started_ns = monotonic_ns();
        let (direction, interrupt) = (direction(dma), true);
        self.found.edu.start(Dma { direction, iova, length_bytes: DMA_BYTES_MAX, interrupt })?;
        self.device.progress.started += 1;
        Ok(())
    }

    /// Puts the pattern where it is taken from, or its opposite where it comes back to.
    fn prepare(&self, dma: u64) -> Result<Iova, Errno> {
        let pattern = self.pattern(dma);
        let (va, place, bytes) = match direction(dma) {
            Direction::FromRam => (self.found.out, self.device.wiring.out, pattern),
            Direction::ToRam => {
                let opposite = pattern.iter().map(|byte| !byte).collect();
                (self.found.back, self.device.wiring.back, opposite)
            }
        };
        self.memory.write(va, &bytes)?;
        Ok(place.iova)
    }

    fn pattern(&self, dma: u64) -> Vec<u8> {
        let (seed, device) = self.identity;
        pattern(seed, device, dma / 2)
    }
}

fn direction(dma: u64) -> Direction {
    if dma.is_multiple_of(2) { Direction::FromRam } else { Direction::ToRam }
}
