//! Tests of files: scenarios, certificates, checkpoints, recordings, pages.

mod certificate;
mod checkpoint;
mod links;
pub(crate) mod pages;
mod readmes;
mod replay;
mod scenario;
mod scenario_page;
