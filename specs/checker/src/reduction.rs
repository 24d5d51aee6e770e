//! Symmetry reduction and partial-order reduction of a model.
//!
//! There are three independent switches; with all of them off the search is the full one:
//! * **symmetry**: states that differ only by a permutation of equal components are represented by
//!   one of them;
//! * **order**: an action that commutes with all other enabled actions and that is invisible to the
//!   properties is the only one expanded (a static partial-order reduction with singleton ample
//!   sets);
//! * **strides**: such an action is executed in one step with the action before it, and the
//!   intermediate state is not stored.
//!
//! Verdicts are those of the full search. A run is a run of the model, though not always a shortest
//! one.
//!
//! A model's claims about its own symmetry and independence can be wrong, and then verdicts are,
//! too. So [`violation_of`] checks every claim in every state of a full search of a small scenario.

use crate::search::{Exploration, Labels, Observer, StateIndex};
use stateright::{Model, Property};
use std::hash::Hash;

/// A model that declares its symmetry and its independent actions.
pub trait Reducible: Model {
    /// Returns the representative of the state's symmetry class.
    fn representative(&self, state: Self::State) -> Self::State;

    /// Returns true if the action at this index is an ample set by itself. That requires:
    /// * each other enabled action stays enabled after it; and the two commute (after the other
    ///   action this one is still ample), or the other leads to the same state whether this one is
    ///   executed before or not;
    /// * it is invisible: it changes the label of no property, and it is no fault;
    /// * no cycle consists of such actions only.
    fn is_ample(&self, state: &Self::State, actions: &[Self::Action], place: usize) -> bool;
}

/// The reductions that are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reductions {
    /// Explore one representative of each symmetry class.
    pub symmetry: bool,
    /// Expand only an ample action where there is one.
    pub order: bool,
    /// Execute ample actions in one step with the action before them.
    pub strides: bool,
}

/// A reduced model. Its states are a subset of the model's.
#[derive(Debug)]
pub struct Reduced<'a, M> {
    model: &'a M,
    reductions: Reductions,
}

/// Number of actions in one stride that is taken as proof that ample actions form a cycle.
const STRIDE_MAX: usize = 1 << 16;

impl<'a, M: Reducible> Reduced<'a, M>
where
    M::State: Clone + Eq,
    M::Action: Clone,
{
    /// Wraps a model with the given reductions.
    pub fn new(model: &'a M, reductions: Reductions) -> Self {
        Self { model, reductions }
    }

    /// Returns the actions of a run of the original model that corresponds to a run of this one.
    /// `states` are those of the run, from [`explore`](crate::search::explore) of this model.
    /// Returns `None` if no run corresponds, which only a wrong claim of the model can cause.
    pub fn unfold(&self, states: &[M::State]) -> Option<Vec<M::Action>> {
        let (first, rest) = states.split_first()?;
        let mut initial = self.model.init_states().into_iter();
        let mut state = initial.find(|initial| self.represent(initial.clone()) == *first)?;
        let mut run = Vec::new();
        for target in rest {
            let mut actions = Vec::new();
            self.model.actions(&state, &mut actions);
            let strides = actions.into_iter().filter_map(|action| self.stride(&state, action));
            let (end, stride) =
                { strides }.find(|(end, _)| self.represent(end.clone()) == *target)?;
            run.extend(stride);
            state = end;
        }
        Some(run)
    }

    fn represent(&self, state: M::State) -> M::State {
        if self.reductions.symmetry { self.model.representative(state) } else { state }
    }

    /// Returns the first ample action of a state.
    fn ample_action(&self, state: &M::State) -> Option<M::Action> {
        let mut actions = Vec::new();
        self.model.actions(state, &mut actions);
        let first = first_ample(self.model, state, &actions)?;
        Some(actions.swap_remove(first))
    }

    /// Executes an action and, with strides, the ample actions after it.
    ///
    /// # Panics
    /// If the ample actions form a cycle.
    fn stride(&self, state: &M::State, action: M::Action) -> Option<(M::State, Vec<M::Action>)> {
        let mut end = self.model.next_state(state, action.clone())?;
        let mut run = vec![action];
        while self.reductions.strides
            && let Some(first) = self.ample_action(&end)
            && let Some(next) = self.model.next_state(&end, first.clone())
        {
            assert!(run.len() < STRIDE_MAX, "ample actions form a cycle");
            run.push(first);
            end = next;
        }
        Some((end, run))
    }
}

fn first_ample<M: Reducible>(model: &M, state: &M::State, actions: &[M::Action]) -> Option<usize> {
    (0..actions.len()).find(|place| model.is_ample(state, actions, *place))
}

impl<M: Reducible> Model for Reduced<'_, M>
where
    M::State: Clone + Eq,
    M::Action: Clone,
{
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.model.init_states().into_iter().map(|state| self.represent(state)).collect()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.model.actions(state, actions);
        if self.reductions.order
            && let Some(first) = first_ample(self.model, state, actions)
        {
            actions.swap(0, first);
            actions.truncate(1);
        }
    }

    fn next_state(&self, state: &M::State, action: M::Action) -> Option<M::State> {
        Some(self.represent(self.stride(state, action)?.0))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }

    fn within_boundary(&self, state: &M::State) -> bool {
        self.model.within_boundary(state)
    }
}

/// Forwards to the wrapped model.
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

/// Checks a model's claims on a full search of it. Returns the first state in which one is wrong,
/// with a description; `None` if all are true.
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
    let violation = |at| {
        let state = full.state(at);
        let violation = representative_violation(model, observer, full, state)
            .or_else(|| ample_violation(model, observer, state))
            .or_else(|| ample_violations(model, full, state));
        Some((at, violation?))
    };
    (0..full.states()).find_map(violation)
}

/// Returns the actions of a state, and the successor of each (`None` if it is disabled).
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
    let represent = model.representative(state.clone());
    let leads_to = |state: &M::State| {
        let ends = steps(model, state).1.into_iter().flatten();
        ends.map(|end| model.representative(end)).collect::<Vec<_>>()
    };
    let (of_it, of_state) = (leads_to(&represent), leads_to(state));
    let is_among = |some: &[M::State], all: &[M::State]| some.iter().all(|one| all.contains(one));
    let rules = [
        (full.find(&represent).is_some(), "its representative is not reachable"),
        (
            model.representative(represent.clone()) == represent,
            "its representative is not its own representative",
        ),
        (
            observer.state(&represent) == observer.state(state),
            "a property distinguishes it from its representative",
        ),
        (
            is_among(&of_it, &of_state) && is_among(&of_state, &of_it),
            "its successors are not those of its representative, up to symmetry",
        ),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, violation)| violation)
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
    let claimed = (0..actions.len()).filter(|at| model.is_ample(state, &actions, *at));
    claimed.into_iter().find_map(|at| {
        let Some(after) = &ends[at] else { return Some("an ample action is not enabled") };
        if observer.state(after) != observer.state(state) || observer.faults(&actions[at]) > 0 {
            return Some("an ample action is visible to a property, or it is a fault");
        }
        // The listed actions decide what is enabled: `next_state` need not reject an action where
        // it is not listed.
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
                ends[again] == Some(last) && model.is_ample(before, &then, again)
            })
        };
        let all = (0..actions.len()).filter(|other| *other != at).all(commutes);
        (!all).then_some("an ample action does not commute with the others")
    })
}

/// Checks that successive ample actions end: they form no cycle.
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
        ends.swap_remove(first_ample(model, state, &actions)?)
    };
    let after = std::iter::successors(next(state), next);
    (after.take(full.states() as usize).count() == full.states() as usize)
        .then_some("ample actions form a cycle")
}
