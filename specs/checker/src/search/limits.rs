//! What may end a search before everything was seen.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// When to stop although there is more.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most states, about.
    pub states_max: u32,
    /// The most steps.
    pub depth_max: Option<u32>,
    /// The longest time, about; some states are expanded in any time.
    pub time_max: Option<Duration>,
    /// The most memory of this process, about.
    pub memory_max_bytes: Option<u64>,
    /// How many threads work.
    pub threads: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let states_max = u32::MAX / 2;
        Self { states_max, depth_max: None, time_max: None, memory_max_bytes: None, threads }
    }
}

/// What cut a search short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// [`Limits::states_max`].
    States(u32),
    /// [`Limits::depth_max`].
    Depth(u32),
    /// [`Limits::time_max`].
    Time(Duration),
    /// [`Limits::memory_max_bytes`].
    Memory(u64),
    /// The model's boundary: so many states beyond it were judged and left.
    Boundary(u64),
    /// The model panicked.
    Panic,
}

impl StopReason {
    /// Whether the search could go on where it stopped, if the limit were another.
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

/// With less to do for each, threads are not worth their while.
const PIECE_MIN: usize = 16;

impl Limits {
    /// How many threads so many items are worth.
    pub(super) fn threads_for(&self, items: usize) -> NonZeroUsize {
        NonZeroUsize::new(items / PIECE_MIN)
            .map_or(NonZeroUsize::MIN, |most| self.threads.min(most))
    }

    /// Small enough that no thread waits long for another. What is found does not depend on it.
    pub(super) fn piece_of(&self, items: usize) -> usize {
        (items / self.threads.get() / 4).max(PIECE_MIN)
    }
}

/// What this process has in memory; `None` where the kernel does not tell.
pub(super) fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
}
