//! Argument structures of ioctls, built field by field in the order of the kernel's headers.

use handoff_model::abi::argument::{Argument, Ioctl, Pointee, Structure};
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::{Fd, ObjectId};

/// A structure under construction.
#[derive(Clone, Debug, Default)]
pub struct Fields(Structure);

/// Returns a structure that begins with its own size, which [`Fields::on`] fills in.
pub fn sized() -> Fields {
    Fields::default().u32(0)
}

impl Fields {
    /// Appends bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a field of two bytes.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a field of four bytes.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a field of eight bytes.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a descriptor.
    #[must_use]
    pub fn fd(self, fd: Fd) -> Self {
        self.u32(fd.0.cast_unsigned())
    }

    /// Appends an object id.
    #[must_use]
    pub fn id(self, id: ObjectId) -> Self {
        self.u32(id.0)
    }

    /// Appends a pointer to memory with these bytes.
    #[must_use]
    pub fn pointer(mut self, bytes: &[u8]) -> Self {
        let at = self.0.bytes.len();
        self.0.pointees.push(Pointee { at, bytes: bytes.to_vec() });
        self.u64(0)
    }

    /// Appends zeroes up to a length.
    #[must_use]
    pub fn padded(mut self, length: usize) -> Self {
        self.0.bytes.resize(length, 0);
        self
    }

    /// Places the structure in read-only memory.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.0.read_only = true;
        self
    }

    /// Returns the ioctl on a file, with the structure's size in its first field.
    pub fn on(self, fd: Fd, request: u32) -> Call {
        let size = u32::try_from(self.0.bytes.len()).expect("a structure is small");
        self.with_size(size).plain(fd, request)
    }

    /// Writes `size`, which may be false, into the first field.
    #[must_use]
    pub fn with_size(mut self, size: u32) -> Self {
        self.0.bytes[..4].copy_from_slice(&size.to_ne_bytes());
        self
    }

    /// Returns the ioctl on a file without changing a byte of the structure.
    pub fn plain(self, fd: Fd, request: u32) -> Call {
        Call::Ioctl { fd, ioctl: Ioctl { request, argument: Argument::Structure(self.0) } }
    }
}

/// Returns an ioctl whose argument is a number.
pub fn value(fd: Fd, request: u32, value: u64) -> Call {
    Call::Ioctl { fd, ioctl: Ioctl::with_value(request, value) }
}
