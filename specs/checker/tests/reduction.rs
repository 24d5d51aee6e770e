//! Reduced searches say what the full one says, and models are held to what they claim of
//! themselves.

use crate::models::{Claim, Edges, Workers};
use crate::two_phase_commit::TwoPhaseCommit;
use handoff_checker::reduction::{Reduced, Reducible, Ways, violation_of};
use handoff_checker::search::{Labels, Limits, explore};
use stateright::{Model, Property};
use std::collections::BTreeSet;

const ALL: Ways = Ways { symmetry: true, order: true, strides: true };
const SYMMETRY: Ways = Ways { symmetry: true, order: false, strides: false };
const ORDER: Ways = Ways { symmetry: false, order: true, strides: false };
const STRIDES: Ways = Ways { symmetry: false, order: false, strides: true };

/// How many states are left by some ways, of workers; and a run to where so many are ready: its
/// steps in the model itself.
#[track_caller]
fn check(model: Workers, ways: Ways, expected: (u32, usize)) {
    let ready = 2;
    let ask = (1, |state: &Vec<u8>| {
        let (good, bad) = (u64::from(model.ready(state) > 0), model.ready(state) >= ready);
        Labels { witness: good, violation: u64::from(bad) }
    });
    let reduced = Reduced::new(&model, ways);
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
    assert_eq!((found.states(), run.len()), expected, "{ways:?}");
}

/// Three workers with four things to do each, and then to be ready: 6³ states; as multisets C(8,
/// 3). In order, each does its things before the next begins, and then all may be ready: 3 · 4 +
/// 2³. In strides nobody is seen at its things after the first step, whatever that was.
#[test]
fn workers_are_reduced_to_so_many_states() {
    let model = Workers::new(3, 4);
    check(model, Ways::default(), (216, 10));
    check(model, SYMMETRY, (56, 10));
    check(model, ORDER, (20, 14));
    check(model, STRIDES, (9, 14));
    check(model, Ways { symmetry: true, ..ORDER }, (16, 14));
    check(model, ALL, (5, 14));
}

/// stateright ignores symmetry in a breadth-first search. Here it leaves one state of each class,
/// and those are as many as the classes of the full search.
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

/// A graph that says of itself: what stands for each state, and which transitions, by their ends,
/// may come first.
struct Claims {
    edges: Edges,
    stand_ins: Vec<u32>,
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
        self.stand_ins[state as usize]
    }

    fn may_come_first(&self, state: &u32, actions: &[u32], place: usize) -> bool {
        self.first.contains(&(*state, actions[place]))
    }
}

/// Each wrong claim of a small graph, and what is seen of it. One question: whether a state is the
/// third or a later one.
#[test]
fn a_model_is_held_to_what_it_says_of_itself() {
    let two = || vec![vec![1, 2], vec![], vec![]];
    let cases = [
        (two(), vec![0, 1, 2], vec![], None),
        (two(), vec![0, 1, 9], vec![], Some("what stands for it cannot be reached")),
        (
            vec![vec![1], vec![]],
            vec![1, 0],
            vec![],
            Some("what stands for it does not stand for itself"),
        ),
        (two(), vec![0, 1, 1], vec![], Some("a question tells it from what stands for it")),
        (
            vec![vec![1], vec![]],
            vec![0, 0],
            vec![],
            Some("it does not lead to what that leads to which stands for it"),
        ),
        (vec![vec![1], vec![]], vec![0, 1], vec![(0, 1)], None),
        (
            vec![vec![1], vec![2], vec![]],
            vec![0, 1, 2],
            vec![(1, 2)],
            Some("a question sees what may come first, or it is a fault"),
        ),
        (
            two(),
            vec![0, 1, 2],
            vec![(0, 1)],
            Some("what may come first does not commute with the others"),
        ),
        (
            vec![vec![1], vec![0]],
            vec![0, 1],
            vec![(0, 1), (1, 0)],
            Some("what may come first goes on for ever"),
        ),
    ];
    for (edges, stand_ins, first, expected) in cases {
        let told = format!("{edges:?} {stand_ins:?} {first:?}");
        // A state that is nowhere leads nowhere.
        let edges = Edges([edges, vec![Vec::new(); 9]].concat());
        let stand_ins = stand_ins.into_iter().chain(0..10).collect();
        let model = Claims { edges, stand_ins, first };
        let ask = (1, |state: &u32| Labels { witness: u64::from(*state >= 2), violation: 0 });
        let full = explore(&model, &ask, Limits::default());
        assert_eq!(violation_of(&model, &ask, &full).map(|(_, wrong)| wrong), expected, "{told}");
    }
}

#[test]
fn workers_are_held_to_what_they_say_of_themselves() {
    let honest = Workers::new(2, 2);
    let of_all = |state: &Vec<u8>| Labels { witness: u64::from(state.contains(&3)), violation: 0 };
    let full = explore(&honest, &(1, of_all), Limits::default());
    assert_eq!(violation_of(&honest, &(1, of_all), &full), None);
    let wrong: [(Claim, &str); 2] = [
        (|_, _, _| true, "a question sees what may come first, or it is a fault"),
        // Whatever another does takes the claim away.
        (
            |workers, state, at| state[at] < workers.things && state.iter().sum::<u8>() == 0,
            "what may come first does not commute with the others",
        ),
    ];
    for (claim, expected) in wrong {
        let found = violation_of(&Workers { claim, ..honest }, &(1, of_all), &full);
        assert_eq!(found.map(|(_, wrong)| wrong), Some(expected));
    }
}
