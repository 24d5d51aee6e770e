//! The type1 IOMMU of a container: calls and set-ups that its facts share.

pub(super) mod dirty;
pub(super) mod join;
pub(super) mod map;
pub(super) mod vaddr;

use super::group::{Legacy, V2, map_dma, open_group, ready};
use crate::suite::fixture::{FactResult, Fixture};
use crate::suite::structure::{Fields, sized};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, ContainerCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

const MDEV: &[Capability] = &[Capability::Type1, Capability::Has(Device::Mtty)];

/// `VFIO_DMA_UNMAP_FLAG_VADDR`.
const UNMAP_VADDR: u32 = 4;

const IOVA: u64 = 0x10_0000;
const MSI_WINDOW: u64 = 0xfee0_0000;
const BEYOND: u64 = 0x80_0000_0000;
const TOP: u64 = u64::MAX - (PAGE_BYTES - 1);

fn map(container: Fd, vaddr: u64, iova: u64, pages: u64) -> Call {
    map_dma(container, Va(vaddr), iova, pages)
}

fn unmap_with(flags: u32, iova: u64, bytes: u64) -> Fields {
    sized().u32(flags).u64(iova).u64(bytes)
}

fn unmap(container: Fd, flags: u32, iova: u64, bytes: u64) -> Call {
    unmap_with(flags, iova, bytes).on(container, nr::VFIO_IOMMU_UNMAP_DMA)
}

/// Makes an UNMAP_DMA, and checks the number of unmapped bytes that it reports.
fn unmaps(b: &mut Fixture<'_>, pid: Pid, call: &Call, bytes: u64) -> FactResult {
    let told = b.ioctl(pid, call)?;
    b.same("bytes unmapped", &told.bytes[16..24], &bytes.to_ne_bytes()[..])
}

/// Makes a request with each structure of a table, and checks its errno.
fn refused(
    b: &mut Fixture<'_>,
    pid: Pid,
    container: Fd,
    request: u32,
    table: &[(Fields, Errno)],
) -> FactResult {
    for (fields, errno) in table {
        b.refuses(pid, &fields.clone().on(container, request), *errno)?;
    }
    Ok(())
}

/// Returns a container with an `edu` and `pages` mapped pages, and their address.
fn mapped(b: &mut Fixture<'_>, pid: Pid, kind: u64, pages: u64) -> FactResult<(Legacy, Va)> {
    let legacy = ready(b, pid, Device::Edu, kind)?;
    let va = b.mmap(pid, None, pages)?;
    b.ok(pid, &map(legacy.container, va.0, IOVA, pages))?;
    Ok((legacy, va))
}

/// Returns a container with an mdev and a mapping whose address is invalidated, if the kernel
/// permits that, and a real group that may join.
fn awaited(b: &mut Fixture<'_>, pid: Pid) -> FactResult<(Legacy, Fd)> {
    let legacy = ready(b, pid, Device::Mtty, V2)?;
    let va = b.mmap(pid, None, 1)?;
    b.ok(pid, &map(legacy.container, va.0, IOVA, 1))?;
    let _ =
        b.call(pid, &Call::Container(ContainerCall::ForgetVaddrs { container: legacy.container }));
    Ok((legacy, open_group(b, pid, Device::Edu)?))
}
