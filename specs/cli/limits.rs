//! The limits of a search, as arguments.

use handoff_checker::search::Limits;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits that stop a search, and its number of threads.
#[derive(clap::Args, Clone, Copy, Default)]
pub(super) struct LimitArguments {
    /// Stop each scenario after N states, without a proof
    #[arg(long, value_name = "N")]
    states: Option<u32>,

    /// Stop each scenario after this time: 90, 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,

    /// Follow each run for at most N steps
    #[arg(long, value_name = "N")]
    depth: Option<u32>,

    /// Stop each scenario when this process uses this much memory
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,

    /// Number of threads; it does not affect results [default: one per core]
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

/// Parses `90`, `90s` or `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix('m') {
        Some(digits) => (digits, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = digits.parse().map_err(|_| {
        "expected a number of seconds, such as 90 or 90s, or of minutes, such as 5m".to_owned()
    })?;
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}
