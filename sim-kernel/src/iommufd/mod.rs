//! An iommufd context: its object table, and the calls on objects of any kind.
//!
//! Objects of all kinds share one numbering, from 1, by the lowest free number; a number is reused
//! as soon as its object is destroyed. So an id that is passed from one process to another may by
//! then name another object.
//!
//! Users of an object are not counted but looked up: an HWPT uses its IOAS, a device its HWPT, an
//! access its IOAS. DESTROY of an object in use fails with EBUSY. It always does for devices and
//! accesses, because their drivers hold them until the device file is closed. Areas do not make an
//! IOAS busy.
//!
//! A context lives as long as its file: while a process holds a descriptor, one is in flight, or a
//! device is bound.
//!
//! Other folders open contexts and close their files (`fs`), bind and attach devices and accesses
//! (`vfio`), and read objects, areas, page sets and pins (`view`, `audit`, `vfio::type1`). All else
//! is private to this folder, as in `iommufd_private.h`.
//!
//! Mirrors `drivers/iommu/iommufd/main.c`.

mod access;
mod attach;
mod change_process;
mod device;
mod dirty;
mod fault_queue;
mod hw_info;
mod hw_pagetable;
mod hw_queue;
mod ioas;
mod ioctl_table;
mod iova;
mod map;
mod nested;
mod noiommu;
mod pages;
mod pins;
mod queue_file;
mod selftest;
mod veventq;
mod vfio_compat;
mod viommu;

pub(crate) use access::{Access, AccessOwner};
pub(crate) use attach::{AttachSlot, Change, NO_PASID};
pub(crate) use device::Hardware;
pub(crate) use ioas::Area;
pub(crate) use ioctl_table::is_modelled;
pub(crate) use pages::PageSet;
pub(crate) use pins::{Pin, gaps};

use crate::fs::File;
use crate::iommufd::fault_queue::FaultQueue;
use crate::iommufd::hw_pagetable::Hwpt;
use crate::iommufd::hw_queue::HwQueue;
use crate::iommufd::ioas::Ioas;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::nested::Nested;
use crate::iommufd::veventq::Veventq;
use crate::iommufd::viommu::{Vdevice, Viommu};
use crate::machine::{Machine, Placement};
use crate::mm::MmId;
use crate::syscall::{SyscallResult, fail};
use crate::value::{ContextId, MemoryId, SetId, Shared, Slots};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{ObjectId, Pid};
use iommufd_bindings as io;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::ops::Range;

/// An iommufd context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    pub(crate) objects: BTreeMap<ObjectId, Object>,
    /// Numbers that stay in use although their objects are gone.
    tombstones: BTreeSet<ObjectId>,
    /// The domains of PASIDs, by device.
    pasids: BTreeMap<(ObjectId, u32), ObjectId>,
    pub(crate) sets: Slots<SetId, PageSet>,
    /// `RLIMIT_MODE`: charge the memory map of the process instead of its user.
    per_process: bool,
    /// The address space of the container ioctls (`vfio_compat`).
    compat_ioas: Option<ObjectId>,
}

/// An object of a context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// An address space.
    Ioas(Ioas),
    /// A domain: the page table of an IOMMU over an address space.
    Hwpt(Hwpt),
    /// A device with DMA of its own, and the domain that it is attached to.
    Device { hardware: Hardware, hwpt: Option<ObjectId> },
    /// The access of a kernel-emulated device, a selftest or a hardware queue to an address space.
    Access(Access),
    /// The object that keeps a mock device bound (`IOMMUFD_OBJ_SELFTEST`), with its device object.
    Stdev { idev: ObjectId },
    /// A guest's page table over a domain.
    Nested(Nested),
    /// The queue of page faults of devices.
    Fault(FaultQueue),
    /// An IOMMU as a guest sees it, over a domain.
    Viommu(Viommu),
    /// A device in a viommu.
    Vdevice(Vdevice),
    /// The queue of events of a viommu.
    Veventq(Veventq),
    /// Memory that a viommu reads by physical address.
    HwQueue(HwQueue),
}

impl Object {
    /// Returns true if it uses another object.
    fn uses(&self, id: ObjectId) -> bool {
        match self {
            Self::Ioas(_) | Self::Stdev { .. } | Self::Fault(_) => false,
            Self::Hwpt(hwpt) => hwpt.ioas == id || hwpt.fault == Some(id),
            Self::Device { hwpt: used, .. } | Self::Access(Access { ioas: used, .. }) => {
                *used == Some(id)
            }
            Self::Nested(nested) => {
                nested.viommu.unwrap_or(nested.parent) == id || nested.fault == Some(id)
            }
            Self::Viommu(viommu) => viommu.parent == id,
            Self::Vdevice(vdevice) => vdevice.viommu == id,
            Self::Veventq(queue) => queue.viommu == id,
            Self::HwQueue(queue) => queue.viommu == id || queue.after == Some(id),
        }
    }

    /// Returns true if a driver, an open file or a leaked reference holds it.
    fn is_held(&self) -> bool {
        match self {
            Self::Ioas(ioas) => ioas.is_leaked,
            Self::Device { .. } | Self::Access(_) => true,
            Self::Fault(queue) => queue.is_open,
            Self::Veventq(queue) => queue.is_open,
            Self::Hwpt(_)
            | Self::Stdev { .. }
            | Self::Nested(_)
            | Self::Viommu(_)
            | Self::Vdevice(_)
            | Self::HwQueue(_) => false,
        }
    }
}

impl Context {
    /// Inserts an object under the lowest free id.
    pub(crate) fn insert(&mut self, object: Object) -> ObjectId {
        let is_taken =
            |id: &ObjectId| self.objects.contains_key(id) || self.tombstones.contains(id);
        let mut ids = (1..).map(ObjectId);
        let id = ids.find(|id| !is_taken(id)).expect("objects are few");
        self.objects.insert(id, object);
        id
    }

    pub(crate) fn ioas(&self, id: ObjectId) -> Option<&Ioas> {
        match self.objects.get(&id)? {
            Object::Ioas(ioas) => Some(ioas),
            _ => None,
        }
    }

    pub(crate) fn hwpt(&self, id: ObjectId) -> Option<&Hwpt> {
        match self.objects.get(&id)? {
            Object::Hwpt(hwpt) => Some(hwpt),
            _ => None,
        }
    }

    /// Iterates over the address spaces, by id.
    pub(crate) fn address_spaces(&self) -> impl Iterator<Item = (ObjectId, &Ioas)> {
        self.objects.iter().filter_map(|(id, object)| match object {
            Object::Ioas(ioas) => Some((*id, ioas)),
            _ => None,
        })
    }

    /// Returns true if another object uses this one.
    fn is_used(&self, id: ObjectId) -> bool {
        self.objects.values().any(|object| object.uses(id))
            || self.pasids.values().any(|hwpt| *hwpt == id)
    }

    /// Iterates over the domains of an address space.
    fn domains(&self, ioas: ObjectId) -> impl Iterator<Item = &Hwpt> {
        self.objects.values().filter_map(move |object| match object {
            Object::Hwpt(hwpt) if hwpt.ioas == ioas => Some(hwpt),
            _ => None,
        })
    }

    /// Returns true if an address space has a domain, so that its pages are pinned.
    fn has_domain(&self, ioas: ObjectId) -> bool {
        self.domains(ioas).next().is_some()
    }

    /// Iterates over the devices whose domain is over an address space.
    fn attached(&self, ioas: ObjectId) -> impl Iterator<Item = &Hardware> {
        self.objects.values().filter_map(move |object| match object {
            Object::Device { hardware, hwpt: Some(hwpt) } => {
                self.hwpt(*hwpt).filter(|hwpt| hwpt.ioas == ioas).map(|_| hardware)
            }
            _ => None,
        })
    }

    /// Returns, for each of these sets that has areas, the slices of it that must be pinned: those
    /// covered by areas in address spaces with a domain, and those pinned by accesses.
    pub(crate) fn wanted(&self, sets: &BTreeSet<SetId>) -> BTreeMap<SetId, Vec<Range<u64>>> {
        let mut wanted: BTreeMap<SetId, Vec<Range<u64>>> = BTreeMap::new();
        for (id, ioas) in self.address_spaces() {
            let is_mapped = self.has_domain(id);
            for area in ioas.areas.iter().filter(|area| sets.contains(&area.set)) {
                let is_pinned = is_mapped && !self.sets.get(area.set).is_dma_buf();
                let ranges = wanted.entry(area.set).or_default();
                ranges.extend(is_pinned.then(|| area.indices()));
            }
            for range in self.accesses(id).flat_map(Access::pinned) {
                for area in ioas.met(&range).iter().filter(|area| sets.contains(&area.set)) {
                    let indices = area.clipped(&range).indices();
                    wanted.entry(area.set).or_default().push(indices);
                }
            }
        }
        wanted
    }

    /// Returns true if a page of this memory object is pinned.
    pub(crate) fn pins(&self, memory: MemoryId) -> bool {
        self.sets.iter().any(|(_, set)| set.pins.iter().any(|pin| pin.memory == memory))
    }

    /// Returns true if a page set belongs to this memory map.
    pub(crate) fn names_mm(&self, mm: MmId) -> bool {
        self.sets.iter().any(|(_, set)| set.owner.mm == mm)
    }
}

impl Machine {
    /// Opens a context (`iommufd_fops_open`); `per_process` is its initial `RLIMIT_MODE`. Fails
    /// with `ENOMEM`, `EMFILE`.
    pub(crate) fn open_iommufd(
        &mut self,
        pid: Pid,
        per_process: bool,
        place: &Placement,
    ) -> SyscallResult {
        self.allocate()?;
        self.atomically(|machine| {
            let context = Context { per_process, ..Context::default() };
            let context = machine.contexts.insert(Shared::new(context));
            machine.install_new(pid, File::Iommufd(context), place.fd).map(Reply::Fd)
        })
    }

    /// Destroys an object (`iommufd_destroy`). Fails with `ENOENT`, `EBUSY`.
    fn destroy(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let id = ucmd.cmd.id(offset_of!(io::iommu_destroy, id));
        let table = self.contexts.get(ucmd.context);
        let object = table.objects.get(&id).ok_or(fail(Errno::ENOENT))?;
        if object.is_held() || table.is_used(id) {
            return Err(fail(Errno::EBUSY));
        }
        match *object {
            Object::Stdev { idev } => self.unbind_device(ucmd.context, idev),
            Object::HwQueue(queue) => self.unlock_memory(ucmd.context, queue.access),
            Object::Ioas(_)
            | Object::Hwpt(_)
            | Object::Device { .. }
            | Object::Access(_)
            | Object::Nested(_)
            | Object::Fault(_)
            | Object::Viommu(_)
            | Object::Vdevice(_)
            | Object::Veventq(_) => {}
        }
        let table = self.contexts.get_mut(ucmd.context);
        table.objects.remove(&id);
        table.compat_ioas.take_if(|compat| *compat == id);
        self.unpin_unwanted(ucmd.context);
        self.reclaim();
        Ok(())
    }

    /// Handles `iommufd_option`. Fails with `EOPNOTSUPP` if the reserved field is set or the option
    /// unknown.
    fn option(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const VALUE: usize = offset_of!(io::iommu_option, val64);
        if ucmd.cmd.u16(offset_of!(io::iommu_option, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        match ucmd.cmd.u32(offset_of!(io::iommu_option, option_id)) {
            0 => self.rlimit_mode(ucmd)?,
            1 => self.huge_pages(ucmd)?,
            _ => return Err(fail(Errno::EOPNOTSUPP)),
        }
        let value = ucmd.cmd.u64(VALUE).to_ne_bytes();
        ucmd.user.write(VALUE, &value)
    }

    /// Sets or gets `RLIMIT_MODE` (`iommufd_option_rlimit_mode`). SET fails with `EPERM`, then
    /// `EBUSY` if the context has an object, then `EINVAL`.
    fn rlimit_mode(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const VALUE: usize = offset_of!(io::iommu_option, val64);
        if ucmd.cmd.u32(offset_of!(io::iommu_option, object_id)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        match ucmd.cmd.u16(offset_of!(io::iommu_option, op)) {
            0 => {
                if !self.process(ucmd.pid).is_privileged() {
                    return Err(fail(Errno::EPERM));
                }
                let table = self.contexts.get_mut(ucmd.context);
                if !table.objects.is_empty() || !table.tombstones.is_empty() {
                    return Err(fail(Errno::EBUSY));
                }
                let value = ucmd.cmd.u64(VALUE);
                if value > 1 {
                    return Err(fail(Errno::EINVAL));
                }
                table.per_process = value == 1;
            }
            1 => ucmd.cmd.set_u64(VALUE, self.contexts.get(ucmd.context).per_process.into()),
            _ => return Err(fail(Errno::EOPNOTSUPP)),
        }
        Ok(())
    }

    /// Drops a context (`iommufd_fops_release`). This was the last reference to its file, so no
    /// device is bound.
    pub(crate) fn release_context(&mut self, context: ContextId) {
        self.contexts.get_mut(context).objects.clear();
        self.unpin_unwanted(context);
        self.contexts.remove(context);
    }
}
