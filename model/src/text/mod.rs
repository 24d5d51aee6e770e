//! Calls, answers and views in words: what stories and reports print.

mod calls;
mod views;

pub use calls::call;
pub use views::{Difference, Facts, differences, facts};
