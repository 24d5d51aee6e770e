//! Tests of verdicts: of the built-in scenarios, of generated ones, and of the abstract spec.

mod abstract_spec;
mod check;
mod figures;
pub(crate) mod hazards;
pub(crate) mod made_to_order;
mod reduced;
mod refusals;
mod type1;
