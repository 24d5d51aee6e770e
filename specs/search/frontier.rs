//! The states that are expanded next, in an order that makes the search fast.
//!
//! Parents that stand side by side lead to many of the same states. So states are ordered by where their parents
//! stood: what is found twice is mostly found again soon, and [`super::found`] drops it at once. Exact order does not
//! pay; the children of [`FAMILY`] neighbours are a family, and stay in the order of their shards. It all depends on
//! what the states are, never on threads.

use super::shard::{Place, SHARDS, Shard};

/// So many neighbours have their children in common.
const FAMILY: usize = 16;

/// A state that is being expanded, and where it is known.
pub(super) type Open<S> = (Place, S);

/// Where the states that are being expanded stand.
#[derive(Debug)]
pub(super) struct Order {
    /// For each shard the index of the first of them, and how many families stand before each.
    families: Vec<(usize, Vec<u32>)>,
    count: usize,
}

impl Default for Order {
    fn default() -> Self {
        Self { families: vec![(0, Vec::new()); SHARDS], count: 0 }
    }
}

impl Order {
    /// Takes the states that are to be expanded next out of the shards, and puts them in order.
    pub(super) fn next<S, K>(&mut self, shards: &mut [Shard<S, K>]) -> Vec<Open<S>> {
        let mut families: Vec<Vec<Open<S>>> = Vec::new();
        families.resize_with(self.count + 1, Vec::new);
        for (at, shard) in shards.iter_mut().enumerate() {
            let first = shard.keys.len() - shard.next.len();
            for (index, state) in (first..).zip(shard.next.drain(..)) {
                let family = self.of(shard.parents[index]);
                families[family].push((Place::new(at, index), state));
            }
        }
        let frontier: Vec<Open<S>> = families.into_iter().flatten().collect();
        self.note(&frontier);
        frontier
    }

    /// The family of a state with this parent. Who has none, or an older one, comes last.
    fn of(&self, parent: Place) -> usize {
        let (first, families) = &self.families[parent.shard()];
        let known = parent.index().checked_sub(*first).and_then(|at| families.get(at));
        known.map_or(self.count, |family| *family as usize)
    }

    fn note<S>(&mut self, frontier: &[Open<S>]) {
        for (first, families) in &mut self.families {
            (*first, *families) = (usize::MAX, Vec::new());
        }
        for (place, _) in frontier {
            let (first, families) = &mut self.families[place.shard()];
            *first = place.index().min(*first);
            families.push(0);
        }
        for (at, (place, _)) in frontier.iter().enumerate() {
            let (first, families) = &mut self.families[place.shard()];
            families[place.index() - *first] = u32::try_from(at / FAMILY).expect("few states");
        }
        self.count = frontier.len().div_ceil(FAMILY);
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.families.iter().map(|(_, all)| all.capacity() * size_of::<u32>()).sum()
    }
}
