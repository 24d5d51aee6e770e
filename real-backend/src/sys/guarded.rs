//! Ioctls whose arguments may have wrong lengths or invalid pointers.
//!
//! Each piece of the argument ends where its own pages end, and an inaccessible page follows. A
//! kernel that reads or writes past the end gets EFAULT instead of this process's memory.
//!
//! Invariant: a [`Piece`] is mapped from its creation to its drop, and its bytes end where its
//! accessible pages end.
//!
//! Mirrors: `mmap(2)`, `mprotect(2)`.

use super::{errno, raw_ioctl};
use handoff_model::abi::argument::{Argument, HexBytes, Ioctl, IoctlOutcome};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;
use std::ptr;

/// Bytes that end at a guard page.
struct Piece {
    start: *mut u8,
    pages_bytes: usize,
    length: usize,
}

/// The page size in bytes.
const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_BYTES);

impl Piece {
    /// Maps the bytes. Fails with `ENOMEM`.
    fn new(bytes: &[u8]) -> Result<Self, Errno> {
        let pages_bytes = bytes.len().div_ceil(PAGE) * PAGE;
        let (all, protection) = (pages_bytes + PAGE, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), all, protection, MapFlags::PRIVATE)
        };
        let start = start.map_err(errno)?.cast::<u8>();
        let piece = Self { start, pages_bytes, length: bytes.len() };
        // SAFETY: the last page of the new mapping; there is no reference to it.
        unsafe {
            rustix::mm::mprotect(start.add(pages_bytes).cast(), PAGE, MprotectFlags::empty())
        }
        .map_err(errno)?;
        // SAFETY: the destination is new and ends where the writable pages end.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), piece.first(), bytes.len()) };
        Ok(piece)
    }

    fn first(&self) -> *mut u8 {
        self.start.wrapping_add(self.pages_bytes - self.length)
    }

    /// The address to pass to the kernel.
    fn address(&self) -> u64 {
        self.first().expose_provenance() as u64
    }

    fn make_read_only(&self) -> Result<(), Errno> {
        if self.pages_bytes == 0 {
            return Ok(());
        }
        // SAFETY: the pages of this piece, to which there is no reference.
        unsafe { rustix::mm::mprotect(self.start.cast(), self.pages_bytes, MprotectFlags::READ) }
            .map_err(errno)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        // SAFETY: the source is readable, mapped until the drop, and `length` bytes long.
        unsafe { ptr::copy_nonoverlapping(self.first(), bytes.as_mut_ptr(), self.length) };
        bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; there is no reference to it.
        let unmapped =
            unsafe { rustix::mm::munmap(self.start.cast::<c_void>(), self.pages_bytes + PAGE) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Makes any ioctl. Also fails with `ENOMEM` if this process cannot map the argument.
pub(crate) fn ioctl(fd: Fd, ioctl: &Ioctl) -> IoctlOutcome {
    ioctl_by(ioctl, |argument| raw_ioctl(fd, ioctl.request, argument))
}

/// Like [`ioctl`], but calls `make` with the argument as the kernel takes it.
pub(crate) fn ioctl_by(
    ioctl: &Ioctl,
    make: impl FnOnce(u64) -> Result<u32, Errno>,
) -> IoctlOutcome {
    made(ioctl, make).unwrap_or_else(|errno| ioctl.argument.untouched(Err(errno)))
}

fn made(
    ioctl: &Ioctl,
    make: impl FnOnce(u64) -> Result<u32, Errno>,
) -> Result<IoctlOutcome, Errno> {
    let structure = match &ioctl.argument {
        Argument::Value(value) => return Ok(ioctl.argument.untouched(make(*value))),
        Argument::Structure(structure) => structure,
    };
    let pointees = structure.pointees.iter().map(|pointee| Piece::new(&pointee.bytes));
    let pointees = pointees.collect::<Result<Vec<Piece>, Errno>>()?;
    let places = structure.pointees.iter().map(|pointee| pointee.at..pointee.at + size_of::<u64>());
    let mut bytes = structure.bytes.clone();
    for (place, piece) in places.clone().zip(&pointees) {
        let place = bytes.get_mut(place).ok_or(Errno::EINVAL)?;
        place.copy_from_slice(&piece.address().to_ne_bytes());
    }
    let argument = Piece::new(&bytes)?;
    if structure.read_only {
        argument.make_read_only()?;
    }
    let result = make(argument.address());
    let mut bytes = argument.bytes();
    for place in places {
        bytes[place.clone()].copy_from_slice(&structure.bytes[place]);
    }
    let pointees = pointees.iter().map(|piece| HexBytes(piece.bytes()));
    Ok(IoctlOutcome { result, bytes, pointees: pointees.collect() })
}
