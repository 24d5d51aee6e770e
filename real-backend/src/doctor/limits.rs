//! Checks of the process's resources: locked memory, descriptors, sealable memfds.
//!
//! Without CAP_IPC_LOCK, pinned pages are charged to the user against RLIMIT_MEMLOCK. During a
//! handoff the kernel charges the new owner before it uncharges the old one. Both are the same
//! user, so that every page is briefly charged twice (hazard H1).

use super::{Finding, ask};
use crate::process;
use handoff_model::abi::call::UNLIMITED;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::Resource;

/// Limits of the process that runs the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The soft RLIMIT_MEMLOCK in bytes; [`UNLIMITED`] if there is none.
    pub memlock_bytes: u64,
    /// The soft RLIMIT_NOFILE; [`UNLIMITED`] if there is none.
    pub open_files: u64,
    /// True if CAP_IPC_LOCK is effective.
    pub ipc_lock: bool,
}

impl Limits {
    /// Limits of the calling process.
    pub fn here() -> Self {
        let open_files = rustix::process::getrlimit(Resource::Nofile).current;
        Self {
            memlock_bytes: process::memlock(),
            open_files: open_files.unwrap_or(UNLIMITED),
            ipc_lock: process::has_ipc_lock().unwrap_or(false),
        }
    }
}

pub(super) fn examine(limits: &Limits, ram_bytes: u64) -> Vec<Finding> {
    vec![ipc_lock(limits.ipc_lock), memlock(limits, ram_bytes), open_files(limits), seals()]
}

fn ipc_lock(held: bool) -> Finding {
    let question = ask("limits.ipc_lock", "pinned pages are charged to the user");
    if held {
        return question.warn(
            "CAP_IPC_LOCK is held: pinned pages are charged to no account, and a VMM that maps \
             memory with it is refused a handoff",
            "run the VMM without it: setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock VMM",
        );
    }
    question.pass("CAP_IPC_LOCK is not held: the user is charged")
}

fn memlock(limits: &Limits, ram_bytes: u64) -> Finding {
    let question = ask("limits.memlock", "RLIMIT_MEMLOCK is at least twice the guest RAM");
    let Limits { memlock_bytes, ipc_lock, .. } = *limits;
    let needed_bytes = ram_bytes.saturating_mul(2);
    if memlock_bytes == UNLIMITED {
        return question.pass("unlimited");
    }
    if ram_bytes == 0 {
        return question
            .skip(format!("{memlock_bytes} bytes; the size of guest RAM was not given"));
    }
    let evidence = format!("{memlock_bytes} bytes, {needed_bytes} required");
    if memlock_bytes >= needed_bytes {
        return question.pass(evidence);
    }
    let remedy = format!(
        "prlimit --pid PID --memlock={needed_bytes}, or LimitMEMLOCK={needed_bytes} in the unit"
    );
    if ipc_lock {
        let evidence = format!("{evidence} once it runs without CAP_IPC_LOCK");
        return question.warn(evidence, remedy);
    }
    question.fail(evidence, remedy)
}

/// Enough for several devices, their vectors, RAM and sockets in one table.
const OPEN_FILES_MIN: u64 = 1024;

fn open_files(limits: &Limits) -> Finding {
    let question = ask("limits.open_files", format!("RLIMIT_NOFILE is at least {OPEN_FILES_MIN}"));
    let evidence = format!("RLIMIT_NOFILE is {}", limits.open_files);
    if limits.open_files >= OPEN_FILES_MIN {
        return question.pass(evidence);
    }
    question.warn(evidence, format!("prlimit --pid PID --nofile={OPEN_FILES_MIN}"))
}

fn seals() -> Finding {
    let question = ask("memfd.seals", "memfds can be created and their size sealed");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let sealed = rustix::fs::memfd_create("handoff-doctor", flags)
        .and_then(|fd| rustix::fs::fcntl_add_seals(fd, SealFlags::SHRINK | SealFlags::GROW));
    match sealed {
        Ok(()) => question.pass("created and sealed one"),
        Err(errno) => question.fail(errno.to_string(), "allow memfd_create in the seccomp filter"),
    }
}
