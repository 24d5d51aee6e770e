//! Defects: known bugs of a handoff, as edits of a variant's protocol.
//!
//! Each names its source and the property that it breaks. They prove that the properties can fail:
//! the checker must find every one of them.

mod qemu;
mod safe;
mod type1;

use super::Edit;
use crate::protocol::{Mode, Protocol};
pub use safe::DEFECTS;

/// A bug that can be planted in a protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    /// The name in scenarios.
    pub id: &'static str,
    /// The mistake of the protocol, as a clause.
    pub sentence: &'static str,
    /// The commit or version with the bug, or the mistake on which it is modelled.
    pub source: &'static str,
    /// The name of the variant in which it can be planted.
    pub variant: &'static str,
    /// The mode in which it has an effect.
    pub mode: Mode,
    /// The id of the property that must catch it.
    pub breaks: &'static str,
    /// The differences from the variant's protocol.
    pub edits: &'static [Edit],
}

impl Defect {
    /// Returns a protocol with this bug planted.
    #[must_use]
    pub fn plant(&self, protocol: Protocol) -> Protocol {
        protocol.edited(self.edits)
    }
}

/// Returns every defect, of every variant.
pub fn all() -> impl Iterator<Item = &'static Defect> {
    DEFECTS.iter().chain(qemu::DEFECTS).chain(type1::DEFECTS)
}

/// Returns the defect with this name.
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
