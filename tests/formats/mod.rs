//! Tests of files: scenarios, certificates, checkpoints, recordings, pages.

mod certificate;
mod checkpoint;
pub(crate) mod pages;
mod replay;
mod scenario;
