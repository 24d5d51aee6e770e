//! The argument of an ioctl as the kernel sees it: memory of the caller, to be copied in and out.
//!
//! What is not there, or may not be written, says EFAULT; what comes before it is written all the
//! same. A pointer in the structure leads where the call says that it does, or nowhere.
//!
//! Mirrors `copy_struct_from_user`, `copy_from_user`, `copy_to_user` of `include/linux/uaccess.h`.

use crate::syscall::failure::{SyscallResult, fail};
use handoff_model::abi::argument::{Argument, HexBytes, IoctlOutcome, Pointee, Structure};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId};

/// The caller's argument.
#[derive(Debug)]
pub(crate) struct User {
    /// The number, where the argument is one.
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

    /// What is left there in the end.
    pub(crate) fn outcome(self, result: Result<u32, Errno>) -> IoctlOutcome {
        let pointees = self.pointees.into_iter().map(|pointee| HexBytes(pointee.bytes));
        IoctlOutcome { result, bytes: self.bytes, pointees: pointees.collect() }
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `get_user` of a word. EFAULT.
    pub(crate) fn word(&self, at: usize) -> SyscallResult<u32> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(fail(Errno::EFAULT))
    }

    /// `copy_from_user` of the first bytes, with zeroes behind them. EFAULT.
    pub(crate) fn copy(&self, length: usize) -> SyscallResult<Fields> {
        let bytes = self.bytes.get(..length).ok_or(fail(Errno::EFAULT))?;
        Ok(Fields(bytes.to_vec()))
    }

    /// `copy_struct_from_user`: the caller's structure has `theirs` bytes, the kernel's `ours`.
    /// E2BIG where the caller's is longer and not zero there, EFAULT.
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

    /// `copy_to_user`. EFAULT.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) -> SyscallResult<()> {
        let place = self.bytes.get_mut(at..).filter(|_| !self.read_only);
        copy_out(place.unwrap_or_default(), bytes)
    }

    /// What the pointer at this offset leads to; nothing where it leads nowhere.
    pub(crate) fn pointee(&self, at: usize) -> &[u8] {
        let found = self.pointees.iter().find(|pointee| pointee.at == at);
        found.map_or(&[], |pointee| &pointee.bytes)
    }

    /// `copy_from_user` through a pointer. EFAULT.
    pub(crate) fn read_through(
        &self,
        at: usize,
        offset: usize,
        length: usize,
    ) -> SyscallResult<&[u8]> {
        let place = self.pointee(at).get(offset..).and_then(|rest| rest.get(..length));
        place.ok_or(fail(Errno::EFAULT))
    }

    /// `copy_to_user` through a pointer. EFAULT.
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

/// The most bytes that are stored at once, or not at all.
const WORD_BYTES: usize = 8;

/// Where the memory ends too early, more than a word is copied up to there. EFAULT.
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
