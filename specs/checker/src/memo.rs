//! A short list that only grows, read by all threads without a lock.
//!
//! The results of a few operations on an interned value are looked up far more often than they are
//! computed, by all threads; so a list for each value beats one table that all of them share.

use std::sync::OnceLock;

/// Values by keys. Two threads may add the same; the first is found.
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
    /// The value of a key.
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

    /// Adds a value at the end.
    pub fn add(&self, key: K, value: V) {
        let mut link = Box::new(Link { key, value, rest: Self::default() });
        let mut at = self;
        while let Err(back) = at.0.set(link) {
            link = back;
            at = &at.0.get().expect("it was set before").rest;
        }
    }
}
