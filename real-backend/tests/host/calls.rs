//! Helpers that make calls and check their answers.

use handoff_model::abi::call::{Call, CallResult, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::host::Host;

/// Makes a call that must return a descriptor.
#[track_caller]
pub(crate) fn fd(host: &mut Host, call: &Call) -> Fd {
    match host.call(call) {
        Ok(Reply::Fd(fd)) => fd,
        other => panic!("{call:?}: {other:?}"),
    }
}

/// Creates a memfd of the given length.
#[track_caller]
pub(crate) fn memfd(host: &mut Host, length_bytes: u64) -> Fd {
    let fd = fd(host, &Call::Memory(MemoryCall::Memfd { name: "test".to_owned() }));
    check(host, &[(Call::Memory(MemoryCall::Truncate { fd, length_bytes }), Ok(Reply::Done))]);
    fd
}

/// Makes calls in turn and compares each answer with the expected one.
#[track_caller]
pub(crate) fn check(host: &mut Host, rows: &[(Call, CallResult)]) {
    for (at, (call, expected)) in rows.iter().enumerate() {
        assert_eq!(&host.call(call), expected, "row {at}: {call:?}");
    }
}

/// The answer of a successful call without a result.
pub(crate) const DONE: CallResult = Ok(Reply::Done);

/// The answer of a call that fails with `errno`.
pub(crate) const fn no(errno: Errno) -> CallResult {
    Err(errno)
}
