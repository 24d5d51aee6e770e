//! Tests the verdicts of the built-in scenarios, and compares two engines.

use handoff_checker::search::{Exploration, Labels, Limits, StopReason, explore};
use handoff_model::protocol::Mode;
use handoff_specs::check::evaluate::Judged;
use handoff_specs::check::packed::Packed;
use handoff_specs::check::{Report, Verdict, check, check_with};
use handoff_specs::properties::PROPERTIES;
use handoff_specs::scenario::FaultBudget;
use handoff_specs::scenario::builder::ScenarioBuilder;
use handoff_specs::scenario::library::{BUILT_IN, FOR_TYPE1, built_in};
use handoff_specs::state::State;
use handoff_specs::state::action::Action;
use handoff_specs::state::system::System;
use stateright::{Checker, Model};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

fn report(name: &str, limits: Limits) -> Report {
    check(&built_in(name).expect("a built-in scenario"), limits).expect("it can be set up")
}

#[test]
fn every_built_in_scenario_is_proved_exhaustively() {
    for (name, _) in BUILT_IN {
        let report = report(name, Limits::default());
        assert_eq!(report.stopped_by, None, "{name}");
        for (property, verdict) in &report.verdicts {
            let good = matches!(verdict, Verdict::Proved | Verdict::NotApplicable(_));
            assert!(good, "{name}: {} is {verdict:?}", property.id);
        }
    }
}

/// The reported run stops the guest and makes the reported number of calls before the guest runs
/// again.
#[test]
fn the_worst_blackout_is_attained_by_its_run() {
    let system = System::new(&built_in("transfer").expect("built in")).expect("set up");
    let worst = report("transfer", Limits::default()).blackouts.expect("every run ends").worst;
    let (mut world, mut calls, mut was_dark) = (system.init().clone(), 0, false);
    for place in worst.places {
        let mut actions = Vec::new();
        system.actions(&world, &mut actions);
        let action = actions.swap_remove(usize::from(place));
        let is_call = matches!(action, Action::Step(_) | Action::Fail(..));
        calls += u32::from(world.is_dark() && is_call);
        was_dark |= world.is_dark();
        world.act(system.constants(), &action);
    }
    assert_eq!((calls, was_dark), (worst.calls, true));
}

/// A host shows only a view at the end of a run, so such a property must have a predicate.
#[test]
fn every_property_shown_on_a_host_has_a_predicate() {
    let shown: Vec<_> = PROPERTIES.iter().filter(|property| property.on_host).collect();
    assert!(!shown.is_empty() && shown.iter().all(|property| property.predicate().is_some()));
}

#[test]
fn every_property_is_proved_by_some_built_in_scenario() {
    let mut proved: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in [BUILT_IN, FOR_TYPE1].concat() {
        for (property, verdict) in report(name, Limits::default()).verdicts {
            *proved.entry(property.id).or_default() += usize::from(verdict == Verdict::Proved);
        }
    }
    for property in PROPERTIES {
        assert!(proved[property.id] > 0, "{} is never proved", property.id);
    }
}

/// Compares three searches that share only the transition system: stateright's depth-first and
/// breadth-first searches, and ours on unpacked states, ordered by steps alone.
#[test]
fn stateright_counts_the_same_states_and_finds_no_violation() {
    for (name, _) in BUILT_IN {
        let system = || System::new(&built_in(name).expect("built in")).expect("set up");
        let report = report(name, Limits::default());
        let ours = explore(&system(), &(0, |_: &State| Labels::default()), Limits::default());
        assert_eq!(
            (ours.states(), ours.transitions),
            (report.states, report.transitions),
            "{name}"
        );
        let checker = Judged(system()).checker().threads(2).spawn_dfs().join();
        assert_eq!(checker.unique_state_count(), ours.states() as usize, "{name}");
        checker.assert_properties();
        let breadth = Judged(system()).checker().spawn_bfs().join();
        assert_eq!(breadth.unique_state_count(), ours.states() as usize, "{name}");
        let depth = ours.depth as usize + 1;
        assert_eq!(breadth.max_depth(), depth, "{name}: stateright counts states");
    }
}

/// Compares complete results, including the parent and the action of each state.
#[test]
fn results_are_the_same_for_any_number_of_threads() {
    let violated = ScenarioBuilder::new(Mode::Transfer).defect("no-take-back");
    let violated = violated.build().expect("a scenario");
    for scenario in [built_in("separate-spaces").expect("built in"), violated] {
        let with = |threads| {
            let threads = NonZeroUsize::new(threads).expect("not zero");
            let limits = Limits { threads, ..Limits::default() };
            let ways = |_: &Report, exploration: &Exploration<Packed>| {
                (0..exploration.states()).map(|at| exploration.parent(at)).collect::<Vec<_>>()
            };
            let (report, ways) = check_with(&scenario, limits, ways).expect("set up");
            let verdicts = report.verdicts.into_iter().map(|(_, verdict)| verdict);
            (ways, verdicts.collect::<Vec<_>>(), report.blackouts)
        };
        let one = with(1);
        for threads in [1, 2, 2, 3] {
            assert!(one == with(threads), "{}: {threads} threads", scenario.name);
        }
    }
}

/// Further faults may violate other properties, but no fault makes a run longer than its rank
/// allows.
#[test]
fn every_step_decreases_the_rank_with_any_number_of_faults() {
    for mode in [Mode::Transfer, Mode::Exec] {
        let may = FaultBudget { fail_calls: 3, kill: 2, ..FaultBudget::default() };
        let scenario = ScenarioBuilder::new(mode).fault_budget(may).build().expect("a scenario");
        let report = check(&scenario, Limits::default()).expect("it can be set up");
        let verdict =
            |id| &report.verdicts.iter().find(|(of, _)| of.id == id).expect("registered").1;
        assert_eq!((report.stopped_by, verdict("END-2")), (None, &Verdict::Proved), "{mode:?}");
    }
}

#[test]
fn a_search_that_is_stopped_early_proves_nothing() {
    let limits = Limits { states_max: 1000, ..Limits::default() };
    let report = report("transfer", limits);
    assert_eq!(report.stopped_by, Some(StopReason::States(1000)));
    assert!(report.is_inconclusive());
    assert!(report.verdicts.iter().all(|(_, verdict)| *verdict != Verdict::Proved));
    let held = report.verdicts.iter().find(|(property, _)| property.id == "MAP-1");
    assert_eq!(
        held.map(|(_, verdict)| verdict),
        Some(&Verdict::HoldsWithin(StopReason::States(1000)))
    );
}
