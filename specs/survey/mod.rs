//! Surveys over many checks: comparison of variants, hazards of the kernel, known bugs, and the
//! pages of `docs/` that are generated from them.

pub mod bugs;
pub mod compare;
pub mod docgen;
pub mod hazards;
pub mod phase_graph;
pub mod severities;
mod tables;
