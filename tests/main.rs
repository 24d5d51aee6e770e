//! Tests of the whole: what a user runs, and whether its verdicts are true.

mod certificate;
mod check;
mod checkpoint;
mod cli;
mod defects;
mod essence;
mod explain;
mod figures;
mod hazards;
mod lies;
mod mutants;
mod pages;
mod product;
mod reduced;
mod refusals;
mod replay;
mod scenario;
mod sequences;
mod sized;
mod tidy;
mod type1;
mod zoo;
