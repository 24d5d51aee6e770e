//! Event queues of viommus (`IOMMU_OBJ_VEVENTQ`): what happens in one, for a guest to be told.
//!
//! A viommu has at most one queue of a type. A queue holds so many events as it is deep; what comes
//! when it is full is lost, and one mark at the end of the queue says so. Every event and every
//! lost one takes a number. Mock devices have events when a test says so
//! (`IOMMU_TEST_OP_TRIGGER_VEVENT`).
//!
//! Mirrors `drivers/iommu/iommufd/eventq.c`, and `iommufd_viommu_report_event` of `driver.c`.

use crate::iommufd::Object;
use crate::iommufd::ioctl_table::Ucmd;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;
use iommufd_bindings as io;
use std::mem::offset_of;

/// An event queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Veventq {
    pub(super) viommu: ObjectId,
    kind: u32,
    depth: u32,
    /// Its file is.
    pub(super) is_open: bool,
    /// In their order. A mark of lost events can only be the last.
    events: Vec<Event>,
    /// The number of the next one.
    next: u32,
}

/// An event, or the mark of lost ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event {
    number: u32,
    /// Of which device of the viommu.
    virt_id: Option<u32>,
}

/// `VEVENTQ_MAX_DEPTH`, `IOMMU_VEVENTQ_TYPE_SELFTEST`, `IOMMU_VEVENTQ_FLAG_LOST_EVENTS`.
const DEPTH_MAX: u32 = 1 << 19;
const TYPE_SELFTEST: u32 = 0xbeef_beef;
const LOST_EVENTS: u32 = 1;

/// `struct iommufd_vevent_header`.
const HEADER_BYTES: usize = 8;

impl Event {
    fn message(&self) -> Vec<u8> {
        let flags = if self.virt_id.is_none() { LOST_EVENTS } else { 0 };
        let words = [Some(flags), Some(self.number), self.virt_id];
        words.into_iter().flatten().flat_map(u32::to_ne_bytes).collect()
    }
}

impl Veventq {
    /// `iommufd_viommu_report_event` and `iommufd_vevent_handler`.
    fn report(&mut self, virt_id: u32) {
        let waiting = self.events.iter().filter(|event| event.virt_id.is_some()).count();
        self.events.pop_if(|last| last.virt_id.is_none());
        let virt_id = (waiting < self.depth as usize).then_some(virt_id);
        self.events.push(Event { number: self.next, virt_id });
        self.next = self.next.wrapping_add(1) & i32::MAX.cast_unsigned();
    }

    /// `iommufd_veventq_fops_read` into room for so many bytes: whole events. EINVAL where not even
    /// a header fits, and where the first event does not.
    pub(super) fn read(&mut self, room: usize) -> SyscallResult<Vec<u8>> {
        if room < HEADER_BYTES {
            return Err(fail(Errno::EINVAL));
        }
        let mut read = Vec::new();
        while let Some(event) = self.events.first().map(Event::message) {
            if read.len() + event.len() <= room {
                read.extend(event);
                self.events.remove(0);
            } else if read.is_empty() {
                return Err(fail(Errno::EINVAL));
            } else {
                break;
            }
        }
        Ok(read)
    }
}

impl Machine {
    /// The queue of this type of a viommu.
    fn veventq_of(&mut self, ucmd: &Ucmd<'_>, viommu: ObjectId, kind: u32) -> Option<&mut Veventq> {
        let objects = &mut self.contexts.get_mut(ucmd.context).objects;
        objects.values_mut().find_map(|object| match object {
            Object::Veventq(queue) if (queue.viommu, queue.kind) == (viommu, kind) => Some(queue),
            _ => None,
        })
    }

    /// `iommufd_veventq_alloc`: EOPNOTSUPP (flags, reserved, no type), EINVAL (depth), ENOENT,
    /// EEXIST, EMFILE, EFAULT.
    pub(super) fn veventq_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let flags = ucmd.cmd.u32(offset_of!(io::iommu_veventq_alloc, flags));
        let reserved = ucmd.cmd.u32(offset_of!(io::iommu_veventq_alloc, __reserved));
        let kind = ucmd.cmd.u32(offset_of!(io::iommu_veventq_alloc, type_));
        if flags != 0 || reserved != 0 || kind == 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let depth = ucmd.cmd.u32(offset_of!(io::iommu_veventq_alloc, veventq_depth));
        if !(1..=DEPTH_MAX).contains(&depth) {
            return Err(fail(Errno::EINVAL));
        }
        let viommu = ucmd.cmd.id(offset_of!(io::iommu_veventq_alloc, viommu_id));
        self.contexts.get(ucmd.context).viommu(viommu)?;
        if self.veventq_of(ucmd, viommu, kind).is_some() {
            return Err(fail(Errno::EEXIST));
        }
        let queue = Veventq { viommu, kind, depth, is_open: true, events: Vec::new(), next: 0 };
        self.atomically(|machine| {
            let (id, fd) = machine.open_queue(ucmd, Object::Veventq(queue))?;
            let at = offset_of!(io::iommu_veventq_alloc, out_veventq_fd);
            ucmd.cmd.set_u32(at, fd.0.cast_unsigned());
            ucmd.respond_with(offset_of!(io::iommu_veventq_alloc, out_veventq_id), id)
        })
    }

    /// Queues an event of a device of a viommu. EOPNOTSUPP (no queue).
    pub(super) fn report_vevent(
        &mut self,
        ucmd: &Ucmd<'_>,
        viommu: ObjectId,
        virt_id: u64,
    ) -> SyscallResult<()> {
        let queue = self.veventq_of(ucmd, viommu, TYPE_SELFTEST);
        let [low, _] = halves(virt_id);
        queue.ok_or(fail(Errno::EOPNOTSUPP))?.report(low);
        Ok(())
    }
}

/// The event has room for a word of the number.
fn halves(virt_id: u64) -> [u32; 2] {
    [0, 32].map(|shift| u32::try_from(virt_id >> shift & u64::from(u32::MAX)).expect("32 bits"))
}
