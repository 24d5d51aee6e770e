//! Reports: what a command found, as data, and the formats in which it is written.
//!
//! A report is a [`Document`]: an envelope that all commands share, and a body of one kind for each
//! command. The documentation of its fields is that of the JSON that scripts read; the schemas in
//! `docs/schema` are generated from it, and `docs/json.md` explains it.
//!
//! Text for people is written piece by piece while a command works ([`text`]). A whole document is
//! written by a [`Format`]; a further one takes a file here and a variant there.

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

/// Formats of a whole document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Everything, as `docs/json.md` describes it
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

/// What a command found.
#[derive(Debug, Serialize)]
pub struct Document {
    /// What every document begins with.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What the command found.
    #[serde(flatten)]
    pub body: Body,
}

/// The fields with which every document begins.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Envelope {
    /// Always `handoff`.
    pub format: &'static str,
    /// The version of the format. It grows when a field is removed, renamed or given another
    /// meaning; new fields and new values of enumerations do not change it.
    pub version: u32,
    /// The kind of the document: the command that wrote it.
    pub kind: &'static str,
    /// The program that wrote the document, and its version.
    pub tool: &'static str,
    /// The build of that program: a checksum of its executable, as checkpoints have it.
    pub build: String,
    /// The exit code of the command.
    pub exit: u8,
}

/// The body of a document.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// Of `handoff check`.
    Check(check::Check),
    /// Of `handoff compare`.
    Compare(compare::Compare),
    /// Of `handoff show`.
    Show(Box<show::Show>),
    /// Of `handoff bugs`.
    Bugs(bugs::Bugs),
    /// Of `handoff doctor`.
    Doctor(doctor::Doctor),
    /// Of `handoff conform`.
    Conform(conform::Conform),
    /// Of `handoff lockstep`.
    Lockstep(lockstep::Lockstep),
    /// Of `handoff replay`.
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
    /// Makes the document of a command that ends with this exit code.
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

/// The version of the format.
pub const VERSION: u32 = 1;
