//! What can go wrong when pages are handed over, by name: K1 to K9.
//!
//! Some of it a kernel could do without; that is a [`Quirk`], which a profile has or has not. The
//! rest is how the interface works, and holds in every profile.

use crate::profile::Quirk;

/// A hazard of CHANGE_PROCESS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// The short name that findings are told by.
    pub code: &'static str,
    /// What happens.
    pub what: &'static str,
    /// What was seen of it, and where.
    pub evidence: &'static str,
    /// The switch, where a kernel could do without it.
    pub quirk: Option<Quirk>,
}

const fn of_a_kernel(quirk: Quirk, what: &'static str) -> Hazard {
    Hazard { code: quirk.code(), what, evidence: quirk.evidence(), quirk: Some(quirk) }
}

const fn of_the_interface(
    code: &'static str,
    what: &'static str,
    evidence: &'static str,
) -> Hazard {
    Hazard { code, what, evidence, quirk: None }
}

impl Hazard {
    /// Every one, by its code.
    pub const ALL: [Self; 9] = [
        of_a_kernel(Quirk::DoubleCharge, "one user is charged twice for a moment"),
        of_a_kernel(Quirk::PinnedDrift, "VmPin of pages that nobody is charged for drifts"),
        of_a_kernel(Quirk::DeadOwner, "a dead memory map keeps, and the taker loses, its charge"),
        of_the_interface(
            "H4",
            "the accounting mode is the mapper's and sticks, whoever takes over",
            "a taker without CAP_IPC_LOCK inherits pages that nobody is charged for; one that has \
             it \
             is refused by its limit for pages of a user (observed on 7.2.13).",
        ),
        of_the_interface(
            "H5",
            "a dead owner's user stays charged until its pages are unpinned or taken over",
            "the next map of the same user gives ENOMEM (observed on 7.2.13).",
        ),
        of_the_interface(
            "H6",
            "nothing keeps a file's pages and a device's pages the same",
            "after a punched hole the device reaches other pages than a mapping shows, and \
             CHANGE_PROCESS succeeds (observed on 7.2.13).",
        ),
        of_the_interface(
            "H7",
            "a map or unmap under way in another thread makes CHANGE_PROCESS say EBUSY",
            "17 882 of 20 000 calls under a storm of maps (observed on 7.2.13); a call of the \
             simulated kernel is atomic, so that it never says so.",
        ),
        of_the_interface(
            "H8",
            "ownership is by page set: any holder of the descriptor maps and unmaps",
            "a child's map is charged to the child, its unmap of the parent's area is given back \
             to \
             the parent (observed on 7.2.13).",
        ),
        of_the_interface(
            "H9",
            "pages mapped lazily are charged to the recorded owner, not to who attaches",
            "a parent with a limit of 0 attaches, and its child is charged (observed on 7.2.13).",
        ),
    ];
}

#[cfg(test)]
mod tests {
    use super::Hazard;
    use crate::profile::Quirk;

    #[test]
    fn hazards_are_numbered_and_every_quirk_is_one() {
        for (hazard, number) in Hazard::ALL.iter().zip(1..) {
            assert_eq!(hazard.code, format!("H{number}"));
        }
        let quirks: Vec<Quirk> = Hazard::ALL.iter().filter_map(|hazard| hazard.quirk).collect();
        assert_eq!(quirks, Quirk::ALL);
    }
}
