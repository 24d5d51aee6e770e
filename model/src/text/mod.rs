//! Calls, answers and views as text, for counterexamples and reports.

mod calls;
mod views;

pub use calls::call;
pub use views::{Difference, Facts, Namer, differences, facts};
