//! The canonical counterexample: the least of all cheapest runs to a goal, compared by the indices
//! of their actions.
//!
//! Many runs have the least cost. The choice depends on the model only, and neither on the
//! representation of states nor on the order of the search.

use handoff_checker::graph::Graph;
use handoff_checker::search::{Exploration, StateIndex};

/// Returns the states of that run, and the index of the action taken in each but the last. The
/// goals are those of least cost; `goal` is one of them.
pub(super) fn first_run<S>(
    exploration: &Exploration<S>,
    graph: &Graph,
    goal: StateIndex,
    is_goal: impl Fn(StateIndex) -> bool,
    is_fault: impl Fn(StateIndex, usize) -> bool,
) -> (Vec<StateIndex>, Vec<u16>) {
    let cost = exploration.cost_of(goal);
    let is_cheap = |state: StateIndex, place: usize, next: StateIndex| {
        let (faults, steps) = exploration.cost_of(state);
        let faults = faults + u32::from(is_fault(state, place));
        exploration.cost_of(next) == (faults, steps + 1)
    };
    let mut leads = vec![false; graph.states() as usize];
    let way_on = |leads: &[bool], state: StateIndex| {
        let ways = graph.successors(state).iter().copied().enumerate();
        let leads_on = |(place, next): &(usize, StateIndex)| {
            leads[*next as usize] && is_cheap(state, *place, *next)
        };
        { ways }.find(leads_on)
    };
    let is_end = |state: StateIndex| exploration.cost_of(state) == cost && is_goal(state);
    // A state on a cheapest run has a lower number than its successors there.
    for state in (0..graph.states()).rev() {
        leads[state as usize] = is_end(state) || way_on(&leads, state).is_some();
    }
    let mut at =
        (0..graph.states()).find(|state| leads[*state as usize]).expect("a goal is reached");
    let (mut states, mut places) = (vec![at], Vec::new());
    while !is_end(at) {
        let (place, next) = way_on(&leads, at).expect("it leads on");
        places.push(u16::try_from(place).expect("actions are few"));
        states.push(next);
        at = next;
    }
    (states, places)
}
