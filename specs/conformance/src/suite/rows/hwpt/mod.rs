//! HWPTs: calls and mock devices that their facts share.

pub(super) mod alloc;
pub(super) mod attach;
pub(super) mod dirty;
pub(super) mod hardware;

use super::mock::{Mock, on, test, word};
use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::sized;
use crate::target::Capability;
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Pid};
use handoff_model::abi::request as nr;

const MOCK: &[Capability] = &[Capability::Mock];
const NONE: ObjectId = ObjectId(77);

/// The first IOVA of a mock domain.
pub(super) const APERTURE: Iova = Iova(1 << 24);

/// HWPT_ALLOC flags.
pub(super) const NEST_PARENT: u32 = 1;
const DIRTY_TRACKING: u32 = 2;
pub(super) const FAULT_ID_VALID: u32 = 4;
pub(super) const FOR_PASIDS: u32 = 8;

/// `IOMMU_HWPT_DATA_SELFTEST`.
pub(super) const SELFTEST: u32 = 0xdead;

/// `MOCK_FLAGS_DEVICE_*`.
const NO_DIRTY: u32 = 1;
const WITH_PASIDS: u32 = 4;

/// Arguments of HWPT_ALLOC.
#[derive(Clone, Copy)]
pub(super) struct Alloc<'a> {
    pub(super) flags: u32,
    pub(super) device: ObjectId,
    pub(super) under: ObjectId,
    pub(super) data: (u32, &'a [u8]),
    pub(super) fault: ObjectId,
}

impl<'a> Alloc<'a> {
    pub(super) fn over(device: ObjectId, under: ObjectId) -> Self {
        Self { flags: 0, device, under, data: (0, &[]), fault: ObjectId(0) }
    }

    pub(super) fn flags(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    pub(super) fn data(self, kind: u32, data: &'a [u8]) -> Self {
        Self { data: (kind, data), ..self }
    }

    pub(super) fn call(self, iommufd: Fd) -> Call {
        let length = u32::try_from(self.data.1.len()).expect("a structure");
        let head = sized().u32(self.flags).id(self.device).id(self.under).u32(0).u32(0);
        let head = head.u32(self.data.0).u32(length).pointer(self.data.1);
        head.id(self.fault).u32(0).on(iommufd, nr::IOMMU_HWPT_ALLOC)
    }

    pub(super) fn make(self, b: &mut Fixture<'_>, p: Pid, iommufd: Fd) -> FactResult<ObjectId> {
        let outcome = b.ioctl(p, &self.call(iommufd))?;
        Ok(ObjectId(word(&outcome, 16)))
    }
}

/// Returns a process with a context, an IOAS, and a mock device on it.
pub(super) fn mocked(b: &mut Fixture<'_>) -> FactResult<(Pid, Fd, ObjectId, Mock)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    let mock = Mock::on(b, p, iommufd, ioas)?;
    Ok((p, iommufd, ioas, mock))
}

fn with_flags(iommufd: Fd, page_table: ObjectId, flags: u32) -> Call {
    on(test(12, page_table.0).u32(0).u32(0).u32(0).u32(flags), iommufd)
}

fn flagged(b: &mut Fixture<'_>, p: Pid, iommufd: Fd, pt: ObjectId, flags: u32) -> FactResult<Mock> {
    let outcome = b.ioctl(p, &with_flags(iommufd, pt, flags))?;
    let [stdev, hwpt, idev] = [16, 20, 24].map(|at| ObjectId(word(&outcome, at)));
    Ok(Mock { stdev, hwpt, idev })
}

pub(super) fn replace(iommufd: Fd, stdev: ObjectId, page_table: ObjectId) -> Call {
    on(test(10, stdev.0).id(page_table), iommufd)
}

fn set_tracking(iommufd: Fd, hwpt: ObjectId, flags: u32) -> Call {
    sized().u32(flags).id(hwpt).u32(0).on(iommufd, nr::IOMMU_HWPT_SET_DIRTY_TRACKING)
}
