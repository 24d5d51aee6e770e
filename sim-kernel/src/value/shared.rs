//! A part of the machine that values share until one of them writes it.
//!
//! A model checker clones and hashes the machine millions of times, and one call changes two or
//! three of its parts. So a part is an `Arc` that is copied on the first write ([`DerefMut`]), and
//! its digest is computed at most once between two writes. Cloning a machine costs a few reference
//! counts, hashing it a few words.
//!
//! Invariant: a computed digest is that of the value beside it; every mutable borrow clears it. Two
//! parts are equal if their values are; equal digests never count as equality.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

/// A value that clones share until one of them writes it.
pub(crate) struct Shared<T>(Arc<Part<T>>);

struct Part<T> {
    digest: OnceLock<u64>,
    value: T,
}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Part { digest: OnceLock::new(), value }))
    }
}

impl<T: Hash> Shared<T> {
    fn digest(&self) -> u64 {
        *self.0.digest.get_or_init(|| {
            let mut digest = Digest::default();
            self.0.value.hash(&mut digest);
            digest.finish()
        })
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self { digest: OnceLock::new(), value: self.value.clone() }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        let part = Arc::make_mut(&mut self.0);
        part.digest = OnceLock::new();
        &mut part.value
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: PartialEq + Hash> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.digest() == other.digest() && self.0.value == other.0.value)
    }
}

impl<T: Eq + Hash> Eq for Shared<T> {}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

/// A 64-bit digest by folded multiplication: each word costs one wide multiplication, and every
/// input bit affects every output bit. The result is the same in every run and on every machine of
/// one word size.
#[derive(Default)]
struct Digest(u64);

impl Digest {
    /// An odd factor with as many ones as zeroes: digits of pi.
    const FACTOR: u64 = 0x243f_6a88_85a3_08d3;
    /// Keeps zero words from vanishing: further digits of pi.
    const SALT: u64 = 0x1319_8a2e_0370_7344;

    fn word(&mut self, word: u64) {
        let (low, high) = (self.0 ^ word ^ Self::SALT).carrying_mul(Self::FACTOR, 0);
        self.0 = self.0.rotate_left(23).wrapping_add(low ^ high);
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.word(Self::FACTOR);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }

    fn write_u8(&mut self, value: u8) {
        self.word(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.word(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.word(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.word(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.word(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::Shared;
    use std::collections::BTreeSet;

    #[test]
    fn a_write_is_not_seen_by_clones_and_changes_the_digest() {
        let before = Shared::new(vec![1u32, 2]);
        let mut after = before.clone();
        assert_eq!(before.digest(), after.digest());
        after.push(3);
        assert_eq!(*before, [1, 2]);
        assert_ne!(before, after);
        assert_ne!(before.digest(), after.digest());
        after.pop();
        assert_eq!(before, after);
        assert_eq!(before.digest(), after.digest());
    }

    #[test]
    fn digests_of_neighbouring_values_differ() {
        let pairs = (0u32..300).flat_map(|left| (0u32..300).map(move |right| (left, right)));
        let digests: BTreeSet<u64> = pairs.map(|pair| Shared::new(pair).digest()).collect();
        assert_eq!(digests.len(), 90_000);
    }
}
