//! Tests that every known bug that can be planted is found by the property it breaks, with a
//! minimal trace.

use crate::verdicts::hazards::HAZARDS;
use handoff_checker::search::{Limits, StopReason};
use handoff_model::protocol::Mode;
use handoff_model::protocol::phase::OutPhase;
use handoff_model::variants::defects::{self, DEFECTS, Defect};
use handoff_model::variants::{Change, Edit};
use handoff_specs::check::{Run, Verdict, check};
use handoff_specs::counterexample::{Checked, token};
use handoff_specs::properties::{self, PROPERTIES, Property};
use handoff_specs::report::run::Run as Report;
use handoff_specs::report::text::run::{Detail, counterexample};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::builder::{Iommufd, Ram, ScenarioBuilder};
use handoff_specs::state::system::System;
use std::collections::BTreeSet;

/// The smallest scenario in which a bug shows.
pub(crate) fn scenario(defect: &Defect) -> Scenario {
    let least = ScenarioBuilder::new(defect.mode).name("defect").defect(defect.id);
    let world = match defect.id {
        "charged-to-the-dead" => least.uid(0).iommufds([Iommufd::charging_processes("iommufd0")]),
        "charged-to-nobody" => least.cap_ipc_lock(),
        "checked-late" => least.refused().ram([Ram::new("ram0", 0x10_0000).by_address()]),
        "taken-on-trust" | "refuses-silently" => least.corruption("ram-other"),
        "resumed-before-unparked" | "kvm-left-open" => least.kvm(),
        "limit-unjudged" => least.refused().memlock_pages(1),
        _ => least,
    };
    world.build().expect("a scenario")
}

/// The termination properties that a bug violates. END-1 is violated by a run that ends with a
/// waiting process or that cycles, END-2 by the step that raises the rank, END-3 by a run through a
/// state from which no fault-free run terminates.
#[test]
fn termination_is_evaluated_by_three_properties() {
    let expected = [
        ("waits-for-each-other", "END-1, END-2, END-3"),
        ("waits-for-the-dead", "END-1 for ever, END-2, END-3 for ever"),
        ("begins-anew", "END-2"),
        ("not-told-to-leave", "END-1, END-3"),
    ];
    let found = expected.map(|(id, _)| {
        let scenario =
            scenario(DEFECTS.iter().find(|defect| defect.id == id).expect("a known bug"));
        let report = check(&scenario, Limits::default()).expect("it can be set up");
        let tell = |(property, run): (&Property, &Run)| {
            assert_ends_so(&System::new(&scenario).expect("set up"), property, run);
            let round = if run.repeats_from.is_some() { " for ever" } else { "" };
            format!("{}{round}", property.id)
        };
        (id, report.violations().map(tell).collect::<Vec<_>>().join(", "))
    });
    assert_eq!(found, expected.map(|(id, told)| (id, told.to_owned())));
}

/// Checks that a cycle closes, and that only the last step of a run against END-2 raises the rank.
#[track_caller]
fn assert_ends_so(system: &System, property: &Property, run: &Run) {
    let worlds: Vec<_> =
        (0..=run.actions.len()).map(|at| system.play(&run.actions[..at])).collect();
    let last = worlds.len() - 1;
    if let Some(first) = run.repeats_from {
        assert!(first < last && worlds[first] == worlds[last], "{} does not cycle", property.id);
    }
    if property.id == "END-2" {
        let rises = |at: &usize| worlds[*at].rank() >= worlds[*at - 1].rank();
        assert_eq!((1..=last).filter(rises).collect::<Vec<_>>(), [last]);
    }
}

/// A step that raises the rank is found even if the search was stopped early. A property that needs
/// the graph is inconclusive.
#[test]
fn a_step_that_raises_the_rank_is_seen_without_the_graph() {
    let defect = DEFECTS.iter().find(|defect| defect.id == "begins-anew").expect("a known bug");
    let limits = Limits { depth_max: Some(7), ..Limits::default() };
    let report = check(&scenario(defect), limits).expect("it can be set up");
    let verdict = |id| &report.verdicts.iter().find(|(of, _)| of.id == id).expect("registered").1;
    assert!(matches!(verdict("END-2"), Verdict::Violated(run) if run.actions.len() == 6));
    assert_eq!(verdict("END-3"), &Verdict::Inconclusive(StopReason::Depth(7)));
}

/// In the first cycle found, the new process could start the guest but never steps. The reported
/// cycle is fair: it begins after the new process has started the guest.
#[test]
fn a_reported_cycle_is_fair() {
    static SPINS: Defect = Defect {
        id: "spins",
        sentence: "",
        source: "",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "END-1",
        edits: &[
            Edit::Out(Change::Next(OutPhase::AwaitCommitted, OutPhase::Revoke)),
            Edit::Out(Change::Next(OutPhase::Revoke, OutPhase::Revoke)),
        ],
    };
    let mut scenario = scenario(&DEFECTS[0]);
    scenario.defects = vec![&SPINS];
    let report = check(&scenario, Limits::default()).expect("it can be set up");
    let (_, run) = report.violations().find(|(of, _)| of.id == "END-1").expect("it cycles");
    assert_eq!((run.faults, run.actions.len(), run.repeats_from), (0, 39, Some(38)));
    assert!(run.violation.ends_with("even under a fair scheduler"), "{}", run.violation);
}

#[test]
fn without_its_bug_each_of_these_scenarios_is_proved() {
    for defect in DEFECTS {
        let mut scenario = scenario(defect);
        scenario.defects.clear();
        // Without the bug, the state that the bug ignores must lead to a refusal.
        scenario.refused |= defect.id.starts_with("charged-to-");
        let report = check(&scenario, Limits::default()).expect("it can be set up");
        let violated: Vec<_> = report.violations().map(|(property, _)| property.id).collect();
        assert!(violated.is_empty(), "{}: {violated:?}", defect.id);
    }
}

#[test]
fn every_property_is_violated_by_some_bug() {
    let named = defects::all().map(|defect| defect.breaks);
    let named: Vec<_> = named.chain(HAZARDS.iter().map(|hazard| hazard.breaks)).collect();
    assert!(named.iter().all(|id| properties::find(id).is_some()));
    let violated_by = |defect: &Defect| -> Vec<_> {
        let report = check(&scenario(defect), Limits::default()).expect("it can be set up");
        report.violations().map(|(property, _)| property.id).collect()
    };
    let violated: BTreeSet<_> =
        DEFECTS.iter().flat_map(violated_by).chain(named.iter().copied()).collect();
    let never = PROPERTIES.iter().map(|it| it.id).filter(|id| !violated.contains(id));
    assert_eq!(never.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// A counterexample ends with a line that replays it, and the replay is the same run.
#[test]
fn a_run_can_be_replayed_from_its_last_line() {
    for defect in DEFECTS {
        let scenario = scenario(defect);
        let checked = Checked::new(&scenario, Limits::default()).expect("checked");
        for (property, run) in checked.report.violations() {
            let token = token::encode(&checked.system, &run.actions);
            assert_eq!(token::decode(&checked.system, &token).as_ref(), Ok(&run.actions));
            let found = checked.counterexample(property.id).expect("it is violated");
            let told = counterexample(&Report::new(&found, "file.toml"), 110, Detail::FULL);
            assert!(told.contains(&format!("{} violated in", property.id)), "{told}");
            assert!(told.contains(&format!("--steps '{token}'")), "{told}");
        }
    }
}
