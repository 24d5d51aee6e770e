//! Bugs, planted one by one: that each is found, by what, and why it came to that.

mod catalog;
mod corrupt_stream;
pub(crate) mod defects;
mod explain;
mod mutants;
mod sequences;
