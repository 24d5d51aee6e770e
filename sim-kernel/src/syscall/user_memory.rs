//! The argument of an ioctl as the kernel sees it: memory of the caller, to be copied in and out.
//!
//! Memory that is missing or read-only fails with EFAULT; bytes before it are still written. A
//! pointer in the structure leads to the memory that the call supplies for it, or is invalid.
//!
//! Mirrors `copy_struct_from_user`, `copy_from_user`, `copy_to_user` of `include/linux/uaccess.h`.

use crate::syscall::failure::{SyscallResult, fail};
use handoff_model::abi::argument::{Argument, HexBytes, IoctlOutcome, Pointee, Structure};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId};

/// The caller's argument of an ioctl.
#[derive(Debug)]
pub(crate) struct User {
    /// The argument itself, if it is a number.
    pub(crate) value: u64,
    bytes: Vec<u8>,
    read_only: bool,
    pointees: Vec<Pointee>,
}

impl User {
    pub(crate) fn new(argument: &Argument) -> Self {
        match argument {
            Argument::Value(value) => {
                Self { value: *value, bytes: Vec::new(), read_only: true, pointees: Vec::new() }
            }
            Argument::Structure(Structure { bytes, read_only, pointees }) => Self {
                value: u64::MAX,
                bytes: bytes.clone(),
                read_only: *read_only,
                pointees: pointees.clone(),
            },
        }
    }

    /// Returns the result with the final content of the caller's memory.
    pub(crate) fn outcome(self, result: Result<u32, Errno>) -> IoctlOutcome {
        let pointees = self.pointees.into_iter().map(|pointee| HexBytes(pointee.bytes));
        IoctlOutcome { result, bytes: self.bytes, pointees: pointees.collect() }
    }

    /// Returns all bytes of the structure.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a word, as `get_user`. Fails with `EFAULT`.
    pub(crate) fn word(&self, at: usize) -> SyscallResult<u32> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(fail(Errno::EFAULT))
    }

    /// Copies the first bytes in, as `copy_from_user`. Fails with `EFAULT`.
    pub(crate) fn copy(&self, length: usize) -> SyscallResult<Fields> {
        let bytes = self.bytes.get(..length).ok_or(fail(Errno::EFAULT))?;
        Ok(Fields(bytes.to_vec()))
    }

    /// Copies a structure in, as `copy_struct_from_user`: the caller's has `theirs` bytes, the
    /// kernel's `ours`; missing bytes are zero.
    ///
    /// # Errors
    ///
    /// `E2BIG` if the caller's structure is longer and not zero there; `EFAULT`.
    pub(crate) fn copy_structure(&self, ours: usize, theirs: usize) -> SyscallResult<Fields> {
        if theirs > ours {
            let known = self.bytes.get(ours..).unwrap_or_default();
            if known.iter().take(theirs - ours).any(|byte| *byte != 0) {
                return Err(fail(Errno::E2BIG));
            }
            if self.bytes.len() < theirs {
                return Err(fail(Errno::EFAULT));
            }
        }
        let mut fields = self.copy(ours.min(theirs))?;
        fields.0.resize(ours, 0);
        Ok(fields)
    }

    /// Copies bytes out, as `copy_to_user`. Fails with `EFAULT`.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) -> SyscallResult<()> {
        let place = self.bytes.get_mut(at..).filter(|_| !self.read_only);
        copy_out(place.unwrap_or_default(), bytes)
    }

    /// Returns the memory behind the pointer at this offset; empty if the pointer is invalid.
    pub(crate) fn pointee(&self, at: usize) -> &[u8] {
        let found = self.pointees.iter().find(|pointee| pointee.at == at);
        found.map_or(&[], |pointee| &pointee.bytes)
    }

    /// Reads through a pointer, as `copy_from_user`. Fails with `EFAULT`.
    pub(crate) fn read_through(
        &self,
        at: usize,
        offset: usize,
        length: usize,
    ) -> SyscallResult<&[u8]> {
        let place = self.pointee(at).get(offset..).and_then(|rest| rest.get(..length));
        place.ok_or(fail(Errno::EFAULT))
    }

    /// Writes through a pointer, as `copy_to_user`. Fails with `EFAULT`.
    pub(crate) fn write_through(
        &mut self,
        at: usize,
        offset: usize,
        bytes: &[u8],
    ) -> SyscallResult<()> {
        let found = self.pointees.iter_mut().find(|pointee| pointee.at == at);
        let place = found.and_then(|pointee| pointee.bytes.get_mut(offset..));
        copy_out(place.unwrap_or_default(), bytes)
    }
}

/// Maximum number of bytes that are stored together or not at all.
const WORD_BYTES: usize = 8;

/// Copies bytes out. If the memory ends too early, fails with `EFAULT`; more than a word is still
/// copied as far as it fits.
fn copy_out(place: &mut [u8], bytes: &[u8]) -> SyscallResult<()> {
    let fits = place.len().min(bytes.len());
    if fits == bytes.len() || bytes.len() > WORD_BYTES {
        place[..fits].copy_from_slice(&bytes[..fits]);
    }
    if fits == bytes.len() { Ok(()) } else { Err(fail(Errno::EFAULT)) }
}

/// A structure that was copied in; offsets are those of the kernel's headers.
#[derive(Clone, Debug)]
pub(crate) struct Fields(pub(crate) Vec<u8>);

impl Fields {
    fn chunk<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.0[at..].first_chunk().expect("a field of the structure")
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.chunk(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.chunk(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.chunk(at))
    }

    pub(crate) fn fd(&self, at: usize) -> Fd {
        Fd(self.u32(at).cast_signed())
    }

    pub(crate) fn id(&self, at: usize) -> ObjectId {
        ObjectId(self.u32(at))
    }

    pub(crate) fn set_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    pub(crate) fn set_u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
}
