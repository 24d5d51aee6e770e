//! The search on small models with known results: every defect of stateright 0.31 that we know of,
//! with the right result, and the search's other guarantees.

use crate::models::{Edges, Grid};
use crate::two_phase_commit::TwoPhaseCommit;
use handoff_checker::graph::{
    Cycles, Graph, LongestPath, cycles, in_order, inevitable, longest_path,
};
use handoff_checker::search::{
    Exploration, Labels, Limits, Observer, Panic, StopReason, explore, explore_hashed,
};
use stateright::{Model, Property};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn limits(threads: usize) -> Limits {
    Limits { threads: NonZeroUsize::new(threads).expect("not zero"), ..Limits::default() }
}

/// An observer without properties.
const NOTHING: (usize, fn(&u32) -> Labels) = (0, |_| Labels { witness: 0, violation: 0 });

/// Explores a grid with one invariant for each state in `wrong`, which it violates.
fn grid(side: u32, wrong: &[(u32, u32)], limits: Limits) -> Exploration<(u32, u32)> {
    let say = |at: &(u32, u32)| {
        let bad = wrong.iter().enumerate().filter(|(_, place)| *place == at);
        let bad: u64 = bad.map(|(property, _)| 1 << property).sum();
        Labels { witness: ((1 << wrong.len()) - 1) & !bad, violation: bad }
    };
    explore(&Grid { side, edge: u32::MAX }, &(wrong.len(), say), limits)
}

fn lengths<S>(found: &Exploration<S>) -> Vec<Option<usize>> {
    found.bad.iter().map(|at| at.map(|at| found.run_to(at).1.len())).collect()
}

#[test]
fn a_square_is_counted_exactly_at_any_number_of_threads() {
    for threads in [1, 2, 5] {
        let found = grid(300, &[], limits(threads));
        assert_eq!((found.states(), found.transitions), (90_000, 2 * 300 * 299), "{threads}");
        assert_eq!((found.depth, found.cut), (598, None), "{threads}");
    }
}

/// stateright keeps the last run it finds (598 steps instead of 5), and checks its end in blocks.
#[test]
fn each_property_gets_its_own_shortest_run() {
    for threads in [1, 2, 5] {
        let found = grid(300, &[(299, 299), (2, 3), (0, 4)], limits(threads));
        assert_eq!(lengths(&found), [Some(598), Some(5), Some(4)], "{threads} threads");
        assert_eq!(found.good, [89_999; 3]);
    }
}

#[test]
fn a_run_leads_where_it_says() {
    let found = grid(20, &[(3, 2)], limits(2));
    let (first, places) = found.run_to(found.bad[0].expect("found"));
    assert_eq!(first, 0);
    let model = Grid { side: 20, edge: u32::MAX };
    let end = places.iter().fold((0, 0), |at, place| {
        let mut actions = Vec::new();
        model.actions(&at, &mut actions);
        model.next_state(&at, actions[usize::from(*place)]).expect("enabled")
    });
    assert_eq!(end, (3, 2));
}

#[test]
fn states_are_numbered_alike_at_any_number_of_threads_and_after_their_parents() {
    let [one, two] = [1, 2].map(|threads| grid(200, &[], limits(threads)));
    for at in 0..one.states() {
        assert_eq!((one.state(at), one.parent(at)), (two.state(at), two.parent(at)));
        assert_eq!(one.find(one.state(at)), Some(at));
        let (x, y) = *one.state(at);
        assert_eq!(one.cost_of(at), (0, x + y));
        assert!(one.parent(at).is_none_or(|(parent, _)| parent < at));
    }
}

/// stateright drops the remaining states when its time or its count is up, reports that it is done,
/// and passes.
#[test]
fn a_limit_stops_the_search_and_is_reported() {
    let with = |limits| grid(1000, &[(999, 999)], limits);
    let cases = [
        (Limits { states_max: 500, ..limits(2) }, StopReason::States(500)),
        (Limits { depth_max: Some(9), ..limits(1) }, StopReason::Depth(9)),
        (Limits { time_max: Some(Duration::ZERO), ..limits(1) }, StopReason::Time(Duration::ZERO)),
        (Limits { memory_max_bytes: Some(100_000), ..limits(2) }, StopReason::Memory(100_000)),
    ];
    for (limits, cut) in cases {
        let found = with(limits);
        assert_eq!(found.cut, Some(cut));
        assert!(found.states() < 50_000, "{cut}: {} states", found.states());
        assert_eq!(found.bad, [None], "an unreached state was checked");
    }
}

/// stateright looks at the clock only when a thread runs out of work.
#[test]
fn a_time_limit_is_kept_by_one_thread() {
    let started = Instant::now();
    let found =
        grid(20_000, &[], Limits { time_max: Some(Duration::from_millis(200)), ..limits(1) });
    assert!(matches!(found.cut, Some(StopReason::Time(_))));
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// stateright's depth-first search marks a state that it first met too deep, and misses its
/// successors.
#[test]
fn a_depth_limit_hides_nothing_within_it() {
    // 0 → 1 → 2 → 3 → 4, and 0 → 4 → 5: the bad state is 2 steps away.
    let model = Edges(vec![vec![1, 4], vec![2], vec![3], vec![4], vec![5], vec![]]);
    for (depth_max, expected) in [(1, None), (2, Some(2)), (3, Some(2))] {
        let ask = (1, |at: &u32| Labels { witness: 0, violation: u64::from(*at == 5) });
        let found = explore(&model, &ask, Limits { depth_max: Some(depth_max), ..limits(1) });
        assert_eq!(lengths(&found), [expected], "{depth_max}");
    }
}

/// stateright never checks a state outside its boundary.
#[test]
fn a_state_beyond_the_boundary_is_checked_and_not_expanded() {
    let ask = (1, |at: &(u32, u32)| Labels { witness: 0, violation: u64::from(*at == (3, 0)) });
    let found = explore(&Grid { side: 10, edge: 3 }, &ask, limits(1));
    assert_eq!(lengths(&found), [Some(3)]);
    assert_eq!(found.cut, Some(StopReason::Boundary(4)));
}

/// stateright stops at the first state of a model without properties.
#[test]
fn a_model_without_properties_is_explored() {
    assert_eq!(explore(&Edges::chain(5), &NOTHING, limits(1)).states(), 5);
}

/// An observer for which a step to the right is a fault.
struct RightIsAFault;

impl Observer<Grid> for RightIsAFault {
    fn property_count(&self) -> usize {
        1
    }

    fn state(&self, (x, y): &(u32, u32)) -> Labels {
        Labels { witness: 0, violation: u64::from(*x > 0 || *y == 5) }
    }

    fn faults(&self, right: &bool) -> u16 {
        u16::from(*right)
    }
}

#[test]
fn the_fewest_faults_come_before_the_fewest_steps() {
    for threads in [1, 2] {
        let found = explore(&Grid { side: 300, edge: u32::MAX }, &RightIsAFault, limits(threads));
        assert_eq!(found.cost_of(found.bad[0].expect("found")), (0, 5));
        assert_eq!((found.states(), found.transitions), (90_000, 2 * 300 * 299));
        for at in 0..found.states() {
            let (x, y) = *found.state(at);
            assert_eq!(found.cost_of(at), (x, x + y));
        }
    }
}

/// A model that steps from 0 to 1 by a fault, and then also without one.
struct TwoWays;

impl Model for TwoWays {
    type State = u8;
    type Action = bool;

    fn init_states(&self) -> Vec<u8> {
        vec![0]
    }

    fn actions(&self, state: &u8, actions: &mut Vec<bool>) {
        actions.extend([true, false].iter().filter(|_| *state == 0));
    }

    fn next_state(&self, _: &u8, _: bool) -> Option<u8> {
        Some(1)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

impl Observer<TwoWays> for TwoWays {
    fn property_count(&self) -> usize {
        0
    }

    fn state(&self, _: &u8) -> Labels {
        Labels::default()
    }

    fn faults(&self, is_fault: &bool) -> u16 {
        u16::from(*is_fault)
    }
}

#[test]
fn a_run_without_a_fault_counts_although_one_with_a_fault_was_found_before() {
    let found = explore(&TwoWays, &TwoWays, limits(1));
    assert_eq!((found.cost_of(1), found.run_to(1).1), ((0, 1), vec![1]));
    assert_eq!((found.states(), found.transitions), (2, 2));
}

/// stateright aborts, without a run.
#[test]
fn a_panic_is_a_finding_with_its_run() {
    let panics = (1, |at: &(u32, u32)| match at {
        (1, 2) => panic!("no such place"),
        _ => Labels::default(),
    });
    let found = explore(&Grid { side: 300, edge: u32::MAX }, &panics, limits(2));
    let panic = found.panic.as_ref().expect("it panics");
    assert_eq!(found.state(panic.state), &(1, 2));
    assert_eq!((panic.action, &*panic.message), (None, "no such place"));
    assert_eq!(found.run_to(panic.state).1.len(), 3);
    assert_eq!(found.cut, Some(StopReason::Panic));

    let found = explore(&Edges(vec![vec![1, 2], vec![], vec![9, 9]]), &NOTHING, limits(1));
    let Some(Panic { state, action, .. }) = found.panic else { panic!("9 cannot be expanded") };
    assert_eq!((*found.state(state), action), (9, None));
}

/// stateright replays the run to every state that it shows to a visitor.
#[test]
fn every_state_and_every_transition_is_observed_once() {
    #[derive(Default)]
    struct Counts {
        states: AtomicU64,
        edges: AtomicU64,
    }
    impl Observer<Grid> for Counts {
        fn property_count(&self) -> usize {
            1
        }
        fn state(&self, _: &(u32, u32)) -> Labels {
            self.states.fetch_add(1, Ordering::Relaxed);
            Labels::default()
        }
        fn edge(&self, from: &(u32, u32), to: &(u32, u32)) -> u64 {
            self.edges.fetch_add(1, Ordering::Relaxed);
            u64::from((*from, *to) == ((1, 1), (2, 1)))
        }
    }
    let counts = Counts::default();
    let found = explore(&Grid { side: 300, edge: u32::MAX }, &counts, limits(2));
    assert_eq!(counts.states.into_inner(), 90_000);
    assert_eq!(counts.edges.into_inner(), found.transitions);
    assert_eq!(found.state(found.bad[0].expect("the edge is wrong")), &(1, 1));
}

/// A model whose `next_state` ignores every second action.
struct Ignores;

impl Model for Ignores {
    type State = u32;
    type Action = u32;

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, state: &u32, actions: &mut Vec<u32>) {
        actions.extend((*state < 10).then_some([0, 1, 2]).into_iter().flatten());
    }

    fn next_state(&self, state: &u32, action: u32) -> Option<u32> {
        (action != 1).then_some(state + action + 1)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

/// stateright's simulation indexes actions in a list from which it has removed some.
#[test]
fn an_ignored_action_does_not_shift_the_places_of_a_run() {
    let ask = (1, |at: &u32| Labels { witness: 0, violation: u64::from(*at == 7) });
    let found = explore(&Ignores, &ask, limits(1));
    let (_, places) = found.run_to(found.bad[0].expect("found"));
    let end = places
        .iter()
        .fold(0, |at, place| Ignores.next_state(&at, u32::from(*place)).expect("not ignored"));
    assert_eq!((end, places.len()), (7, 3));
}

/// stateright prints no estimate.
#[test]
fn a_hashed_search_estimates_its_collisions() {
    let ask = (0, |_: &(u32, u32)| Labels::default());
    let found = explore_hashed(&Grid { side: 300, edge: u32::MAX }, &ask, limits(2));
    assert_eq!(found.states(), 90_000);
    let estimate = found.collision_estimate();
    assert!((2.1e-10..2.3e-10).contains(&estimate), "{estimate}");
}

/// Other tools have counted this state space, too; they count the step to the first state as a
/// transition.
#[test]
fn two_phase_commit_has_the_states_and_transitions_that_spin_and_tlc_count() {
    let model = TwoPhaseCommit { managers: 8 };
    let ask = (1, |state: &u64| Labels {
        witness: 1,
        violation: u64::from(!model.is_consistent(*state)),
    });
    for threads in [1, 2] {
        let found = explore(&model, &ask, limits(threads));
        assert_eq!((found.states(), found.transitions), (1_745_408, 18_507_777), "{threads}");
        assert_eq!((&found.bad[..], found.good[0]), (&[None][..], 1_745_408));
        let bytes = found.bytes / u64::from(found.states());
        assert!(bytes <= 45, "{bytes} bytes a state");
    }
}

// ---- properties of the graph

fn shape_of(edges: Vec<Vec<u32>>) -> (Cycles, Graph) {
    let model = Edges(edges);
    let found = explore(&model, &NOTHING, limits(1));
    let graph = Graph::of(&model, &found, NonZeroUsize::MIN, |_| 0);
    (cycles(&graph), graph)
}

#[test]
fn the_longest_run_is_found_where_every_run_ends() {
    let (shape, _) = shape_of(vec![vec![1, 2], vec![3], vec![3, 1], vec![]]);
    assert_eq!(shape, Cycles::Acyclic { longest_run: 3 });
}

#[test]
fn the_heaviest_path_has_the_greatest_sum() {
    // Two transitions lead from 0 to 1; one without a weight is part of no path.
    let (_, graph) = shape_of(vec![vec![1, 1], vec![2], vec![3], vec![]]);
    let order = in_order(&graph).expect("no cycle");
    let weights = [vec![1, 3], vec![5], vec![7], vec![]];
    let all = longest_path(&graph, &order, |state, place| Some(weights[state as usize][place]));
    assert_eq!(all, LongestPath { weight: 15, first: 0, places: vec![1, 0, 0] });
    let some = |state: u32, place: usize| Some(weights[state as usize][place]).filter(|it| *it < 5);
    let some = longest_path(&graph, &order, some);
    assert_eq!(some, LongestPath { weight: 3, first: 0, places: vec![1] });
}

/// A state is inevitable if it is bad or if all its successors are inevitable; a self-loop is a way
/// to avoid it.
#[test]
fn inevitable_states_cannot_avoid_the_bad_one() {
    // 0 → 1 → 2 → 3, where 3 is bad; 0 can stay where it is, 1 cannot.
    let (_, graph) = shape_of(vec![vec![1, 0], vec![2], vec![3], vec![]]);
    let only = |at: usize| (0..4).map(|state| state == at).collect();
    assert_eq!(inevitable(&graph, only(3), |_, _| true), [false, true, true, true]);
    assert_eq!(inevitable(&graph, only(3), |_, place| place == 0), [true, true, true, true]);
    let (_, graph) = shape_of(vec![vec![1], vec![2], vec![3], vec![]]);
    assert_eq!(inevitable(&graph, only(2), |_, _| true), [true, true, true, false]);
}

/// stateright's `eventually` misses cycles.
#[test]
fn a_cycle_is_found_and_is_a_real_one() {
    // Two transitions lead into 3 → 4 → 5 → 3; 6 is reached from the cycle and not part of it.
    let edges = vec![vec![1, 2], vec![3], vec![3], vec![4], vec![5, 6], vec![3], vec![]];
    let (shape, graph) = shape_of(edges);
    let Cycles::Cyclic(cycle) = shape else { panic!("there is a cycle") };
    assert_eq!(cycle.len(), 3);
    for (at, state) in cycle.iter().enumerate() {
        let next = cycle[(at + 1) % cycle.len()];
        assert!(graph.successors(*state).contains(&next), "{state} does not lead to {next}");
    }
}

#[test]
fn a_state_that_leads_to_itself_is_a_cycle() {
    assert_eq!(shape_of(vec![vec![1], vec![1]]).0, Cycles::Cyclic(vec![1]));
}

/// petgraph's `tarjan_scc` overflows the stack on this graph.
#[test]
fn a_long_run_does_not_overflow_the_stack() {
    let mut chain = Edges::chain(200_000);
    assert_eq!(shape_of(chain.0.clone()).0, Cycles::Acyclic { longest_run: 199_999 });
    chain.0[199_999].push(100_000);
    let Cycles::Cyclic(cycle) = shape_of(chain.0).0 else { panic!("there is a cycle") };
    assert_eq!(cycle.len(), 100_000);
}
