//! Operations of the kernel's selftests (`IOMMU_TEST_CMD`) that facts use: mock devices and
//! accesses.

use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::{Fields, sized};
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

/// `sizeof(struct iommu_test_cmd)`.
const TEST_BYTES: usize = 72;

/// Returns the head of an operation.
pub(super) fn test(op: u32, id: u32) -> Fields {
    sized().u32(op).u32(id).u32(0)
}

/// Returns the ioctl of an operation, padded with zeroes.
pub(super) fn on(fields: Fields, iommufd: Fd) -> Call {
    fields.padded(TEST_BYTES).on(iommufd, nr::IOMMU_TEST_CMD)
}

/// Returns a 32-bit word of an ioctl's output.
pub(super) fn word(outcome: &IoctlOutcome, at: usize) -> u32 {
    u32::from_ne_bytes(*outcome.bytes[at..].first_chunk().expect("within the structure"))
}

/// An attached mock device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mock {
    pub(super) stdev: ObjectId,
    pub(super) hwpt: ObjectId,
    pub(super) idev: ObjectId,
}

impl Mock {
    /// Creates a mock device on an IOAS or an HWPT.
    pub(super) fn on(
        b: &mut Fixture<'_>,
        p: Pid,
        iommufd: Fd,
        page_table: ObjectId,
    ) -> FactResult<Self> {
        let outcome = b.ioctl(p, &on(test(2, page_table.0), iommufd))?;
        let [stdev, hwpt, idev] = [16, 20, 24].map(|at| ObjectId(word(&outcome, at)));
        Ok(Self { stdev, hwpt, idev })
    }
}
