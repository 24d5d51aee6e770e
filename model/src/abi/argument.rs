//! The argument of an ioctl, as memory of the caller: the bytes before the call, and after it.
//!
//! [`Call`](crate::abi::call::Call) has a variant for each ioctl that a handoff makes. Any other
//! ioctl, well formed or not, is a [`Call::Ioctl`](crate::abi::call::Call::Ioctl): a request and an
//! [`Argument`].
//!
//! A structure ends with its bytes: memory beyond them can be neither read nor written (EFAULT).
//! Pointers in it lead to the memory of its [`Pointee`]s. Any other pointer keeps the value in the
//! bytes and is an unmapped address.

use crate::abi::errno::Errno;
use serde::{Deserialize, Serialize};

/// An ioctl to be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ioctl {
    /// The request number.
    pub request: u32,
    /// The argument.
    pub argument: Argument,
}

/// The third argument of `ioctl(2)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// A number. Used as an address, it is unmapped.
    Value(u64),
    /// The address of a structure.
    Structure(Structure),
}

/// A structure in the caller's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Structure {
    /// The bytes before the call.
    #[serde(with = "crate::abi::hex")]
    pub bytes: Vec<u8>,
    /// True if it lies in read-only memory.
    #[serde(default)]
    pub read_only: bool,
    /// The memory it points to.
    #[serde(default)]
    pub pointees: Vec<Pointee>,
}

/// Memory that a structure points to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pointee {
    /// Offset of the pointer in the structure, in bytes; the pointer is eight bytes long.
    pub at: usize,
    /// The bytes before the call.
    #[serde(with = "crate::abi::hex")]
    pub bytes: Vec<u8>,
}

/// The outcome of an ioctl.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IoctlOutcome {
    /// The return value.
    pub result: Result<u32, Errno>,
    /// The structure's bytes after the call; the pointers in it are unchanged.
    #[serde(with = "crate::abi::hex")]
    pub bytes: Vec<u8>,
    /// The bytes of each pointee after the call.
    pub pointees: Vec<HexBytes>,
}

/// Bytes that are written as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexBytes(#[serde(with = "crate::abi::hex")] pub Vec<u8>);

impl Ioctl {
    /// Creates an ioctl with a writable structure.
    pub fn of(request: u32, bytes: Vec<u8>) -> Self {
        Self { request, argument: Argument::of(bytes, Vec::new()) }
    }

    /// Creates an ioctl with a number.
    pub fn with_value(request: u32, value: u64) -> Self {
        Self { request, argument: Argument::Value(value) }
    }
}

impl Argument {
    /// Creates a writable structure.
    pub fn of(bytes: Vec<u8>, pointees: Vec<Pointee>) -> Self {
        Self::Structure(Structure { bytes, read_only: false, pointees })
    }

    /// Returns the bytes of a structure; none for a number.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(_) => &[],
            Self::Structure(structure) => &structure.bytes,
        }
    }

    /// Returns the memory that a structure points to.
    pub fn pointees(&self) -> &[Pointee] {
        match self {
            Self::Value(_) => &[],
            Self::Structure(structure) => &structure.pointees,
        }
    }

    /// Returns the outcome of an ioctl that leaves its argument unchanged.
    pub fn untouched(&self, result: Result<u32, Errno>) -> IoctlOutcome {
        let pointees = self.pointees().iter().map(|pointee| HexBytes(pointee.bytes.clone()));
        IoctlOutcome { result, bytes: self.bytes().to_vec(), pointees: pointees.collect() }
    }
}

impl IoctlOutcome {
    /// Returns the errno if the ioctl failed.
    pub fn errno(&self) -> Option<Errno> {
        self.result.err()
    }
}
