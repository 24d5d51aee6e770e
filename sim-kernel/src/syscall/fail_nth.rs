//! Calls that run out of memory: the nth allocation or pin of a call fails.
//!
//! Nearly every call takes back what it did then; what stays is what Linux leaves. A machine does
//! not remember that something failed: only the call under way counts.
//!
//! Mirrors `/proc/self/fail-nth` (`lib/fault-inject.c`), as
//! `tools/testing/selftests/iommu/iommufd_fail_nth.c` uses it; allocations are counted by what they
//! are for, not one by one.

use crate::machine::{Machine, Placement};
use crate::syscall::failure::{Failure, SyscallResult, fail};
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;

impl Machine {
    /// A call of which the nth allocation or pin fails, counted from 1; → what comes of it, where
    /// the simulator refused, and whether it came to that allocation.
    pub fn call_failing(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
        nth: u32,
    ) -> (CallResult, Option<Failure>, bool) {
        self.failing = nth;
        let (answer, refusal) = self.call_explained(pid, call, place);
        let came_to_it = std::mem::take(&mut self.failing) == 0;
        (answer, refusal, came_to_it)
    }

    /// Takes memory for something. ENOMEM where it is to fail.
    pub(crate) fn allocate(&mut self) -> SyscallResult<()> {
        if self.failing == 0 {
            return Ok(());
        }
        self.failing -= 1;
        if self.failing == 0 { Err(fail(Errno::ENOMEM)) } else { Ok(()) }
    }
}
