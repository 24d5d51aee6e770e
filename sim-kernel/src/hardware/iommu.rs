//! IOMMUs, as data: the addresses and page sizes that a domain can map, and the windows that its
//! devices reserve.
//!
//! Every device is behind an IOMMU: VFIO devices behind [`Iommu::QEMU_VTD`], VT-d as QEMU 7.2 and
//! later emulate it, or, if their specs select it, [`Iommu::NESTING_VTD`]; mock devices behind
//! [`Iommu::MOCK`]. A domain belongs to the driver that made it and accepts only devices of that
//! driver. The addresses that an address space can map follow from its domains, the devices
//! attached to them, and the accesses to the space.
//!
//! Mirrors `drivers/iommu/intel/iommu.c` and `drivers/iommu/iommufd/selftest.c`.

use crate::profile::Profile;
use handoff_model::abi::ids::{Iova, IovaRange, PAGE_BYTES};

/// The capabilities of an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iommu {
    /// The driver that makes its domains.
    pub driver: IommuDriver,
    /// The smallest page that a domain maps, in bytes.
    pub io_page_bytes: u64,
    /// The page sizes that a domain maps, as a bit mask.
    pub page_sizes: u64,
    /// The addresses that a domain translates.
    pub aperture: IovaRange,
    /// Addresses of a device that do not reach memory: its interrupts.
    pub reserved: Option<IovaRange>,
    /// True if one of its domains can be a nesting parent.
    pub nests: bool,
    /// `enum iommu_hw_info_type`.
    pub hw_info_type: u32,
    /// `enum iommufd_hw_capabilities`, as the newest kernel reports them.
    pub capabilities: u64,
}

/// A driver of IOMMUs (`struct iommu_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IommuDriver {
    /// Intel's VT-d driver.
    Vtd,
    /// The mock driver of the kernel's selftests.
    Mock,
}

/// `IOMMU_HW_CAP_DIRTY_TRACKING` and `_PCI_ATS_NOT_SUPPORTED`.
pub(crate) const DIRTY_TRACKING: u64 = 1;
const ATS_NOT_SUPPORTED: u64 = 8;

const fn range(first: u64, last: u64) -> IovaRange {
    IovaRange { first: Iova(first), last: Iova(last) }
}

impl Iommu {
    /// The `-device intel-iommu` of QEMU.
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

    /// A VT-d that translates in two stages (scalable mode, nested translation). Otherwise it is as
    /// QEMU's.
    pub const NESTING_VTD: Self = Self { nests: true, ..Self::QEMU_VTD };

    /// The IOMMU of mock devices: pages smaller than the CPU's, and a small aperture.
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

    /// Iterates over the addresses that a domain does not translate.
    pub(crate) fn beyond_aperture(&self) -> impl Iterator<Item = IovaRange> + use<> {
        let below = self.aperture.first.0.checked_sub(1).map(|last| range(0, last));
        let above = self.aperture.last.0.checked_add(1).map(|first| range(first, u64::MAX));
        below.into_iter().chain(above)
    }

    /// Returns the capabilities that this kernel reports.
    pub(crate) fn capabilities(&self, profile: Profile) -> u64 {
        if profile.reports_ats() {
            self.capabilities
        } else {
            self.capabilities & !ATS_NOT_SUPPORTED
        }
    }
}
