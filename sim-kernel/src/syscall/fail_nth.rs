//! Fault injection: the nth allocation or pin of a call fails.
//!
//! Nearly every call then undoes its effects; only what Linux leaves behind stays. The machine does
//! not remember the failure: the counter exists only during the call.
//!
//! Mirrors `/proc/self/fail-nth` (`lib/fault-inject.c`), as
//! `tools/testing/selftests/iommu/iommufd_fail_nth.c` uses it; allocations are counted by purpose,
//! not one by one.

use crate::machine::{Machine, Placement};
use crate::syscall::failure::{Failure, SyscallResult, fail};
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;

impl Machine {
    /// Executes a call whose nth allocation or pin fails, counted from 1. Returns the answer, the
    /// branch that refused the call, if any, and whether the call reached that allocation.
    pub fn call_failing(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
        nth: u32,
    ) -> (CallResult, Option<Failure>, bool) {
        self.failing = nth;
        let (answer, refusal) = self.call_explained(pid, call, place);
        let was_reached = std::mem::take(&mut self.failing) == 0;
        (answer, refusal, was_reached)
    }

    /// Allocates memory for one purpose. Fails with `ENOMEM` if it is the allocation to fail.
    pub(crate) fn allocate(&mut self) -> SyscallResult<()> {
        if self.failing == 0 {
            return Ok(());
        }
        self.failing -= 1;
        if self.failing == 0 { Err(fail(Errno::ENOMEM)) } else { Ok(()) }
    }
}
