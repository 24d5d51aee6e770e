//! Nested domains and viommus: calls and set-ups that their facts share.

pub(super) mod domain;
pub(super) mod queues;
pub(super) mod viommu;

use super::hwpt::{Alloc, NEST_PARENT, mocked};
use super::mock::{Mock, word};
use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::sized;
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

const MOCK: &[Capability] = &[Capability::Mock];
const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const NONE: ObjectId = ObjectId(77);

/// The only type of viommus, hardware queues and invalidations in the mock driver.
const KIND: u32 = 0xdead_beef;

/// Data of a nested mock domain: the number that fills its four translation cache entries.
const CACHE: [u8; 8] = [7, 0, 0, 0, 0, 0, 0, 0];

fn invalidate(
    iommufd: Fd,
    id: ObjectId,
    kind: u32,
    [length, count]: [u32; 2],
    data: &[u32],
) -> Call {
    let bytes: Vec<u8> = data.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let head = sized().id(id);
    let head = if bytes.is_empty() { head.u64(0) } else { head.pointer(&bytes) };
    head.u32(kind).u32(length).u32(count).u32(0).on(iommufd, nr::IOMMU_HWPT_INVALIDATE)
}

/// Makes invalidations that must fail, and checks the number of processed entries.
fn fail(b: &mut Fixture<'_>, p: Pid, table: &[(Call, Errno, u32)]) -> FactResult {
    for (call, errno, done) in table {
        let outcome = b.ioctl_refused(p, call, *errno)?;
        b.same("entries done", &word(&outcome, 24), done)?;
    }
    Ok(())
}

fn viommu(
    iommufd: Fd,
    [flags, kind]: [u32; 2],
    device: ObjectId,
    hwpt: ObjectId,
    data: &[u8],
) -> Call {
    let length = u32::try_from(data.len()).expect("a structure");
    let head = sized().u32(flags).u32(kind).id(device).id(hwpt).u32(0).u32(length).u32(0);
    head.pointer(data).on(iommufd, nr::IOMMU_VIOMMU_ALLOC)
}

fn vdevice(iommufd: Fd, viommu: ObjectId, device: ObjectId, virt_id: u64) -> Call {
    sized().id(viommu).id(device).u32(0).u64(virt_id).on(iommufd, nr::IOMMU_VDEVICE_ALLOC)
}

fn destroy(iommufd: Fd, id: ObjectId) -> Call {
    Call::Iommufd(IommufdCall::Destroy { iommufd, id })
}

fn made(b: &mut Fixture<'_>, p: Pid, call: &Call, at: usize) -> FactResult<ObjectId> {
    let outcome = b.ioctl(p, call)?;
    Ok(ObjectId(word(&outcome, at)))
}

/// A mock device, a nesting parent, and a viommu over it.
struct Guest {
    p: Pid,
    iommufd: Fd,
    ioas: ObjectId,
    mock: Mock,
    parent: ObjectId,
    viommu: ObjectId,
}

fn guest(b: &mut Fixture<'_>) -> FactResult<Guest> {
    let (p, iommufd, ioas, mock) = mocked(b)?;
    let parent = Alloc::over(mock.idev, ioas).flags(NEST_PARENT).make(b, p, iommufd)?;
    let viommu = made(b, p, &viommu(iommufd, [0, KIND], mock.idev, parent, &[]), 20)?;
    Ok(Guest { p, iommufd, ioas, mock, parent, viommu })
}
