//! The order in which the frontier is expanded, chosen for cache locality.
//!
//! Neighbouring parents share many successors. So states are ordered by the position of their
//! parents: a duplicate is mostly found soon after the original, and [`super::found`] drops it at
//! once. An exact order does not pay; the children of [`FAMILY`] neighbours are a family, and keep
//! the order of their shards. The order depends on the states only, never on threads.

use super::place::{Place, SHARDS};
use super::shard::Shard;

/// Number of neighbouring parents whose children form a family.
const FAMILY: usize = 8;

/// The positions of the states that are being expanded.
#[derive(Debug)]
pub(super) struct Order {
    /// For each shard the index of its first such state, and the family of each one's children.
    families: Vec<(usize, Vec<u32>)>,
    /// Number of families, without the extra one for states with no parent among them.
    count: u32,
}

impl Default for Order {
    fn default() -> Self {
        Self { families: vec![(0, Vec::new()); SHARDS], count: 0 }
    }
}

impl Order {
    /// Returns the states that were found last, in the order to expand them.
    pub(super) fn next<S, K>(&mut self, shards: &[Shard<S, K>]) -> Vec<Place> {
        let parents = shards.iter().flat_map(|shard| &shard.parents[shard.last()]);
        let families: Vec<u32> = parents.map(|parent| self.of(*parent)).collect();
        let mut room = self.room(&families);
        let mut frontier = vec![Place::NONE; families.len()];
        for (place, family) in places(shards).zip(families) {
            let at = &mut room[family as usize];
            frontier[*at as usize] = place;
            *at += 1;
        }
        self.note(shards, &frontier);
        frontier
    }

    /// Returns the family of a state with this parent; the last one if it has none or an older one.
    fn of(&self, parent: Place) -> u32 {
        let (first, families) = &self.families[parent.shard()];
        let known = parent.index().checked_sub(*first).and_then(|at| families.get(at));
        known.copied().unwrap_or(self.count)
    }

    /// Returns the index at which each family begins.
    fn room(&self, families: &[u32]) -> Vec<u32> {
        let mut room = vec![0; self.count as usize + 1];
        for family in families {
            room[*family as usize] += 1;
        }
        let mut end = 0;
        for at in &mut room {
            (*at, end) = (end, end + *at);
        }
        room
    }

    fn note<S, K>(&mut self, shards: &[Shard<S, K>], frontier: &[Place]) {
        let all = shards.iter().map(Shard::last);
        self.families = all.map(|last| (last.start, vec![0; last.len()])).collect();
        for (family, places) in (0..).zip(frontier.chunks(FAMILY)) {
            for place in places {
                let (first, families) = &mut self.families[place.shard()];
                families[place.index() - *first] = family;
            }
        }
        let count = u32::try_from(frontier.len().div_ceil(FAMILY));
        self.count = count.expect("states are numbered by u32");
    }

    /// Returns the size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.families.iter().map(|(_, all)| all.capacity() * size_of::<u32>()).sum()
    }
}

/// Iterates over the places of the states that were found last, by shard.
fn places<S, K>(shards: &[Shard<S, K>]) -> impl Iterator<Item = Place> {
    let all = shards.iter().enumerate();
    all.flat_map(|(at, shard)| shard.last().map(move |index| Place::new(at, index)))
}
