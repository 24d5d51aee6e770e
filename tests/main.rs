//! Tests of the whole: what a user runs, and whether its verdicts are true.

mod bugs;
mod cli;
mod formats;
mod product;
mod tidy;
mod verdicts;
