//! Tests of the whole: what a user runs, and whether its verdicts are true.

mod certificate;
mod check;
mod checkpoint;
mod command;

mod defects;
mod essence;
mod explain;
mod fair;
mod hazards;
mod lies;

mod models;
mod mutants;
mod pages;
mod reduced;
mod refusals;
mod replay;
mod scenario;
mod search;
mod sequences;
mod sized;
mod tidy;
mod two_phase_commit;
mod type1;
mod zoo;
