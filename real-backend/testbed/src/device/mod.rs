//! Test devices, by kind.

pub mod edu;
