//! IOMMUs, as data: what a domain of one can map, and what its devices keep for themselves.
//!
//! Every device is behind an IOMMU: VFIO devices behind [`Iommu::QEMU_VTD`], as QEMU 7.2 and later
//! emulate Intel's, or, where their specs say so, [`Iommu::NESTING_VTD`]; mock devices behind
//! [`Iommu::MOCK`]. A domain is made by the driver of one IOMMU and takes the devices of that
//! driver only. What an address space can map follows from the domains that are over it, the
//! devices that are attached to them, and the accesses that look into it.
//!
//! Mirrors `drivers/iommu/intel/iommu.c` and `drivers/iommu/iommufd/selftest.c`.

use crate::profile::Profile;
use handoff_model::abi::ids::{Iova, IovaRange, PAGE_BYTES};

/// What an IOMMU can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iommu {
    /// Who makes its domains.
    pub driver: IommuDriver,
    /// The smallest page that a domain maps, in bytes.
    pub io_page_bytes: u64,
    /// The sizes of pages that a domain maps, a bit each.
    pub page_sizes: u64,
    /// The addresses that a domain translates.
    pub aperture: IovaRange,
    /// Addresses of a device that do not reach memory: its interrupts.
    pub reserved: Option<IovaRange>,
    /// Whether a domain of it can be a nesting parent.
    pub nests: bool,
    /// `enum iommu_hw_info_type`.
    pub hw_info_type: u32,
    /// `enum iommufd_hw_capabilities`, as the newest kernel tells them.
    pub capabilities: u64,
}

/// A driver of IOMMUs (`struct iommu_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IommuDriver {
    /// Intel's.
    Vtd,
    /// That of the kernel's own tests.
    Mock,
}

/// `IOMMU_HW_CAP_DIRTY_TRACKING` and `_PCI_ATS_NOT_SUPPORTED`.
pub(crate) const DIRTY_TRACKING: u64 = 1;
const ATS_NOT_SUPPORTED: u64 = 8;

const fn range(first: u64, last: u64) -> IovaRange {
    IovaRange { first: Iova(first), last: Iova(last) }
}

impl Iommu {
    /// `-device intel-iommu` of QEMU.
    pub const QEMU_VTD: Self = Self {
        driver: IommuDriver::Vtd,
        io_page_bytes: PAGE_BYTES,
        page_sizes: 0x4020_1000,
        aperture: range(0, 0x7f_ffff_ffff),
        reserved: Some(range(0xfee0_0000, 0xfeef_ffff)),
        nests: false,
        hw_info_type: 1,
        capabilities: ATS_NOT_SUPPORTED,
    };

    /// One of Intel's that translates in two stages (scalable mode, nested translation). In all
    /// else it is as QEMU's.
    pub const NESTING_VTD: Self = Self { nests: true, ..Self::QEMU_VTD };

    /// That of mock devices: pages smaller than the processor's, and a small aperture.
    pub const MOCK: Self = Self {
        driver: IommuDriver::Mock,
        io_page_bytes: 2048,
        page_sizes: 0x1f_ffff_f800,
        aperture: range(0x100_0000, 0x7fff_ffff),
        reserved: None,
        nests: true,
        hw_info_type: 0xfeed_beef,
        capabilities: DIRTY_TRACKING | ATS_NOT_SUPPORTED,
    };

    /// A domain of the mock driver that maps huge pages (`MOCK_IOMMUPT_HUGE`).
    pub const MOCK_HUGE: Self = Self {
        io_page_bytes: PAGE_BYTES,
        page_sizes: 1 << 20 | PAGE_BYTES,
        aperture: range(0, 0x3f_ffff_ffff),
        ..Self::MOCK
    };

    /// The addresses that a domain does not translate.
    pub(crate) fn beyond_aperture(&self) -> impl Iterator<Item = IovaRange> + use<> {
        let below = self.aperture.first.0.checked_sub(1).map(|last| range(0, last));
        let above = self.aperture.last.0.checked_add(1).map(|first| range(first, u64::MAX));
        below.into_iter().chain(above)
    }

    /// What this kernel tells of its capabilities.
    pub(crate) fn capabilities(&self, profile: Profile) -> u64 {
        if profile.reports_ats() {
            self.capabilities
        } else {
            self.capabilities & !ATS_NOT_SUPPORTED
        }
    }
}
