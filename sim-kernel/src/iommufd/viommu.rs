//! Viommus and vdevices: an IOMMU as a guest sees it, over a nesting parent, and the devices in it.
//!
//! A vdevice gives a device a number within a viommu; a device has at most one. When the device is
//! unbound its vdevice is removed, and the vdevice's number stays in use (a *tombstone*). Only the
//! mock driver supports viommus. It has a cache of four numbers per device, which an invalidation
//! through the viommu sets to zero.
//!
//! Mirrors `drivers/iommu/iommufd/viommu.c`, and the mock driver's part in `selftest.c`.

use crate::hardware::IommuDriver;
use crate::iommufd::hw_pagetable::{NEST_PARENT, driver_data};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::nested::{Entries, INVALIDATE_ALL, word};
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{ObjectId, PAGE_BYTES};
use iommufd_bindings as io;
use std::mem::offset_of;

/// A viommu.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Viommu {
    /// The nesting parent.
    pub(super) parent: ObjectId,
    /// The mmap offset of its page in the context's file, if it has one.
    pub(super) page_offset: Option<u64>,
}

/// A device within a viommu.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vdevice {
    pub(super) viommu: ObjectId,
    device: ObjectId,
    virt_id: u64,
}

/// `IOMMU_VIOMMU_TYPE_SELFTEST`.
const TYPE_SELFTEST: u32 = 0xdead_beef;

/// `struct iommu_viommu_selftest`: in, out, mmap offset and length.
const SELFTEST_BYTES: usize = 24;
const SELFTEST_MIN: usize = 8;
const PAGE_LENGTH_BYTES: u64 = 2 * PAGE_BYTES;

/// `IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST`, `struct iommu_viommu_invalidate_selftest`.
const INVALIDATE_SELFTEST: u32 = 0xdead_beef;
const ENTRY_BYTES: u32 = 12;

impl Context {
    pub(super) fn viommu(&self, id: ObjectId) -> SyscallResult<Viommu> {
        match self.objects.get(&id) {
            Some(Object::Viommu(viommu)) => Ok(*viommu),
            _ => Err(fail(Errno::ENOENT)),
        }
    }

    /// Returns the driver of a viommu.
    pub(super) fn driver_of(&self, viommu: &Viommu) -> IommuDriver {
        self.hwpt(viommu.parent).expect("in use by it").iommu.driver
    }

    fn vdevices(&self) -> impl Iterator<Item = (ObjectId, &Vdevice)> {
        self.objects.iter().filter_map(|(id, object)| match object {
            Object::Vdevice(vdevice) => Some((*id, vdevice)),
            _ => None,
        })
    }

    /// Returns the number of a device within a viommu.
    pub(super) fn virt_id(&self, viommu: ObjectId, device: ObjectId) -> Option<u64> {
        let mut vdevices = self.vdevices().map(|(_, vdevice)| vdevice);
        vdevices.find(|v| v.viommu == viommu && v.device == device).map(|v| v.virt_id)
    }

    /// Returns the device with a number within a viommu.
    fn device_of(&self, viommu: ObjectId, virt_id: u64) -> Option<ObjectId> {
        let mut vdevices = self.vdevices().map(|(_, vdevice)| vdevice);
        vdevices.find(|v| v.viommu == viommu && v.virt_id == virt_id).map(|v| v.device)
    }

    /// Removes a device's vdevice, whose number stays in use (`iommufd_device_remove_vdev`).
    pub(super) fn drop_vdevice(&mut self, device: ObjectId) {
        let found = self.vdevices().find(|(_, vdevice)| vdevice.device == device);
        if let Some(id) = found.map(|(id, _)| id) {
            self.objects.remove(&id);
            self.tombstones.insert(id);
        }
    }

    /// Returns the lowest free mmap offset (`_iommufd_alloc_mmap`); the first page is never used.
    fn free_page_offset(&self) -> u64 {
        let mut taken: Vec<u64> = (self.objects.values())
            .filter_map(|object| match object {
                Object::Viommu(viommu) => viommu.page_offset,
                _ => None,
            })
            .collect();
        taken.sort_unstable();
        let end = |offset: u64| offset + PAGE_LENGTH_BYTES;
        taken.into_iter().fold(PAGE_BYTES, |free, at| if at < end(free) { end(at) } else { free })
    }
}

impl Machine {
    /// Allocates a viommu (`iommufd_viommu_alloc_ioctl`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` (flags, no type), `ENOENT` (device), `EOPNOTSUPP` (its driver has none, or none
    /// of this type), `ENOENT` (domain), `EINVAL` (no nesting parent), then those of the driver:
    /// `EINVAL` (size of the data), `EFAULT`.
    pub(super) fn viommu_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let kind = ucmd.cmd.u32(offset_of!(io::iommu_viommu_alloc, type_));
        if ucmd.cmd.u32(offset_of!(io::iommu_viommu_alloc, flags)) != 0 || kind == 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let device = ucmd.cmd.id(offset_of!(io::iommu_viommu_alloc, dev_id));
        if self.hardware_of(ucmd.context, device)?.iommu().driver != IommuDriver::Mock {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        if kind != TYPE_SELFTEST {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let table = self.contexts.get(ucmd.context);
        let parent = ucmd.cmd.id(offset_of!(io::iommu_viommu_alloc, hwpt_id));
        if !table.hwpt(parent).ok_or(fail(Errno::ENOENT))?.is_for(NEST_PARENT) {
            return Err(fail(Errno::EINVAL));
        }
        let page_offset = loop_back(ucmd, table.free_page_offset())?;
        let viommu = Object::Viommu(Viommu { parent, page_offset });
        self.atomically(|machine| {
            let id = machine.contexts.get_mut(ucmd.context).insert(viommu);
            ucmd.respond_with(offset_of!(io::iommu_viommu_alloc, out_viommu_id), id)
        })
    }

    /// Allocates a vdevice (`iommufd_vdevice_alloc_ioctl`). Fails with `ENOENT` (viommu, device),
    /// `EINVAL` (behind another IOMMU), `EEXIST` (the device has a vdevice; the number is in use).
    pub(super) fn vdevice_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let table = self.contexts.get(ucmd.context);
        let viommu = ucmd.cmd.id(offset_of!(io::iommu_vdevice_alloc, viommu_id));
        let driver = table.driver_of(&table.viommu(viommu)?);
        let device = ucmd.cmd.id(offset_of!(io::iommu_vdevice_alloc, dev_id));
        if self.hardware_of(ucmd.context, device)?.iommu().driver != driver {
            return Err(fail(Errno::EINVAL));
        }
        if table.vdevices().any(|(_, vdevice)| vdevice.device == device) {
            return Err(fail(Errno::EEXIST));
        }
        let virt_id = ucmd.cmd.u64(offset_of!(io::iommu_vdevice_alloc, virt_id));
        if table.device_of(viommu, virt_id).is_some() {
            return Err(fail(Errno::EEXIST));
        }
        let vdevice = Object::Vdevice(Vdevice { viommu, device, virt_id });
        self.atomically(|machine| {
            let id = machine.contexts.get_mut(ucmd.context).insert(vdevice);
            ucmd.respond_with(offset_of!(io::iommu_vdevice_alloc, out_vdevice_id), id)
        })
    }

    /// Invalidates the caches of mock devices (`mock_viommu_cache_invalidate`). Fails with `EINVAL`
    /// (type), then for all entries with `E2BIG` and `EFAULT`, and at an entry with `EOPNOTSUPP`
    /// (flags), `EINVAL` (no such number, no such vdevice); the entries before it are handled.
    pub(super) fn invalidate_viommu(
        &mut self,
        ucmd: &Ucmd<'_>,
        viommu: ObjectId,
        entries: Entries,
        done: &mut u32,
    ) -> SyscallResult<()> {
        if entries.data_type != INVALIDATE_SELFTEST {
            return Err(fail(Errno::EINVAL));
        }
        let copied: SyscallResult<Vec<Vec<u8>>> =
            (0..entries.count).map(|index| copy_entry(ucmd, &entries, index)).collect();
        for entry in copied? {
            let [flags, virt_id, which] = [0, 4, 8].map(|at| word(&entry, at));
            if flags & !INVALIDATE_ALL != 0 {
                return Err(fail(Errno::EOPNOTSUPP));
            }
            if which > 3 {
                return Err(fail(Errno::EINVAL));
            }
            let table = self.contexts.get(ucmd.context);
            let device = table.device_of(viommu, virt_id.into()).ok_or(fail(Errno::EINVAL))?;
            let mock = self.mock_mut(ucmd.context, device).expect("a mock driver's");
            mock.cache[which as usize] = 0;
            if flags & INVALIDATE_ALL != 0 {
                mock.cache = [0; 4];
            }
            *done += 1;
        }
        Ok(())
    }
}

/// Copies the driver's input to its output and adds the mmap offset, which it returns
/// (`mock_viommu_init`). Fails with `EINVAL`, `EFAULT`.
fn loop_back(ucmd: &mut Ucmd<'_>, page_offset: u64) -> SyscallResult<Option<u64>> {
    const DATA: usize = offset_of!(io::iommu_viommu_alloc, data_uptr);
    let length_bytes = ucmd.cmd.u32(offset_of!(io::iommu_viommu_alloc, data_len));
    if length_bytes == 0 {
        return Ok(None);
    }
    let mut data = driver_data(ucmd, DATA, length_bytes, (SELFTEST_MIN, SELFTEST_BYTES))?;
    data.set_u32(4, data.u32(0));
    data.set_u64(8, page_offset);
    data.set_u64(16, PAGE_LENGTH_BYTES);
    ucmd.user.write_through(DATA, 0, &data.0[..length_bytes as usize])?;
    Ok(Some(page_offset))
}

/// Returns an entry, in the kernel's size. Fails with `E2BIG` (longer, and not zero there),
/// `EFAULT`.
fn copy_entry(ucmd: &Ucmd<'_>, entries: &Entries, index: u32) -> SyscallResult<Vec<u8>> {
    const DATA: usize = offset_of!(io::iommu_hwpt_invalidate, data_uptr);
    let length = entries.entry_bytes as usize;
    let mut entry = ucmd.user.read_through(DATA, entries.at(index), length)?.to_vec();
    let known = ENTRY_BYTES as usize;
    if entry.get(known..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
        return Err(fail(Errno::E2BIG));
    }
    entry.resize(known, 0);
    Ok(entry)
}
