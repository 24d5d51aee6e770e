//! What rows ask of the kernel's own tests (`IOMMU_TEST_CMD`): mock devices and accesses.

use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::{Fields, sized};
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

/// `sizeof(struct iommu_test_cmd)`.
const TEST_BYTES: usize = 72;

/// The head of an operation.
pub(super) fn test(op: u32, id: u32) -> Fields {
    sized().u32(op).u32(id).u32(0)
}

/// The operation, filled up with zeroes.
pub(super) fn on(fields: Fields, iommufd: Fd) -> Call {
    fields.padded(TEST_BYTES).on(iommufd, nr::IOMMU_TEST_CMD)
}

/// A word of what an ioctl left.
pub(super) fn word(outcome: &IoctlOutcome, at: usize) -> u32 {
    u32::from_ne_bytes(*outcome.bytes[at..].first_chunk().expect("within the structure"))
}

/// A mock device that is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mock {
    pub(super) stdev: ObjectId,
    pub(super) hwpt: ObjectId,
    pub(super) idev: ObjectId,
}

impl Mock {
    /// A new one on an address space or a domain.
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
