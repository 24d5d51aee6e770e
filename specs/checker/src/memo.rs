//! An append-only list that all threads read without a lock.
//!
//! It caches the results of operations on an interned value. All threads look these up far more
//! often than they compute them, so a list for each value is faster than one shared table.

use std::sync::OnceLock;

/// A map from keys to values. If two threads add the same key, lookups return the value that was
/// added first.
#[derive(Debug)]
pub struct Memo<K, V>(OnceLock<Box<Link<K, V>>>);

#[derive(Debug)]
struct Link<K, V> {
    key: K,
    value: V,
    rest: Memo<K, V>,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: PartialEq, V: Copy> Memo<K, V> {
    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut at = self;
        while let Some(link) = at.0.get() {
            if link.key == *key {
                return Some(link.value);
            }
            at = &link.rest;
        }
        None
    }

    /// Appends a value.
    pub fn add(&self, key: K, value: V) {
        let mut link = Box::new(Link { key, value, rest: Self::default() });
        let mut at = self;
        while let Err(back) = at.0.set(link) {
            link = back;
            at = &at.0.get().expect("it was set before").rest;
        }
    }
}
