//! Tests that each planted bug is found, by which property, and with which explanation.

mod catalog;
mod corrupt_stream;
pub(crate) mod defects;
mod explain;
mod mutants;
mod sequences;
