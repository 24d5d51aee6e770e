//! The hazards of handing over pinned pages: H1 to H9.
//!
//! A hazard that a kernel could avoid is a [`Quirk`], which a profile has or lacks. The others
//! follow from the interface and exist in every profile.

use crate::profile::Quirk;

/// A hazard of CHANGE_PROCESS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// The short name that findings refer to.
    pub code: &'static str,
    /// The effect, in one clause.
    pub what: &'static str,
    /// The observation, and the kernels on which it was made.
    pub evidence: &'static str,
    /// The quirk that switches it, if a kernel could avoid it.
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
    /// All hazards, in the order of their codes.
    pub const ALL: [Self; 9] = [
        of_a_kernel(Quirk::DoubleCharge, "one user is transiently charged twice"),
        of_a_kernel(Quirk::PinnedDrift, "VmPin of pages that are charged to no counter drifts"),
        of_a_kernel(
            Quirk::DeadOwner,
            "a dead memory map keeps its charge, and the new owner's charge is leaked",
        ),
        of_the_interface(
            "H4",
            "the accounting mode is that of the mapper and stays, whichever process takes over",
            "a new owner without CAP_IPC_LOCK inherits pages that are charged to no counter; one \
             with CAP_IPC_LOCK is refused by its limit for pages charged to a user (observed on \
             7.2.13).",
        ),
        of_the_interface(
            "H5",
            "a dead owner's user stays charged until its pages are unpinned or taken over",
            "the next map of the same user fails with ENOMEM (observed on 7.2.13).",
        ),
        of_the_interface(
            "H6",
            "the kernel does not keep a file's pages and a device's pages the same",
            "after a hole is punched, the device accesses other pages than a mapping shows, and \
             CHANGE_PROCESS succeeds (observed on 7.2.13).",
        ),
        of_the_interface(
            "H7",
            "CHANGE_PROCESS fails with EBUSY while another thread maps or unmaps",
            "17 882 of 20 000 calls during concurrent maps (observed on 7.2.13); a call of the \
             simulated kernel is atomic, so there it never fails this way.",
        ),
        of_the_interface(
            "H8",
            "ownership is per page set: any holder of the descriptor can map and unmap",
            "a child's map charges the child; its unmap of the parent's area uncharges the parent \
             (observed on 7.2.13).",
        ),
        of_the_interface(
            "H9",
            "pages pinned lazily are charged to the recorded owner, not to the process that \
             attaches",
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
