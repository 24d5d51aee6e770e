//! Device objects: what is behind them, VFIO devices and those of the kernel's own tests.
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

/// What is behind a device object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hardware {
    Vfio {
        device: DeviceId,
        /// As its spec says ([`Iommu::nests`]).
        nests: bool,
    },
    Mock(MockDevice),
}

impl Hardware {
    /// The IOMMU in front of it.
    pub(super) fn iommu(self) -> Iommu {
        match self {
            Self::Vfio { nests: false, .. } => Iommu::QEMU_VTD,
            Self::Vfio { nests: true, .. } => Iommu::NESTING_VTD,
            Self::Mock(_) => Iommu::MOCK,
        }
    }

    /// Whether a domain for it can track what it writes.
    pub(super) fn tracks_dirty(self) -> bool {
        match self {
            Self::Vfio { .. } => false,
            Self::Mock(mock) => mock.tracks_dirty(),
        }
    }

    /// How wide its PASIDs are.
    pub(super) fn pasid_bits(self) -> u8 {
        match self {
            Self::Vfio { .. } => 0,
            Self::Mock(mock) => mock.pasid_bits(),
        }
    }

    /// What this kernel tells of its capabilities.
    pub(super) fn capabilities(self, profile: Profile) -> u64 {
        let all = self.iommu().capabilities(profile);
        if self.tracks_dirty() { all } else { all & !DIRTY_TRACKING }
    }
}

/// A device of the kernel's own tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MockDevice {
    /// `MOCK_FLAGS_DEVICE_*`.
    flags: u32,
    /// The next domain for the PASID that fails is refused.
    pub(super) fails_next: bool,
    /// The viommu that it is attached through, and as which of its devices.
    pub(super) viommu: Option<(ObjectId, u64)>,
    /// What an invalidation through a viommu sets to zero.
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

    /// The first number that is none of its PASIDs.
    pub(super) fn pasid_end(self) -> u32 {
        1 << self.pasid_bits()
    }
}

impl Machine {
    /// What is behind a device object. ENOENT, also for an object of another kind.
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

    /// The IOMMU in front of a device. ENOENT.
    pub(super) fn iommu_of(&self, context: ContextId, device: ObjectId) -> SyscallResult<Iommu> {
        self.hardware_of(context, device).map(Hardware::iommu)
    }

    /// The mock device behind a device object.
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
