//! When two kernels have answered alike.
//!
//! Errnos and out-fields are compared. Not compared is what a kernel is free to choose and what a
//! trace cannot know: descriptor numbers and addresses (the simulator is made to give the recorded
//! ones), inode numbers, and the contents of memory and of device registers, because neither stores
//! nor DMA are in a trace; nor whether a dead process had been reaped when it was killed once more.

use handoff_model::call::{Answer, Call, Reply};
use handoff_model::errno::Errno;

/// Whether the simulator answered a call as the recorded kernel did.
pub(super) fn agree(call: &Call, recorded: &Answer, simulated: &Answer) -> bool {
    match (recorded, simulated) {
        // A signal to a process that has died and was not reaped yet is no error.
        (Ok(_), Err(Errno::ESRCH)) if matches!(call, Call::Kill { .. }) => true,
        (Ok(recorded), Ok(simulated)) => alike(recorded, simulated),
        (recorded, simulated) => recorded == simulated,
    }
}

fn alike(recorded: &Reply, simulated: &Reply) -> bool {
    match (recorded, simulated) {
        (Reply::Stat { length_bytes: a, .. }, Reply::Stat { length_bytes: b, .. }) => a == b,
        (Reply::Bytes(a), Reply::Bytes(b)) => a.len() == b.len(),
        (a, b) => a == b,
    }
}
