//! Address spaces: calls that their facts share.

pub(super) mod alloc;
pub(super) mod copy;
pub(super) mod map;
pub(super) mod option;
pub(super) mod unmap;

use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::{Fields, sized};
use crate::target::{Capability, Device};
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const MOCK: &[Capability] = &[Capability::Mock];
const TOP: u64 = u64::MAX;
const NONE: ObjectId = ObjectId(77);
const BAD: Fd = Fd(99);
/// MAP flags: fixed, writable, readable.
const FIXED_RW: u32 = 7;

fn map_fields(flags: u32, ioas: ObjectId, reserved: u32, [va, length, iova]: [u64; 3]) -> Fields {
    sized().u32(flags).id(ioas).u32(reserved).u64(va).u64(length).u64(iova)
}

fn map_at(iommufd: Fd, ioas: ObjectId, row: [u64; 3]) -> Call {
    map_fields(FIXED_RW, ioas, 0, row).on(iommufd, nr::IOMMU_IOAS_MAP)
}

fn copy_at(iommufd: Fd, (flags, to, from): (u32, ObjectId, ObjectId), row: [u64; 3]) -> Call {
    let head = sized().u32(flags).id(to).id(from);
    row.into_iter().fold(head, Fields::u64).on(iommufd, nr::IOMMU_IOAS_COPY)
}

fn unmap_at(iommufd: Fd, ioas: ObjectId, iova: u64, length: u64) -> Call {
    sized().id(ioas).u64(iova).u64(length).on(iommufd, nr::IOMMU_IOAS_UNMAP)
}

/// Returns a process with a context and an IOAS.
fn space(b: &mut Fixture<'_>) -> FactResult<(Pid, Fd, ObjectId)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let ioas = b.ioas(p, iommufd)?;
    Ok((p, iommufd, ioas))
}
