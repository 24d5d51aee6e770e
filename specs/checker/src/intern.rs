//! Interners: equal values are stored once, under one number, with facts about each.
//!
//! A state made of such numbers takes a few bytes (Holzmann's collapse compression), and what is
//! derived from a part is computed once.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rustc_hash::FxBuildHasher;
use std::fmt;
use std::hash::{BuildHasher, Hash};

/// The number of an interned value. Numbers depend on which thread came first, so no result may
/// depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InternId(u32);

/// An interner for values of one type, with facts of type `F` about each.
pub struct Interner<T, F = ()> {
    numbers: DashMap<T, InternId, FxBuildHasher>,
    values: boxcar::Vec<Value<T, F>>,
}

struct Value<T, F> {
    is: T,
    facts: F,
    hash: u64,
}

impl<T: Eq + Hash, F> Default for Interner<T, F> {
    fn default() -> Self {
        Self { numbers: DashMap::default(), values: boxcar::Vec::new() }
    }
}

impl<T, F> fmt::Debug for Interner<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.values.count())
    }
}

impl<T: Clone + Eq + Hash, F> Interner<T, F> {
    /// Returns the number of a value; `facts` computes the facts about a new one.
    pub fn number(&self, value: T, facts: impl FnOnce(&T) -> F) -> InternId {
        if let Some(known) = self.numbers.get(&value) {
            return *known;
        }
        let facts = facts(&value);
        match self.numbers.entry(value) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let hash = FxBuildHasher.hash_one(entry.key());
                let at = self.values.push(Value { is: entry.key().clone(), facts, hash });
                *entry.insert(InternId(u32::try_from(at).expect("parts are numbered by u32")))
            }
        }
    }

    /// Returns the number of distinct values.
    pub fn count(&self) -> usize {
        self.values.count()
    }

    /// Returns the value of a number.
    pub fn get(&self, number: InternId) -> &T {
        &self.values[number.0 as usize].is
    }

    /// Returns the facts about a value.
    pub fn facts(&self, number: InternId) -> &F {
        &self.values[number.0 as usize].facts
    }

    /// Returns the hash of a value; it does not depend on the number.
    pub fn hash(&self, number: InternId) -> u64 {
        self.values[number.0 as usize].hash
    }
}
