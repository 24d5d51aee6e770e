//! A guest made of test devices: [`crate::workload`] with a thread that ticks while the guest runs.
//!
//! The thread stands for the vCPUs. [`Guest::stop`] returns when it has ended, so a stopped guest
//! touches nothing; its last act is a tick, so that every device has a DMA under way at that
//! moment, which ends while the guest is stopped.

use crate::calls;
use crate::workload::{Progress, Ram, State, Wires, Workload};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES};
use handoff_model::abi::view::{GuestView, PageRef, PageRun};
use handoff_real_backend::host::Guest;
use handoff_real_backend::memory::{Mapping, Memory};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a running guest ticks.
const TICK: Duration = Duration::from_millis(2);

/// The longest saved state, in bytes.
const STATE_BYTES_MAX: u64 = 1 << 20;

/// The guest; its clones are the same one, so that an embedder can watch what its host drives.
#[derive(Clone, Debug, Default)]
pub struct TestGuest {
    memory: Memory,
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Empty,
    Stopped(State),
    Running(Runner),
}

#[derive(Debug)]
struct Runner {
    workload: Arc<Mutex<Workload>>,
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Runner {
    fn start(workload: Workload) -> Self {
        let workload = Arc::new(Mutex::new(workload));
        let end = Arc::new(AtomicBool::new(false));
        let (ticked, ended) = (workload.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                lock(&ticked).tick();
                std::thread::sleep(TICK);
            }
            lock(&ticked).tick();
        });
        Self { workload, end, thread }
    }

    /// EIO when the thread has panicked.
    fn stop(self) -> Result<State, Errno> {
        self.end.store(true, Ordering::Release);
        self.thread.join().map_err(|_| Errno::EIO)?;
        Ok(lock(&self.workload).state().clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestGuest {
    /// A guest without devices; `memory` is that of the host that will drive it.
    pub fn new(memory: Memory) -> Self {
        Self { memory, phase: Arc::default() }
    }

    /// Gives a guest that was never started its devices, and marks them. EBUSY while it runs, and
    /// what [`State::new`] says.
    pub fn wire(&self, seed: u64, ram: Ram, wires: &[Wires]) -> Result<(), Errno> {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Running(_)) {
            return Err(Errno::EBUSY);
        }
        *phase = Phase::Stopped(State::new(seed, ram, wires, &self.memory)?);
        Ok(())
    }

    /// How far each device has come.
    pub fn progress(&self) -> Vec<Progress> {
        match &*lock(&self.phase) {
            Phase::Empty => Vec::new(),
            Phase::Stopped(state) => state.progress(),
            Phase::Running(runner) => lock(&runner.workload).state().progress(),
        }
    }

    /// What can be seen of it: finished DMAs are its progress. `None` before it has devices.
    pub fn view(&self) -> Option<GuestView> {
        let running = match &*lock(&self.phase) {
            Phase::Empty => return None,
            Phase::Stopped(_) => false,
            Phase::Running(_) => true,
        };
        let progress = self.progress().iter().map(|device| device.finished).sum();
        let mut ram: Vec<PageRun> = self.memory.mappings().iter().filter_map(page_run).collect();
        ram.sort();
        Some(GuestView { running, progress: Some(progress), ram, injected: Vec::new() })
    }
}

/// Pages of files only; holes that were punched cannot be told from here, so the generation is 0.
fn page_run(mapping: &Mapping) -> Option<PageRun> {
    let (inode, offset_bytes) = mapping.file?;
    let first = PageRef { inode, index: offset_bytes / PAGE_BYTES, generation: 0 };
    Some(PageRun { first, pages: (mapping.va.end - mapping.va.start) / PAGE_BYTES })
}

impl Guest for TestGuest {
    fn stop(&mut self) -> Result<(), Errno> {
        let mut phase = lock(&self.phase);
        *phase = match std::mem::take(&mut *phase) {
            Phase::Running(runner) => Phase::Stopped(runner.stop()?),
            other => other,
        };
        Ok(())
    }

    /// EBUSY while it runs, EINVAL before it has devices, and what `pwrite(2)` says.
    fn save(&mut self, fd: Fd) -> Result<(), Errno> {
        let state = match &*lock(&self.phase) {
            Phase::Empty => return Err(Errno::EINVAL),
            Phase::Running(_) => return Err(Errno::EBUSY),
            Phase::Stopped(state) => state.to_json(),
        };
        let written = calls::write_at(&mut calls::host(), fd, 0, &state)?;
        if written == state.len() as u64 { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// EBUSY while it runs.
    fn load(&mut self, fd: Fd) -> Result<(), Errno> {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Running(_)) {
            return Err(Errno::EBUSY);
        }
        let saved = calls::read_at(&mut calls::host(), fd, 0, STATE_BYTES_MAX)?;
        *phase = Phase::Stopped(State::from_json(&saved)?);
        Ok(())
    }

    /// EINVAL before it has devices, and what [`Workload::resume`] says; stopped as before then.
    fn start(&mut self) -> Result<(), Errno> {
        let mut phase = lock(&self.phase);
        let state = match &*phase {
            Phase::Empty => return Err(Errno::EINVAL),
            Phase::Running(_) => return Ok(()),
            Phase::Stopped(state) => state.clone(),
        };
        *phase = Phase::Running(Runner::start(Workload::resume(state, self.memory.clone())?));
        Ok(())
    }
}
