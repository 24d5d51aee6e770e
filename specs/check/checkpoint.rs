//! Files for interrupted checks: the [checkpoint](handoff_checker::search::Checkpoint) of a search,
//! stored so that the check can resume.
//!
//! The first line names the scenario, with its complete text, and the build of this program. The
//! checkpoint follows, then a checksum of everything before it. Files are replaced atomically.
//!
//! Invariant: a check resumes only in the build that began it. Another build may have other
//! transitions from states that are already expanded, and its proofs would be unsound.

use crc32fast::Hasher;
use handoff_checker::search::Checkpoint;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

const FORMAT: &str = "handoff checkpoint 1";

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    build: String,
    /// The scenario's name, and its text.
    name: String,
    scenario: String,
}

/// The scenario of a check.
#[derive(Clone, Copy, Debug)]
pub struct CheckedInput<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// The scenario's complete text.
    pub scenario: &'a str,
}

/// The reason why a check cannot resume from a file.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The first line is not that of a checkpoint.
    #[error("it is not a checkpoint")]
    NoCheckpoint,
    /// The file has another version of the format.
    #[error("its format is '{0}', not '{FORMAT}'")]
    OtherFormat(String),
    /// The checksum does not match.
    #[error("it is damaged or truncated")]
    Damaged,
    /// The file belongs to another scenario, with this name.
    #[error("it belongs to another scenario, '{0}', or to an earlier version of this one")]
    OtherScenario(String),
    /// The file was written by another build.
    #[error("another build of this program wrote it, whose model may differ")]
    OtherBuild,
}

/// Writes a checkpoint.
pub fn write(checkpoint: &Checkpoint, of: CheckedInput<'_>, to: impl Write) -> io::Result<()> {
    let mut to = Summed { to, sum: Hasher::new() };
    let head = Head {
        format: FORMAT.to_owned(),
        build: build()?,
        name: of.name.to_owned(),
        scenario: of.scenario.to_owned(),
    };
    serde_json::to_writer(&mut to, &head)?;
    to.write_all(b"\n")?;
    postcard::to_io(checkpoint, &mut to).map_err(io::Error::other)?;
    let sum = to.sum.finalize().to_le_bytes();
    to.to.write_all(&sum)?;
    to.to.flush()
}

/// Reads a scenario's checkpoint that [`write()`] wrote.
pub fn read(file: &[u8], of: CheckedInput<'_>) -> Result<Checkpoint, ResumeError> {
    let end_of_head =
        file.iter().position(|byte| *byte == b'\n').ok_or(ResumeError::NoCheckpoint)?;
    let head = head(&file[..end_of_head])?;
    let (summed, sum) = file.split_last_chunk().ok_or(ResumeError::Damaged)?;
    if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
        return Err(ResumeError::Damaged);
    }
    if head.scenario != of.scenario {
        return Err(ResumeError::OtherScenario(head.name));
    }
    if head.build != build()? {
        return Err(ResumeError::OtherBuild);
    }
    postcard::from_bytes(&summed[end_of_head + 1..]).map_err(|_| ResumeError::Damaged)
}

fn head(line: &[u8]) -> Result<Head, ResumeError> {
    let line: serde_json::Value =
        serde_json::from_slice(line).map_err(|_| ResumeError::NoCheckpoint)?;
    match line["format"].as_str() {
        Some(FORMAT) => serde_json::from_value(line).map_err(|_| ResumeError::NoCheckpoint),
        Some(format) => Err(ResumeError::OtherFormat(format.to_owned())),
        None => Err(ResumeError::NoCheckpoint),
    }
}

/// Reads the checkpoint in a file; `None` if the file does not exist.
pub fn load(file: &Path, of: CheckedInput<'_>) -> Result<Option<Checkpoint>, ResumeError> {
    match fs::read(file) {
        Ok(bytes) => read(&bytes, of).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Replaces a file by a checkpoint, atomically.
pub fn save(checkpoint: &Checkpoint, of: CheckedInput<'_>, file: &Path) -> io::Result<()> {
    replace(file, |to| write(checkpoint, of, BufWriter::new(to)))
}

/// Checks that [`save`] can create the file.
pub fn can_save(file: &Path) -> io::Result<()> {
    let beside = beside(file);
    File::create(&beside)?;
    fs::remove_file(beside)
}

fn replace(file: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let beside = beside(file);
    let to = File::create(&beside)?;
    let done = write(&to).and_then(|()| to.sync_all()).and_then(|()| fs::rename(&beside, file));
    done.inspect_err(|_| drop(fs::remove_file(&beside)))
}

fn beside(file: &Path) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Returns a checksum of the running program, even if its file was replaced.
pub(crate) fn build() -> io::Result<String> {
    let (mut program, mut sum) = (File::open("/proc/self/exe")?, Hasher::new());
    let mut part = vec![0; 1 << 16];
    loop {
        match program.read(&mut part)? {
            0 => return Ok(format!("{:08x}", sum.finalize())),
            read => sum.update(&part[..read]),
        }
    }
}

/// A writer that computes a checksum.
struct Summed<W> {
    to: W,
    sum: Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
