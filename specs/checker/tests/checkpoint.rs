//! Searches that are interrupted and resumed give exactly the result of one run, wherever and
//! however often they were interrupted.

use crate::models::{Edges, Grid};
use crate::two_phase_commit::TwoPhaseCommit;
use handoff_checker::search::{
    Checkpoint, Exploration, Labels, Limits, Observer, StateIndex, StopReason, Unusable, explore,
    explore_in_runs,
};
use stateright::{Model, Property};
use std::fmt::Debug;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Duration;

fn limits(threads: usize) -> Limits {
    Limits { threads: NonZeroUsize::new(threads).expect("not zero"), ..Limits::default() }
}

/// The limits with which the next run of a search begins.
type NextLimits = fn(Option<&Checkpoint>, Limits) -> Limits;

/// Interrupts a run as soon as it found anything: a limit on states that grows.
fn few_states(from: Option<&Checkpoint>, limits: Limits) -> Limits {
    Limits { states_max: from.map_or(0, Checkpoint::states), ..limits }
}

/// Interrupts a run after its first block.
fn no_time(_: Option<&Checkpoint>, limits: Limits) -> Limits {
    Limits { time_max: Some(Duration::ZERO), ..limits }
}

/// Searches in as many runs as it takes, each with its own model and observer; returns the number
/// of runs, too.
fn in_runs<M, J>(
    make: impl Fn() -> (M, J),
    usual: Limits,
    next: NextLimits,
) -> (Exploration<M::State>, usize)
where
    M: Model + Sync,
    M::State: Clone + Eq + Hash + Send + Sync,
    J: Observer<M>,
{
    let mut from: Option<Checkpoint> = None;
    for runs in 1..1000 {
        let (model, observer) = make();
        let limits = next(from.as_ref(), usual);
        let (found, left) = explore_in_runs(&model, &observer, limits, from).expect("it resumes");
        let Some(left) = left else { return (found, runs) };
        assert!(
            matches!(found.cut, Some(StopReason::States(_) | StopReason::Time(_))),
            "{:?}",
            found.cut
        );
        from = Some(left);
    }
    panic!("the search does not end")
}

/// The results of a search, except for the states.
type Results = (
    Vec<(Option<(StateIndex, u16)>, (u32, u32))>,
    (u64, u32, Option<StopReason>),
    [Vec<u64>; 2],
    Vec<Option<StateIndex>>,
    String,
);

fn results<S>(found: &Exploration<S>) -> Results {
    let states = (0..found.states()).map(|at| (found.parent(at), found.cost_of(at))).collect();
    let counts = [found.good.clone(), found.taken.clone()];
    let sums = (found.transitions, found.depth, found.cut);
    (states, sums, counts, found.bad.clone(), format!("{:?}", found.panic))
}

#[track_caller]
fn assert_equal<S: Debug + Eq + Clone + Hash + Send + Sync>(
    one: &Exploration<S>,
    other: &Exploration<S>,
) {
    assert!(results(one) == results(other), "{one:?} is not {other:?}");
    for at in 0..one.states() {
        assert_eq!(one.state(at), other.state(at));
        assert_eq!(other.find(one.state(at)), Some(at));
    }
}

/// One run gives the same result as many, whichever limit interrupts them, and as two, wherever the
/// first is interrupted.
#[track_caller]
fn check<M, J>(make: impl Fn() -> (M, J), usual: Limits, runs_min: usize)
where
    M: Model + Sync,
    M::State: Debug + Clone + Eq + Hash + Send + Sync,
    J: Observer<M>,
{
    for threads in [1, 2] {
        let usual = Limits { threads: limits(threads).threads, ..usual };
        let (model, observer) = make();
        let single = explore(&model, &observer, usual);
        for next in [few_states, no_time] {
            let (found, runs) = in_runs(&make, usual, next);
            assert_equal(&single, &found);
            assert!(runs >= runs_min, "{runs} runs");
        }
        let mut states_max = 0;
        while states_max < single.states() {
            let first = Limits { states_max, ..usual };
            let (cut, left) = explore_in_runs(&model, &observer, first, None).expect("begun");
            let Some(left) = left else { break };
            assert_equal(&explore(&model, &observer, first), &cut);
            let (found, left) = explore_in_runs(&model, &observer, usual, Some(left)).expect("on");
            assert_equal(&single, &found);
            assert_eq!(left, None);
            states_max = cut.states();
        }
    }
}

#[test]
fn two_phase_commit_is_the_same_in_many_runs() {
    let model = TwoPhaseCommit { managers: 5 };
    let ask = (1, move |state: &u64| Labels {
        witness: state & 1,
        violation: u64::from(*state == 3 << 34),
    });
    check(|| (model, ask), Limits::default(), 10);
}

#[test]
fn a_boundary_a_depth_limit_and_violations_are_the_same_in_many_runs() {
    let ask = (2, |(x, y): &(u32, u32)| Labels {
        witness: 1,
        violation: u64::from((*x, *y) == (3, 4)) | u64::from(x * y == 12) << 1,
    });
    let square = |edge| move || (Grid { side: 20, edge }, ask);
    check(square(u32::MAX), Limits::default(), 38);
    check(square(9), Limits::default(), 9);
    check(square(u32::MAX), Limits { depth_max: Some(11), ..Limits::default() }, 11);
}

#[test]
fn a_panic_is_the_same_in_many_runs() {
    let ask = (0, |at: &(u32, u32)| match at {
        (5, 6) => panic!("no such place"),
        _ => Labels::default(),
    });
    check(|| (Grid { side: 20, edge: u32::MAX }, ask), Limits::default(), 10);
}

/// Returns pseudorandom bits.
fn mixed(number: u64) -> u64 {
    let product = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ product >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// Random steps between so many states; some are one fault, or two.
#[derive(Clone, Copy)]
struct Random {
    seed: u64,
    states: u64,
}

impl Model for Random {
    type State = u64;
    type Action = u64;

    fn init_states(&self) -> Vec<u64> {
        vec![0, 1, 2]
    }

    fn actions(&self, state: &u64, actions: &mut Vec<u64>) {
        let some = mixed(self.seed ^ state << 8);
        actions.extend((0..some % 4 + 2).map(|at| mixed(some + at)));
    }

    fn next_state(&self, _: &u64, action: u64) -> Option<u64> {
        (!action.is_multiple_of(7)).then_some(action % self.states)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

impl Observer<Self> for Random {
    fn property_count(&self) -> usize {
        1
    }

    fn state(&self, state: &u64) -> Labels {
        Labels { witness: state & 1, violation: 0 }
    }

    fn edge(&self, from: &u64, to: &u64) -> u64 {
        u64::from(from + to == self.states)
    }

    fn faults(&self, action: &u64) -> u16 {
        [0, 1, 0, 2, 1][usize::try_from(action % 5).expect("less than five")]
    }

    fn kind(&self, action: &u64) -> usize {
        usize::try_from(action % 3).expect("less than three")
    }
}

#[test]
fn deferred_candidates_are_the_same_in_many_runs() {
    for seed in 0..15 {
        let model = Random { seed, states: 300 };
        check(|| (model, model), Limits::default(), 5);
    }
    let model = Random { seed: 1, states: 1500 };
    check(|| (model, model), Limits::default(), 15);
}

/// 0 leads to 1 by a fault, and to 1 to 40 without one; each of those leads by a fault to one more
/// state, and these pairwise to 20 common ones. So the cost of one fault and one step has no new
/// state, and that of one fault and two steps has all of them.
struct Idle;

impl Model for Idle {
    type State = u32;
    type Action = (u32, u16);

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, state: &u32, actions: &mut Vec<(u32, u16)>) {
        match *state {
            0 => actions.extend([(1, 1)].into_iter().chain((1..=40).map(|to| (to, 0)))),
            at @ 1..=40 => actions.push((100 + at, 1)),
            at @ 101..=140 => actions.push((200 + at % 20, 0)),
            _ => {}
        }
    }

    fn next_state(&self, _: &u32, (to, _): (u32, u16)) -> Option<u32> {
        Some(to)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

impl Observer<Self> for Idle {
    fn property_count(&self) -> usize {
        0
    }

    fn state(&self, _: &u32) -> Labels {
        Labels::default()
    }

    fn faults(&self, (_, faults): &(u32, u16)) -> u16 {
        *faults
    }
}

#[test]
fn a_cost_without_new_states_has_a_generation() {
    check(|| (Idle, Idle), Limits::default(), 4);
}

/// A graph in which 0 leads to 600 states, each of those to 600 more, and these to 1000 common
/// ones.
fn fan() -> Edges {
    let first = |child: u32| 601 + child * 600;
    let mut edges = vec![(1..=600).collect::<Vec<u32>>()];
    edges.extend((0..600).map(|child| (first(child)..first(child + 1)).collect()));
    edges.extend((0..360_000).map(|at| vec![360_601 + at * 7 % 1000, 360_601 + at % 999]));
    edges.extend((0..1000).map(|_| Vec::new()));
    Edges(edges)
}

#[test]
fn a_limit_may_interrupt_a_generation() {
    let (model, ask) =
        (fan(), (1, |at: &u32| Labels { witness: 1, violation: u64::from(*at > 300_000) }));
    for threads in [1, 2] {
        let single = explore(&model, &ask, limits(threads));
        let states_max = 360_700;
        let first = Limits { states_max, ..limits(threads) };
        let (cut, left) = explore_in_runs(&model, &ask, first, None).expect("begun");
        let left = left.expect("it is interrupted");
        assert_eq!(cut.cost_of(left.expanded() - 1), cut.cost_of(left.expanded()));
        let next = Limits { time_max: Some(Duration::ZERO), ..limits(threads) };
        let (_, later) = explore_in_runs(&model, &ask, next, Some(left)).expect("it resumes");
        let later = later.expect("it is interrupted again");
        let (found, _) =
            explore_in_runs(&model, &ask, limits(threads), Some(later)).expect("it resumes");
        assert_equal(&single, &found);
    }
}

#[test]
fn a_limit_that_is_not_raised_loses_nothing() {
    let model = TwoPhaseCommit { managers: 4 };
    let ask = (0, |_: &u64| Labels::default());
    let few = Limits { states_max: 500, ..limits(2) };
    let (_, first) = explore_in_runs(&model, &ask, few, None).expect("begun");
    let (_, second) = explore_in_runs(&model, &ask, few, first.clone()).expect("it resumes");
    assert!(first.is_some() && first == second);
}

#[test]
fn only_an_interrupted_search_can_resume() {
    let ask = (0, |_: &(u32, u32)| Labels::default());
    let square = |edge| Grid { side: 20, edge };
    let deep = Limits { depth_max: Some(5), ..limits(1) };
    for (model, limits) in [(square(99), limits(1)), (square(7), limits(1)), (square(99), deep)] {
        assert_eq!(explore_in_runs(&model, &ask, limits, None).expect("begun").1, None);
    }
}

#[test]
fn another_model_observer_or_depth_limit_is_refused() {
    let ask = |properties| (properties, |_: &(u32, u32)| Labels::default());
    let square = |side| Grid { side, edge: u32::MAX };
    let few = Limits { states_max: 60, ..limits(2) };
    let deep = Limits { depth_max: Some(5), ..limits(2) };
    let (_, left) = explore_in_runs(&square(10), &ask(1), few, None).expect("begun");
    let on = |side, properties, limits| {
        explore_in_runs(&square(side), &ask(properties), limits, left.clone()).map(|_| ())
    };
    assert_eq!(on(10, 1, few), Ok(()));
    assert_eq!(on(10, 2, few), Err(Unusable::Contradiction));
    assert_eq!(on(10, 1, deep), Err(Unusable::Depth));
    assert!(matches!(on(3, 1, few), Err(Unusable::NoStep(..) | Unusable::Twice(..))));

    // 7 instead of 2: the number of states and the steps stay the same.
    let chain = |edges: &[&[u32]]| Edges(edges.iter().map(|to| to.to_vec()).collect());
    let one = chain(&[&[1], &[2], &[3], &[4], &[], &[], &[], &[3]]);
    let other = chain(&[&[1], &[7], &[3], &[4], &[], &[], &[], &[3]]);
    let none = (0, |_: &u32| Labels::default());
    let few = Limits { states_max: 3, ..limits(1) };
    let (_, left) = explore_in_runs(&one, &none, few, None).expect("begun");
    let refused = explore_in_runs(&other, &none, few, left).map(|_| ());
    assert_eq!(refused, Err(Unusable::OtherStates));
}

#[test]
fn a_checkpoint_that_was_tampered_with_is_refused() {
    use serde_json::{Value, json};
    type Change = fn(&mut Value);
    let model = Random { seed: 3, states: 300 };
    let few = Limits { states_max: 150, ..limits(1) };
    let (_, left) = explore_in_runs(&model, &model, few, None).expect("begun");
    let left = serde_json::to_value(left.expect("it is interrupted")).expect("JSON");
    let cases: [(Change, &str); 13] = [
        (|left| left["digest"] = json!(7), "other states"),
        (|left| left["states"] = json!(9), "contradicts"),
        (|left| left["expanded"] = json!(100_000), "contradicts"),
        (|left| left["generations"] = json!([]), "contradicts"),
        (|left| left["generations"][0][0] = json!(1), "contradicts"),
        (|left| left["generations"][3][0] = json!(0), "contradicts"),
        (|left| left["generations"][2][0] = json!(1_000), "contradicts"),
        (|left| left["bad"] = json!([100_000]), "contradicts"),
        (|left| left["bad"] = json!([]), "contradicts"),
        (|left| left["counts"]["taken"] = json!([1]), "contradicts"),
        (|left| left["edges"][30]["action"] = json!(999), "no step from state"),
        (|left| left["edges"][30]["parent"] = json!(100_000), "no step from state"),
        (|left| left["edges"][30] = left["edges"][29].clone(), "already known"),
    ];
    for (change, words) in cases {
        let mut changed = left.clone();
        change(&mut changed);
        let changed: Checkpoint = serde_json::from_value(changed).expect("a checkpoint");
        let refused = explore_in_runs(&model, &model, few, Some(changed)).map(|_| ());
        let wrong = refused.expect_err(words).to_string();
        assert!(wrong.contains(words), "'{wrong}' does not contain '{words}'");
    }
    let mut waits = left;
    waits["deferred"][0][1][0]["parent"] = json!(99_999);
    let waits: Checkpoint = serde_json::from_value(waits).expect("a checkpoint");
    let refused = explore_in_runs(&model, &model, few, Some(waits)).map(|_| ());
    assert!(matches!(refused, Err(Unusable::NoStep(99_999, _))), "{refused:?}");
}
