//! The workload of the test guest: DMA to each device and back, checking every byte and interrupt.
//!
//! Vocabulary. *DMA k* of a device, counted from 0: if k is even, it copies a pattern from guest
//! RAM to the device; if odd, it copies the pattern back to another place, where it is compared.
//! *Round* k / 2 has one pattern. A DMA has *ended* when the device reports that; it has then
//! *raised* one interrupt. It is *finished* once that interrupt is *delivered* (read from the
//! eventfd) and the bytes are compared. A device has at most one unfinished DMA, so two interrupts
//! cannot merge.
//!
//! Therefore `finished ≤ raised ≤ started ≤ finished + 1` always holds, and no byte or interrupt
//! was lost if and only if `delivered` reaches `raised` and there is no [`Fault`]. A DMA that runs
//! while the guest is stopped ends and interrupts by itself; the next tick, in whichever process,
//! counts it.
//!
//! All of this is in [`State`], which names files by [`descriptors::Identity`] and not by number.
//! The new process finds them in its own descriptor table and memory register; no numbers are
//! transferred.
//!
//! The workload has no thread and no timer: [`Workload::tick`] does the work that is possible now.
//! `crate::guest` calls it.

mod state;
#[cfg(test)]
mod tests;

use crate::calls;
use crate::device::{self, Direction, Dma, Driver, Queue};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid, Va};
use handoff_model::abi::view::FileKind;
use handoff_real_backend::clock::monotonic_ns;
use handoff_real_backend::descriptors::{self, Descriptor};
use handoff_real_backend::host::Host;
use handoff_real_backend::memory::Memory;
use state::{Device, Place, Wiring, pattern};

pub use state::{Fault, Progress, Ram, State, Wires, pages};

/// Time after which a DMA or its interrupt counts as lost, from the later of its start and the
/// resume: 100 times the duration of a DMA.
pub const LATE_NS: u64 = 10_000_000_000;

/// The workload, and the devices and memory that it uses in this process.
#[derive(Debug)]
pub struct Workload {
    state: State,
    found: Vec<Found>,
    kernel: Host,
    memory: Memory,
    resumed_ns: u64,
}

/// The driver, descriptor and addresses of a device in this process.
#[derive(Debug)]
struct Found {
    device: Driver,
    trigger: Fd,
    out: Va,
    back: Va,
}

impl Workload {
    /// Continues from `state` in this process.
    ///
    /// A device that was reset in the meantime, or lost bus mastering, is a [`Fault`], not an
    /// error.
    ///
    /// # Errors
    /// `ENODEV` (no bound file of a device that answers), `EBADF` (no eventfd), `EFAULT` (its RAM
    /// is not mapped here).
    pub fn resume(state: State, memory: Memory) -> Result<Self, Errno> {
        let table = descriptors::table(Pid(std::process::id()))?;
        let found = state.devices.iter().map(|device| find(&device.wiring, &table, &memory));
        let found = found.collect::<Result<_, _>>()?;
        Self::with(state, found, memory)
    }

    fn with(mut state: State, mut found: Vec<Found>, memory: Memory) -> Result<Self, Errno> {
        for (device, here) in state.devices.iter_mut().zip(&mut found) {
            device.check(here)?;
        }
        Ok(Self { state, found, kernel: calls::host(), memory, resumed_ns: monotonic_ns() })
    }

    /// Does the work that is possible now: counts interrupts, finishes DMAs, starts the next ones.
    /// Between two ticks every working device has a DMA in flight.
    pub fn tick(&mut self) {
        for (at, here) in self.found.iter_mut().enumerate() {
            let device = &mut self.state.devices[at];
            if device.progress.is_over() {
                continue;
            }
            let work = Work {
                device,
                here,
                kernel: &mut self.kernel,
                memory: &self.memory,
                identity: (self.state.seed, at),
                resumed_ns: self.resumed_ns,
            };
            if let Err(errno) = work.step() {
                self.state.devices[at].progress.faults.push(Fault::Refused { errno });
            }
        }
    }

    /// The current state.
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn find(wiring: &Wiring, table: &[Descriptor], memory: &Memory) -> Result<Found, Errno> {
    let place = |place: &Place, length_bytes: u64| {
        memory.find(wiring.ram.inode, place.offset_bytes, length_bytes).ok_or(Errno::EFAULT)
    };
    let drive = |entry: &Descriptor| {
        let probed = device::probe(entry.fd)?;
        let queue_bytes = probed.kind.limits.queue_pages * PAGE_BYTES;
        let queue = wiring.queue.map(|queue| {
            let va = place(&queue, queue_bytes)?;
            Ok(Queue { memory: memory.clone(), va, iova: queue.iova })
        });
        probed.drive(queue.transpose()?)
    };
    let mut files = table.iter().filter(|entry| {
        entry.kind == FileKind::Device && entry.identity.special == wiring.device.special
    });
    let device = files.find_map(|entry| drive(entry).ok()).ok_or(Errno::ENODEV)?;
    let trigger = table.iter().find(|entry| entry.identity == wiring.trigger);
    let length_bytes = u64::from(device.limits().dma_bytes_max);
    Ok(Found {
        device,
        trigger: trigger.ok_or(Errno::EBADF)?.fd,
        out: place(&wiring.out, length_bytes)?,
        back: place(&wiring.back, length_bytes)?,
    })
}

impl Device {
    fn check(&mut self, here: &mut Found) -> Result<(), Errno> {
        if !here.device.is_marked()? {
            self.progress.faults.push(Fault::MarkerGone);
        }
        if !here.device.may_do_dma()? {
            self.progress.faults.push(Fault::BusMasterOff);
        }
        Ok(())
    }
}

/// A device during one tick.
struct Work<'a> {
    device: &'a mut Device,
    here: &'a mut Found,
    kernel: &'a mut Host,
    memory: &'a Memory,
    identity: (u64, usize),
    resumed_ns: u64,
}

impl Work<'_> {
    /// Counts interrupts first: any that has arrived was raised by a DMA that has ended.
    fn step(mut self) -> Result<(), Errno> {
        self.count_interrupts()?;
        self.see_end()?;
        self.detect_faults();
        self.finish()?;
        self.start()
    }

    fn count_interrupts(&mut self) -> Result<(), Errno> {
        let count = calls::take_events(self.kernel, self.here.trigger)?;
        self.device.progress.delivered += count;
        Ok(())
    }

    fn see_end(&mut self) -> Result<(), Errno> {
        let under_way = self.device.progress.started > self.device.progress.raised;
        if under_way && !self.here.device.is_running()? {
            self.device.progress.raised += 1;
            self.here.device.acknowledge()?;
        }
        Ok(())
    }

    fn detect_faults(&mut self) {
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
        self.memory.read(self.here.back, &mut found)?;
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
        let length_bytes = self.here.device.limits().dma_bytes_max;
        let dma = Dma { direction: direction(dma), iova, length_bytes, interrupt: true };
        self.here.device.start(dma)?;
        self.device.progress.started += 1;
        Ok(())
    }

    /// Writes the pattern to its source, or its complement to the place it is copied back to.
    fn prepare(&self, dma: u64) -> Result<Iova, Errno> {
        let pattern = self.pattern(dma);
        let (va, place, bytes) = match direction(dma) {
            Direction::FromRam => (self.here.out, self.device.wiring.out, pattern),
            Direction::ToRam => {
                let opposite = pattern.iter().map(|byte| !byte).collect();
                (self.here.back, self.device.wiring.back, opposite)
            }
        };
        self.memory.write(va, &bytes)?;
        Ok(place.iova)
    }

    fn pattern(&self, dma: u64) -> Vec<u8> {
        let (seed, device) = self.identity;
        pattern(seed, device, dma / 2, self.here.device.limits().dma_bytes_max)
    }
}

fn direction(dma: u64) -> Direction {
    if dma.is_multiple_of(2) { Direction::FromRam } else { Direction::ToRam }
}
