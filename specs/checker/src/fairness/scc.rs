//! The strongly connected components of a graph, and of ever smaller regions of it.
//!
//! A region is a number assigned to its states; a transition belongs to it if it stays within.

use crate::graph::{Graph, cyclic_components};
use crate::search::StateIndex;

/// The regions of a graph.
pub(super) struct Regions<'a> {
    graph: &'a Graph,
    /// The current region of each state.
    region: Vec<u32>,
    count: u32,
}

impl<'a> Regions<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        Self { graph, region: vec![0; graph.states() as usize], count: 0 }
    }

    /// Makes some states a region of their own.
    pub(super) fn set_apart(&mut self, states: &[StateIndex]) {
        self.count += 1;
        for state in states {
            self.region[*state as usize] = self.count;
        }
    }

    /// Makes some states a region, and returns its strongly connected components that have a cycle.
    pub(super) fn components(&mut self, states: &[StateIndex]) -> Vec<Vec<StateIndex>> {
        self.set_apart(states);
        cyclic_components(self.graph, states)
    }

    /// Returns true if two states are in one region.
    pub(super) fn is_together(&self, one: StateIndex, other: StateIndex) -> bool {
        self.region[one as usize] == self.region[other as usize]
    }
}
