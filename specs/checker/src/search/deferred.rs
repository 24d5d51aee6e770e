//! Candidates that cost more faults than the states being expanded, deferred until all cheaper
//! states are known.
//!
//! Invariant: `capacity` is the sum of the lists' capacities. It is maintained incrementally,
//! because each block measures memory and there may be a list for each cost of all generations.

use super::place::{Candidate, Cost};
use std::collections::BTreeMap;

/// Candidates by cost.
#[derive(Debug)]
pub(super) struct Deferred<S> {
    by_cost: BTreeMap<Cost, Vec<Candidate<S>>>,
    capacity: usize,
}

impl<S> Default for Deferred<S> {
    fn default() -> Self {
        Self { by_cost: BTreeMap::new(), capacity: 0 }
    }
}

impl<S> Deferred<S> {
    pub(super) fn push(&mut self, cost: Cost, candidate: Candidate<S>) {
        let list = self.by_cost.entry(cost).or_default();
        let before = list.capacity();
        list.push(candidate);
        self.capacity += list.capacity() - before;
    }

    /// Makes sure that a cost has a generation, even an empty one.
    pub(super) fn keep_cost(&mut self, cost: Cost) {
        self.by_cost.entry(cost).or_default();
    }

    /// Removes and returns the candidates of a cost.
    pub(super) fn take(&mut self, cost: Cost) -> Vec<Candidate<S>> {
        let list = self.by_cost.remove(&cost).unwrap_or_default();
        self.capacity -= list.capacity();
        list
    }

    /// Returns the lowest deferred cost.
    pub(super) fn lowest(&self) -> Option<Cost> {
        self.by_cost.keys().next().copied()
    }

    /// Drops candidates for which `keeps` is false. Their costs stay, even with no candidate left.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Candidate<S>) -> bool) {
        self.by_cost.values_mut().for_each(|list| list.retain(&keeps));
    }

    /// Iterates over the costs, lowest first, with their candidates.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cost, &[Candidate<S>])> {
        self.by_cost.iter().map(|(cost, list)| (*cost, list.as_slice()))
    }

    /// Returns the size in bytes, without what states own on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.capacity * size_of::<Candidate<S>>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Deferred};
    use crate::search::place::Place;

    /// The counted capacity matches the lists after each kind of change.
    #[test]
    fn capacity_is_the_sum_of_the_lists_capacities() {
        let candidate = |state| Candidate { state, parent: Place::NONE, action: 0, faults: 0 };
        let check = |deferred: &Deferred<u32>| {
            let sum: usize = deferred.by_cost.values().map(Vec::capacity).sum();
            assert_eq!(deferred.capacity, sum);
            sum
        };
        let mut deferred = Deferred::default();
        for state in 0..100 {
            deferred.push((1, state % 3), candidate(state));
            check(&deferred);
        }
        deferred.keep_cost((0, 0));
        deferred.retain(|it| it.state % 2 == 0);
        let before = check(&deferred);
        assert_eq!((deferred.lowest(), deferred.take((0, 0)).len()), (Some((0, 0)), 0));
        assert_eq!(deferred.take((1, 0)).len(), 17);
        assert!(check(&deferred) < before);
    }
}
