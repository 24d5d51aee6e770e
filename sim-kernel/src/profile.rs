//! Which kernel this is: what it knows, and which hazards it has.
//!
//! A profile is data: a release, which says which ioctls exist, and a set of [`Quirk`]s. `fixed` is
//! the newest release with all quirks mended; it shows which findings are the kernel's and which
//! are a protocol's.
//!
//! Only what a kernel could do without is a quirk. The other hazards are how the interface works
//! and hold in every profile: [`Hazard::ALL`](crate::Hazard::ALL) has them all.
//!
//! What an old kernel did wrong in other places, and does not any more, is how that release is: 6.2
//! has the containers of before 6.3, and 6.13 a MAP_FILE that forgets to let go.
//!
//! Mirrors Linux 6.2, 6.12, 6.13, 7.2 and 7.3.

use handoff_model::abi::errno::Errno;
use std::fmt;

/// A kernel.
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

/// Oldest first.
const PROFILES: [(&str, Profile); 6] = [
    ("6.2", Profile { release: Release::V6_2, quirks: ALL_QUIRKS }),
    ("6.12", Profile { release: Release::V6_12, quirks: ALL_QUIRKS }),
    ("6.13", Profile { release: Release::V6_13, quirks: ALL_QUIRKS }),
    ("7.2", Profile { release: Release::V7_2, quirks: ALL_QUIRKS }),
    ("7.3", Profile { release: Release::V7_3, quirks: ALL_QUIRKS }),
    ("fixed", Profile { release: Release::Fixed, quirks: 0 }),
];

/// The kernel of the first version of "Live update: iommufd" (2024-07-20), which never was one:
/// CHANGE_PROCESS takes new addresses. What it would have done wrong besides nobody knows.
const PROPOSED: (&str, Profile) = ("rfc-v1", Profile { release: Release::Rfc, quirks: 0 });

impl Profile {
    /// Every profile of a kernel that there is, oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        PROFILES.into_iter().map(|(_, profile)| profile)
    }

    /// By its name: `6.2`, `6.12`, `rfc-v1`, `6.13`, `7.2`, `7.3`, `fixed`.
    pub fn by_name(name: &str) -> Option<Self> {
        let mut all = PROFILES.into_iter().chain([PROPOSED]);
        all.find(|(known, _)| *known == name).map(|(_, profile)| profile)
    }

    /// The name of the release, whatever became of its quirks.
    pub fn name(self) -> &'static str {
        let named = PROFILES
            .into_iter()
            .chain([PROPOSED])
            .find(|(_, profile)| profile.release == self.release);
        named.expect("every release has a row").0
    }

    /// Whether it has this hazard.
    pub fn has(self, quirk: Quirk) -> bool {
        self.quirks & quirk.bit() != 0
    }

    /// The same kernel with this hazard mended.
    #[must_use]
    pub fn without(self, quirk: Quirk) -> Self {
        Self { quirks: self.quirks & !quirk.bit(), ..self }
    }

    /// The same kernel with this hazard put in.
    #[must_use]
    pub fn with(self, quirk: Quirk) -> Self {
        Self { quirks: self.quirks | quirk.bit(), ..self }
    }

    /// Its hazards.
    pub fn quirks(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.into_iter().filter(move |quirk| self.has(*quirk))
    }

    pub(crate) fn release(self) -> Release {
        self.release
    }

    /// Whether a device has a file of its own (6.6), and not only what its group gives.
    pub(crate) fn has_device_files(self) -> bool {
        self.release >= Release::V6_12
    }

    /// Whether a mapping of type1 belongs to the task that made it, and is charged to whichever
    /// memory map that has by then; since 6.3 it belongs to a memory map, and whoever gives it a
    /// new address takes it over.
    pub(crate) fn charges_tasks(self) -> bool {
        self.release < Release::V6_12
    }

    /// Whether type1 waits for addresses that are gone, and lets emulated devices wait, too; since
    /// 6.3 it refuses.
    pub(crate) fn waits_for_addresses(self) -> bool {
        self.release < Release::V6_12
    }

    /// Whether an iommufd in a container's place says ENOENT where there is nothing to unmap (6.18;
    /// 6.12 has that mended, and 6.13 never had).
    pub(crate) fn unmaps_something(self) -> bool {
        matches!(self.release, Release::V6_2 | Release::Rfc | Release::V6_13)
    }

    /// Whether `IOMMU_IOAS_MAP_FILE` of a descriptor that is not open keeps its address space for
    /// good (until 6.18).
    pub(crate) fn leaks_ioas(self) -> bool {
        self.release == Release::V6_13
    }

    /// Whether it knows `IOMMU_IOAS_MAP_FILE`.
    pub fn has_map_file(self) -> bool {
        self.release >= Release::V6_13
    }

    /// Whether it knows `IOMMU_IOAS_CHANGE_PROCESS`.
    pub fn has_change_process(self) -> bool {
        self.release >= Release::V6_13
    }

    /// Whether CHANGE_PROCESS has the form in which it was proposed.
    pub(crate) fn changes_addresses(self) -> bool {
        self.release == Release::Rfc
    }

    /// Whether `IOMMU_IOAS_MAP_FILE` takes dma-bufs.
    pub(crate) fn maps_dma_bufs(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether the mock exporter of dma-bufs tells the descriptor that it makes (7.2.13; 7.3.4 says
    /// 0).
    pub(crate) fn reports_dma_buf(self) -> bool {
        self.release < Release::V7_3
    }

    /// What `IOMMU_HWPT_ALLOC` knows of flags.
    pub(crate) fn hwpt_flags(self) -> u32 {
        if self.reports_pasids() { 0b1111 } else { 0b0111 }
    }

    /// Whether iommufd knows of PASIDs (6.15), and `IOMMU_GET_HW_INFO` takes a type.
    pub(crate) fn reports_pasids(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether mock domains come with page tables of more than one kind (6.19).
    pub(crate) fn has_mock_page_tables(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether an entry of a mock domain's page table maps a whole page of the processor (7.3).
    pub(crate) fn maps_whole_pages(self) -> bool {
        self.release >= Release::V7_3
    }

    /// Whether `IOMMU_HWPT_INVALIDATE` has a limit on entries (observed on 7.2.13).
    pub(crate) fn bounds_invalidation(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether `IOMMU_GET_HW_INFO` tells of address translation services that PCI does not support.
    pub(crate) fn reports_ats(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether BIND and ATTACH know their later fields and flags: tokens, and PASIDs (6.15).
    pub(crate) fn has_tokens_and_pasids(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether an eventfd has one irqfd among all VMs, and not one in each (6.17).
    pub(crate) fn has_exclusive_irqfds(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether devices know `VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`.
    pub(crate) fn has_precopy_info_v2(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether vfio-pci has the error interrupt also for a device that is not of PCI Express (7.3).
    pub(crate) fn has_every_error_index(self) -> bool {
        self.release >= Release::V7_3
    }

    /// What a domain of Intel's says to an address that it does not translate.
    pub(crate) fn map_beyond_aperture(self) -> Errno {
        if self.release >= Release::V7_2 { Errno::ERANGE } else { Errno::EFAULT }
    }

    /// Whether an iommufd can be mapped, for a viommu's registers (6.17, `iommufd_fops_mmap`).
    pub(crate) fn maps_iommufd(self) -> bool {
        self.release >= Release::V7_2
    }

    /// Whether `IOMMU_HWPT_GET_DIRTY_BITMAP` refuses a length of 0 before it looks whether the
    /// domain tracks anything (7.3.4, `iommufd_check_iova_range`).
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
            /// Every one.
            pub const ALL: [Self; 3] = [$(Self::$name,)*];

            /// The short name that findings are told by.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What was seen of it, and where.
            pub const fn evidence(self) -> &'static str {
                match self { $(Self::$name => $evidence,)* }
            }
        }
    };
}

quirks! {
    DoubleCharge = "H1",
        "CHANGE_PROCESS charges before it uncharges: within one user it needs twice the limit \
         (64 pages: limit 127 ENOMEM, 128 succeeds; observed on 7.2.13, same code in 7.3.4).";
    PinnedDrift = "H2",
        "CHANGE_PROCESS leaves VmPin of pages that nobody is charged for with the old owner, and \
         the new owner's falls below zero at unmap (observed on 7.2.13 and 7.3.4).";
    DeadOwner = "H3",
        "CHANGE_PROCESS from a dead memory map in per-process mode gives EINVAL though everything \
         has moved, and the new owner's charge is never given back (observed on 7.2.13, same code \
         in 7.3.4).";
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
