//! What checks say: of the built-in scenarios, of others, and of the abstract spec beside them.

mod check;
mod essence;
mod figures;
pub(crate) mod hazards;
mod reduced;
mod refusals;
pub(crate) mod sized;
mod type1;
