//! The strongly connected parts of a graph, and of regions of it, again and again.
//!
//! Tarjan's algorithm with a stack of its own: a way of any length is followed. A region is a number that its states have; a
//! transition counts within one.

use super::Step;
use crate::graph::Graph;
use crate::search::StateIndex;

/// The strongly connected parts of regions of a graph.
pub(super) struct Parts<'a> {
    graph: &'a Graph,
    /// Of each state the region that it is in now.
    region: Vec<u32>,
    regions: u32,
    /// In which order the states were entered; [`NEW`] before, [`DONE`] once their part is known.
    order: Vec<u32>,
    /// The earliest state that is known to be led to and on the way.
    lowest: Vec<u32>,
    /// States that were entered and whose part is not known yet.
    open: Vec<StateIndex>,
    /// The way from the root to where the search is, with the place of the next transition to follow.
    way: Vec<Step>,
    entered: u32,
}

const NEW: u32 = 0;
const DONE: u32 = u32::MAX;

impl<'a> Parts<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        let states = graph.states() as usize;
        Self {
            graph,
            region: vec![0; states],
            regions: 0,
            order: vec![NEW; states],
            lowest: vec![NEW; states],
            open: Vec::new(),
            way: Vec::new(),
            entered: 0,
        }
    }

    /// Makes some states a region of their own.
    pub(super) fn set_apart(&mut self, states: &[StateIndex]) {
        self.regions += 1;
        for state in states {
            self.region[*state as usize] = self.regions;
        }
    }

    /// The parts of a region that have a cycle.
    pub(super) fn of(&mut self, states: &[StateIndex]) -> Vec<Vec<StateIndex>> {
        self.set_apart(states);
        for state in states {
            self.order[*state as usize] = NEW;
        }
        self.entered = NEW;
        let mut found = Vec::new();
        for root in states {
            if self.order[*root as usize] == NEW {
                self.enter(*root);
                self.follow(&mut found);
            }
        }
        found
    }

    fn enter(&mut self, state: StateIndex) {
        self.entered += 1;
        self.order[state as usize] = self.entered;
        self.lowest[state as usize] = self.entered;
        self.open.push(state);
        self.way.push((state, 0));
    }

    /// Tarjan's algorithm from the root that was entered.
    fn follow(&mut self, found: &mut Vec<Vec<StateIndex>>) {
        while let Some((state, place)) = self.way.last_mut() {
            let state = *state;
            let target = self.graph.successors(state).get(*place).copied();
            *place += 1;
            match target {
                Some(target) if self.is_together(state, target) => {
                    match self.order[target as usize] {
                        NEW => self.enter(target),
                        order => self.lower(state, order),
                    }
                }
                Some(_) => {}
                None => {
                    self.way.pop();
                    if let Some((before, _)) = self.way.last() {
                        self.lower(*before, self.lowest[state as usize]);
                    }
                    if self.lowest[state as usize] == self.order[state as usize] {
                        found.extend(self.close(state));
                    }
                }
            }
        }
    }

    /// Whether two states are in one region.
    pub(super) fn is_together(&self, one: StateIndex, other: StateIndex) -> bool {
        self.region[one as usize] == self.region[other as usize]
    }

    fn lower(&mut self, state: StateIndex, order: u32) {
        let lowest = &mut self.lowest[state as usize];
        *lowest = order.min(*lowest);
    }

    /// Takes the part that was entered by a state; `None`: it has no cycle.
    fn close(&mut self, first: StateIndex) -> Option<Vec<StateIndex>> {
        let from = self.open.iter().rposition(|state| *state == first).expect("it was entered");
        let part = self.open.split_off(from);
        for state in &part {
            self.order[*state as usize] = DONE;
        }
        let has_cycle = part.len() > 1 || self.graph.successors(first).contains(&first);
        has_cycle.then_some(part)
    }
}
