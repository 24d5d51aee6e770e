//! Tests reduced searches of handoffs: each property has the same verdict as in the full search.

use handoff_checker::reduction::{Reduced, Reductions, violation_of};
use handoff_checker::search::{Limits, explore};
use handoff_model::variants::defects::DEFECTS;
use handoff_specs::check::packed::PackedSystem;
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::library::{BUILT_IN, built_in};
use handoff_specs::state::system::System;

const ALL: Reductions = Reductions { symmetry: true, order: true, strides: true };

/// For every built-in scenario and every known bug, each property has the same verdict in the
/// reduced search, and the assumptions of the reduction hold in each state.
#[test]
fn a_reduced_search_has_the_verdicts_of_the_full_one() {
    let scenarios = BUILT_IN.iter().map(|(name, _)| built_in(name).expect("built in"));
    let mut states = Vec::new();
    for scenario in scenarios.chain(DEFECTS.iter().map(crate::bugs::defects::scenario)) {
        states.push(compare(&scenario));
    }
    assert!(states[0].1 < states[0].0, "no state is reduced: {:?}", states[0]);
    assert!(states.iter().all(|(full, reduced)| reduced <= full), "{states:?}");
}

/// The numbers of states of the full and of the reduced search.
pub(crate) fn compare(scenario: &Scenario) -> (u32, u32) {
    let system = System::new(scenario).expect("it can be set up");
    let packed = PackedSystem::new(&system);
    let full = explore(&packed, &packed, Limits::default());
    let reduced = Reduced::new(&packed, ALL);
    let reduced = explore(&reduced, &reduced, Limits::default());
    let is_some = |found: &[Option<u32>]| found.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(is_some(&full.bad), is_some(&reduced.bad), "{}", scenario.name);
    let says = |good: &[u64]| good.iter().map(|states| *states > 0).collect::<Vec<_>>();
    assert_eq!(says(&full.good), says(&reduced.good), "{}", scenario.name);
    assert_eq!(violation_of(&packed, &packed, &full), None, "{}", scenario.name);
    (full.states(), reduced.states())
}
