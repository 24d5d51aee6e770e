//! System calls of the test support, with their replies unpacked. No trace records them.

use handoff_model::abi::call::{Call, DeviceCall, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;

/// The calling process's kernel, without a guest and without a recorder.
pub(crate) fn host() -> Host {
    Host::new(Vec::new(), Memory::default(), Box::new(NoGuest))
}

/// One `pread`.
pub(crate) fn read_at(
    kernel: &mut dyn Kernel,
    fd: Fd,
    offset_bytes: u64,
    length_bytes: u64,
) -> Result<Vec<u8>, Errno> {
    match kernel.call(&FileCall::read_at(fd, offset_bytes, length_bytes))? {
        Reply::Bytes(bytes) => Ok(bytes),
        _ => Err(Errno::EIO),
    }
}

/// One `pwrite`; returns the number of bytes written.
pub(crate) fn write_at(
    kernel: &mut dyn Kernel,
    fd: Fd,
    offset_bytes: u64,
    bytes: &[u8],
) -> Result<u64, Errno> {
    match kernel.call(&FileCall::write_at(fd, offset_bytes, bytes.to_vec()))? {
        Reply::Length(length_bytes) => Ok(length_bytes),
        _ => Err(Errno::EIO),
    }
}

/// Reads and resets the count of an eventfd; 0 if it was zero.
pub(crate) fn take_events(kernel: &mut dyn Kernel, fd: Fd) -> Result<u64, Errno> {
    match kernel.call(&Call::File(FileCall::ReadEvent { fd })) {
        Ok(Reply::Count(count)) => Ok(count),
        Ok(_) => Err(Errno::EIO),
        Err(Errno::EAGAIN) => Ok(0),
        Err(errno) => Err(errno),
    }
}

/// The offset of a region in its device file.
pub(crate) fn region_offset(kernel: &mut dyn Kernel, device: Fd, index: u32) -> Result<u64, Errno> {
    match kernel.call(&Call::Device(DeviceCall::RegionInfo { device, index }))? {
        Reply::RegionInfo { offset_bytes, .. } => Ok(offset_bytes),
        _ => Err(Errno::EIO),
    }
}

/// `close`.
pub(crate) fn close(fd: Fd) -> Result<(), Errno> {
    host().call(&Call::File(FileCall::Close { fd })).map(drop)
}
