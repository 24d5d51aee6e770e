//! Values, each kept once under a number.

use super::Number;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rustc_hash::FxBuildHasher;
use std::hash::{BuildHasher, Hash};

/// Values, each once, with what is known of each.
pub(super) struct Once<T, F = ()> {
    numbers: DashMap<T, Number, FxBuildHasher>,
    values: boxcar::Vec<Value<T, F>>,
}

struct Value<T, F> {
    is: T,
    facts: F,
    hash: u64,
}

impl<T: Clone + Eq + Hash, F> Once<T, F> {
    pub(super) fn new() -> Self {
        Self { numbers: DashMap::default(), values: boxcar::Vec::new() }
    }

    /// The number of a value; of a new one `facts` says what is to be known.
    pub(super) fn number(&self, value: T, facts: impl FnOnce(&T) -> F) -> Number {
        if let Some(known) = self.numbers.get(&value) {
            return *known;
        }
        let facts = facts(&value);
        match self.numbers.entry(value) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let hash = FxBuildHasher.hash_one(entry.key());
                let at = self.values.push(Value { is: entry.key().clone(), facts, hash });
                *entry.insert(Number(u32::try_from(at).expect("fewer parts than worlds")))
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.values.count()
    }

    pub(super) fn get(&self, number: Number) -> &T {
        &self.values[number.0 as usize].is
    }

    pub(super) fn facts(&self, number: Number) -> &F {
        &self.values[number.0 as usize].facts
    }

    pub(super) fn hash(&self, number: Number) -> u64 {
        self.values[number.0 as usize].hash
    }
}
