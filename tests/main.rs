//! Integration tests: the commands that a user runs, and the correctness of their verdicts.

mod bugs;
mod cli;
mod formats;
mod product;
mod tidy;
mod verdicts;
mod words;
