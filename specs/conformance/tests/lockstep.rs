//! Tests of lockstep itself: it finds no difference between a kernel and itself, and finds a
//! violated rule quickly.

use handoff_conformance::lockstep::{Plan, Report, Step, run};
use handoff_conformance::target::simulated::SimulatedTarget;
use handoff_sim_kernel::{Profile, Quirk};

fn newest() -> Profile {
    Profile::by_name("7.3").expect("a profile")
}

fn lockstep(calls: u64, seed: u64, other: Profile) -> Report {
    run(Plan { calls, steps: 100, seed }, newest(), &mut SimulatedTarget::new(other), &mut |_| ())
}

#[test]
fn a_kernel_agrees_with_itself_and_a_run_is_its_seed() {
    let [first, second] = [1, 1].map(|seed| lockstep(5_000, seed, newest()));
    assert!(first.difference.is_none(), "{first}");
    assert!(first.count() >= 5_000);
    assert_eq!(first.calls, second.calls);
    assert_ne!(first.calls, lockstep(5_000, 2, newest()).calls);
}

/// Checks that a violated rule of the simulator is found, and that the difference shrinks to a few
/// of a case's hundred steps, ending with a call that shows it.
#[track_caller]
fn finds(other: Profile, shown_by: &[&str], steps_max: usize) {
    let report = lockstep(100_000, 3, other);
    let Some(difference) = report.difference.as_ref() else { panic!("found nothing:\n{report}") };
    let Some((Step::Call(_, call), _)) = difference.steps.last() else { panic!("{report}") };
    assert!(shown_by.contains(&call.name()), "{report}");
    assert!(difference.steps.len() <= steps_max, "{report}");
}

#[test]
fn a_mended_double_charge_is_found() {
    finds(newest().without(Quirk::DoubleCharge), &["IOMMU_IOAS_CHANGE_PROCESS"], 13);
}

#[test]
fn a_mended_drift_of_vm_pin_is_found() {
    finds(newest().without(Quirk::PinnedDrift), &["IOMMU_IOAS_CHANGE_PROCESS"], 13);
}

#[test]
fn a_mended_charge_of_a_dead_owner_is_found() {
    finds(newest().without(Quirk::DeadOwner), &["IOMMU_IOAS_CHANGE_PROCESS"], 13);
}

#[test]
fn an_older_kernel_is_found() {
    finds(
        Profile::by_name("6.12").expect("a profile"),
        &["IOMMU_IOAS_MAP_FILE", "IOMMU_IOAS_CHANGE_PROCESS"],
        3,
    );
}
