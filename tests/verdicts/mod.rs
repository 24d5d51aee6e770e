//! What checks say: of the built-in scenarios, of others, and of the abstract spec beside them.

mod check;
mod essence;
mod figures;
pub(crate) mod hazards;
pub(crate) mod made_to_order;
mod reduced;
mod refusals;
mod type1;
