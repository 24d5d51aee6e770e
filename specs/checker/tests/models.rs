//! Models with known state spaces.

use handoff_checker::reduction::Reducible;
use stateright::{Model, Property};

/// A graph given by its edges, from state 0.
pub(crate) struct Edges(pub(crate) Vec<Vec<u32>>);

impl Edges {
    /// Creates a chain of so many states.
    pub(crate) fn chain(states: u32) -> Self {
        let to_next = |at| if at + 1 < states { vec![at + 1] } else { Vec::new() };
        Self((0..states).map(to_next).collect())
    }
}

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
        vec![Property::always("true", |_, _| true)]
    }
}

/// A graph given by its edges, each with a label, from state 0.
#[derive(Clone, Debug)]
pub(crate) struct Labelled(pub(crate) Vec<Vec<(u32, u8)>>);

impl Model for Labelled {
    type State = u32;
    type Action = (u32, u8);

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, state: &u32, actions: &mut Vec<(u32, u8)>) {
        actions.extend(&self.0[*state as usize]);
    }

    fn next_state(&self, _: &u32, (target, _): (u32, u8)) -> Option<u32> {
        Some(target)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("true", |_, _| true)]
    }
}

/// A square of `side` × `side` states, with steps to the right and down; the boundary is `edge`
/// steps away.
pub(crate) struct Grid {
    pub(crate) side: u32,
    pub(crate) edge: u32,
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
        vec![Property::always("true", |_, _| true)]
    }

    fn within_boundary(&self, (x, y): &(u32, u32)) -> bool {
        x + y < self.edge
    }
}

/// A claim that a worker's next step is ample.
pub(crate) type Claim = fn(Workers, &[u8], usize) -> bool;

/// Identical workers: each takes `things` local steps and then announces that it is ready.
#[derive(Clone, Copy)]
pub(crate) struct Workers {
    pub(crate) count: usize,
    pub(crate) things: u8,
    /// The claim, by the workers' progress.
    pub(crate) claim: Claim,
}

impl Workers {
    /// Creates workers with a true claim: local steps are ample.
    pub(crate) fn new(count: usize, things: u8) -> Self {
        Self { count, things, claim: |workers, state, at| state[at] < workers.things }
    }

    pub(crate) fn ready(self, state: &[u8]) -> usize {
        state.iter().filter(|done| **done > self.things).count()
    }
}

impl Model for Workers {
    type State = Vec<u8>;
    type Action = usize;

    fn init_states(&self) -> Vec<Vec<u8>> {
        vec![vec![0; self.count]]
    }

    fn actions(&self, state: &Vec<u8>, actions: &mut Vec<usize>) {
        actions.extend((0..self.count).filter(|worker| state[*worker] <= self.things));
    }

    fn next_state(&self, state: &Vec<u8>, worker: usize) -> Option<Vec<u8>> {
        let mut next = state.clone();
        next[worker] += 1;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

impl Reducible for Workers {
    fn representative(&self, mut state: Vec<u8>) -> Vec<u8> {
        state.sort_unstable();
        state
    }

    fn is_ample(&self, state: &Vec<u8>, actions: &[usize], place: usize) -> bool {
        (self.claim)(*self, state, actions[place])
    }
}
