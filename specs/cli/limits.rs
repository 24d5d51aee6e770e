//! Limits of a search as arguments.

use handoff_checker::search::Limits;
use std::num::NonZeroUsize;
use std::time::Duration;

/// What stops a search before it is complete, and how many threads make it.
#[derive(clap::Args, Clone, Copy, Default)]
pub(super) struct LimitArguments {
    /// Stop after so many states of a scenario; what is left is not called proved
    #[arg(long, value_name = "N")]
    states: Option<u32>,

    /// Stop a scenario after so long: 90, 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,

    /// Follow no run for more than so many steps
    #[arg(long, value_name = "N")]
    depth: Option<u32>,

    /// Stop a scenario when this process has taken so much memory
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,

    /// Threads to search with; results are the same for any number [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl LimitArguments {
    pub(super) fn resolve(self) -> Limits {
        let usual = Limits::default();
        Limits {
            states_max: self.states.unwrap_or(usual.states_max),
            depth_max: self.depth,
            time_max: self.time,
            memory_max_bytes: self.memory.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
            threads: self.threads.unwrap_or(usual.threads),
        }
    }
}

/// `90`, `90s` or `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix('m') {
        Some(digits) => (digits, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of seconds, or like 5m".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}
