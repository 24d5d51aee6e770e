//! A register of the memory that a process has mapped through `Host`: guest RAM.
//!
//! Each live mapping is registered with the file behind it. Devices and other processes write to
//! guest RAM, so no Rust reference may point there: bytes are copied in and out one by one, and
//! only while the register's lock keeps the mapping alive.
//!
//! Invariants:
//! * every entry is mapped READ | WRITE over its whole length, a multiple of the page size;
//! * entries do not overlap;
//! * only registered memory is ever unmapped, so a bad address cannot unmap the program's own
//!   memory. This is the only deviation from `munmap(2)`: a range that is not fully registered
//!   fails with EINVAL.
//!
//! If a file is truncated under its mapping, the next copy raises SIGBUS, as in any program; guest
//! RAM is sealed against that (F_SEAL_SHRINK).
//!
//! Mirrors: `mmap(2)` and `munmap(2)`.

use super::{borrow, errno};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Va};
use rustix::mm::{MapFlags, ProtFlags};
use std::ops::Range;
use std::ptr::{self, with_exposed_provenance_mut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The register of mappings; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Vec<Mapping>>>);

/// A mapped range of this process's addresses, and the file behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The addresses; page-aligned at both ends.
    pub va: Range<u64>,
    /// The inode and the offset of the first byte in the file; `None` for anonymous memory.
    pub file: Option<(u64, u64)>,
}

impl Mapping {
    /// The parts outside `hole`: none, one or two.
    fn without(&self, hole: &Range<u64>) -> impl Iterator<Item = Self> {
        let before = self.va.start..self.va.end.min(hole.start);
        let after = self.va.start.max(hole.end)..self.va.end;
        [before, after].into_iter().filter(|va| va.start < va.end).map(|va| {
            let skipped = va.start - self.va.start;
            Self { file: self.file.map(|(inode, at)| (inode, at + skipped)), va }
        })
    }

    /// The address of byte `offset_bytes` of the file `inode`, if all `length_bytes` from there are
    /// in this mapping.
    fn find(&self, inode: u64, offset_bytes: u64, length_bytes: u64) -> Option<Va> {
        let (_, first) = self.file.filter(|(of, _)| *of == inode)?;
        let va = self.va.start.checked_add(offset_bytes.checked_sub(first)?)?;
        (va.checked_add(length_bytes)? <= self.va.end).then_some(Va(va))
    }
}

impl Memory {
    /// `mmap(length, READ | WRITE, MAP_SHARED, fd, offset)`; anonymous and private if `fd` is
    /// `None`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `ENODEV`, `ENOMEM`, `EACCES`.
    pub fn map(&self, fd: Option<Fd>, offset_bytes: u64, length_bytes: u64) -> Result<Va, Errno> {
        self.place(None, fd, offset_bytes, length_bytes)
    }

    /// Like [`Memory::map`], with an address as a hint.
    pub fn map_at(
        &self,
        at: Va,
        fd: Option<Fd>,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<Va, Errno> {
        self.place(Some(at), fd, offset_bytes, length_bytes)
    }

    fn place(
        &self,
        at: Option<Va>,
        fd: Option<Fd>,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<Va, Errno> {
        let mut register = self.lock();
        let length = usize::try_from(length_bytes).map_err(|_| Errno::ENOMEM)?;
        let file = fd.map(borrow);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let at = at.map_or(ptr::null_mut(), |va| with_exposed_provenance_mut(to_usize(va.0)));
        // SAFETY: without MAP_FIXED the kernel chooses addresses that are not in use.
        let start = unsafe {
            match file {
                Some(fd) => {
                    let flags = MapFlags::SHARED;
                    rustix::mm::mmap(at, length, protection, flags, fd, offset_bytes)
                }
                None => rustix::mm::mmap_anonymous(at, length, protection, MapFlags::PRIVATE),
            }
        };
        let start = start.map_err(errno)?.expose_provenance() as u64;
        let inode = file.and_then(|fd| rustix::fs::fstat(fd).ok()).map(|stat| stat.st_ino);
        let end = start + length_bytes.next_multiple_of(PAGE_BYTES);
        register.push(Mapping { va: start..end, file: inode.map(|inode| (inode, offset_bytes)) });
        Ok(Va(start))
    }

    /// `munmap(va, length)`. Fails with `EINVAL` if the range is not page-aligned, is empty, or was
    /// not completely mapped through this register.
    pub fn unmap(&self, va: Va, length_bytes: u64) -> Result<(), Errno> {
        let mut register = self.lock();
        let hole = page_range(va, length_bytes).ok_or(Errno::EINVAL)?;
        let rest: Vec<Mapping> = register.iter().flat_map(|part| part.without(&hole)).collect();
        if total_bytes(&register) - total_bytes(&rest) != hole.end - hole.start {
            return Err(Errno::EINVAL);
        }
        let start = with_exposed_provenance_mut(to_usize(hole.start));
        // SAFETY: the whole range is registered, so this process mapped it here, and copies access
        // it only under the lock that is held.
        unsafe { rustix::mm::munmap(start, to_usize(hole.end - hole.start)) }.map_err(errno)?;
        *register = rest;
        Ok(())
    }

    /// Copies out of mapped memory. Fails with `EFAULT` unless one mapping contains the whole
    /// range.
    pub fn read(&self, va: Va, to: &mut [u8]) -> Result<(), Errno> {
        let register = self.lock();
        let start = accessible(&register, va, to.len())?;
        for (at, byte) in to.iter_mut().enumerate() {
            // SAFETY: inside a live mapping, by the check and the lock. Any byte value is valid and
            // bytes need no alignment; volatile, because a device may write concurrently.
            *byte = unsafe { start.add(at).read_volatile() };
        }
        Ok(())
    }

    /// Copies into mapped memory. Fails with `EFAULT` unless one mapping contains the whole range.
    pub fn write(&self, va: Va, from: &[u8]) -> Result<(), Errno> {
        let register = self.lock();
        let start = accessible(&register, va, from.len())?;
        for (at, byte) in from.iter().enumerate() {
            // SAFETY: as in `read`; every mapping of the register is writable.
            unsafe { start.add(at).write_volatile(*byte) };
        }
        Ok(())
    }

    /// The address where `length_bytes` of a file, from `offset_bytes` on, are mapped.
    pub fn find(&self, inode: u64, offset_bytes: u64, length_bytes: u64) -> Option<Va> {
        self.lock().iter().find_map(|part| part.find(inode, offset_bytes, length_bytes))
    }

    /// All current mappings.
    pub fn mappings(&self) -> Vec<Mapping> {
        self.lock().clone()
    }

    /// Locks the register, even if poisoned: it changes in single assignments, so it is consistent.
    fn lock(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn total_bytes(register: &[Mapping]) -> u64 {
    register.iter().map(|part| part.va.end - part.va.start).sum()
}

fn page_range(va: Va, length_bytes: u64) -> Option<Range<u64>> {
    let length = length_bytes.checked_next_multiple_of(PAGE_BYTES)?;
    let end = va.0.checked_add(length)?;
    (va.0.is_multiple_of(PAGE_BYTES) && length > 0).then_some(va.0..end)
}

fn accessible(register: &[Mapping], va: Va, length: usize) -> Result<*mut u8, Errno> {
    let end = va.0.checked_add(length as u64).ok_or(Errno::EFAULT)?;
    let inside = |part: &Mapping| part.va.start <= va.0 && end <= part.va.end;
    let found = register.iter().any(inside);
    found.then(|| with_exposed_provenance_mut(to_usize(va.0))).ok_or(Errno::EFAULT)
}

fn to_usize(address: u64) -> usize {
    usize::try_from(address).expect("iommufd and VFIO cdevs exist on 64-bit hosts")
}
