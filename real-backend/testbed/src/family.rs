//! The processes of a run, as their supervisor handles them.
//!
//! A new VMM is a child of the old one and outlives it. A supervisor that waits for all of them
//! must first become the subreaper of its descendants ([`adopt_orphans`]). Every process of the run
//! then becomes its child at the latest when its parent exits, and [`reap_all`] waits for the last.
//!
//! Mirrors: `PR_SET_CHILD_SUBREAPER` of `prctl(2)`, `waitpid(2)`.

use crate::sys;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Uid;
use rustix::process::{Pid, Signal, WaitOptions};
use std::time::{Duration, Instant};

/// Makes the calling process the parent of every orphan among its descendants.
pub fn adopt_orphans() -> Result<(), Errno> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(sys::errno)
}

/// Waits until no child is left and returns true. After `limit`, kills the rest and returns false.
pub fn reap_all(limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() > until => {
                for child in children() {
                    let _ = rustix::process::kill_process(child, Signal::KILL);
                }
                while let Ok(Some(_)) = rustix::process::wait(WaitOptions::empty()) {}
                return false;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => return true,
        }
    }
}

/// The children of the calling process, from `/proc`.
fn children() -> impl Iterator<Item = Pid> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(move |entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
        let number = entry.file_name().to_str()?.parse().ok()?;
        (parent == own).then(|| Pid::from_raw(number)).flatten()
    })
}

/// Kills the calling process with SIGKILL: it exits at once, without cleanup.
///
/// # Panics
/// If the kernel does not deliver the signal, which cannot happen.
pub fn kill_self() -> ! {
    let sent = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    panic!("SIGKILL to this process returned: {sent:?}");
}

/// The effective user ID of the calling process.
pub fn own_user() -> Uid {
    Uid(rustix::process::geteuid().as_raw())
}
