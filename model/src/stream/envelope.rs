//! The frame around every record.
//!
//! ```text
//! offset  bytes  field (integers are little-endian)
//!      0      8  magic, "HANDOFF\n"
//!      8      2  version, 1
//!     10      2  kind of record
//!     12      4  features that a reader must know (incompatible)
//!     16      4  features that a reader may ignore (compatible)
//!     20      4  CRC-32 of everything else: bytes 0..20, then bytes 24..
//!     24      8  length of the record
//!     32      …  the record, JSON
//! ```
//!
//! Everything about the frame is checked before the record is looked at; a frame that is damaged,
//! cut off, too long or from a newer incompatible version is refused with the reason.

use crate::protocol::checks::Check;
use crate::protocol::mutation::Mutations;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a frame begins with.
pub const MAGIC: [u8; 8] = *b"HANDOFF\n";
/// The version that this crate writes, and the only one that it reads.
pub const VERSION: u16 = 1;
/// The `incompatible` features that this crate knows: none yet.
pub const KNOWN_FEATURES: u32 = 0;
/// The longest record that is read: a limit against a hostile peer.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Bytes before the record.
pub const HEADER_BYTES: usize = 32;

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A [`super::Message`].
    Message = 1,
    /// A [`super::State`].
    State = 2,
}

/// Why a frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptFrame {
    /// Fewer bytes than a header or than the header promises.
    #[error("cut off: {have} bytes where {need} are needed")]
    CutOff {
        /// How many there are.
        have: u64,
        /// How many there should be.
        need: u64,
    },
    /// More bytes than the header promises.
    #[error("{extra} bytes after the end")]
    Trailing {
        /// How many too many.
        extra: u64,
    },
    /// Another program's bytes.
    #[error("not a handoff stream")]
    Magic,
    /// Another version.
    #[error("version {0}; this program reads version 1")]
    Version(u16),
    /// Another kind than expected here.
    #[error("a record of kind {0} where another was due")]
    Kind(u16),
    /// Features that must be known and are not.
    #[error("needs features {0:#x}, which this program does not know")]
    Features(u32),
    /// A record longer than [`RECORD_BYTES_MAX`].
    #[error("a record of {0} bytes is over the limit")]
    TooLong(u64),
    /// The checksum is wrong.
    #[error("checksum mismatch")]
    Checksum,
    /// The record is not what its kind says.
    #[error("unreadable record: {0}")]
    Record(String),
}

/// Frames a record.
///
/// # Panics
/// When the record cannot be written as JSON: our own records always can.
pub fn seal(kind: Kind, record: &impl Serialize) -> Vec<u8> {
    let record = serde_json::to_vec(record).expect("records are plain data");
    let mut frame = Vec::with_capacity(HEADER_BYTES + record.len());
    frame.extend(MAGIC);
    frame.extend(VERSION.to_le_bytes());
    frame.extend((kind as u16).to_le_bytes());
    frame.extend(0u32.to_le_bytes());
    frame.extend(0u32.to_le_bytes());
    frame.extend(0u32.to_le_bytes());
    frame.extend((record.len() as u64).to_le_bytes());
    frame.extend(record);
    attest(&mut frame);
    frame
}

/// Puts the checksum into a frame.
///
/// # Panics
/// Where there is no whole header.
pub fn attest(frame: &mut [u8]) {
    let checksum = checksum(frame);
    frame[20..24].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(frame: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..20]);
    crc.update(&frame[24..]);
    crc.finalize()
}

/// Checks a frame and reads its record.
pub fn open<T: DeserializeOwned>(kind: Kind, frame: &[u8]) -> Result<T, CorruptFrame> {
    open_mutated(&Mutations::NOTHING, kind, frame)
}

/// The same without some of the checks.
pub(crate) fn open_mutated<T: DeserializeOwned>(
    omitted: &Mutations,
    kind: Kind,
    frame: &[u8],
) -> Result<T, CorruptFrame> {
    let record = record(omitted, kind, frame)?;
    serde_json::from_slice(record).map_err(|error| CorruptFrame::Record(error.to_string()))
}

fn record<'a>(omitted: &Mutations, kind: Kind, frame: &'a [u8]) -> Result<&'a [u8], CorruptFrame> {
    let have = frame.len() as u64;
    let magic = frame.len().min(MAGIC.len());
    let ours = frame[..magic] == MAGIC[..magic];
    omitted.require(Check::Magic, ours, || CorruptFrame::Magic)?;
    let cut_off = |need| move || CorruptFrame::CutOff { have, need };
    let header = HEADER_BYTES as u64;
    omitted.require(Check::WholeHeader, have >= header, cut_off(header))?;
    let version = u16_at(frame, 8);
    omitted.require(Check::Version, version == VERSION, || CorruptFrame::Version(version))?;
    let length = u64::from(u32_at(frame, 24)) | u64::from(u32_at(frame, 28)) << 32;
    let short = length <= RECORD_BYTES_MAX;
    omitted.require(Check::WholeRecord, short, || CorruptFrame::TooLong(length))?;
    let need = header.saturating_add(length);
    omitted.require(Check::WholeRecord, have >= need, cut_off(need))?;
    let extra = have.saturating_sub(need);
    omitted.require(Check::NothingTrails, extra == 0, || CorruptFrame::Trailing { extra })?;
    let intact = checksum(frame) == u32_at(frame, 20);
    omitted.require(Check::Checksum, intact, || CorruptFrame::Checksum)?;
    let unknown = u32_at(frame, 12) & !KNOWN_FEATURES;
    omitted.require(Check::Features, unknown == 0, || CorruptFrame::Features(unknown))?;
    let found = u16_at(frame, 10);
    omitted.require(Check::RecordKind, found == kind as u16, || CorruptFrame::Kind(found))?;
    let end = usize::try_from(need).unwrap_or(frame.len()).min(frame.len());
    Ok(&frame[HEADER_BYTES..end])
}

fn u16_at(frame: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([frame[at], frame[at + 1]])
}

fn u32_at(frame: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}
