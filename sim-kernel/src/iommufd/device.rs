//! Device objects: VFIO devices, and the mock devices of the kernel's selftests.
//!
//! Mirrors `struct iommufd_device` of `drivers/iommu/iommufd/iommufd_private.h`, and `struct
//! mock_dev` of `selftest.c`.

use crate::hardware::{DIRTY_TRACKING, Iommu};
use crate::iommufd::Object;
use crate::machine::Machine;
use crate::profile::Profile;
use crate::syscall::{SyscallResult, fail};
use crate::value::{ContextId, DeviceId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;

/// The hardware of a device object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hardware {
    Vfio {
        device: DeviceId,
        /// As in its spec ([`Iommu::nests`]).
        nests: bool,
    },
    Mock(MockDevice),
}

impl Hardware {
    /// Returns the IOMMU in front of it.
    pub(super) fn iommu(self) -> Iommu {
        match self {
            Self::Vfio { nests: false, .. } => Iommu::QEMU_VTD,
            Self::Vfio { nests: true, .. } => Iommu::NESTING_VTD,
            Self::Mock(_) => Iommu::MOCK,
        }
    }

    /// Returns true if a domain for it can track its writes.
    pub(super) fn tracks_dirty(self) -> bool {
        match self {
            Self::Vfio { .. } => false,
            Self::Mock(mock) => mock.tracks_dirty(),
        }
    }

    /// Returns the width of its PASIDs in bits.
    pub(super) fn pasid_bits(self) -> u8 {
        match self {
            Self::Vfio { .. } => 0,
            Self::Mock(mock) => mock.pasid_bits(),
        }
    }

    /// Returns the capabilities that this kernel reports.
    pub(super) fn capabilities(self, profile: Profile) -> u64 {
        let all = self.iommu().capabilities(profile);
        if self.tracks_dirty() { all } else { all & !DIRTY_TRACKING }
    }
}

/// A mock device of the kernel's selftests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MockDevice {
    /// `MOCK_FLAGS_DEVICE_*`.
    flags: u32,
    /// True if the next domain for the failing PASID is refused.
    pub(super) fails_next: bool,
    /// The viommu that it is attached through, and its number there.
    pub(super) viommu: Option<(ObjectId, u64)>,
    /// The cache that an invalidation through a viommu sets to zero.
    pub(super) cache: [u32; 4],
}

/// `MOCK_FLAGS_DEVICE_NO_DIRTY` and `_PASID`.
pub(super) const NO_DIRTY: u32 = 1;
pub(super) const PASID: u32 = 4;

/// `MOCK_PASID_WIDTH`, `IOMMU_TEST_DEV_CACHE_DEFAULT`.
const PASID_BITS: u8 = 20;
const CACHE_DEFAULT: u32 = 0x00ba_ddad;

impl MockDevice {
    pub(super) fn new(flags: u32) -> Self {
        Self { flags, fails_next: false, viommu: None, cache: [CACHE_DEFAULT; 4] }
    }

    fn tracks_dirty(self) -> bool {
        self.flags & NO_DIRTY == 0
    }

    fn pasid_bits(self) -> u8 {
        if self.flags & PASID == 0 { 0 } else { PASID_BITS }
    }

    /// Returns the end of its PASIDs, exclusive.
    pub(super) fn pasid_end(self) -> u32 {
        1 << self.pasid_bits()
    }
}

impl Machine {
    /// Returns the hardware of a device object. Fails with `ENOENT`, also for an object of another
    /// kind.
    pub(super) fn hardware_of(
        &self,
        context: ContextId,
        device: ObjectId,
    ) -> SyscallResult<Hardware> {
        match self.contexts.get(context).objects.get(&device) {
            Some(Object::Device { hardware, .. }) => Ok(*hardware),
            _ => Err(fail(Errno::ENOENT)),
        }
    }

    /// Returns the IOMMU in front of a device. Fails with `ENOENT`.
    pub(super) fn iommu_of(&self, context: ContextId, device: ObjectId) -> SyscallResult<Iommu> {
        self.hardware_of(context, device).map(Hardware::iommu)
    }

    /// Returns the mock device of a device object, if it is one.
    pub(super) fn mock_mut(
        &mut self,
        context: ContextId,
        device: ObjectId,
    ) -> Option<&mut MockDevice> {
        match self.contexts.get(context).objects.get(&device)? {
            Object::Device { hardware: Hardware::Mock(_), .. } => {}
            _ => return None,
        }
        match self.contexts.get_mut(context).objects.get_mut(&device)? {
            Object::Device { hardware: Hardware::Mock(mock), .. } => Some(mock),
            _ => None,
        }
    }
}
