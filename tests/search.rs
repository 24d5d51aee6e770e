//! The search on small models whose answers are known, among them each that stateright 0.31 gets
//! wrong: shortest runs with several properties, limits that must not look like proofs, dead ends and
//! cycles.

use handoff_specs::graph::{Shape, shape};
use handoff_specs::search::{Cut, Exploration, Limits, Said, explore};
use stateright::{Model, Property};
use std::num::NonZeroUsize;

/// A graph given by its edges, from state 0.
struct Edges(Vec<Vec<u32>>);

impl Model for Edges {
    type State = u32;
    type Action = u32;

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, state: &u32, actions: &mut Vec<u32>) {
        actions.extend(&self.0[*state as usize]);
    }

    fn next_state(&self, _: &u32, target: u32) -> Option<u32> {
        Some(target)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing", |_, _| true)]
    }
}

/// A square of `side` × `side`, by steps to the right and down.
struct Grid {
    side: u32,
}

impl Model for Grid {
    type State = (u32, u32);
    type Action = bool;

    fn init_states(&self) -> Vec<(u32, u32)> {
        vec![(0, 0)]
    }

    fn actions(&self, (x, y): &(u32, u32), actions: &mut Vec<bool>) {
        actions.extend((*x + 1 < self.side).then_some(true));
        actions.extend((*y + 1 < self.side).then_some(false));
    }

    fn next_state(&self, (x, y): &(u32, u32), right: bool) -> Option<(u32, u32)> {
        Some(if right { (x + 1, *y) } else { (*x, y + 1) })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing", |_, _| true)]
    }
}

fn limits(threads: usize) -> Limits {
    Limits { threads: NonZeroUsize::new(threads).expect("not zero"), ..Limits::default() }
}

fn grid(side: u32, bad: &[(u32, u32)], limits: Limits) -> Exploration {
    let say = |at: &(u32, u32)| {
        bad.iter().map(|wrong| if at == wrong { Said::Bad } else { Said::Good }).collect()
    };
    explore(&Grid { side }, bad.len(), say, limits)
}

#[test]
fn a_square_is_counted_exactly_at_any_number_of_threads() {
    for threads in [1, 2, 5] {
        let found = grid(300, &[], limits(threads));
        assert_eq!((found.states(), found.transitions()), (90_000, 2 * 300 * 299), "{threads}");
        assert_eq!((found.depth, found.cut), (598, None), "{threads}");
    }
}

#[test]
fn each_question_gets_its_own_shortest_run() {
    for threads in [1, 2, 5] {
        let found = grid(300, &[(299, 299), (2, 3), (0, 4)], limits(threads));
        let lengths: Vec<_> =
            found.bad.iter().map(|at| found.run_to(at.expect("found")).1.len()).collect();
        assert_eq!(lengths, [598, 5, 4], "{threads} threads");
        assert_eq!(found.good, [89_999; 3]);
    }
}

#[test]
fn a_run_leads_where_it_says() {
    let found = grid(20, &[(3, 2)], limits(2));
    let (first, places) = found.run_to(found.bad[0].expect("found"));
    assert_eq!(first, 0);
    let model = Grid { side: 20 };
    let end = places.iter().fold((0, 0), |at, place| {
        let mut actions = Vec::new();
        model.actions(&at, &mut actions);
        model.next_state(&at, actions[usize::from(*place)]).expect("enabled")
    });
    assert_eq!(end, (3, 2));
}

#[test]
fn a_limit_is_told_and_stops_the_search() {
    let found = grid(300, &[(299, 299)], Limits { states_max: 500, ..limits(2) });
    assert_eq!(found.cut, Some(Cut::States(500)));
    assert!(found.states() < 1000);
    assert_eq!(found.bad, [None], "what was not reached was not judged");
    let time_max = Some(std::time::Duration::ZERO);
    let found = grid(300, &[], Limits { time_max, ..limits(1) });
    assert!(matches!(found.cut, Some(Cut::Time(_))), "one thread keeps to the time, too");
}

#[test]
fn the_longest_run_is_found_where_every_run_ends() {
    let model = Edges(vec![vec![1, 2], vec![3], vec![3, 1], vec![]]);
    let found = explore(&model, 0, |_| Vec::new(), limits(1));
    assert_eq!(shape(&found), Shape::Acyclic { longest_run: 3 });
}

#[test]
fn a_cycle_is_found_and_is_a_real_one() {
    // Two ways lead into 3 → 4 → 5 → 3; 6 hangs on it and is no part of it.
    let model = Edges(vec![vec![1, 2], vec![3], vec![3], vec![4], vec![5, 6], vec![3], vec![]]);
    let found = explore(&model, 0, |_| Vec::new(), limits(1));
    let Shape::Cyclic(cycle) = shape(&found) else { panic!("there is a cycle") };
    assert_eq!(cycle.len(), 3);
    for (at, state) in cycle.iter().enumerate() {
        let next = cycle[(at + 1) % cycle.len()];
        assert!(found.successors(*state).contains(&next), "{state} does not lead to {next}");
    }
}

#[test]
fn a_state_that_leads_to_itself_is_a_cycle() {
    let found = explore(&Edges(vec![vec![1], vec![1]]), 0, |_| Vec::new(), limits(1));
    assert_eq!(shape(&found), Shape::Cyclic(vec![1]));
}
