//! The frame around every record.
//!
//! ```text
//! offset  bytes  field (integers are little-endian)
//!      0      8  magic, "HANDOFF\n"
//!      8      2  version, 1
//!     10      2  kind of record
//!     12      4  features that a reader must support (incompatible)
//!     16      4  features that a reader may ignore (compatible)
//!     20      4  CRC-32 of everything else: bytes 0..20, then bytes 24..
//!     24      8  length of the record
//!     32      …  the record, JSON
//! ```
//!
//! The frame is checked before the record is parsed: a frame that is damaged, truncated, too long,
//! or of an incompatible version is rejected with the reason.

use crate::protocol::checks::Check;
use crate::protocol::mutation::Mutations;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes with which a frame begins.
pub const MAGIC: [u8; 8] = *b"HANDOFF\n";
/// The version that this crate writes, and the only one that it accepts.
pub const VERSION: u16 = 1;
/// The `incompatible` features that this crate supports: none yet.
pub const KNOWN_FEATURES: u32 = 0;
/// Maximum length of a record in bytes, which bounds the memory that a hostile peer can claim.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 32;

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A [`super::Message`].
    Message = 1,
    /// A [`super::State`].
    State = 2,
}

/// The reason for which a frame is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptFrame {
    /// The frame is shorter than a header, or than its header states.
    #[error("truncated: {have} bytes, {need} are required")]
    CutOff {
        /// Actual length in bytes.
        have: u64,
        /// Required length in bytes.
        need: u64,
    },
    /// The frame is longer than its header states.
    #[error("{extra} trailing bytes")]
    Trailing {
        /// Number of excess bytes.
        extra: u64,
    },
    /// The magic differs: these are another program's bytes.
    #[error("not a handoff stream")]
    Magic,
    /// The version is not supported.
    #[error("unsupported version {0}; this program reads version 1")]
    Version(u16),
    /// The record is not of the expected kind.
    #[error("unexpected record kind {0}")]
    Kind(u16),
    /// The frame requires features that this crate does not support.
    #[error("requires unsupported features {0:#x}")]
    Features(u32),
    /// The record is longer than [`RECORD_BYTES_MAX`].
    #[error("a record of {0} bytes exceeds the limit")]
    TooLong(u64),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The record is not JSON of the expected kind.
    #[error("invalid record: {0}")]
    Record(String),
}

/// Returns a record in its frame.
///
/// # Panics
/// If the record cannot be written as JSON. This crate's own records always can.
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

/// Computes the checksum of a frame and stores it in the header.
///
/// # Panics
/// If the frame is shorter than a header.
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

/// Checks a frame and returns its record.
///
/// # Errors
/// The first check that fails.
pub fn open<T: DeserializeOwned>(kind: Kind, frame: &[u8]) -> Result<T, CorruptFrame> {
    open_mutated(&Mutations::NOTHING, kind, frame)
}

/// Like [`open`], without the checks that a mutant omits.
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
