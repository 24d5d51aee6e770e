//! Argument structures, built and read field by field.
//!
//! Offsets come from bindings of the kernel's headers; numbers are in native byte order.

use crate::abi::argument::Ioctl;
use crate::abi::ids::{Fd, ObjectId};

/// An argument structure under construction.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    /// Returns a zeroed structure with its leading `size` or `argsz` set.
    pub(super) fn sized(length: usize) -> Self {
        Self(vec![0; length]).u32(0, u32::try_from(length).expect("a structure is small"))
    }

    pub(super) fn u16(mut self, offset: usize, value: u16) -> Self {
        self.0[offset..offset + 2].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn fd(self, offset: usize, fd: Fd) -> Self {
        self.u32(offset, fd.0.cast_unsigned())
    }

    pub(super) fn ioctl(self, request: u32) -> Ioctl {
        Ioctl::of(request, self.0)
    }
}

/// An argument structure being read; fields beyond its end read as zero, as in the kernel.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut field = [0; N];
        for (to, from) in field.iter_mut().zip(self.0.get(offset..).unwrap_or_default()) {
            *to = *from;
        }
        field
    }

    pub(super) fn u16(&self, offset: usize) -> u16 {
        u16::from_ne_bytes(self.bytes(offset))
    }

    pub(super) fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    pub(super) fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset))
    }

    pub(super) fn fd(&self, offset: usize) -> Fd {
        Fd(self.u32(offset).cast_signed())
    }

    pub(super) fn id(&self, offset: usize) -> ObjectId {
        ObjectId(self.u32(offset))
    }
}
