//! Comparison of two kernels' answers.
//!
//! Errnos and output fields are compared; for an ioctl, every byte of its structure and of its
//! buffers, even if it fails. Values that a kernel may choose or that a trace does not contain are
//! not compared: inode numbers, the contents of memory and of device registers (neither stores nor
//! DMA are recorded), and whether a dead process had been reaped when it was killed again.
//! Descriptor numbers and addresses are compared, because the simulator is given the recorded ones.
//!
//! The table [`UNKNOWN`] lists the bytes of ioctls that cannot be compared.

use super::ioctls::Asked;
use handoff_model::abi::argument::{HexBytes, IoctlOutcome};
use handoff_model::abi::call::{Call, CallResult, FileCall, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::PAGE_BYTES;
use handoff_model::abi::request as nr;

/// Maximum number of bytes of a buffer that a recorder keeps.
pub(super) const KEPT_BYTES: usize = 64 * 1024;

/// A buffer whose bytes cannot be compared.
struct Unknown {
    request: u32,
    /// The operation, for `IOMMU_TEST_CMD`.
    op: Option<u32>,
    /// Offset of the pointer to the buffer in the structure.
    pointer: usize,
    /// Returns true for the calls whose buffer cannot be compared.
    when: fn(&Asked) -> bool,
}

const UNKNOWN: &[Unknown] = &[
    // ACCESS_RW reads what the process has stored in its memory, and stores are not recorded.
    Unknown {
        request: nr::IOMMU_TEST_CMD,
        op: Some(8),
        pointer: 32,
        when: |asked| asked.word(40).is_some_and(|flags| flags & 1 == 0),
    },
    // Entries of more than a page extend over other data on the caller's stack: the argument.
    Unknown {
        request: nr::IOMMU_HWPT_INVALIDATE,
        op: None,
        pointer: 8,
        when: |asked| {
            asked
                .word(20)
                .zip(asked.word(24))
                .is_some_and(|(length, count)| u64::from(length) * u64::from(count) > PAGE_BYTES)
        },
    },
];

/// Returns the differences between the recorded kernel's answer and the simulator's; empty if they
/// agree.
pub(super) fn differences(
    call: &Call,
    recorded: &CallResult,
    simulated: &CallResult,
) -> Vec<String> {
    let whole = |agree: bool| if agree { Vec::new() } else { vec!["the answer".to_owned()] };
    match (recorded, simulated) {
        (Ok(Reply::Ioctl(recorded)), Ok(Reply::Ioctl(simulated))) => {
            let asked = Asked::of(call).expect("its answer is one of an ioctl");
            of_ioctl(&asked, recorded, simulated)
        }
        // A signal to a process that has exited and is not yet reaped is not an error.
        (Ok(_), Err(Errno::ESRCH)) if matches!(call, Call::Process(ProcessCall::Kill { .. })) => {
            Vec::new()
        }
        (Ok(recorded), Ok(simulated)) => whole(alike(call, recorded, simulated)),
        (recorded, simulated) => whole(recorded == simulated),
    }
}

fn of_ioctl(asked: &Asked, recorded: &IoctlOutcome, simulated: &IoctlOutcome) -> Vec<String> {
    let result = (recorded.result != simulated.result).then(|| "the result".to_owned());
    let structure = differing("structure", &recorded.bytes, &simulated.bytes);
    let pointees = asked.ioctl.argument.pointees().iter();
    let buffers = pointees.zip(recorded.pointees.iter().zip(&simulated.pointees));
    let buffers = buffers.filter(|(pointee, _)| is_known(asked, pointee.at)).filter_map(
        |(pointee, (HexBytes(recorded), HexBytes(simulated)))| {
            differing(&format!("buffer at {}", pointee.at), recorded, simulated)
        },
    );
    result.into_iter().chain(structure).chain(buffers).collect()
}

fn is_known(asked: &Asked, pointer: usize) -> bool {
    let is_row = |row: &Unknown| {
        asked.is(row.request, row.op) && row.pointer == pointer && (row.when)(asked)
    };
    !UNKNOWN.iter().any(is_row)
}

/// Describes the first differing run of bytes within the common length.
fn differing(what: &str, recorded: &[u8], simulated: &[u8]) -> Option<String> {
    let is_different = |(_, (a, b)): &(usize, (&u8, &u8))| a != b;
    let pairs = || recorded.iter().zip(simulated).enumerate();
    let first = pairs().find(is_different)?.0;
    let end = pairs().skip(first).find(|pair| !is_different(pair)).map_or(recorded.len(), |p| p.0);
    let end = end.min(simulated.len());
    let hex = |bytes: &[u8]| {
        bytes.iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    };
    let (a, b) = (hex(&recorded[first..end]), hex(&simulated[first..end]));
    Some(format!("{what}, bytes {first} to {}: recorded {a}, simulated {b}", end - 1))
}

/// Returns true if two replies agree. Bytes from a queue of iommufd are neither memory nor a
/// register, so they are compared.
fn alike(call: &Call, recorded: &Reply, simulated: &Reply) -> bool {
    match (recorded, simulated) {
        (Reply::Stat { length_bytes: a, .. }, Reply::Stat { length_bytes: b, .. }) => a == b,
        (Reply::Bytes(a), Reply::Bytes(b))
            if !matches!(call, Call::File(FileCall::Read { .. })) =>
        {
            a.len() == b.len()
        }
        (a, b) => a == b,
    }
}
