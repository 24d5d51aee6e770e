//! The clock of traces: CLOCK_MONOTONIC, the same for every process of one boot.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since an unspecified time of this boot; monotonic.
pub fn monotonic_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec.cast_unsigned() * 1_000_000_000 + tv_nsec.cast_unsigned()
}
