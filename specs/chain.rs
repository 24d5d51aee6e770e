//! A short list that only grows, read by all threads without a lock.
//!
//! What a machine once did is asked for far more often than it is found out, by all threads, and is little for each
//! machine: so a list beats a table that all of them share.

use std::sync::OnceLock;

/// Values by keys. Two threads may add the same; the first is found.
#[derive(Debug)]
pub(crate) struct Chain<K, V>(OnceLock<Box<Link<K, V>>>);

#[derive(Debug)]
struct Link<K, V> {
    key: K,
    value: V,
    rest: Chain<K, V>,
}

impl<K, V> Default for Chain<K, V> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: PartialEq, V: Copy> Chain<K, V> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
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
    pub(crate) fn add(&self, key: K, value: V) {
        let mut link = Box::new(Link { key, value, rest: Self::default() });
        let mut at = self;
        while let Err(back) = at.0.set(link) {
            link = back;
            at = &at.0.get().expect("it was set before").rest;
        }
    }
}
