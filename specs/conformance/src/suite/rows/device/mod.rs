//! Device files: calls and checks that their facts share.

pub(super) mod bind;
pub(super) mod holders;
pub(super) mod info;
pub(super) mod ioeventfd;
pub(super) mod reset;

use crate::suite::FactResult;
use crate::suite::fixture::Fixture;
use crate::suite::structure::sized;
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, FileCall, MemoryCall, Reply};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const MTTY: &[Capability] = &[Capability::Has(Device::Mtty)];
const OLD_KERNEL: &[Capability] = &[Capability::Has(Device::Edu), Capability::Release("6.13")];
const BAD: Fd = Fd(99);
pub(super) const CONFIG: u64 = 7 << 40;

pub(super) fn read(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    FileCall::read_at(fd, offset_bytes, length_bytes)
}

pub(super) fn write(fd: Fd, offset_bytes: u64, bytes: &[u8]) -> Call {
    FileCall::write_at(fd, offset_bytes, bytes.to_vec())
}

pub(super) fn mmap(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    MemoryCall::mmap(Some(fd), offset_bytes, length_bytes)
}

/// Returns a process with a bound device.
pub(super) fn begin(b: &mut Fixture<'_>, device: Device) -> FactResult<(Pid, Fd)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    Ok((p, b.bind(p, device, iommufd)?.0))
}

/// Checks the bytes at an offset of a device file.
pub(super) fn reads(
    b: &mut Fixture<'_>,
    p: Pid,
    fd: Fd,
    offset_bytes: u64,
    expected: &[u8],
) -> FactResult {
    let seen = b.ok(p, &read(fd, offset_bytes, expected.len() as u64))?;
    b.same(&format!("bytes at {offset_bytes:#x}"), &seen, &Reply::Bytes(expected.to_vec()))
}

/// Makes an ioctl, and checks the words that it writes after the first.
fn reports_info(b: &mut Fixture<'_>, p: Pid, call: &Call, expected: &[u32]) -> FactResult {
    let outcome = b.ioctl(p, call)?;
    let words = outcome.bytes[4..].chunks_exact(4);
    let seen: Vec<u32> =
        words.map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes"))).collect();
    b.same("the output", &seen, &expected.to_vec())
}

fn info(d: Fd, words: usize) -> Call {
    (1..words).fold(sized(), |fields, _| fields.u32(0xaaaa)).on(d, nr::VFIO_DEVICE_GET_INFO)
}

fn hot_reset(d: Fd, flags: u32, count: u32) -> Call {
    sized().u32(flags).u32(count).on(d, nr::VFIO_DEVICE_PCI_HOT_RESET)
}
