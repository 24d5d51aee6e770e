//! The files of event queues: page faults (`fault`) and events of viommus (`veventq`) are read from them.
//!
//! Such a file is made with its object, holds the context, and keeps the object in use while it is open.
//!
//! Mirrors `iommufd_eventq_init` and `iommufd_eventq_fops_release` of `drivers/iommu/iommufd/eventq.c`.

use crate::file::File;
use crate::iommufd::Object;
use crate::machine::Machine;
use crate::refusal::Answered;
use crate::slots::{ContextId, FileId};
use crate::ucmd::Ucmd;
use handoff_model::ids::{Fd, ObjectId};

/// The file of an event queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueueFile {
    pub(crate) context: ContextId,
    pub(crate) object: ObjectId,
    /// The context's file; holds a reference.
    pub(crate) iommufd: FileId,
}

impl Machine {
    /// Makes an object and its file. EMFILE. The caller undoes a failure.
    pub(crate) fn open_queue(
        &mut self,
        ucmd: &Ucmd<'_>,
        queue: Object,
    ) -> Answered<(ObjectId, Fd)> {
        let object = self.contexts.get_mut(ucmd.context).insert(queue);
        let file = QueueFile { context: ucmd.context, object, iommufd: ucmd.file };
        let fd = self.install_new(ucmd.pid, File::Queue(file), ucmd.place.fd)?;
        self.get_file(ucmd.file);
        Ok((object, fd))
    }

    /// The last close.
    pub(crate) fn release_queue(&mut self, file: QueueFile) {
        match self.contexts.get_mut(file.context).objects.get_mut(&file.object) {
            Some(Object::Fault(queue)) => queue.is_open = false,
            Some(Object::Veventq(queue)) => queue.is_open = false,
            _ => unreachable!("an open file keeps its object"),
        }
        self.put_file(file.iommufd);
    }
}
