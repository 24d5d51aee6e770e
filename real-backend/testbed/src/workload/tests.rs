//! Tests of the workload on a simulated device.
//!
//! The device is as unlike `edu` as possible: commands and completions lie in a queue in guest RAM,
//! which holds all of the driver's state, and the device reads it only when its doorbell rings.

use super::state::{Device, Place, Wiring, pattern};
use super::{Fault, Found, LATE_NS, Progress, State, Workload};
use crate::device::{Direction, Dma, Limits, Queue, TestDevice};
use handoff_model::abi::call::{Call, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Va};
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::descriptors::{self, Identity};
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;
use std::sync::{Arc, Mutex, MutexGuard};

const LIMITS: Limits = Limits { dma_bytes_max: 512, iova_end: 1 << 40, queue_pages: 1 };

/// The address of guest RAM for the device: two pages for patterns, and the queue.
const IOVA: u64 = 0x4000_0000;
const PAGES: u64 = 3;

/// The first word of the queue if it has a command; the direction and the address follow.
const COMMANDED: u64 = 1;

/// The device itself, which outlives the processes that drive it.
#[derive(Debug)]
struct Hardware {
    ram: Memory,
    ram_va: u64,
    trigger: Fd,
    store: Vec<u8>,
    doorbell: bool,
    marked: bool,
    master: bool,
}

impl Hardware {
    fn va(&self, iova: u64) -> Va {
        Va(self.ram_va + iova - IOVA)
    }

    fn queue_word(&self, index: u64) -> u64 {
        let mut bytes = [0; 8];
        let at = self.va(IOVA + 2 * PAGE_BYTES + 8 * index);
        self.ram.read(at, &mut bytes).expect("guest RAM is mapped");
        u64::from_le_bytes(bytes)
    }

    /// Executes the pending command, without the interrupt.
    fn complete(&mut self) {
        assert!(std::mem::take(&mut self.doorbell), "there is a command");
        let (to_ram, iova) = (self.queue_word(1) == 1, self.queue_word(2));
        let at = self.va(iova);
        if to_ram {
            self.ram.write(at, &self.store).expect("guest RAM is mapped");
        } else {
            self.ram.read(at, &mut self.store).expect("guest RAM is mapped");
        }
        let queue = self.va(IOVA + 2 * PAGE_BYTES);
        self.ram.write(queue, &0_u64.to_le_bytes()).expect("guest RAM is mapped");
    }

    fn interrupt(&self) {
        let event = Call::File(FileCall::WriteEvent { fd: self.trigger, count: 1 });
        assert_eq!(kernel(&self.ram).call(&event), Ok(Reply::Done));
    }
}

/// The driver in one process.
#[derive(Debug)]
struct Driver {
    hardware: Arc<Mutex<Hardware>>,
    queue: Queue,
    limits: Limits,
}

impl Driver {
    fn hardware(&self) -> MutexGuard<'_, Hardware> {
        self.hardware.lock().expect("no panic")
    }
}

impl TestDevice for Driver {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.hardware().marked = true;
        Ok(())
    }

    fn is_marked(&mut self) -> Result<bool, Errno> {
        Ok(self.hardware().marked)
    }

    fn may_do_dma(&mut self) -> Result<bool, Errno> {
        Ok(self.hardware().master)
    }

    fn start(&mut self, dma: Dma) -> Result<(), Errno> {
        if dma.length_bytes == 0 {
            return self.raise();
        }
        if !self.limits.allow(&dma) {
            return Err(Errno::EINVAL);
        }
        let words = [COMMANDED, u64::from(dma.direction == Direction::ToRam), dma.iova.0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.queue.memory.write(self.queue.va, &bytes)?;
        self.hardware().doorbell = true;
        Ok(())
    }

    fn is_running(&mut self) -> Result<bool, Errno> {
        let mut word = [0; 8];
        self.queue.memory.read(self.queue.va, &mut word)?;
        Ok(u64::from_le_bytes(word) == COMMANDED)
    }

    fn acknowledge(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    fn raise(&mut self) -> Result<(), Errno> {
        self.hardware().interrupt();
        Ok(())
    }
}

fn kernel(memory: &Memory) -> Host {
    Host::new(Vec::new(), memory.clone(), Box::new(NoGuest))
}

/// A device, its guest's RAM, and the workload's state.
struct Rig {
    hardware: Arc<Mutex<Hardware>>,
    state: State,
    limits: Limits,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let memory = Memory::default();
        let mut kernel = kernel(&memory);
        let trigger = match kernel.call(&Call::File(FileCall::Eventfd)) {
            Ok(Reply::Fd(fd)) => fd,
            other => panic!("{other:?}"),
        };
        let ram_va = memory.map(None, 0, PAGES * PAGE_BYTES).expect("room").0;
        let place = |page: u64| Place {
            offset_bytes: page * PAGE_BYTES,
            iova: Iova(IOVA + page * PAGE_BYTES),
        };
        let identity = descriptors::own(trigger).expect("open").identity;
        let none = Identity { device: 0, inode: 0, special: 0, event: 0 };
        let wiring = Wiring {
            device: none,
            trigger: identity,
            ram: none,
            out: place(0),
            back: place(1),
            queue: Some(place(2)),
        };
        let hardware = Hardware {
            ram: memory,
            ram_va,
            trigger,
            store: vec![0; limits.dma_bytes_max as usize],
            doorbell: false,
            marked: true,
            master: true,
        };
        let state = State::of(7, vec![Device::with(wiring)]);
        Self { hardware: Arc::new(Mutex::new(hardware)), state, limits }
    }

    fn hardware(&self) -> MutexGuard<'_, Hardware> {
        self.hardware.lock().expect("no panic")
    }

    /// Resumes in a process that knows only the saved state.
    fn resume(&self, state: &State) -> Workload {
        let saved = State::from_json(&state.to_json()).expect("readable");
        let (memory, va, trigger) = {
            let hardware = self.hardware();
            (hardware.ram.clone(), hardware.ram_va, hardware.trigger)
        };
        let queue = Queue {
            memory: memory.clone(),
            va: Va(va + 2 * PAGE_BYTES),
            iova: Iova(IOVA + 2 * PAGE_BYTES),
        };
        let driver = Driver { hardware: self.hardware.clone(), queue, limits: self.limits };
        let found =
            Found { device: Box::new(driver), trigger, out: Va(va), back: Va(va + PAGE_BYTES) };
        Workload::with(saved, vec![found], memory).expect("the device answers")
    }

    fn start(&self) -> Workload {
        self.resume(&self.state)
    }

    /// Ends the running DMA, and interrupts.
    fn finish_dma(&self) {
        self.hardware().complete();
        self.hardware().interrupt();
    }
}

fn progress(workload: &Workload) -> Progress {
    workload.state().progress().remove(0)
}

/// The counters started, raised, delivered, finished.
fn counts(workload: &Workload) -> [u64; 4] {
    let Progress { started, raised, delivered, finished, .. } = progress(workload);
    [started, raised, delivered, finished]
}

#[test]
fn a_pattern_goes_to_the_device_and_comes_back() {
    let rig = Rig::new(LIMITS);
    let mut workload = rig.start();
    workload.tick();
    assert_eq!(counts(&workload), [1, 0, 0, 0]);
    workload.tick();
    assert_eq!(counts(&workload), [1, 0, 0, 0], "one at a time");
    for done in 1..=4 {
        rig.finish_dma();
        workload.tick();
        assert_eq!(counts(&workload), [done + 1, done, done, done]);
    }
    let Progress { compared_bytes, faults, .. } = progress(&workload);
    assert_eq!((compared_bytes, faults), (2 * 512, vec![]));
}

#[test]
fn the_next_process_counts_a_dma_that_ended_in_between() {
    let rig = Rig::new(LIMITS);
    let mut old = rig.start();
    old.tick();
    rig.finish_dma();
    old.tick();
    let saved = old.state().clone();
    drop(old);
    rig.finish_dma();
    let mut new = rig.resume(&saved);
    assert_eq!(counts(&new), [2, 1, 1, 1]);
    new.tick();
    assert_eq!(counts(&new), [3, 2, 2, 2]);
    assert_eq!((progress(&new).compared_bytes, progress(&new).faults), (512, vec![]));
}

#[test]
fn an_interrupt_may_arrive_after_its_dma_has_ended() {
    let rig = Rig::new(LIMITS);
    let mut workload = rig.start();
    workload.tick();
    rig.hardware().complete();
    workload.tick();
    assert_eq!(counts(&workload), [1, 1, 0, 0]);
    rig.hardware().interrupt();
    workload.tick();
    assert_eq!(counts(&workload), [2, 1, 1, 1]);
}

#[test]
fn a_device_without_dma_only_interrupts() {
    let rig = Rig::new(Limits { dma_bytes_max: 0, ..LIMITS });
    let mut workload = rig.start();
    (0..5).for_each(|_| workload.tick());
    let Progress { finished, compared_bytes, faults, .. } = progress(&workload);
    assert_eq!((finished, compared_bytes, faults), (4, 0, vec![]));
}

/// Moves the start of the DMA and the resume back to time 0, so that the DMA is late.
fn make_late(workload: &mut Workload) {
    workload.resumed_ns = 0;
    workload.state.devices[0].started_ns = 0;
    assert!(super::monotonic_ns() > LATE_NS, "the host has been up for a while");
}

#[test]
fn device_errors_are_detected_as_faults() {
    type Upset = fn(&Rig, &mut Workload);
    let byte = pattern(7, 0, 0, 512)[3];
    let rows: [(&str, Upset, Fault); 5] = [
        (
            "a byte changes in between",
            |rig, workload| {
                rig.finish_dma();
                workload.tick();
                rig.hardware().store[3] ^= 0xff;
                rig.finish_dma();
            },
            Fault::Data { dma: 1, at_byte: 3, expected: byte, found: !byte },
        ),
        (
            "an interrupt is lost",
            |rig, workload| {
                rig.hardware().complete();
                make_late(workload);
            },
            Fault::InterruptMissing { dma: 0 },
        ),
        (
            "an interrupt comes twice",
            |rig, _| {
                rig.finish_dma();
                rig.hardware().interrupt();
            },
            Fault::InterruptSurplus { count: 1 },
        ),
        ("a DMA does not end", |_, workload| make_late(workload), Fault::DmaStuck { dma: 0 }),
        (
            "a DMA is refused",
            |rig, workload| {
                workload.state.devices[0].wiring.back.iova = Iova(1 << 40);
                rig.finish_dma();
            },
            Fault::Refused { errno: Errno::EINVAL },
        ),
    ];
    for (name, upset, expected) in rows {
        let rig = Rig::new(LIMITS);
        let mut workload = rig.start();
        workload.tick();
        upset(&rig, &mut workload);
        workload.tick();
        assert_eq!(progress(&workload).faults, [expected], "{name}");
    }
}

#[test]
fn a_device_that_was_reset_is_a_fault_at_resume() {
    let rig = Rig::new(LIMITS);
    rig.hardware().marked = false;
    rig.hardware().master = false;
    let mut workload = rig.start();
    assert_eq!(progress(&workload).faults, [Fault::MarkerGone, Fault::BusMasterOff]);
    workload.tick();
    assert_eq!(counts(&workload), [1, 0, 0, 0], "it continues to work");
}
