//! Tests that an impossible handoff is refused before the guest stops, with the true reason.

use handoff_checker::search::Limits;
use handoff_model::protocol::Mode;
use handoff_model::role::outgoing::OutgoingOutcome;
use handoff_specs::check::{self, Verdict};
use handoff_specs::scenario::builder::{DeviceEntry, ScenarioBuilder};
use handoff_specs::scenario::library::built_in;
use handoff_specs::scenario::mutants::ours;
use handoff_specs::state::State;
use handoff_specs::state::action::Action;
use handoff_specs::state::system::System;

/// Runs both roles to their ends without faults. Returns the final state and the errors.
fn undisturbed(system: &System) -> (State, Vec<String>) {
    let mut world = system.init().clone();
    let mut told = Vec::new();
    loop {
        let mut actions = Vec::new();
        world.actions(system.constants(), &mut actions);
        let step = actions.into_iter().find(|action| matches!(action, Action::Step(_)));
        let Some(step) = step else { return (world, told) };
        let happening = world.act(system.constants(), &step);
        told.extend(happening.error.map(|error| error.to_string()));
        let guests = world.view().processes.into_values().filter_map(|process| process.guest);
        assert_eq!(guests.filter(|guest| guest.running).count(), 1, "the guest never stops");
    }
}

#[track_caller]
fn check(scenario: &str, words: &[&str]) {
    let scenario = built_in(scenario).expect("a built-in scenario");
    assert!(scenario.refused, "{} declares that it must be refused", scenario.name);
    let system = System::new(&scenario).expect("it can be set up");
    let (world, told) = undisturbed(&system);
    assert_eq!(world.outcome(), Some(OutgoingOutcome::Refused));
    let reasons = told.join("; ");
    for word in words {
        assert!(reasons.contains(word), "{reasons:?} does not contain {word:?}");
    }
    let view = world.view();
    assert_eq!(view.books, system.constants().base.books);
    assert_eq!(view.page_sets, system.constants().base.page_sets);
    assert_eq!(view.mappings, system.constants().base.mappings);
    assert_eq!(view.devices, system.constants().base.devices);
}

#[test]
fn each_refusal_has_its_true_reason() {
    check("old-kernel", &["does not support IOMMU_IOAS_CHANGE_PROCESS", "iommufd0", "6.13"]);
    check("by-address", &["mapping at 0x100000", "by address", "IOMMU_IOAS_MAP_FILE"]);
    check("small-memlock", &["RLIMIT_MEMLOCK of the new process is 28672", "requires 32768"]);
    check("tied-mdev", &["mdev0", "KVM", "unplug"]);
    check("process-accounting", &["charged to its process", "per-user accounting"]);
    check("uncharged", &["mapping at 0x100000", "CAP_IPC_LOCK", "map without"]);
}

/// A corruption of the inventory is still refused if the guest arms an interrupt in the meantime.
#[test]
fn arming_an_interrupt_does_not_hide_a_corruption() {
    for form in ours().filter(|form| form.mode == Mode::Transfer) {
        for wrong in ["anonymous-block", "bar-mapped"] {
            let armed_later = DeviceEntry::new("nic0").armed_later();
            let world = ScenarioBuilder::new(form.mode).variant(form.id).corruption(wrong);
            let scenario = world.devices([armed_later]).build().expect("a scenario");
            let report = check::check(&scenario, Limits::default()).expect("it can be set up");
            let verdict = report.verdicts.iter().find(|(property, _)| property.id == "PRE-1");
            assert_eq!(verdict.expect("registered").1, Verdict::Proved, "{wrong} in {}", form.id);
        }
    }
}
