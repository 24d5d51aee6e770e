//! Tests of the model checker: on models with known results, and on random ones against the
//! definitions.

mod checkpoint;
mod fairness;
mod models;
mod reduction;
mod search;
mod two_phase_commit;
