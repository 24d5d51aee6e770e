//! Tests of replay: recorded runs, made again on the simulated kernel.

mod foreign;
mod recordings;
mod runs;

use handoff_conformance::replay::Report;

/// Asserts that each event is counted exactly once.
#[track_caller]
fn adds_up(report: &Report) {
    let not_modelled: usize = report.not_modelled.values().sum();
    assert_eq!(report.seen, report.told + report.modelled() + not_modelled, "{report}");
}
