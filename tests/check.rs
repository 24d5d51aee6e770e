//! The built-in scenarios: verdicts, exact counts, and two engines that agree.

use handoff_checker::search::{Cut, Exploration, Limits, Said, explore};
use handoff_model::protocol::Mode;
use handoff_specs::check::blackout::Blackouts;
use handoff_specs::check::evaluate::Judged;
use handoff_specs::check::packed::Packed;
use handoff_specs::check::{Report, Verdict, check, check_with};
use handoff_specs::properties::PROPERTIES;
use handoff_specs::scenario::May;
use handoff_specs::scenario::builder::ScenarioBuilder;
use handoff_specs::scenario::library::{BUILT_IN, FOR_TYPE1, built_in};
use handoff_specs::state::World;
use handoff_specs::state::action::Action;
use handoff_specs::state::system::System;
use stateright::{Checker, Model};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

fn report(name: &str, limits: Limits) -> Report {
    check(&built_in(name).expect("a built-in scenario"), limits).expect("it can be set up")
}

/// Unique states, transitions, and the greatest distance from the first state by the fewest faults.
/// A change of the protocol, the kernel or the environment changes these; one that should not, must
/// not.
const COUNTS: &[(&str, u32, u64, u32)] = &[
    ("transfer", 52_695, 202_236, 67),
    ("exec", 4_500, 12_786, 65),
    ("separate-spaces", 50_193, 192_090, 64),
    ("nest-parent", 16_563, 55_404, 60),
    ("another-user", 15_270, 50_794, 53),
    ("two-iommufds", 18_297, 60_333, 64),
    ("two-faults-transfer", 29_289, 103_551, 54),
    ("two-faults-exec", 1_392, 3_614, 47),
    ("old-kernel", 324, 1_080, 9),
    ("by-address", 474, 1_669, 11),
    ("small-memlock", 1_152, 4_160, 16),
    ("tied-mdev", 1_422, 5_883, 13),
    ("kvm-transfer", 28_162, 86_295, 59),
    ("kvm-exec", 1_764, 4_213, 50),
    ("armed-later", 37_248, 111_990, 65),
    ("early", 27_616, 88_926, 69),
    ("process-accounting", 36, 97, 6),
    ("uncharged", 474, 1_669, 11),
    ("untrue-transfer", 6_222, 22_114, 31),
    ("untrue-exec", 1_086, 2_740, 61),
];

#[test]
fn every_built_in_scenario_is_proved_exhaustively_with_these_counts() {
    let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, COUNTS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for (name, states, transitions, depth) in COUNTS {
        let report = report(name, Limits::default());
        let counts = (report.states, report.transitions, report.depth);
        assert_eq!(counts, (*states, *transitions, *depth), "{name}");
        assert_eq!(report.cut, None, "{name}");
        for (property, verdict) in &report.verdicts {
            let good = matches!(verdict, Verdict::Proved | Verdict::NotAsked(_));
            assert!(good, "{name}: {} is {verdict:?}", property.id);
        }
    }
}

/// The most kernel calls for which a guest stands still: undisturbed, and whatever happens. A
/// protocol that makes more calls in the blackout changes these.
const BLACKOUTS: &[(&str, u32, u32)] = &[
    ("transfer", 48, 50),
    ("exec", 47, 89),
    ("separate-spaces", 45, 47),
    ("nest-parent", 43, 45),
    ("another-user", 36, 38),
    ("two-iommufds", 46, 48),
    ("two-faults-transfer", 36, 39),
    ("two-faults-exec", 33, 62),
    ("old-kernel", 0, 0),
    ("by-address", 0, 0),
    ("small-memlock", 0, 0),
    ("tied-mdev", 0, 0),
    ("kvm-transfer", 43, 45),
    ("kvm-exec", 39, 71),
    ("armed-later", 48, 50),
    ("early", 26, 28),
    ("process-accounting", 0, 0),
    ("uncharged", 0, 0),
    ("untrue-transfer", 15, 16),
    ("untrue-exec", 53, 54),
];

#[test]
fn the_worst_blackout_is_known_to_the_call() {
    let of_scenario = |(name, ..): &(&'static str, u32, u32)| {
        let report = report(name, Limits::default());
        let Blackouts { undisturbed, worst } = report.blackouts.expect("every run ends");
        (*name, undisturbed.calls, worst.calls)
    };
    assert_eq!(BLACKOUTS.iter().map(of_scenario).collect::<Vec<_>>(), BLACKOUTS);
}

/// The run that is given stops the guest and makes as many calls as it is said to before the guest
/// runs again.
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
        world.act(system.setting(), &action);
    }
    assert_eq!((calls, was_dark), (worst.calls, true));
}

#[test]
fn every_property_is_proved_by_some_built_in_scenario() {
    let mut proved: BTreeMap<&str, usize> = BTreeMap::new();
    let names = COUNTS.iter().map(|(name, ..)| name).chain(FOR_TYPE1.iter().map(|(name, _)| name));
    for name in names {
        for (property, verdict) in report(name, Limits::default()).verdicts {
            *proved.entry(property.id).or_default() += usize::from(verdict == Verdict::Proved);
        }
    }
    for property in PROPERTIES {
        assert!(proved[property.id] > 0, "{} is never proved", property.id);
    }
}

/// Three searches that share nothing but the world: stateright's depth and breadth first, and ours,
/// of worlds that are not packed, by steps alone.
#[test]
fn stateright_counts_the_same_states_and_finds_no_violation() {
    for (name, states, transitions, _) in COUNTS {
        let system = || System::new(&built_in(name).expect("built in")).expect("set up");
        let checker = Judged(system()).checker().threads(2).spawn_dfs().join();
        assert_eq!(checker.unique_state_count(), *states as usize, "{name}");
        checker.assert_properties();
        let breadth = Judged(system()).checker().spawn_bfs().join();
        assert_eq!(breadth.unique_state_count(), *states as usize, "{name}");
        let ours = explore(&system(), &(0, |_: &World| Said::default()), Limits::default());
        assert_eq!((ours.states(), ours.transitions), (*states, *transitions), "{name}");
        let depth = ours.depth as usize + 1;
        assert_eq!(breadth.max_depth(), depth, "{name}: stateright counts states");
    }
}

/// To the last number: which state was reached from which, and by what.
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

/// Whatever else it may break, an environment that does more does not make a run longer than what
/// is left allows.
#[test]
fn every_step_brings_it_nearer_to_its_end_however_much_goes_wrong() {
    for mode in [Mode::Transfer, Mode::Exec] {
        let may = May { fail_calls: 3, kill: 2, ..May::default() };
        let scenario = ScenarioBuilder::new(mode).may(may).build().expect("a scenario");
        let report = check(&scenario, Limits::default()).expect("it can be set up");
        let verdict =
            |id| &report.verdicts.iter().find(|(of, _)| of.id == id).expect("registered").1;
        assert_eq!((report.cut, verdict("END-2")), (None, &Verdict::Proved), "{mode:?}");
    }
}

#[test]
fn a_search_that_is_cut_short_proves_nothing() {
    let limits = Limits { states_max: 1000, ..Limits::default() };
    let report = report("transfer", limits);
    assert_eq!(report.cut, Some(Cut::States(1000)));
    assert!(report.is_inconclusive());
    assert!(report.verdicts.iter().all(|(_, verdict)| *verdict != Verdict::Proved));
    let held = report.verdicts.iter().find(|(property, _)| property.id == "MAP-1");
    assert_eq!(held.map(|(_, verdict)| verdict), Some(&Verdict::HoldsWithin(Cut::States(1000))));
}
