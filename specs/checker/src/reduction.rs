//! Smaller searches of the same model, by what it knows of itself.
//!
//! Three ways, each with a switch; with all of them off it is the full search:
//! * **symmetry**: of states that differ only in which of several like things is which, one stands
//!   for all;
//! * **order**: an action that commutes with all that can happen besides, and that no question
//!   sees, is done first, and the others wait for it (a static partial-order reduction);
//! * **strides**: such an action is done in one step with the one before it, and the state between
//!   is not kept.
//!
//! Verdicts are those of the full search; a run is one of the model, though not always a shortest.
//!
//! What a model says of itself can be wrong, and a verdict with it. So [`violation_of`] holds it to
//! the full search of a small world: whatever is claimed of a state must be so there.

use crate::search::{Exploration, Labels, Observer, StateIndex};
use stateright::{Model, Property};
use std::hash::Hash;

/// A model that knows something of itself.
pub trait Reducible: Model {
    /// The state that stands for all which differ from this one only in which of several like
    /// things is which.
    fn representative(&self, state: Self::State) -> Self::State;

    /// Whether an action of a state, by its place, may as well be done before all others: each of
    /// them can happen after it, too, and leads to the same state as before it, or to one that
    /// forgets it; until it is done this stays so; no question sees it; and none of these goes on
    /// for ever.
    fn may_come_first(&self, state: &Self::State, actions: &[Self::Action], place: usize) -> bool;
}

/// Which ways to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// One state for all that are alike.
    pub symmetry: bool,
    /// What may come first comes first.
    pub order: bool,
    /// What may come first comes at once.
    pub strides: bool,
}

/// A model, reduced. Its states are some of the model's.
#[derive(Debug)]
pub struct Reduced<'a, M> {
    model: &'a M,
    ways: Ways,
}

/// So many actions in one stride mean that it goes on for ever.
const STRIDE_MAX: usize = 1 << 16;

impl<'a, M: Reducible> Reduced<'a, M>
where
    M::State: Clone + Eq,
    M::Action: Clone,
{
    /// A model by these ways.
    pub fn new(model: &'a M, ways: Ways) -> Self {
        Self { model, ways }
    }

    /// A run of the model itself that leads to where a run of states from
    /// [`explore`](crate::search::explore) of this model leads: its actions. `None` where there is
    /// none, which takes a model that is wrong about itself.
    pub fn unfold(&self, states: &[M::State]) -> Option<Vec<M::Action>> {
        let (first, rest) = states.split_first()?;
        let mut initial = self.model.init_states().into_iter();
        let mut state = initial.find(|initial| self.stand_in(initial.clone()) == *first)?;
        let mut run = Vec::new();
        for target in rest {
            let mut actions = Vec::new();
            self.model.actions(&state, &mut actions);
            let strides = actions.into_iter().filter_map(|action| self.stride(&state, action));
            let (end, stride) =
                { strides }.find(|(end, _)| self.stand_in(end.clone()) == *target)?;
            run.extend(stride);
            state = end;
        }
        Some(run)
    }

    fn stand_in(&self, state: M::State) -> M::State {
        if self.ways.symmetry { self.model.representative(state) } else { state }
    }

    /// The action that comes first in a state, by itself.
    fn first(&self, state: &M::State) -> Option<M::Action> {
        let mut actions = Vec::new();
        self.model.actions(state, &mut actions);
        let first = first_of(self.model, state, &actions)?;
        Some(actions.swap_remove(first))
    }

    /// Where an action leads, with those that come at once after it. Panics if they go on for ever.
    fn stride(&self, state: &M::State, action: M::Action) -> Option<(M::State, Vec<M::Action>)> {
        let mut end = self.model.next_state(state, action.clone())?;
        let mut run = vec![action];
        while self.ways.strides
            && let Some(first) = self.first(&end)
            && let Some(next) = self.model.next_state(&end, first.clone())
        {
            assert!(run.len() < STRIDE_MAX, "what comes first goes on for ever");
            run.push(first);
            end = next;
        }
        Some((end, run))
    }
}

fn first_of<M: Reducible>(model: &M, state: &M::State, actions: &[M::Action]) -> Option<usize> {
    (0..actions.len()).find(|place| model.may_come_first(state, actions, *place))
}

impl<M: Reducible> Model for Reduced<'_, M>
where
    M::State: Clone + Eq,
    M::Action: Clone,
{
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.model.init_states().into_iter().map(|state| self.stand_in(state)).collect()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.model.actions(state, actions);
        if self.ways.order
            && let Some(first) = first_of(self.model, state, actions)
        {
            actions.swap(0, first);
            actions.truncate(1);
        }
    }

    fn next_state(&self, state: &M::State, action: M::Action) -> Option<M::State> {
        Some(self.stand_in(self.stride(state, action)?.0))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }

    fn within_boundary(&self, state: &M::State) -> bool {
        self.model.within_boundary(state)
    }
}

/// Asks what the model asks.
impl<M: Reducible + Observer<M>> Observer<Self> for Reduced<'_, M>
where
    M::State: Clone + Eq,
    M::Action: Clone,
{
    fn property_count(&self) -> usize {
        self.model.property_count()
    }

    fn state(&self, state: &M::State) -> Labels {
        self.model.state(state)
    }

    fn edge(&self, from: &M::State, to: &M::State) -> u64 {
        self.model.edge(from, to)
    }

    fn faults(&self, action: &M::Action) -> u16 {
        self.model.faults(action)
    }

    fn kind(&self, action: &M::Action) -> usize {
        self.model.kind(action)
    }
}

/// What speaks against that which a model says of itself, on a full search of it: the state, and
/// what is wrong there. `None`: nothing does.
pub fn violation_of<M>(
    model: &M,
    observer: &impl Observer<M>,
    full: &Exploration<M::State>,
) -> Option<(StateIndex, &'static str)>
where
    M: Reducible,
    M::State: Clone + Eq + Hash + Send + Sync,
    M::Action: Clone + Eq,
{
    let wrong = |at| {
        let state = full.state(at);
        let wrong = representative_violation(model, observer, full, state)
            .or_else(|| ample_violation(model, observer, state))
            .or_else(|| ample_violations(model, full, state));
        Some((at, wrong?))
    };
    (0..full.states()).find_map(wrong)
}

/// The actions of a state, and where each leads that leads anywhere.
fn steps<M: Model>(model: &M, state: &M::State) -> (Vec<M::Action>, Vec<Option<M::State>>)
where
    M::Action: Clone,
{
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    let ends = actions.iter().map(|action| model.next_state(state, action.clone())).collect();
    (actions, ends)
}

fn representative_violation<M>(
    model: &M,
    observer: &impl Observer<M>,
    full: &Exploration<M::State>,
    state: &M::State,
) -> Option<&'static str>
where
    M: Reducible,
    M::State: Clone + Eq + Hash + Send + Sync,
    M::Action: Clone,
{
    let stand_in = model.representative(state.clone());
    let leads_to = |state: &M::State| {
        let ends = steps(model, state).1.into_iter().flatten();
        ends.map(|end| model.representative(end)).collect::<Vec<_>>()
    };
    let (of_it, of_state) = (leads_to(&stand_in), leads_to(state));
    let is_among = |some: &[M::State], all: &[M::State]| some.iter().all(|one| all.contains(one));
    let rules = [
        (full.find(&stand_in).is_some(), "what stands for it cannot be reached"),
        (
            model.representative(stand_in.clone()) == stand_in,
            "what stands for it does not stand for itself",
        ),
        (
            observer.state(&stand_in) == observer.state(state),
            "a question tells it from what stands for it",
        ),
        (
            is_among(&of_it, &of_state) && is_among(&of_state, &of_it),
            "it does not lead to what that leads to which stands for it",
        ),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, wrong)| wrong)
}

fn ample_violation<M>(
    model: &M,
    observer: &impl Observer<M>,
    state: &M::State,
) -> Option<&'static str>
where
    M: Reducible,
    M::State: Clone + Eq,
    M::Action: Clone + Eq,
{
    let (actions, ends) = steps(model, state);
    let claimed = (0..actions.len()).filter(|at| model.may_come_first(state, &actions, *at));
    claimed.into_iter().find_map(|at| {
        let Some(after) = &ends[at] else { return Some("what may come first leads nowhere") };
        if observer.state(after) != observer.state(state) || observer.faults(&actions[at]) > 0 {
            return Some("a question sees what may come first, or it is a fault");
        }
        // Each action must be possible after the other one: a model need not refuse it where it is
        // not.
        let (possible, lasts) = steps(model, after);
        let commutes = |other: usize| {
            let Some(before) = &ends[other] else { return true };
            let later = possible.iter().position(|action| *action == actions[other]);
            let Some(last) = later.and_then(|later| lasts[later].clone()) else { return false };
            if last == *before {
                return true;
            }
            let (then, ends) = steps(model, before);
            let again = then.iter().position(|action| *action == actions[at]);
            again.is_some_and(|again| {
                ends[again] == Some(last) && model.may_come_first(before, &then, again)
            })
        };
        let all = (0..actions.len()).filter(|other| *other != at).all(commutes);
        (!all).then_some("what may come first does not commute with the others")
    })
}

/// What comes first, and what comes first after that, and so on, must come to an end.
fn ample_violations<M>(
    model: &M,
    full: &Exploration<M::State>,
    state: &M::State,
) -> Option<&'static str>
where
    M: Reducible,
    M::State: Clone + Eq + Hash + Send + Sync,
    M::Action: Clone,
{
    let next = |state: &M::State| {
        let (actions, mut ends) = steps(model, state);
        ends.swap_remove(first_of(model, state, &actions)?)
    };
    let after = std::iter::successors(next(state), next);
    (after.take(full.states() as usize).count() == full.states() as usize)
        .then_some("what may come first goes on for ever")
}
