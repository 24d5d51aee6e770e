//! Limits that may end a search before it is exhaustive.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of states (approximate).
    pub states_max: u32,
    /// Number of steps of a run.
    pub depth_max: Option<u32>,
    /// Time (approximate); at least one block is expanded in any case.
    pub time_max: Option<Duration>,
    /// Memory of this process in bytes (approximate).
    pub memory_max_bytes: Option<u64>,
    /// Number of threads.
    pub threads: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let states_max = u32::MAX / 2;
        Self { states_max, depth_max: None, time_max: None, memory_max_bytes: None, threads }
    }
}

/// The reason why a search is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The search reached [`Limits::states_max`].
    States(u32),
    /// The search reached [`Limits::depth_max`].
    Depth(u32),
    /// The search reached [`Limits::time_max`].
    Time(Duration),
    /// The search reached [`Limits::memory_max_bytes`].
    Memory(u64),
    /// States beyond the model's boundary (so many) were checked and not expanded.
    Boundary(u64),
    /// The model panicked.
    Panic,
}

impl StopReason {
    /// Returns true if the search could resume there with a higher limit.
    pub(super) fn can_resume(self) -> bool {
        matches!(self, Self::States(_) | Self::Time(_) | Self::Memory(_))
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(most) => write!(f, "the limit of {most} states"),
            Self::Depth(most) => write!(f, "the limit of {most} steps"),
            Self::Time(most) => write!(f, "the time limit of {} s", most.as_secs()),
            Self::Memory(most) => write!(f, "the memory limit of {} MiB", most >> 20),
            Self::Boundary(states) => write!(f, "the boundary, with {states} states beyond it"),
            Self::Panic => write!(f, "a panic"),
        }
    }
}

/// Number of items below which a thread is not worth its overhead.
const PIECE_MIN: usize = 16;

impl Limits {
    /// Returns the number of threads to use for so many items.
    pub(super) fn threads_for(&self, items: usize) -> NonZeroUsize {
        NonZeroUsize::new(items / PIECE_MIN)
            .map_or(NonZeroUsize::MIN, |most| self.threads.min(most))
    }

    /// Returns the size of a piece, small enough that no thread waits long for another. Results do
    /// not depend on it.
    pub(super) fn piece_of(&self, items: usize) -> usize {
        (items / self.threads.get() / 4).max(PIECE_MIN)
    }
}

/// Returns the resident memory of this process; `None` if the kernel does not report it.
pub(super) fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
}
