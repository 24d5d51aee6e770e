//! Nested domains (`IOMMU_OBJ_HWPT_NESTED`): a guest's page table over a domain, and its
//! invalidation.
//!
//! A nested domain is over a nesting parent, directly or through a viommu. Only the mock driver
//! supports them (Intel's refuses all data as of another kind): its translation cache is four
//! numbers, which HWPT_INVALIDATE sets to zero.
//!
//! Mirrors `iommufd_hwpt_nested_alloc`, `iommufd_viommu_alloc_hwpt_nested` and
//! `iommufd_hwpt_invalidate` of `drivers/iommu/iommufd/hw_pagetable.c`, and the mock driver's part
//! in `selftest.c`.

use crate::hardware::IommuDriver;
use crate::iommufd::Object;
use crate::iommufd::hw_pagetable::{
    DATA_SELFTEST, FAULT_ID_VALID, Hwpt, NEST_PARENT, PASID, Request, SELFTEST_BYTES, driver_data,
};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::viommu::Viommu;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{ObjectId, PAGE_BYTES};
use iommufd_bindings as io;
use std::mem::offset_of;

/// A nested domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Nested {
    /// The nesting parent.
    pub(super) parent: ObjectId,
    /// The viommu that it was created through, which then holds the parent.
    pub(super) viommu: Option<ObjectId>,
    /// True if created with `IOMMU_HWPT_ALLOC_PASID`.
    pub(super) for_pasids: bool,
    /// The queue of its page faults.
    pub(super) fault: Option<ObjectId>,
    /// The mock driver's translation cache.
    pub(super) iotlb: [u32; 4],
}

/// The object that a nested domain is created over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lower<'a> {
    Parent(ObjectId, &'a Hwpt),
    Viommu(ObjectId, &'a Viommu),
}

/// `IOMMU_HWPT_INVALIDATE_DATA_SELFTEST`, and the one flag of its entries.
const INVALIDATE_SELFTEST: u32 = 0xdead_beef;
pub(super) const INVALIDATE_ALL: u32 = 1;
/// `struct iommu_hwpt_invalidate_selftest`.
const ENTRY_BYTES: u32 = 8;

/// `IOMMU_HWPT_INVALIDATE_ENTRY_NUM_MAX`.
const ENTRIES_MAX: u32 = 1 << 19;

const DATA: usize = offset_of!(io::iommu_hwpt_invalidate, data_uptr);
const COUNT: usize = offset_of!(io::iommu_hwpt_invalidate, entry_num);

/// The entries of HWPT_INVALIDATE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries {
    pub(super) data_type: u32,
    pub(super) entry_bytes: u32,
    pub(super) count: u32,
}

impl Entries {
    /// Returns the offset of an entry from the pointer.
    pub(super) fn at(&self, index: u32) -> usize {
        index as usize * self.entry_bytes as usize
    }
}

impl Machine {
    /// Allocates a nested domain.
    ///
    /// # Errors
    ///
    /// `EINVAL` (a viommu of another IOMMU); `EOPNOTSUPP` (flags, no data); `EINVAL` (no nesting
    /// parent, or one of another driver), then those of the driver: `EOPNOTSUPP` (another kind of
    /// data), `EINVAL` (size), `EFAULT`.
    pub(super) fn alloc_nested(
        &mut self,
        ucmd: &Ucmd<'_>,
        lower: Lower<'_>,
        request: &Request,
    ) -> SyscallResult<ObjectId> {
        const CONFIGURATION: usize = offset_of!(io::iommu_hwpt_alloc, data_uptr);
        let driver = request.hardware.iommu().driver;
        if let Lower::Viommu(_, viommu) = lower
            && self.contexts.get(ucmd.context).driver_of(viommu) != driver
        {
            return Err(fail(Errno::EINVAL));
        }
        let known = (FAULT_ID_VALID | PASID) & self.profile.hwpt_flags();
        if request.flags & !known != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if request.data_bytes == 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let (parent, viommu) = match lower {
            Lower::Parent(_, parent)
                if parent.auto || !parent.is_for(NEST_PARENT) || parent.iommu.driver != driver =>
            {
                return Err(fail(Errno::EINVAL));
            }
            Lower::Parent(parent, _) => (parent, None),
            Lower::Viommu(id, viommu) => (viommu.parent, Some(id)),
        };
        if driver != IommuDriver::Mock || request.data_type != DATA_SELFTEST {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let data = driver_data(ucmd, CONFIGURATION, request.data_bytes, (4, SELFTEST_BYTES))?;
        let for_pasids = request.flags & PASID != 0;
        let iotlb = [data.u32(0); 4];
        let nested = Nested { parent, viommu, for_pasids, fault: None, iotlb };
        Ok(self.contexts.get_mut(ucmd.context).insert(Object::Nested(nested)))
    }

    /// Handles `iommufd_hwpt_invalidate`. Returns the number of entries that were handled, also if
    /// it fails.
    pub(super) fn hwpt_invalidate(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let mut done = 0;
        let invalidated = self.invalidate(ucmd, &mut done);
        ucmd.cmd.set_u32(COUNT, done);
        ucmd.respond()?;
        invalidated
    }

    /// Invalidates entries. Fails with `EOPNOTSUPP` (reserved), `EINVAL` (no data, entries too long
    /// or too many), `ENOENT`, `EINVAL` (neither nested nor a viommu), then for each entry.
    fn invalidate(&mut self, ucmd: &Ucmd<'_>, done: &mut u32) -> SyscallResult<()> {
        if ucmd.cmd.u32(offset_of!(io::iommu_hwpt_invalidate, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let entries = Entries {
            data_type: ucmd.cmd.u32(offset_of!(io::iommu_hwpt_invalidate, data_type)),
            entry_bytes: ucmd.cmd.u32(offset_of!(io::iommu_hwpt_invalidate, entry_len)),
            count: ucmd.cmd.u32(COUNT),
        };
        let has_data = ucmd.cmd.u64(DATA) != 0 || !ucmd.user.pointee(DATA).is_empty();
        let is_bounded = u64::from(entries.entry_bytes) <= PAGE_BYTES
            && entries.count <= ENTRIES_MAX
            || !self.profile.bounds_invalidation();
        if entries.count != 0 && !(has_data && entries.entry_bytes != 0 && is_bounded) {
            return Err(fail(Errno::EINVAL));
        }
        let id = ucmd.cmd.id(offset_of!(io::iommu_hwpt_invalidate, hwpt_id));
        let table = self.contexts.get(ucmd.context);
        match table.objects.get(&id).ok_or(fail(Errno::ENOENT))? {
            Object::Nested(_) => self.invalidate_nested(ucmd, id, entries, done),
            Object::Viommu(_) => self.invalidate_viommu(ucmd, id, entries, done),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    /// Invalidates a mock domain's cache (`mock_domain_cache_invalidate_user`). Fails with `EINVAL`
    /// (type), and at an entry with `EINVAL` (size), `EFAULT`, `EOPNOTSUPP` (flags), `EINVAL` (no
    /// such number); the entries before it are handled.
    fn invalidate_nested(
        &mut self,
        ucmd: &Ucmd<'_>,
        id: ObjectId,
        entries: Entries,
        done: &mut u32,
    ) -> SyscallResult<()> {
        if entries.data_type != INVALIDATE_SELFTEST {
            return Err(fail(Errno::EINVAL));
        }
        for index in 0..entries.count {
            if entries.entry_bytes != ENTRY_BYTES {
                return Err(fail(Errno::EINVAL));
            }
            let length = ENTRY_BYTES as usize;
            let entry = ucmd.user.read_through(DATA, entries.at(index), length)?;
            let [flags, which] = [0, 4].map(|at| word(entry, at));
            if flags & !INVALIDATE_ALL != 0 {
                return Err(fail(Errno::EOPNOTSUPP));
            }
            let nested = self.nested_mut(ucmd, id).expect("looked up before");
            let known = nested.iotlb.get_mut(which as usize).ok_or(fail(Errno::EINVAL))?;
            *known = 0;
            if flags & INVALIDATE_ALL != 0 {
                nested.iotlb = [0; 4];
            }
            *done += 1;
        }
        Ok(())
    }

    pub(super) fn nested_mut(&mut self, ucmd: &Ucmd<'_>, id: ObjectId) -> Option<&mut Nested> {
        match self.contexts.get_mut(ucmd.context).objects.get_mut(&id)? {
            Object::Nested(nested) => Some(nested),
            _ => None,
        }
    }
}

/// Returns a word of an entry.
pub(super) fn word(entry: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(*entry[at..].first_chunk().expect("within the entry"))
}
