//! Bugs, planted one by one: that each is found, by what, and why it came to that.

pub(crate) mod defects;
mod explain;
mod lies;
mod mutants;
mod sequences;
mod zoo;
