//! Known ways to get a handoff wrong, as differences from a protocol.
//!
//! Each names where it was seen and what it breaks. They prove that the properties can fail: the
//! checker must find every one of them.

mod qemu;
mod safe;
mod type1;

use super::Edit;
use crate::protocol::{Mode, Protocol};
pub use safe::DEFECTS;

/// A bug of a protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    /// What scenarios call it.
    pub id: &'static str,
    /// What goes wrong, in a sentence.
    pub sentence: &'static str,
    /// Where it was seen, or what it is modelled on.
    pub source: &'static str,
    /// The variant that has it.
    pub variant: &'static str,
    /// The mode in which it shows.
    pub mode: Mode,
    /// The property that must catch it.
    pub breaks: &'static str,
    /// What differs.
    pub edits: &'static [Edit],
}

impl Defect {
    /// A protocol with this bug in it.
    #[must_use]
    pub fn plant(&self, protocol: Protocol) -> Protocol {
        protocol.edited(self.edits)
    }
}

/// All known bugs, of every variant.
pub fn all() -> impl Iterator<Item = &'static Defect> {
    DEFECTS.iter().chain(qemu::DEFECTS).chain(type1::DEFECTS)
}

/// By its name.
pub fn find(id: &str) -> Option<&'static Defect> {
    all().find(|defect| defect.id == id)
}

#[cfg(test)]
mod tests {
    use super::all;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let names: BTreeSet<_> = all().map(|defect| defect.id).collect();
        assert_eq!(names.len(), all().count());
        let kebab = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(|name| kebab(name)));
    }
}
