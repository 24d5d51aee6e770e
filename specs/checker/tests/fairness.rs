//! Infinite runs and trapped states: on small models with known results, and on random ones against
//! the definition.

use crate::models::{Grid, Labelled};
use handoff_checker::fairness::{Fairness, Lasso, Step, fair_run, starved};
use handoff_checker::graph::{Graph, first_trapped};
use handoff_checker::search::{Exploration, Labels, Limits, explore};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use Fairness::{Free, Strong, Weak};

fn explored(edges: &[Vec<(u32, u8)>]) -> (Exploration<u32>, Graph) {
    let model = Labelled(edges.to_vec());
    let limits = Limits { threads: NonZeroUsize::MIN, ..Limits::default() };
    let found = explore(&model, &(0, |_: &u32| Labels::default()), limits);
    let graph = Graph::of(&model, &found, NonZeroUsize::MIN, |(_, label)| *label);
    (found, graph)
}

/// The states of a lasso's prefix, and those of its cycle.
type States = Option<(Vec<u32>, Vec<u32>)>;

/// Returns a fair lasso that never reaches a goal, after checking that it is one.
fn lasso(edges: &[Vec<(u32, u8)>], goals: &[u32], fairness: &[Fairness]) -> States {
    let (found, graph) = explored(edges);
    let goals: Vec<bool> = (0..found.states()).map(|at| goals.contains(found.state(at))).collect();
    let lasso = fair_run(&graph, &[0], &goals, fairness)?;
    assert_real(&graph, &goals, &lasso);
    assert_eq!(starved(&graph, &lasso.cycle, fairness), [0usize; 0], "{lasso:?}");
    let states = |steps: &[Step]| steps.iter().map(|(at, _)| *found.state(*at)).collect();
    Some((states(&lasso.prefix), states(&lasso.cycle)))
}

/// Checks that each step exists, leads to the next one's state and never to a goal, and that the
/// last leads to the beginning of the cycle.
#[track_caller]
fn assert_real(graph: &Graph, goals: &[bool], Lasso { prefix, cycle }: &Lasso) {
    let first = cycle.first().expect("a cycle has a step");
    let all: Vec<Step> = prefix.iter().chain(cycle).chain([first]).copied().collect();
    assert_eq!(all[0].0, 0, "it begins in the initial state");
    for pair in all.windows(2) {
        let (state, place) = pair[0];
        assert_eq!(graph.successors(state)[place], pair[1].0, "{pair:?}");
        assert!(!goals[state as usize], "{state} is a goal");
    }
}

/// Returns edges with label 0.
fn plain(edges: &[&[u32]]) -> Vec<Vec<(u32, u8)>> {
    edges.iter().map(|targets| targets.iter().map(|target| (*target, 0)).collect()).collect()
}

/// Defect G of stateright: its `eventually` does not see that 1 → 2 → 1 never reaches 3.
#[test]
fn a_cycle_without_the_goal_is_found() {
    let edges = plain(&[&[1], &[2, 3], &[1], &[]]);
    assert_eq!(lasso(&edges, &[3], &[Weak]), Some((vec![0], vec![1, 2])));
    assert_eq!(lasso(&edges, &[2], &[Weak]), None, "the goal is on it");
    assert_eq!(lasso(&edges, &[0], &[Weak]), None, "every run begins in the goal");
}

/// Defect H: its `eventually` takes a run without the goal for one with it where they join.
#[test]
fn a_run_that_joins_one_with_the_goal_does_not_inherit_it() {
    // 0 → 2 → 4, 0 → 1 → 4, where 2 is the goal; 4 has a self-loop.
    let edges = plain(&[&[2, 1], &[4], &[4], &[], &[4]]);
    assert_eq!(lasso(&edges, &[2], &[Weak]), Some((vec![0, 1], vec![4])));
    // Without the self-loop 4 is a terminal state that is no goal.
    let (found, graph) = explored(&plain(&[&[2, 1], &[4], &[4], &[], &[]]));
    let is = |goal: u32| (0..found.states()).map(|at| *found.state(at) == goal).collect();
    let at = first_trapped(&graph, is(2), |_, _| true).expect("1 does not lead to 2");
    assert_eq!(*found.state(at), 1);
    assert_eq!(first_trapped(&graph, is(4), |_, _| true), None);
}

/// Defect I: the goal is beyond the boundary. It is known nevertheless, and the state before it is
/// not terminal.
#[test]
fn a_goal_beyond_the_boundary_is_reached() {
    let model = Grid { side: 2, edge: 1 };
    let found = explore(&model, &(0, |_: &(u32, u32)| Labels::default()), Limits::default());
    let graph = Graph::of(&model, &found, NonZeroUsize::MIN, |_| 0);
    let goals: Vec<bool> = (0..found.states()).map(|at| *found.state(at) != (0, 0)).collect();
    assert_eq!(goals, [false, true, true]);
    assert_eq!(first_trapped(&graph, goals.clone(), |_, _| true), None);
    assert_eq!(fair_run(&graph, &[0], &goals, &[Weak]), None);
}

/// The terminal state is found by `first_trapped` instead.
#[test]
fn a_terminal_state_is_no_cycle() {
    assert_eq!(lasso(&plain(&[&[1], &[2], &[]]), &[], &[Weak]), None);
}

/// Defect O: a weakly fair scheduler leaves a state in which another class stays enabled.
#[test]
fn an_unfair_self_loop_is_no_counterexample() {
    // 0 → 0 by class 0; 0 → 1, the goal, by class 1.
    let edges = vec![vec![(0, 0), (1, 1)], vec![]];
    assert_eq!(lasso(&edges, &[1], &[Free, Free]), Some((vec![], vec![0])));
    assert_eq!(lasso(&edges, &[1], &[Weak, Free]), Some((vec![], vec![0])));
    for owed in [Weak, Strong] {
        assert_eq!(lasso(&edges, &[1], &[Weak, owed]), None, "{owed:?}");
    }
    let (_, graph) = explored(&edges);
    assert_eq!(starved(&graph, &[(0, 0)], &[Weak, Weak]), [1]);
    assert_eq!(starved(&graph, &[(0, 1)], &[Weak, Weak]), [0], "the walk need not be a cycle");
}

/// 0 ⇄ 1 by class 0; class 1 leads out of 1 and is not enabled in 0.
#[test]
fn a_cycle_may_be_fair_weakly_and_not_strongly() {
    let edges = vec![vec![(1, 0)], vec![(0, 0), (2, 1)], vec![]];
    assert_eq!(lasso(&edges, &[2], &[Weak, Weak]), Some((vec![], vec![0, 1])));
    assert_eq!(lasso(&edges, &[2], &[Weak, Strong]), None);
    assert_eq!(lasso(&edges, &[2], &[Strong, Free]), Some((vec![], vec![0, 1])));
}

/// Removing the states of one strongly fair class leaves a smaller component, and removing those of
/// another an even smaller one.
#[test]
fn strong_fairness_decomposes_a_component_again() {
    // 0 → 1 → 2 → 3 → 0 by class 0; 3 could leave by class 1, 2 by class 2; 1 → 0 and 0 → 0.
    let edges = vec![
        vec![(1, 0), (0, 3)],
        vec![(2, 0), (0, 0)],
        vec![(3, 0), (4, 2), (1, 0)],
        vec![(0, 0), (4, 1)],
        vec![],
    ];
    assert_eq!(lasso(&edges, &[4], &[Weak, Strong, Free, Free]), Some((vec![], vec![0, 1])));
    assert_eq!(lasso(&edges, &[4], &[Weak, Strong, Strong, Free]), Some((vec![], vec![0, 1])));
    let owed = [Weak, Strong, Strong, Strong];
    assert_eq!(lasso(&edges, &[4], &owed), Some((vec![], vec![0, 1, 0])), "the self-loop, too");
    // Without 1 → 0 the only cycle left is the self-loop, in which class 0 stays enabled.
    let mut edges = edges;
    edges[1].pop();
    assert_eq!(lasso(&edges, &[4], &[Weak, Strong, Strong, Free]), None);
    assert_eq!(lasso(&edges, &[4], &[Free, Strong, Strong, Free]), Some((vec![], vec![0])));
}

/// A weakly fair class need not be taken if it is disabled now and then: the cycle visits such a
/// state.
#[test]
fn a_cycle_visits_a_state_where_a_weakly_fair_class_is_disabled() {
    // 0 → 0 alone would starve class 1, which is disabled in 1.
    let edges = vec![vec![(0, 0), (1, 0), (2, 1)], vec![(0, 0)], vec![]];
    assert_eq!(lasso(&edges, &[2], &[Weak, Weak]), Some((vec![], vec![0, 0, 1])));
    assert_eq!(lasso(&edges, &[2], &[Free, Weak]), Some((vec![], vec![0, 1])));
    assert_eq!(lasso(&edges, &[2], &[Weak, Free]), Some((vec![], vec![0])));
}

/// petgraph's `tarjan_scc` overflows the stack on this graph.
#[test]
fn a_long_prefix_and_a_long_cycle_do_not_overflow_the_stack() {
    const STATES: u32 = 200_000;
    let chain = |back: Option<u32>| {
        let to_next = |at: u32| if at + 1 < STATES { Some(at + 1) } else { back };
        (0..STATES).map(|at| to_next(at).map(|to| (to, 0)).into_iter().collect()).collect()
    };
    let edges: Vec<Vec<_>> = chain(None);
    assert_eq!(lasso(&edges, &[], &[Strong]), None);
    let (found, graph) = explored(&edges);
    let goals = |last| (0..found.states()).map(|at| at == last).collect();
    assert_eq!(first_trapped(&graph, goals(STATES - 1), |_, _| true), None);
    assert_eq!(first_trapped(&graph, goals(STATES - 2), |_, _| true), Some(STATES - 1));
    let (prefix, cycle) = lasso(&chain(Some(50_000)), &[], &[Strong]).expect("there is a cycle");
    assert_eq!((prefix.len(), cycle.len()), (50_000, 150_000));
}

/// Transitions that are not open lead to no goal.
#[test]
fn a_goal_is_reached_by_open_transitions_only() {
    let (_, graph) = explored(&[vec![(1, 0)], vec![(2, 1)], vec![]]);
    let goals = vec![false, false, true];
    assert_eq!(first_trapped(&graph, goals.clone(), |_, _| true), None);
    let is_open = |state: u32, place: usize| graph.labels(state)[place] == 0;
    assert_eq!(first_trapped(&graph, goals, is_open), Some(0));
    // A state that can reach a goal may have a successor that cannot.
    let (_, graph) = explored(&plain(&[&[1, 2], &[], &[]]));
    assert_eq!(first_trapped(&graph, vec![false, true, false], |_, _| true), Some(2));
}

// ---- the definition

type Edge = (u32, u32, u8);

/// Decides by the definition if a fair run from 0 never reaches a goal: it takes the transitions of
/// some set infinitely often, and no others. Every set is tried.
fn by_definition(edges: &[Edge], goals: &BTreeSet<u32>, fairness: &[Fairness]) -> bool {
    let closure = |from: u32, edges: &[Edge]| {
        let mut known = BTreeSet::from([from]);
        while edges.iter().any(|(a, b, _)| known.contains(a) && known.insert(*b)) {}
        known
    };
    let free: Vec<Edge> = edges
        .iter()
        .copied()
        .filter(|(a, b, _)| !goals.contains(a) && !goals.contains(b))
        .collect();
    if goals.contains(&0) {
        return false;
    }
    let reached = closure(0, &free);
    (1u32..1 << free.len()).any(|set| {
        let taken: Vec<Edge> =
            (0..free.len()).filter(|at| set >> at & 1 == 1).map(|at| free[at]).collect();
        let states: BTreeSet<u32> = taken.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
        let goes_round = states.is_subset(&reached)
            && states.iter().all(|state| closure(*state, &taken).is_superset(&states));
        let enabled =
            |class: u8, state: u32| edges.iter().any(|(a, _, c)| (*a, *c) == (state, class));
        let is_fair = (0u8..).zip(fairness).all(|(class, owed)| {
            let is_taken = taken.iter().any(|(.., of)| *of == class);
            is_taken
                || match owed {
                    Free => true,
                    Weak => states.iter().any(|state| !enabled(class, *state)),
                    Strong => states.iter().all(|state| !enabled(class, *state)),
                }
        });
        goes_round && is_fair
    })
}

fn by_state(edges: &[Edge], states: usize) -> Vec<Vec<(u32, u8)>> {
    let mut by_state = vec![Vec::new(); states];
    for (from, to, class) in edges {
        by_state[*from as usize].push((*to, *class));
    }
    by_state
}

fn fairness() -> impl Strategy<Value = Fairness> {
    prop_oneof![Just(Free), Just(Weak), Just(Strong)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(3000)
    })]

    /// Verdicts are those of the definition, and every lasso is a fair run.
    #[test]
    fn verdicts_on_random_graphs_are_those_of_the_definition(
        edges in prop::collection::vec((0u32..5, 0u32..5, 0u8..3), 1..11),
        goals in prop::collection::btree_set(1u32..5, 0..2),
        fairness in prop::collection::vec(fairness(), 3),
    ) {
        let graph = by_state(&edges, 5);
        let goal: Vec<u32> = goals.iter().copied().collect();
        let found = lasso(&graph, &goal, &fairness).is_some();
        prop_assert_eq!(found, by_definition(&edges, &goals, &fairness));
    }

    /// A state is trapped exactly if none of its reachable states is a goal.
    #[test]
    fn trapped_states_of_random_graphs_are_those_of_the_definition(
        edges in prop::collection::vec((0u32..6, 0u32..6, 0u8..2), 1..14),
        goal in 0u32..6,
    ) {
        let (found, graph) = explored(&by_state(&edges, 6));
        let reaches = |from: u32| {
            let mut known = BTreeSet::from([from]);
            let open = |(a, b, class): &Edge, known: &mut BTreeSet<u32>| {
                *class == 0 && known.contains(a) && known.insert(*b)
            };
            while edges.iter().any(|edge| open(edge, &mut known)) {}
            known.contains(&goal)
        };
        let expected = (0..found.states()).find(|at| !reaches(*found.state(*at)));
        let goals = (0..found.states()).map(|at| *found.state(at) == goal).collect();
        let is_open = |state: u32, place: usize| graph.labels(state)[place] == 0;
        prop_assert_eq!(first_trapped(&graph, goals, is_open), expected);
    }
}
