//! Many checks at once: variants side by side, hazards, mutants, and the pages of `docs/` that are
//! generated from them.

pub mod bugs;
pub mod compare;
pub mod docgen;
pub mod hazards;
pub mod phase_graph;
pub mod severities;
mod tables;
