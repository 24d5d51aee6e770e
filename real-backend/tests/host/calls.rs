//! Calls that a test makes, and the answers that it expects.

use handoff_model::abi::call::{Call, CallResult, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::host::Host;

/// Makes a call that must give a descriptor.
#[track_caller]
pub(crate) fn fd(host: &mut Host, call: &Call) -> Fd {
    match host.call(call) {
        Ok(Reply::Fd(fd)) => fd,
        other => panic!("{call:?}: {other:?}"),
    }
}

/// A memfd of a length.
#[track_caller]
pub(crate) fn memfd(host: &mut Host, length_bytes: u64) -> Fd {
    let fd = fd(host, &Call::Memory(MemoryCall::Memfd { name: "test".to_owned() }));
    check(host, &[(Call::Memory(MemoryCall::Truncate { fd, length_bytes }), Ok(Reply::Done))]);
    fd
}

/// Makes calls in turn; each must be answered as its row says.
#[track_caller]
pub(crate) fn check(host: &mut Host, rows: &[(Call, CallResult)]) {
    for (at, (call, expected)) in rows.iter().enumerate() {
        assert_eq!(&host.call(call), expected, "row {at}: {call:?}");
    }
}

/// Short for a call that has nothing to tell.
pub(crate) const DONE: CallResult = Ok(Reply::Done);

/// Short for a refusal.
pub(crate) const fn no(errno: Errno) -> CallResult {
    Err(errno)
}
