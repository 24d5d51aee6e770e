//! A guest made of test devices: a [`crate::workload`], and a thread that ticks while it runs.
//!
//! The thread stands for the vCPUs. [`Guest::stop`] returns once it has ended, so a stopped guest
//! accesses no memory or device. Before it ends, the thread ticks once more, so that every device
//! has a DMA in flight, which completes while the guest is stopped.

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

/// Interval between ticks of a running guest.
const TICK: Duration = Duration::from_millis(2);

/// Maximum size of a saved state, in bytes.
const STATE_BYTES_MAX: u64 = 1 << 20;

/// The guest. Clones share it, so that an embedder can watch the guest that its host drives.
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

    /// Ends the thread. Fails with `EIO` if it panicked.
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
    /// A guest without devices; `memory` is that of the `Host` that will drive it.
    pub fn new(memory: Memory) -> Self {
        Self { memory, phase: Arc::default() }
    }

    /// Gives a stopped guest its devices, and marks them.
    ///
    /// # Errors
    /// `EBUSY` while it runs; the errors of [`State::new`].
    pub fn wire(&self, seed: u64, ram: Ram, wires: &[Wires]) -> Result<(), Errno> {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Running(_)) {
            return Err(Errno::EBUSY);
        }
        *phase = Phase::Stopped(State::new(seed, ram, wires, &self.memory)?);
        Ok(())
    }

    /// Progress of each device.
    pub fn progress(&self) -> Vec<Progress> {
        match &*lock(&self.phase) {
            Phase::Empty => Vec::new(),
            Phase::Stopped(state) => state.progress(),
            Phase::Running(runner) => lock(&runner.workload).state().progress(),
        }
    }

    /// A view of the guest, whose progress is the number of finished DMAs. `None` until it has
    /// devices.
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

/// File-backed pages only. Punched holes are not visible here, so the generation is 0.
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

    /// Fails with `EBUSY` while it runs, with `EINVAL` without devices, or with an errno of
    /// `pwrite(2)`.
    fn save(&mut self, fd: Fd) -> Result<(), Errno> {
        let state = match &*lock(&self.phase) {
            Phase::Empty => return Err(Errno::EINVAL),
            Phase::Running(_) => return Err(Errno::EBUSY),
            Phase::Stopped(state) => state.to_json(),
        };
        let written = calls::write_at(&mut calls::host(), fd, 0, &state)?;
        if written == state.len() as u64 { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// Fails with `EBUSY` while it runs.
    fn load(&mut self, fd: Fd) -> Result<(), Errno> {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Running(_)) {
            return Err(Errno::EBUSY);
        }
        let saved = calls::read_at(&mut calls::host(), fd, 0, STATE_BYTES_MAX)?;
        *phase = Phase::Stopped(State::from_json(&saved)?);
        Ok(())
    }

    /// Fails with `EINVAL` without devices, or with an error of [`Workload::resume`]; it then stays
    /// stopped.
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
