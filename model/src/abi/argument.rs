//! The argument of an ioctl, as memory of the caller: what goes in and what the kernel leaves
//! there.
//!
//! [`Call`](crate::abi::call::Call) has a form of its own for what a handoff asks. Any other ioctl,
//! well formed or not, is [`Call::Ioctl`](crate::abi::call::Call::Ioctl): a request and an
//! [`Argument`].
//!
//! A structure is as long as its bytes and not a byte longer: what lies behind it cannot be read or
//! written (EFAULT). Pointers in it lead to the memory of its [`Pointee`]s; every other pointer is
//! what the bytes say, which is an address of nothing.

use crate::abi::errno::Errno;
use serde::{Deserialize, Serialize};

/// An ioctl to be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ioctl {
    /// The request number.
    pub request: u32,
    /// Its argument.
    pub argument: Argument,
}

/// The third argument of `ioctl(2)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// A number. Taken as an address, one of nothing.
    Value(u64),
    /// The address of a structure.
    Structure(Structure),
}

/// A structure in the caller's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Structure {
    /// Its bytes as they go in.
    #[serde(with = "crate::abi::hex")]
    pub bytes: Vec<u8>,
    /// It lies in memory that cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// What it points to.
    #[serde(default)]
    pub pointees: Vec<Pointee>,
}

/// Memory that a structure points to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pointee {
    /// Where in the structure the pointer stands, in bytes; eight bytes lie there.
    pub at: usize,
    /// Its bytes as they go in.
    #[serde(with = "crate::abi::hex")]
    pub bytes: Vec<u8>,
}

/// What came of an ioctl.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IoctlOutcome {
    /// What it returned.
    pub result: Result<u32, Errno>,
    /// The structure's bytes as they came out; the pointers in it are as they went in.
    #[serde(with = "crate::abi::hex")]
    pub bytes: Vec<u8>,
    /// The bytes of each pointee as they came out.
    pub pointees: Vec<HexBytes>,
}

/// Bytes that are written as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexBytes(#[serde(with = "crate::abi::hex")] pub Vec<u8>);

impl Ioctl {
    /// With a structure that can be written.
    pub fn of(request: u32, bytes: Vec<u8>) -> Self {
        Self { request, argument: Argument::of(bytes, Vec::new()) }
    }

    /// With a number.
    pub fn with_value(request: u32, value: u64) -> Self {
        Self { request, argument: Argument::Value(value) }
    }
}

impl Argument {
    /// A structure that can be written.
    pub fn of(bytes: Vec<u8>, pointees: Vec<Pointee>) -> Self {
        Self::Structure(Structure { bytes, read_only: false, pointees })
    }

    /// The bytes of a structure; none of a number.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(_) => &[],
            Self::Structure(structure) => &structure.bytes,
        }
    }

    /// What a structure points to.
    pub fn pointees(&self) -> &[Pointee] {
        match self {
            Self::Value(_) => &[],
            Self::Structure(structure) => &structure.pointees,
        }
    }

    /// What comes of an ioctl that leaves its argument alone.
    pub fn untouched(&self, result: Result<u32, Errno>) -> IoctlOutcome {
        let pointees = self.pointees().iter().map(|pointee| HexBytes(pointee.bytes.clone()));
        IoctlOutcome { result, bytes: self.bytes().to_vec(), pointees: pointees.collect() }
    }
}

impl IoctlOutcome {
    /// Why the ioctl failed.
    pub fn errno(&self) -> Option<Errno> {
        self.result.err()
    }
}
