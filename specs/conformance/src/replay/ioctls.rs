//! Operands of ioctls besides their own file, by request: descriptors, and memory of the caller.
//!
//! Numbers are offsets in the structures of `include/uapi/linux/iommufd.h`, `vfio.h`, `kvm.h` and
//! of `drivers/iommu/iommufd/iommufd_test.h`.

use handoff_model::abi::argument::{Ioctl, IoctlOutcome};
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;
use handoff_model::abi::uapi;
use std::ops::Range;

/// Offset of the operation in the structure of `IOMMU_TEST_CMD`.
const OP: usize = 4;

/// A bit of a structure: offset of its word, and mask.
type Flag = Option<(usize, u32)>;

/// Descriptors in ioctl structures: request, offset, and the flag without which there is none.
const NAMED: &[(u32, usize, Flag)] = &[
    (nr::IOMMU_IOAS_MAP_FILE, 12, None),
    (nr::VFIO_DEVICE_BIND_IOMMUFD, 8, None),
    (nr::VFIO_GROUP_SET_CONTAINER, 0, None),
    (nr::KVM_IRQFD, 0, None),
    (nr::KVM_IRQFD, 12, Some((8, 2))),
];

/// The place of a new descriptor's number.
enum Made {
    Result,
    At(usize),
}

/// Ioctls that open a file: request, operation of `IOMMU_TEST_CMD`, place of the number.
const OPENING: &[(u32, Option<u32>, Made)] = &[
    (nr::VFIO_GROUP_GET_DEVICE_FD, None, Made::Result),
    (nr::KVM_CREATE_VM, None, Made::Result),
    (nr::KVM_CREATE_VCPU, None, Made::Result),
    (nr::KVM_CREATE_DEVICE, None, Made::At(4)),
    (nr::IOMMU_FAULT_QUEUE_ALLOC, None, Made::At(12)),
    (nr::IOMMU_VEVENTQ_ALLOC, None, Made::At(24)),
    (nr::IOMMU_TEST_CMD, Some(5), Made::At(16)),
    (nr::IOMMU_TEST_CMD, Some(22), Made::Result),
];

/// Memory of the caller in ioctl structures: request, operation, offset of address, offset of
/// length.
const ADDRESSED: &[(u32, Option<u32>, usize, usize)] = &[
    (nr::IOMMU_IOAS_MAP, None, 16, 24),
    (nr::VFIO_IOMMU_MAP_DMA, None, 8, 24),
    (nr::IOMMU_TEST_CMD, Some(3), 32, 24),
    (nr::IOMMU_TEST_CMD, Some(4), 24, 16),
    (nr::IOMMU_TEST_CMD, Some(7), 40, 32),
];

/// An ioctl with its file.
pub(super) struct Asked {
    pub(super) fd: Fd,
    pub(super) ioctl: Ioctl,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Asked {
    /// Returns the ioctl of a call, if it is one.
    pub(super) fn of(call: &Call) -> Option<Self> {
        let (fd, ioctl) = uapi::encode(call)?;
        Some(Self { fd, ioctl })
    }

    pub(super) fn word(&self, at: usize) -> Option<u32> {
        word(self.ioctl.argument.bytes(), at)
    }

    pub(super) fn long(&self, at: usize) -> Option<u64> {
        long(self.ioctl.argument.bytes(), at)
    }

    /// Returns true for this request, and for `IOMMU_TEST_CMD` this operation.
    pub(super) fn is(&self, request: u32, op: Option<u32>) -> bool {
        self.ioctl.request == request && op.is_none_or(|op| self.word(OP) == Some(op))
    }

    /// Returns the descriptors that the ioctl names, starting with its own file.
    pub(super) fn descriptors(&self) -> Vec<Fd> {
        let is_there = |flag: &Flag| {
            flag.is_none_or(|(at, bit)| self.word(at).is_some_and(|flags| flags & bit != 0))
        };
        let named =
            NAMED.iter().filter(|(request, _, flag)| self.is(*request, None) && is_there(flag));
        let named = named.filter_map(|(_, at, _)| self.word(*at));
        let attribute = self.ioctl.argument.pointees().iter().filter_map(|p| word(&p.bytes, 0));
        let attribute = attribute.filter(|_| self.is(nr::KVM_SET_DEVICE_ATTR, None));
        let all = named.chain(attribute).map(u32::cast_signed).chain(self.triggers());
        std::iter::once(self.fd).chain(all.map(Fd)).collect()
    }

    /// Returns the eventfds of a SET_IRQS, without negative descriptors.
    fn triggers(&self) -> Vec<i32> {
        const DATA_EVENTFD: u32 = 4;
        const DATA: usize = 20;
        let has = self.is(nr::VFIO_DEVICE_SET_IRQS, None)
            && self.word(4).is_some_and(|flags| flags & DATA_EVENTFD != 0);
        let count = if has { self.word(16).unwrap_or(0).min(2048) as usize } else { 0 };
        let fds = (0..count).filter_map(|vector| self.word(DATA + 4 * vector));
        fds.map(u32::cast_signed).filter(|fd| *fd >= 0).collect()
    }

    /// Returns the descriptor that the ioctl created.
    pub(super) fn opened(&self, outcome: &IoctlOutcome) -> Option<Fd> {
        let returned = outcome.result.ok()?;
        let (_, _, place) = OPENING.iter().find(|(request, op, _)| self.is(*request, *op))?;
        let number = match place {
            Made::Result => returned,
            Made::At(at) => word(&outcome.bytes, *at)?,
        };
        Some(Fd(number.cast_signed()))
    }

    /// Returns the length in bytes of the buffer of a test access.
    pub(super) fn length(&self) -> Option<usize> {
        self.long(24).filter(|_| self.is(nr::IOMMU_TEST_CMD, Some(8)))?.try_into().ok()
    }

    /// Returns the IOVA if the ioctl fails unless its memory is that of the named addresses.
    pub(super) fn checked_iova(&self) -> Option<u64> {
        const CHECKING: &[(u32, usize)] = &[(3, 16), (7, 24)];
        let is_this = |(op, _): &&(u32, usize)| self.is(nr::IOMMU_TEST_CMD, Some(*op));
        self.long(CHECKING.iter().find(is_this)?.1)
    }

    /// Returns the addresses that the ioctl names.
    pub(super) fn addresses(&self) -> Option<Range<u64>> {
        let (_, _, va, length) =
            ADDRESSED.iter().find(|(request, op, ..)| self.is(*request, *op))?;
        let (va, length) = (self.long(*va)?, self.long(*length)?);
        Some(va..va.checked_add(length)?)
    }
}
