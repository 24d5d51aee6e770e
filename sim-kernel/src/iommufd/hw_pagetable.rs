//! Domains: the page tables of an IOMMU over an address space (`IOMMU_OBJ_HWPT_PAGING`).
//!
//! An *auto* HWPT is created when a device is attached to an IOAS, and shared by all devices
//! attached to it; it is destroyed with the last one. A *manual* HWPT is created by HWPT_ALLOC and
//! stays until it is destroyed; attaching to an IOAS never uses one. Creating either pins all pages
//! that its address space maps, at once, charging the recorded owners, or fails without effect.
//!
//! HWPT_ALLOC over another HWPT or a viommu creates a nested domain (`nested`).
//!
//! Mirrors `drivers/iommu/iommufd/hw_pagetable.c`, `iopt_table_add_domain` of `io_pagetable.c`, and
//! `mock_domain_alloc_paging_flags` of `selftest.c`.

use crate::hardware::{Iommu, IommuDriver};
use crate::iommufd::Object;
use crate::iommufd::device::Hardware;
use crate::iommufd::dirty::Tracking;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::nested::Lower;
use crate::machine::Machine;
use crate::syscall::{Failure, Fields, SyscallResult, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;
use iommufd_bindings as io;
use std::mem::offset_of;

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hwpt {
    pub(crate) ioas: ObjectId,
    /// The IOMMU of the domain, and the addresses that it can map.
    pub(super) iommu: Iommu,
    /// True if created by attaching to the IOAS; destroyed with the last device.
    pub(super) auto: bool,
    /// The flags that it was created with: [`NEST_PARENT`], [`PASID`].
    flags: u32,
    /// The queue of its page faults.
    pub(super) fault: Option<ObjectId>,
    /// The state of dirty tracking, if it was created for that.
    pub(super) tracking: Option<Tracking>,
}

/// `enum iommufd_hwpt_alloc_flags`.
pub(super) const NEST_PARENT: u32 = 1;
const DIRTY_TRACKING: u32 = 2;
pub(super) const FAULT_ID_VALID: u32 = 4;
pub(super) const PASID: u32 = 8;

/// `IOMMU_HWPT_DATA_SELFTEST`, and `struct iommu_hwpt_selftest`.
pub(super) const DATA_SELFTEST: u32 = 0xdead;
pub(super) const SELFTEST_BYTES: usize = 8;
const PAGE_TABLE_TYPE: usize = 4;
const PAGE_TABLE_HUGE: u32 = 1;

/// The arguments of HWPT_ALLOC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) hardware: Hardware,
    pub(super) flags: u32,
    pub(super) data_type: u32,
    pub(super) data_bytes: u32,
}

/// Returns a driver's structure from the pointer at `at` (`iommu_copy_struct_from_user`). Fails
/// with `EINVAL` (size), `EFAULT`.
pub(super) fn driver_data(
    ucmd: &Ucmd<'_>,
    at: usize,
    length_bytes: u32,
    (min, size): (usize, usize),
) -> SyscallResult<Fields> {
    let length = length_bytes as usize;
    if !(min..=size).contains(&length) {
        return Err(fail(Errno::EINVAL));
    }
    let mut data = ucmd.user.read_through(at, 0, length)?.to_vec();
    data.resize(size, 0);
    Ok(Fields(data))
}

impl Hwpt {
    /// Returns a domain as attaching to an IOAS creates it.
    pub(super) fn auto(ioas: ObjectId, iommu: Iommu) -> Self {
        Self { ioas, iommu, auto: true, flags: 0, fault: None, tracking: None }
    }

    pub(super) fn is_for(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

impl Machine {
    /// Handles `iommufd_hwpt_alloc`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` (reserved), `EINVAL` (a type without data, data without a type), `ENOENT`
    /// (device), `EINVAL` (no such page table), then those of its kind; `ENOENT` (fault queue),
    /// `EFAULT`.
    pub(super) fn hwpt_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        if ucmd.cmd.u32(offset_of!(io::iommu_hwpt_alloc, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let data_type = ucmd.cmd.u32(offset_of!(io::iommu_hwpt_alloc, data_type));
        let data_bytes = ucmd.cmd.u32(offset_of!(io::iommu_hwpt_alloc, data_len));
        if (data_type == 0) != (data_bytes == 0) {
            return Err(fail(Errno::EINVAL));
        }
        let context = ucmd.context;
        let device = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, dev_id));
        let hardware = self.hardware_of(context, device)?;
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_hwpt_alloc, flags));
        let request = Request { hardware, flags, data_type, data_bytes };
        let under = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, pt_id));
        let object = self.contexts.get(context).objects.get(&under).cloned();
        self.atomically(|machine| {
            let id = match object.ok_or(fail(Errno::EINVAL))? {
                Object::Ioas(_) => machine.alloc_paging(ucmd, under, &request)?,
                Object::Hwpt(parent) => {
                    machine.alloc_nested(ucmd, Lower::Parent(under, &parent), &request)?
                }
                Object::Viommu(viommu) => {
                    machine.alloc_nested(ucmd, Lower::Viommu(under, &viommu), &request)?
                }
                _ => return Err(fail(Errno::EINVAL)),
            };
            if flags & FAULT_ID_VALID != 0 {
                let fault = ucmd.cmd.id(offset_of!(io::iommu_hwpt_alloc, fault_id));
                machine.set_fault_queue(context, id, fault)?;
            }
            ucmd.respond_with(offset_of!(io::iommu_hwpt_alloc, out_hwpt_id), id)
        })
    }

    /// Allocates a domain over an IOAS (`iommufd_hwpt_paging_alloc`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for unknown flags, for dirty tracking that the device lacks, for page faults of
    /// a nesting parent; the errnos of the driver; then those of adding a domain.
    fn alloc_paging(
        &mut self,
        ucmd: &Ucmd<'_>,
        ioas: ObjectId,
        request: &Request,
    ) -> SyscallResult<ObjectId> {
        let flags = request.flags;
        if flags & !self.profile.hwpt_flags() != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if flags & DIRTY_TRACKING != 0 && !request.hardware.tracks_dirty() {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if flags & FAULT_ID_VALID != 0 && flags & NEST_PARENT != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let iommu = match request.hardware.iommu().driver {
            IommuDriver::Vtd => vtd_domain(request)?,
            IommuDriver::Mock => self.mock_domain_for(ucmd, request)?,
        };
        let tracking = (flags & DIRTY_TRACKING != 0).then(Tracking::default);
        let flags = flags & (NEST_PARENT | PASID);
        self.add_domain(
            ucmd.context,
            Hwpt { ioas, iommu, auto: false, flags, fault: None, tracking },
        )
    }

    /// Returns the IOMMU of a mock domain (`mock_domain_alloc_paging_flags`). Fails with
    /// `EOPNOTSUPP` (another kind of data or of page table), `EINVAL` (size), `EFAULT`.
    fn mock_domain_for(&self, ucmd: &Ucmd<'_>, request: &Request) -> SyscallResult<Iommu> {
        const DATA: usize = offset_of!(io::iommu_hwpt_alloc, data_uptr);
        if request.data_bytes == 0 {
            return Ok(Iommu::MOCK);
        }
        if request.data_type != DATA_SELFTEST || !self.profile.has_mock_page_tables() {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let data = driver_data(ucmd, DATA, request.data_bytes, (4, SELFTEST_BYTES))?;
        match data.u32(PAGE_TABLE_TYPE) {
            0 => Ok(Iommu::MOCK),
            PAGE_TABLE_HUGE => Ok(Iommu::MOCK_HUGE),
            _ => Err(fail(Errno::EOPNOTSUPP)),
        }
    }

    /// Adds a domain to its address space, completely or not at all (`iopt_table_add_domain`).
    /// Fails with `EADDRINUSE` for areas that are not whole pages of it, and for areas and allowed
    /// addresses outside its aperture, then with the errnos of pinning.
    pub(super) fn add_domain(
        &mut self,
        context: ContextId,
        hwpt: Hwpt,
    ) -> Result<ObjectId, Failure> {
        let ioas = hwpt.ioas;
        self.allocate()?;
        let table = self.contexts.get(context);
        if !table.fits(ioas, hwpt.iommu.io_page_bytes) {
            return Err(fail(Errno::EADDRINUSE));
        }
        for range in hwpt.iommu.beyond_aperture() {
            self.contexts.get(context).check_reservable(ioas, &range)?;
            self.allocate()?;
        }
        let id = self.contexts.get_mut(context).insert(Object::Hwpt(hwpt));
        let areas = self.ioas(context, ioas)?.areas.clone();
        self.pin_areas(context, &areas).inspect_err(|_| {
            self.contexts.get_mut(context).objects.remove(&id);
            self.unpin_unwanted(context);
        })?;
        Ok(id)
    }
}

/// Returns the IOMMU of a VT-d domain (`intel_iommu_domain_alloc_paging_flags`). Fails with
/// `EOPNOTSUPP` for a nesting parent without a second stage, and for data.
fn vtd_domain(request: &Request) -> SyscallResult<Iommu> {
    let iommu = request.hardware.iommu();
    if request.flags & NEST_PARENT != 0 && !iommu.nests || request.data_bytes != 0 {
        return Err(fail(Errno::EOPNOTSUPP));
    }
    Ok(iommu)
}
