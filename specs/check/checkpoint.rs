//! A check that goes on later: the [checkpoint](handoff_checker::search::Checkpoint) of its search
//! in a file.
//!
//! The first line says what it is of: the scenario's whole text, and the build of this program.
//! Then comes the checkpoint, and at the end a sum of everything before. A file is there as a whole
//! or not at all.
//!
//! Invariant: a check goes on only in the build that began it. Another one may know of things that
//! can happen in states that were expanded long ago, and what it would call proved would not be.

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
    /// Its name, and its text.
    name: String,
    scenario: String,
}

/// Which scenario a check is of.
#[derive(Clone, Copy, Debug)]
pub struct CheckedInput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its whole text.
    pub scenario: &'a str,
}

/// Why a check cannot go on from a file.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// Its first line is none of a checkpoint.
    #[error("it is no checkpoint")]
    NoCheckpoint,
    /// Of another version.
    #[error("it is a '{0}', not a '{FORMAT}'")]
    OtherFormat(String),
    /// Its sum is wrong.
    #[error("it is damaged, or its end is missing")]
    Damaged,
    /// Of another scenario, with this name.
    #[error("it is of another scenario, '{0}', or of that one before it was changed")]
    OtherScenario(String),
    /// Of another build.
    #[error("another build of this program made it, in which other things may happen")]
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

/// The checkpoint of a scenario's check that [`write()`] wrote.
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

/// The checkpoint in a file; `None`: there is no such file.
pub fn load(file: &Path, of: CheckedInput<'_>) -> Result<Option<Checkpoint>, ResumeError> {
    match fs::read(file) {
        Ok(bytes) => read(&bytes, of).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts a checkpoint into a file, in the place of what is there: whatever happens, one of both is.
pub fn save(checkpoint: &Checkpoint, of: CheckedInput<'_>, file: &Path) -> io::Result<()> {
    replace(file, |to| write(checkpoint, of, BufWriter::new(to)))
}

/// Whether [`save`] could make that file.
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

/// A sum of the program that is running, whatever has become of its file.
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

/// Sums up what is written.
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
