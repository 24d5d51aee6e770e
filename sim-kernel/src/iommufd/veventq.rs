//! Event queues of viommus (`IOMMU_OBJ_VEVENTQ`): events that are to be passed on to the guest.
//!
//! A viommu has at most one queue of a type. A queue holds up to `depth` events. Later ones are
//! lost, and one marker at the end of the queue reports the loss. Every event, lost or not, takes a
//! number. Mock devices raise events when a test requests it (`IOMMU_TEST_OP_TRIGGER_VEVENT`).
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
    /// True if its file is open.
    pub(super) is_open: bool,
    /// Events in order. A marker of lost events can only be the last.
    events: Vec<Event>,
    /// The number of the next event.
    next: u32,
}

/// An event, or the marker of lost ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event {
    number: u32,
    /// The viommu's number of the device; `None` for the marker.
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
    /// Queues an event or marks it as lost (`iommufd_viommu_report_event`,
    /// `iommufd_vevent_handler`).
    fn report(&mut self, virt_id: u32) {
        let waiting = self.events.iter().filter(|event| event.virt_id.is_some()).count();
        self.events.pop_if(|last| last.virt_id.is_none());
        let virt_id = (waiting < self.depth as usize).then_some(virt_id);
        self.events.push(Event { number: self.next, virt_id });
        self.next = self.next.wrapping_add(1) & i32::MAX.cast_unsigned();
    }

    /// Reads whole events into a buffer of `room` bytes (`iommufd_veventq_fops_read`). Fails with
    /// `EINVAL` if a header or the first event does not fit.
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
    /// Returns the queue of this type of a viommu.
    fn veventq_of(&mut self, ucmd: &Ucmd<'_>, viommu: ObjectId, kind: u32) -> Option<&mut Veventq> {
        let objects = &mut self.contexts.get_mut(ucmd.context).objects;
        objects.values_mut().find_map(|object| match object {
            Object::Veventq(queue) if (queue.viommu, queue.kind) == (viommu, kind) => Some(queue),
            _ => None,
        })
    }

    /// Allocates a queue (`iommufd_veventq_alloc`). Fails with `EOPNOTSUPP` (flags, reserved, no
    /// type), `EINVAL` (depth), `ENOENT`, `EEXIST`, `EMFILE`, `EFAULT`.
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

    /// Queues an event of a device of a viommu. Fails with `EOPNOTSUPP` (no queue).
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

/// Splits a number into words, of which an event has room for one: low, high.
fn halves(virt_id: u64) -> [u32; 2] {
    [0, 32].map(|shift| u32::try_from(virt_id >> shift & u64::from(u32::MAX)).expect("32 bits"))
}
