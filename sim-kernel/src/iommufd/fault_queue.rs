//! Fault queues (`IOMMU_OBJ_FAULT`): page faults of devices, for user space to answer.
//!
//! A domain created with a queue delivers the faults of its devices to it. A reader gets a cookie
//! with each fault, and writes the answer with that cookie. The kernel itself answers faults that
//! are pending when the device leaves the domain. Mock devices raise faults when a test requests it
//! (`IOMMU_TEST_OP_TRIGGER_IOPF`).
//!
//! Mirrors `drivers/iommu/iommufd/eventq.c`, and `iommu_report_device_fault` and
//! `find_fault_handler` of `drivers/iommu/io-pgfault.c`.

use crate::iommufd::attach::NO_PASID;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::{Context, Object};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::ObjectId;
use iommufd_bindings as io;
use std::collections::BTreeMap;
use std::mem::offset_of;

/// A fault queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FaultQueue {
    /// True if its file is open.
    pub(super) is_open: bool,
    /// Faults not yet read, in order.
    deliver: Vec<PageFault>,
    /// Faults read and not yet answered, by cookie.
    response: BTreeMap<u32, PageFault>,
}

/// A page fault, in a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PageFault {
    /// The device and PASID whose attachment it came through.
    through: (ObjectId, u32),
    flags: u32,
    pasid: u32,
    group: u32,
    permissions: u32,
    address: u64,
}

/// `IOMMU_FAULT_PAGE_REQUEST_PASID_VALID` and `_LAST_PAGE`.
const PASID_VALID: u32 = 1;
const LAST_PAGE: u32 = 2;

/// `struct iommu_hwpt_pgfault` and `struct iommu_hwpt_page_response`.
const FAULT_BYTES: usize = 40;
const RESPONSE_BYTES: usize = 8;

impl PageFault {
    /// Returns the fault as user space reads it (`iommufd_compose_fault_message`).
    fn message(&self, cookie: u32) -> Vec<u8> {
        let words = [self.flags, self.through.0.0, self.pasid, self.group, self.permissions, 0];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend_from_slice(&self.address.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&cookie.to_ne_bytes());
        bytes
    }
}

impl FaultQueue {
    /// Returns the lowest free cookie.
    fn cookie(&self) -> u32 {
        let taken = self.response.keys().zip(1..).take_while(|(key, next)| **key == *next);
        u32::try_from(taken.count()).expect("few faults wait") + 1
    }

    /// Reads faults into a buffer of `room` bytes (`iommufd_fault_fops_read`). Fails with `ESPIPE`
    /// (not a multiple of a fault), `EINVAL` (no room for one).
    pub(super) fn read(&mut self, room: usize) -> SyscallResult<Vec<u8>> {
        if !room.is_multiple_of(FAULT_BYTES) {
            return Err(fail(Errno::ESPIPE));
        }
        if room == 0 && !self.deliver.is_empty() {
            return Err(fail(Errno::EINVAL));
        }
        let count = self.deliver.len().min(room / FAULT_BYTES);
        let read: Vec<PageFault> = self.deliver.drain(..count).collect();
        let messages = read.into_iter().flat_map(|fault| {
            let cookie = self.cookie();
            self.response.insert(cookie, fault);
            fault.message(cookie)
        });
        Ok(messages.collect())
    }

    /// Answers faults and returns the number of bytes consumed (`iommufd_fault_fops_write`). Fails
    /// with `ESPIPE` (not a multiple of an answer), `EINVAL` (invalid code or cookie in the first
    /// answer).
    pub(super) fn write(&mut self, bytes: &[u8]) -> SyscallResult<usize> {
        if !bytes.len().is_multiple_of(RESPONSE_BYTES) {
            return Err(fail(Errno::ESPIPE));
        }
        let mut done = 0;
        for answer in bytes.chunks(RESPONSE_BYTES) {
            let [cookie, code] = [0, 4].map(|at| crate::iommufd::nested::word(answer, at));
            let is_answer = code <= 1 && self.response.remove(&cookie).is_some();
            match (is_answer, done) {
                (true, _) => done += RESPONSE_BYTES,
                (false, 0) => return Err(fail(Errno::EINVAL)),
                (false, _) => break,
            }
        }
        Ok(done)
    }
}

impl Context {
    fn fault_mut(&mut self, id: ObjectId) -> Option<&mut FaultQueue> {
        match self.objects.get_mut(&id)? {
            Object::Fault(queue) => Some(queue),
            _ => None,
        }
    }

    /// Drops the faults of a device that leaves the domain (`iommufd_auto_response_faults`).
    pub(super) fn drop_faults(&mut self, hwpt: ObjectId, through: (ObjectId, u32)) {
        let Some(fault) = self.fault_queue(hwpt) else { return };
        let queue = self.fault_mut(fault).expect("in use by the domain");
        queue.deliver.retain(|fault| fault.through != through);
        queue.response.retain(|_, fault| fault.through != through);
    }
}

impl Machine {
    /// Allocates a queue (`iommufd_fault_alloc`). Fails with `EOPNOTSUPP` (flags), `EMFILE`,
    /// `EFAULT`.
    pub(super) fn fault_alloc(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        if ucmd.cmd.u32(offset_of!(io::iommu_fault_alloc, flags)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let queue = Object::Fault(FaultQueue { is_open: true, ..FaultQueue::default() });
        self.atomically(|machine| {
            let (id, fd) = machine.open_queue(ucmd, queue)?;
            ucmd.cmd.set_u32(offset_of!(io::iommu_fault_alloc, out_fault_fd), fd.0.cast_unsigned());
            ucmd.respond_with(offset_of!(io::iommu_fault_alloc, out_fault_id), id)
        })
    }

    /// Sets the fault queue of a new domain. Fails with `ENOENT`.
    pub(super) fn set_fault_queue(
        &mut self,
        context: ContextId,
        hwpt: ObjectId,
        fault: ObjectId,
    ) -> SyscallResult<()> {
        let table = self.contexts.get_mut(context);
        table.fault_mut(fault).ok_or(fail(Errno::ENOENT))?;
        match table.objects.get_mut(&hwpt) {
            Some(Object::Hwpt(hwpt)) => hwpt.fault = Some(fault),
            Some(Object::Nested(nested)) => nested.fault = Some(fault),
            _ => unreachable!("a new domain"),
        }
        Ok(())
    }
}

impl Context {
    /// Queues a fault (`iommu_report_device_fault`); without a queue it is dropped.
    pub(super) fn report_fault(
        &mut self,
        device: ObjectId,
        [pasid, group, permissions]: [u32; 3],
        address: u64,
    ) {
        let Some((hwpt, through)) = self.handler(device, pasid) else { return };
        let Some(fault) = self.fault_queue(hwpt) else { return };
        let valid = if pasid == NO_PASID { 0 } else { PASID_VALID };
        let flags = LAST_PAGE | valid;
        let queue = self.fault_mut(fault).expect("in use by the domain");
        let through = (device, through);
        queue.deliver.push(PageFault { through, flags, pasid, group, permissions, address });
    }

    /// Returns the domain that handles a fault, and the PASID of its attachment
    /// (`find_fault_handler`): the domain of the PASID, or the nested one of the device, whose
    /// guest has a PASID table.
    fn handler(&self, device: ObjectId, pasid: u32) -> Option<(ObjectId, u32)> {
        if let Some(hwpt) = self.attached_to(device, pasid) {
            return Some((hwpt, pasid));
        }
        let hwpt = self.attached_to(device, NO_PASID)?;
        let is_nested = matches!(self.objects.get(&hwpt), Some(Object::Nested(_)));
        is_nested.then_some((hwpt, NO_PASID))
    }
}
