//! Reduced searches give the verdicts of the full one, and wrong claims of models are detected.

use crate::models::{Claim, Edges, Workers};
use crate::two_phase_commit::TwoPhaseCommit;
use handoff_checker::reduction::{Reduced, Reducible, Reductions, violation_of};
use handoff_checker::search::{Labels, Limits, explore};
use stateright::{Model, Property};
use std::collections::BTreeSet;

const ALL: Reductions = Reductions { symmetry: true, order: true, strides: true };
const SYMMETRY: Reductions = Reductions { symmetry: true, order: false, strides: false };
const ORDER: Reductions = Reductions { symmetry: false, order: true, strides: false };
const STRIDES: Reductions = Reductions { symmetry: false, order: false, strides: true };

/// Explores workers with some reductions. `expected` is the number of states left, and the number
/// of steps, in the model itself, of a run to a state where two workers are ready.
#[track_caller]
fn check(model: Workers, reductions: Reductions, expected: (u32, usize)) {
    let ready = 2;
    let ask = (1, |state: &Vec<u8>| {
        let (good, bad) = (u64::from(model.ready(state) > 0), model.ready(state) >= ready);
        Labels { witness: good, violation: u64::from(bad) }
    });
    let reduced = Reduced::new(&model, reductions);
    let found = explore(&reduced, &ask, Limits::default());
    let bad = found.bad[0].expect("so many can be ready");
    let back = |at: &u32| found.parent(*at).map(|(before, _)| before);
    let mut states: Vec<_> = std::iter::successors(Some(bad), back).collect();
    states.reverse();
    let states: Vec<_> = states.into_iter().map(|at| found.state(at).clone()).collect();
    let run = reduced.unfold(&states).expect("a run of the model leads there");
    let mut state = model.init_states().remove(0);
    for action in &run {
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        assert!(actions.contains(action), "{action} in {state:?}");
        state = model.next_state(&state, *action).expect("it leads somewhere");
    }
    assert_eq!(model.ready(&state), ready);
    assert_eq!((found.states(), run.len()), expected, "{reductions:?}");
}

/// Three workers with four local steps each, and then one to be ready: 6³ states; as multisets C(8,
/// 3). With partial-order reduction each takes its local steps before the next begins, and then all
/// may be ready: 3 · 4 + 2³. With strides no local step is visible after the first step, whichever
/// that was.
#[test]
fn reductions_leave_the_expected_number_of_states() {
    let model = Workers::new(3, 4);
    check(model, Reductions::default(), (216, 10));
    check(model, SYMMETRY, (56, 10));
    check(model, ORDER, (20, 14));
    check(model, STRIDES, (9, 14));
    check(model, Reductions { symmetry: true, ..ORDER }, (16, 14));
    check(model, ALL, (5, 14));
}

/// stateright ignores symmetry in a breadth-first search. This search keeps one state of each
/// class, and finds as many as the full search has classes.
#[test]
fn a_breadth_first_search_by_symmetry_has_one_state_of_each_class() {
    let model = Workers::new(12, 0);
    let ask = (0, |_: &Vec<u8>| Labels::default());
    let full = explore(&model, &ask, Limits::default());
    let reduced = explore(&Reduced::new(&model, SYMMETRY), &ask, Limits::default());
    assert_eq!((full.states(), reduced.states()), (4096, 13));
}

#[test]
fn two_phase_commit_has_as_many_states_as_classes() {
    let model = TwoPhaseCommit { managers: 5 };
    let ask = (1, |state: &u64| Labels {
        witness: 1,
        violation: u64::from(!model.is_consistent(*state)),
    });
    let full = explore(&model, &ask, Limits::default());
    let classes = (0..full.states()).map(|at| model.representative(*full.state(at)));
    let classes: BTreeSet<_> = classes.collect();
    let reduced = explore(&Reduced::new(&model, SYMMETRY), &ask, Limits::default());
    assert_eq!(reduced.states() as usize, classes.len());
    assert_eq!((full.states(), reduced.states()), (8_832, 314));
    assert_eq!((reduced.bad, reduced.cut), (full.bad.clone(), None));
    assert_eq!(violation_of(&model, &ask, &full), None);
}

/// A graph with claims: the representative of each state, and the transitions, by their ends, that
/// are ample.
struct Claims {
    edges: Edges,
    representatives: Vec<u32>,
    first: Vec<(u32, u32)>,
}

impl Model for Claims {
    type State = u32;
    type Action = u32;

    fn init_states(&self) -> Vec<u32> {
        self.edges.init_states()
    }

    fn actions(&self, state: &u32, actions: &mut Vec<u32>) {
        self.edges.actions(state, actions);
    }

    fn next_state(&self, state: &u32, target: u32) -> Option<u32> {
        self.edges.next_state(state, target)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

impl Reducible for Claims {
    fn representative(&self, state: u32) -> u32 {
        self.representatives[state as usize]
    }

    fn is_ample(&self, state: &u32, actions: &[u32], place: usize) -> bool {
        self.first.contains(&(*state, actions[place]))
    }
}

/// Wrong claims of small graphs, and the violation reported. The one property distinguishes the
/// states from the third on.
#[test]
fn wrong_claims_of_a_model_are_detected() {
    let two = || vec![vec![1, 2], vec![], vec![]];
    let cases = [
        (two(), vec![0, 1, 2], vec![], None),
        (two(), vec![0, 1, 9], vec![], Some("its representative is not reachable")),
        (
            vec![vec![1], vec![]],
            vec![1, 0],
            vec![],
            Some("its representative is not its own representative"),
        ),
        (two(), vec![0, 1, 1], vec![], Some("a property distinguishes it from its representative")),
        (
            vec![vec![1], vec![]],
            vec![0, 0],
            vec![],
            Some("its successors are not those of its representative, up to symmetry"),
        ),
        (vec![vec![1], vec![]], vec![0, 1], vec![(0, 1)], None),
        (
            vec![vec![1], vec![2], vec![]],
            vec![0, 1, 2],
            vec![(1, 2)],
            Some("an ample action is visible to a property, or it is a fault"),
        ),
        (
            two(),
            vec![0, 1, 2],
            vec![(0, 1)],
            Some("an ample action does not commute with the others"),
        ),
        (
            vec![vec![1], vec![0]],
            vec![0, 1],
            vec![(0, 1), (1, 0)],
            Some("ample actions form a cycle"),
        ),
    ];
    for (edges, representatives, first, expected) in cases {
        let claims = format!("{edges:?} {representatives:?} {first:?}");
        // Unused states have no transitions.
        let edges = Edges([edges, vec![Vec::new(); 9]].concat());
        let representatives = representatives.into_iter().chain(0..10).collect();
        let model = Claims { edges, representatives, first };
        let ask = (1, |state: &u32| Labels { witness: u64::from(*state >= 2), violation: 0 });
        let full = explore(&model, &ask, Limits::default());
        assert_eq!(violation_of(&model, &ask, &full).map(|(_, wrong)| wrong), expected, "{claims}");
    }
}

#[test]
fn wrong_claims_of_workers_are_detected() {
    let honest = Workers::new(2, 2);
    let of_all = |state: &Vec<u8>| Labels { witness: u64::from(state.contains(&3)), violation: 0 };
    let full = explore(&honest, &(1, of_all), Limits::default());
    assert_eq!(violation_of(&honest, &(1, of_all), &full), None);
    let wrong: [(Claim, &str); 2] = [
        (|_, _, _| true, "an ample action is visible to a property, or it is a fault"),
        // This claim ends as soon as another worker takes a step.
        (
            |workers, state, at| state[at] < workers.things && state.iter().sum::<u8>() == 0,
            "an ample action does not commute with the others",
        ),
    ];
    for (claim, expected) in wrong {
        let found = violation_of(&Workers { claim, ..honest }, &(1, of_all), &full);
        assert_eq!(found.map(|(_, wrong)| wrong), Some(expected));
    }
}
