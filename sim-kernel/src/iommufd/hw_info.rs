//! GET_HW_INFO: the capabilities of the IOMMU in front of a device.
//!
//! The driver's part is a structure of its own, truncated or zero-filled to the caller's length;
//! the length returned is the kernel's.
//!
//! Mirrors `iommufd_get_hw_info` of `drivers/iommu/iommufd/device.c`, `intel_iommu_hw_info` and
//! `mock_domain_hw_info`.

use crate::hardware::IommuDriver;
use crate::iommufd::ioctl_table::Ucmd;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use iommufd_bindings as io;
use std::mem::offset_of;

/// `IOMMU_HW_INFO_FLAG_INPUT_TYPE`.
const INPUT_TYPE: u32 = 1;

/// Offset of the type, in and out; after it the width of PASIDs (one byte) and three reserved
/// bytes.
const TYPE: usize = offset_of!(io::iommu_hw_info, __bindgen_anon_1);
const PASID_WIDTH: usize = TYPE + 4;
const RESERVED: usize = TYPE + 5;

const DATA: usize = offset_of!(io::iommu_hw_info, data_uptr);
const LENGTH: usize = offset_of!(io::iommu_hw_info, data_len);

/// `struct iommu_hw_info_vtd` of QEMU's IOMMU: flags, capabilities, extended capabilities.
const VTD: [u64; 3] = [1, 0x00d2_008c_2226_0286, 0x00f0_0f4e];

/// `struct iommu_test_hw_info`: flags, `IOMMU_HW_INFO_SELFTEST_REGVAL`.
const MOCK: [u32; 2] = [0, 0xdead_beef];

impl Machine {
    /// Returns the capabilities of a device's IOMMU. Fails with `EOPNOTSUPP` (flags, reserved),
    /// `ENOENT`, `EOPNOTSUPP` (a type of another IOMMU), `EFAULT`.
    pub(super) fn get_hw_info(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_hw_info, flags));
        let (known, reserved) =
            if self.profile.reports_pasids() { (INPUT_TYPE, RESERVED) } else { (0, PASID_WIDTH) };
        if flags & !known != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if ucmd.cmd.0[reserved..TYPE + 8].iter().any(|byte| *byte != 0) {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let device = ucmd.cmd.id(offset_of!(io::iommu_hw_info, dev_id));
        let hardware = self.hardware_of(ucmd.context, device)?;
        let iommu = hardware.iommu();
        let requested = if flags & INPUT_TYPE == 0 { 0 } else { ucmd.cmd.u32(TYPE) };
        if ![0, iommu.hw_info_type].contains(&requested) {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let info: Vec<u8> = match iommu.driver {
            IommuDriver::Vtd => VTD.iter().flat_map(|word| word.to_ne_bytes()).collect(),
            IommuDriver::Mock => MOCK.iter().flat_map(|word| word.to_ne_bytes()).collect(),
        };
        fill(ucmd, &info)?;
        ucmd.cmd.set_u32(LENGTH, u32::try_from(info.len()).expect("a structure"));
        ucmd.cmd.set_u32(TYPE, iommu.hw_info_type);
        let width = if self.profile.reports_pasids() { hardware.pasid_bits() } else { 0 };
        ucmd.cmd.0[PASID_WIDTH] = width;
        let capabilities = hardware.capabilities(self.profile);
        ucmd.cmd.set_u64(offset_of!(io::iommu_hw_info, out_capabilities), capabilities);
        ucmd.respond()
    }
}

/// Copies as much as fits, and fills the rest of the caller's buffer with zeroes. Fails with
/// `EFAULT`.
fn fill(ucmd: &mut Ucmd<'_>, info: &[u8]) -> SyscallResult<()> {
    let room = ucmd.cmd.u32(LENGTH) as usize;
    let copied = &info[..room.min(info.len())];
    if room == 0 {
        return Ok(());
    }
    ucmd.user.write_through(DATA, 0, copied)?;
    let have = ucmd.user.pointee(DATA).len();
    if have < room {
        return Err(fail(Errno::EFAULT));
    }
    ucmd.user.write_through(DATA, copied.len(), &vec![0; room - copied.len()])
}
