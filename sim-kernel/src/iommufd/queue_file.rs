//! The files of event queues, from which page faults (`fault_queue`) and events of viommus
//! (`veventq`) are read.
//!
//! Such a file is created with its object, holds the context, and keeps the object in use while it
//! is open.
//!
//! Mirrors `iommufd_eventq_init` and `iommufd_eventq_fops_release` of
//! `drivers/iommu/iommufd/eventq.c`.

use crate::fs::{File, ObjectFile};
use crate::iommufd::Object;
use crate::iommufd::ioctl_table::Ucmd;
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};

impl Machine {
    /// Creates an object and its file. Fails with `EMFILE`; the caller undoes the failure.
    pub(super) fn open_queue(
        &mut self,
        ucmd: &Ucmd<'_>,
        queue: Object,
    ) -> SyscallResult<(ObjectId, Fd)> {
        let object = self.contexts.get_mut(ucmd.context).insert(queue);
        let file = ObjectFile { context: ucmd.context, object, iommufd: ucmd.file };
        let fd = self.install_new(ucmd.pid, File::Queue(file), ucmd.place.fd)?;
        self.get_file(ucmd.file);
        Ok((object, fd))
    }

    /// Returns the queue object of a descriptor. Fails with `EBADF`, or with `EINVAL` for another
    /// kind of file.
    fn queue_behind(&mut self, pid: Pid, fd: Fd) -> SyscallResult<&mut Object> {
        let file = self.usable(pid, fd)?;
        let File::Queue(file) = *self.file(file) else { return Err(fail(Errno::EINVAL)) };
        let objects = &mut self.contexts.get_mut(file.context).objects;
        Ok(objects.get_mut(&file.object).expect("an open file keeps its object"))
    }

    /// Reads from a queue (`iommufd_fault_fops_read`, `iommufd_veventq_fops_read`).
    pub(crate) fn read_queue(&mut self, pid: Pid, fd: Fd, length_bytes: u64) -> SyscallResult {
        let room = usize::try_from(length_bytes).expect("memory of the caller");
        let read = match self.queue_behind(pid, fd)? {
            Object::Fault(queue) => queue.read(room)?,
            Object::Veventq(queue) => queue.read(room)?,
            _ => unreachable!("an open file keeps its object"),
        };
        Ok(Reply::Bytes(read))
    }

    /// Writes to a queue (`iommufd_fault_fops_write`). Fails with `EINVAL` if the queue cannot be
    /// written.
    pub(crate) fn write_queue(&mut self, pid: Pid, fd: Fd, bytes: &[u8]) -> SyscallResult {
        match self.queue_behind(pid, fd)? {
            Object::Fault(queue) => queue.write(bytes).map(|done| Reply::Length(done as u64)),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    /// Marks the object as not open, at the last close of its file.
    pub(crate) fn release_queue(&mut self, file: ObjectFile) {
        match self.contexts.get_mut(file.context).objects.get_mut(&file.object) {
            Some(Object::Fault(queue)) => queue.is_open = false,
            Some(Object::Veventq(queue)) => queue.is_open = false,
            _ => unreachable!("an open file keeps its object"),
        }
        self.put_file(file.iommufd);
    }
}
