//! Reports: the results of a command as data, and the formats in which they are written.
//!
//! A report is a [`Document`]: an envelope that all commands share, and a body that depends on the
//! command. The doc comments of the fields document the JSON that scripts read: the schemas in
//! `docs/schema` are generated from them. `docs/json.md` explains the format.
//!
//! Text for people is written piece by piece while a command works ([`text`]). A [`Format`] writes
//! a complete document. To add a format, add a file here and a variant of that enum.

pub mod bugs;
pub mod check;
pub mod compare;
pub mod conform;
pub mod doctor;
mod json;
mod junit;
pub mod layout;
pub mod lockstep;
pub mod replay;
pub mod run;
pub mod schema;
pub mod show;
mod suites;
pub mod text;

use crate::check::checkpoint::build;
use schemars::JsonSchema;
use serde::Serialize;
use std::io;

/// Formats of a complete document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The complete report, as `docs/json.md` describes it
    Json,
    /// Test cases with their results, for CI services: JUnit XML
    Junit,
}

impl Format {
    /// Writes a document.
    pub fn write(self, document: &Document) -> String {
        match self {
            Self::Json => json::write(document),
            Self::Junit => junit::write(&document.body),
        }
    }
}

/// The results of a command, ready to be written.
#[derive(Debug, Serialize)]
pub struct Document {
    /// The fields with which every document begins.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The results of the command.
    #[serde(flatten)]
    pub body: Body,
}

/// The fields with which every document begins.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Envelope {
    /// Always `handoff`.
    pub format: &'static str,
    /// The version of the format. It increases when a field is removed, renamed or changes its
    /// meaning; new fields and new values of enumerations do not increase it.
    pub version: u32,
    /// The kind of the document, which is the name of the command that wrote it.
    pub kind: &'static str,
    /// The program that wrote the document, and its version.
    pub tool: &'static str,
    /// The build of that program: a checksum of its executable, as in checkpoints.
    pub build: String,
    /// The exit code of the command.
    pub exit: u8,
}

/// The body of a document.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// The results of `handoff check`.
    Check(check::Check),
    /// The results of `handoff compare`.
    Compare(compare::Compare),
    /// The run of `handoff show`.
    Show(Box<show::Show>),
    /// The known bugs of `handoff bugs`.
    Bugs(bugs::Bugs),
    /// The findings of `handoff doctor`.
    Doctor(doctor::Doctor),
    /// The results of `handoff conform`.
    Conform(conform::Conform),
    /// The results of `handoff lockstep`.
    Lockstep(lockstep::Lockstep),
    /// The results of `handoff replay`.
    Replay(replay::Replay),
}

impl Body {
    fn kind(&self) -> &'static str {
        match self {
            Self::Check(_) => "check",
            Self::Compare(_) => "compare",
            Self::Show(_) => "show",
            Self::Bugs(_) => "bugs",
            Self::Doctor(_) => "doctor",
            Self::Conform(_) => "conform",
            Self::Lockstep(_) => "lockstep",
            Self::Replay(_) => "replay",
        }
    }
}

impl Document {
    /// Returns the document of a command that exits with this code.
    ///
    /// # Errors
    /// Fails if the executable of this program cannot be read.
    pub fn new(body: Body, exit: u8) -> io::Result<Self> {
        let envelope = Envelope {
            format: "handoff",
            version: VERSION,
            kind: body.kind(),
            tool: concat!("handoff ", env!("CARGO_PKG_VERSION")),
            build: build()?,
            exit,
        };
        Ok(Self { envelope, body })
    }
}

/// The current version of the format.
pub const VERSION: u32 = 1;
