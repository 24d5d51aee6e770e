//! NOIOMMU_GET_PA: physical addresses, for devices without an IOMMU. There are no such devices
//! here.
//!
//! Mirrors `iommufd_ioas_noiommu_get_pa` of `drivers/iommu/iommufd/ioas.c` and `iopt_get_phys` of
//! `io_pagetable.c`.

use crate::iommufd::ioctl_table::Ucmd;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange};

/// Offsets in `struct iommu_ioas_noiommu_get_pa`.
const FLAGS: usize = 4;
const IOAS: usize = 8;
const RESERVED: usize = 12;
const IOVA: usize = 16;
const LENGTH: usize = 24;

impl Machine {
    /// Refuses every request.
    ///
    /// # Errors
    ///
    /// In this order: `EPERM`, `EOPNOTSUPP` (flags, reserved), `EINVAL` (empty), `EOVERFLOW`,
    /// `ENOENT` (address space, area), `EOPNOTSUPP` for an area, because no such device maps it.
    pub(super) fn noiommu_get_pa(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        if !self.process(ucmd.pid).is_privileged() {
            return Err(fail(Errno::EPERM));
        }
        if ucmd.cmd.u32(FLAGS) != 0 || ucmd.cmd.u32(RESERVED) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if ucmd.cmd.u64(LENGTH) == 0 {
            return Err(fail(Errno::EINVAL));
        }
        let iova = Iova(ucmd.cmd.u64(IOVA));
        if iova.0 == u64::MAX {
            return Err(fail(Errno::EOVERFLOW));
        }
        let here = IovaRange { first: iova, last: iova };
        let ioas = self.ioas(ucmd.context, ucmd.cmd.id(IOAS))?;
        ioas.met(&here).first().ok_or(fail(Errno::ENOENT))?;
        Err(fail(Errno::EOPNOTSUPP))
    }
}
