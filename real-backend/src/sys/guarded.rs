//! Ioctls whose bytes may lie about their length, or lead nowhere.
//!
//! Every piece of the argument lies at the end of pages of its own, before a page that nobody can
//! touch: where a kernel reads or writes on, it meets EFAULT and never this process's memory.
//!
//! Invariant: a [`Piece`] is mapped from its making to its drop, and its bytes are the last of its
//! pages but one.
//!
//! Mirrors: `mmap(2)`, `mprotect(2)`.

use super::{errno, raw_ioctl};
use handoff_model::abi::argument::{Argument, HexBytes, Ioctl, IoctlOutcome};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;
use std::ptr;

/// Bytes before a guard page.
struct Piece {
    start: *mut u8,
    pages_bytes: usize,
    length: usize,
}

/// The page size as a length.
const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_BYTES);

impl Piece {
    /// ENOMEM.
    fn new(bytes: &[u8]) -> Result<Self, Errno> {
        let pages_bytes = bytes.len().div_ceil(PAGE) * PAGE;
        let (all, protection) = (pages_bytes + PAGE, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), all, protection, MapFlags::PRIVATE)
        };
        let start = start.map_err(errno)?.cast::<u8>();
        let piece = Self { start, pages_bytes, length: bytes.len() };
        // SAFETY: the last page of the mapping that was just made; nothing refers to it.
        unsafe {
            rustix::mm::mprotect(start.add(pages_bytes).cast(), PAGE, MprotectFlags::empty())
        }
        .map_err(errno)?;
        // SAFETY: the bytes end where the writable pages end, and they are new.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), piece.first(), bytes.len()) };
        Ok(piece)
    }

    fn first(&self) -> *mut u8 {
        self.start.wrapping_add(self.pages_bytes - self.length)
    }

    /// For the kernel.
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
        // SAFETY: readable, mapped until the drop, and as long.
        unsafe { ptr::copy_nonoverlapping(self.first(), bytes.as_mut_ptr(), self.length) };
        bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; nothing refers to it.
        let unmapped =
            unsafe { rustix::mm::munmap(self.start.cast::<c_void>(), self.pages_bytes + PAGE) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Makes any ioctl. ENOMEM also when this process has no room for the argument.
pub(crate) fn ioctl(fd: Fd, ioctl: &Ioctl) -> IoctlOutcome {
    ioctl_by(ioctl, |argument| raw_ioctl(fd, ioctl.request, argument))
}

/// [`ioctl`], by something that is given the argument as the kernel takes it.
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
