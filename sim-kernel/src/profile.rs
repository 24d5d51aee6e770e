//! The simulated kernel: the features it has, and its hazards.
//!
//! A profile is data: a release, which selects the ioctls that exist, and a set of [`Quirk`]s.
//! `fixed` is the newest release without any quirk; it separates findings about the kernel from
//! findings about a protocol.
//!
//! Only a hazard that a kernel could avoid is a quirk. The others follow from the interface and
//! exist in every profile: [`Hazard::ALL`](crate::Hazard::ALL) lists all of them.
//!
//! Other bugs of old kernels, fixed since, are part of their release: 6.2 has the containers of
//! before 6.3, and 6.13 a MAP_FILE that leaks a reference to the IOAS.
//!
//! Mirrors Linux 6.2, 6.12, 6.13, 7.2 and 7.3.

use handoff_model::abi::errno::Errno;
use std::fmt;

/// A kernel release with a set of quirks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    release: Release,
    quirks: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Release {
    V6_2,
    V6_12,
    Rfc,
    V6_13,
    V7_2,
    V7_3,
    Fixed,
}

const ALL_QUIRKS: u8 = 0b111;

/// All profiles of released kernels and `fixed`, oldest first.
const PROFILES: [(&str, Profile); 6] = [
    ("6.2", Profile { release: Release::V6_2, quirks: ALL_QUIRKS }),
    ("6.12", Profile { release: Release::V6_12, quirks: ALL_QUIRKS }),
    ("6.13", Profile { release: Release::V6_13, quirks: ALL_QUIRKS }),
    ("7.2", Profile { release: Release::V7_2, quirks: ALL_QUIRKS }),
    ("7.3", Profile { release: Release::V7_3, quirks: ALL_QUIRKS }),
    ("fixed", Profile { release: Release::Fixed, quirks: 0 }),
];

/// The kernel of the first version of "Live update: iommufd" (2024-07-20), which was never merged:
/// CHANGE_PROCESS takes new addresses. Its other bugs are unknown.
const PROPOSED: (&str, Profile) = ("rfc-v1", Profile { release: Release::Rfc, quirks: 0 });

impl Profile {
    /// Returns every profile but `rfc-v1`, oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        PROFILES.into_iter().map(|(_, profile)| profile)
    }

    /// Returns the profile with a name: `6.2`, `6.12`, `rfc-v1`, `6.13`, `7.2`, `7.3`, `fixed`.
    pub fn by_name(name: &str) -> Option<Self> {
        let mut all = PROFILES.into_iter().chain([PROPOSED]);
        all.find(|(known, _)| *known == name).map(|(_, profile)| profile)
    }

    /// Returns the name of the release, whichever quirks it has.
    pub fn name(self) -> &'static str {
        let named = PROFILES
            .into_iter()
            .chain([PROPOSED])
            .find(|(_, profile)| profile.release == self.release);
        named.expect("every release has a row").0
    }

    /// Returns true if it has this hazard.
    pub fn has(self, quirk: Quirk) -> bool {
        self.quirks & quirk.bit() != 0
    }

    /// Returns the same kernel with this hazard fixed.
    #[must_use]
    pub fn without(self, quirk: Quirk) -> Self {
        Self { quirks: self.quirks & !quirk.bit(), ..self }
    }

    /// Returns the same kernel with this hazard added.
    #[must_use]
    pub fn with(self, quirk: Quirk) -> Self {
        Self { quirks: self.quirks | quirk.bit(), ..self }
    }

    /// Returns its hazards.
    pub fn quirks(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.into_iter().filter(move |quirk| self.has(*quirk))
    }

    pub(crate) fn release(self) -> Release {
        self.release
    }

    /// Returns true if a device has a file of its own (since 6.6), in addition to the one that its
    /// group gives.
    pub(crate) fn has_device_files(self) -> bool {
        self.release >= Release::V6_12
    }

    /// Returns true if a type1 mapping belongs to the task that made it and is charged to the
    /// memory map that the task has at that time. Since 6.3 it belongs to a memory map, and the
    /// process that gives it a new address becomes its owner.
    pub(crate) fn charges_tasks(self) -> bool {
        self.release < Release::V6_12
    }

    /// Returns true if type1 waits for invalidated addresses to be replaced, and makes emulated
    /// devices wait, too. Since 6.3 it refuses instead.
    pub(crate) fn waits_for_addresses(self) -> bool {
        self.release < Release::V6_12
    }

    /// Returns true if an iommufd that serves as a container fails with `ENOENT` if there is
    /// nothing to unmap (until 6.18; 6.12 has the fix, 6.13 never got it).
    pub(crate) fn refuses_empty_unmap(self) -> bool {
        matches!(self.release, Release::V6_2 | Release::Rfc | Release::V6_13)
    }

    /// Returns true if `IOMMU_IOAS_MAP_FILE` of a descriptor that is not open leaks a reference to
    /// the IOAS, which can then never be destroyed (until 6.18).
    pub(crate) fn leaks_ioas(self) -> bool {
        self.release == Release::V6_13
    }

    /// Returns true if it has `IOMMU_IOAS_MAP_FILE`.
    pub fn has_map_file(self) -> bool {
        self.release >= Release::V6_13
    }

    /// Returns true if it has `IOMMU_IOAS_CHANGE_PROCESS`.
    pub fn has_change_process(self) -> bool {
        self.release >= Release::V6_13
    }

    /// Returns true if CHANGE_PROCESS takes new addresses, as in the first proposal.
    pub(crate) fn changes_addresses(self) -> bool {
        self.release == Release::Rfc
    }

    /// Returns true if `IOMMU_IOAS_MAP_FILE` accepts dma-bufs.
    pub(crate) fn maps_dma_bufs(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if the mock exporter of dma-bufs returns the descriptor that it creates
    /// (7.2.13; 7.3.4 returns 0).
    pub(crate) fn reports_dma_buf(self) -> bool {
        self.release < Release::V7_3
    }

    /// Returns the flags that `IOMMU_HWPT_ALLOC` knows.
    pub(crate) fn hwpt_flags(self) -> u32 {
        if self.reports_pasids() { 0b1111 } else { 0b0111 }
    }

    /// Returns true if iommufd supports PASIDs (6.15), and `IOMMU_GET_HW_INFO` takes a type.
    pub(crate) fn reports_pasids(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if mock domains come with page tables of more than one kind (6.19).
    pub(crate) fn has_mock_page_tables(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if an entry of a mock domain's page table maps a whole CPU page (7.3).
    pub(crate) fn maps_whole_pages(self) -> bool {
        self.release >= Release::V7_3
    }

    /// Returns true if `IOMMU_HWPT_INVALIDATE` limits the number of entries (observed on 7.2.13).
    pub(crate) fn bounds_invalidation(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if `IOMMU_GET_HW_INFO` reports that PCI ATS is not supported.
    pub(crate) fn reports_ats(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if BIND and ATTACH have their later fields and flags: tokens, and PASIDs
    /// (6.15).
    pub(crate) fn has_tokens_and_pasids(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if an eventfd can have only one irqfd among all VMs, instead of one in each
    /// (6.17).
    pub(crate) fn has_exclusive_irqfds(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if devices have `VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`.
    pub(crate) fn has_precopy_info_v2(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if vfio-pci has the error interrupt also for a device that is not PCI Express
    /// (7.3).
    pub(crate) fn has_every_error_index(self) -> bool {
        self.release >= Release::V7_3
    }

    /// Returns the errno with which a VT-d domain refuses an address beyond its aperture.
    pub(crate) fn map_beyond_aperture(self) -> Errno {
        if self.release >= Release::V7_2 { Errno::ERANGE } else { Errno::EFAULT }
    }

    /// Returns true if an iommufd can be mapped, for a viommu's registers (6.17,
    /// `iommufd_fops_mmap`).
    pub(crate) fn maps_iommufd(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Returns true if `IOMMU_HWPT_GET_DIRTY_BITMAP` refuses a length of 0 before it checks whether
    /// the domain tracks dirty pages (7.3.4, `iommufd_check_iova_range`).
    pub(crate) fn refuses_empty_bitmap(self) -> bool {
        self.release >= Release::V7_3
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name(), self.quirks().collect::<Vec<_>>())
    }
}

macro_rules! quirks {
    ($($name:ident = $code:literal, $evidence:literal;)*) => {
        /// A hazard of CHANGE_PROCESS that some kernels have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quirk {
            $(#[doc = $evidence] $name,)*
        }

        impl Quirk {
            /// All quirks.
            pub const ALL: [Self; 3] = [$(Self::$name,)*];

            /// Returns the short name that findings refer to.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns the observation, and the kernels on which it was made.
            pub const fn evidence(self) -> &'static str {
                match self { $(Self::$name => $evidence,)* }
            }
        }
    };
}

quirks! {
    DoubleCharge = "H1",
        "CHANGE_PROCESS charges the new owner before it uncharges the old one: within one user the \
         limit must be twice the pinned pages (64 pages: ENOMEM with a limit of 127, success \
         with 128; observed on 7.2.13, same code in 7.3.4).";
    PinnedDrift = "H2",
        "CHANGE_PROCESS does not move VmPin of pages that are charged to no counter: it stays \
         with the old owner, and the new owner's underflows at unmap (observed on 7.2.13 and \
         7.3.4).";
    DeadOwner = "H3",
        "CHANGE_PROCESS from a dead memory map in per-process mode fails with EINVAL although all \
         page sets have moved, and the new owner is never uncharged (observed on 7.2.13, same \
         code in 7.3.4).";
}

impl Quirk {
    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::{Profile, Quirk};

    #[test]
    fn names_find_their_profiles() {
        for profile in Profile::all().chain([super::PROPOSED.1]) {
            assert_eq!(Profile::by_name(profile.name()), Some(profile));
        }
        assert_eq!(Profile::by_name("5.4"), None);
    }

    #[test]
    fn quirks_can_be_mended_and_put_back_one_by_one() {
        let kernel = Profile::by_name("7.3").expect("a profile");
        for quirk in Quirk::ALL {
            assert!(kernel.has(quirk), "{}: {}", quirk.code(), quirk.evidence());
            let mended = kernel.without(quirk);
            assert_eq!(mended.quirks().count(), 2);
            assert_eq!(mended.with(quirk), kernel);
            assert_eq!(mended.name(), "7.3");
        }
        assert_eq!(Profile::by_name("fixed").expect("a profile").quirks().count(), 0);
    }
}
