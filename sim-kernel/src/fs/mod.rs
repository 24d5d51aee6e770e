//! Open file descriptions and descriptor tables.
//!
//! A file here is an open file description (`struct file`), which `dup`, `SCM_RIGHTS` and exec
//! share. All state of a binding, an attachment or a context belongs to it, never to a process; so
//! does O_NONBLOCK, which is set on new eventfds.
//!
//! A [`File`] holds only ids. So this folder imports none of the subsystems whose files it keeps,
//! and comparing two files is cheap. The state of an eventfd, a socket and a dma-buf lives exactly
//! as long as its file. It is in a table of its own ([`Files`]) under the file's id: a second id,
//! allocated in the order of creation, would make machines in the same situation unequal.
//!
//! Invariant: `refs` counts its holders, and a file is in the table while it has any. Holders are
//! descriptor slots, packets in flight, page sets over it (MAP_FILE), mappings of BARs, the
//! references of devices and VMs to eventfds, VMs that know a device file, bound devices and the
//! accesses of selftests (their context's iommufd). The property test verifies it.
//!
//! Dropping the last reference releases the object of the file: a context, a bound device, a
//! socket.
//!
//! A program image is opened with `O_PATH`: it can be passed on, examined and executed, and any
//! other call fails with EBADF. Paths have no permissions: any process may open any path.
//!
//! Other folders acquire and drop files and descriptors here, signal and read eventfds, and export
//! and revoke dma-bufs. Their storage is private to this folder.
//!
//! Mirrors `fs/file.c`, `fs/file_table.c`, `fs/fcntl.c`, `fs/open.c`.

mod calls;
mod dma_buf;
mod eventfd;
mod read_write;
mod socket;

pub(crate) use eventfd::{Eventfd, Signal};
pub(crate) use read_write::{FILE_BYTES_MAX, TRANSFER_BYTES_MAX};

use crate::fs::dma_buf::DmaBuf;
use crate::fs::socket::Socket;
use crate::machine::{Machine, Placement};
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::{ContainerId, ContextId, DeviceId, FileId, MemoryId, Shared, Slots, VmId};
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::view::{FileKind, FileRef};
use std::collections::BTreeMap;

/// The lowest descriptor: 0, 1 and 2 are in use.
const FIRST_FD: i32 = 3;

/// `RLIMIT_NOFILE`: the end of the descriptor numbers, exclusive.
const FD_END: i32 = 1024;

/// The open files, and the state of those that no other subsystem keeps.
///
/// Invariant: the last three tables have exactly the files of their kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Files {
    open: Slots<FileId, OpenFile>,
    eventfds: Shared<BTreeMap<FileId, Eventfd>>,
    sockets: Shared<BTreeMap<FileId, Socket>>,
    dma_bufs: BTreeMap<FileId, DmaBuf>,
}

impl Files {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileId, &OpenFile)> {
        self.open.iter()
    }

    /// Returns true if the last three tables have exactly the files of their kinds.
    pub(crate) fn is_consistent(&self) -> bool {
        let of = |kind| self.iter().filter(move |(_, open)| open.file == kind).map(|(id, _)| id);
        of(File::Eventfd).eq(self.eventfds.keys().copied())
            && of(File::Socket).eq(self.sockets.keys().copied())
            && of(File::DmaBuf).eq(self.dma_bufs.keys().copied())
    }
}

/// An open file description and its number of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpenFile {
    pub(crate) refs: u16,
    /// O_NONBLOCK.
    nonblock: bool,
    pub(crate) file: File,
}

/// A slot of a descriptor table; holds one reference to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Descriptor {
    pub(crate) file: FileId,
    pub(crate) cloexec: bool,
}

/// The object of an open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum File {
    Iommufd(ContextId),
    Device(DeviceFile),
    /// `/dev/vfio/N`.
    Group(u32),
    /// `/dev/vfio/vfio`.
    Container(ContainerId),
    Memfd(MemoryId),
    ReadOnlyMemfd(MemoryId),
    Eventfd,
    Socket,
    Pidfd(Pid),
    Image(u8),
    /// An access of the kernel's selftests.
    MockAccess(ObjectFile),
    DmaBuf,
    /// An event queue.
    Queue(ObjectFile),
    /// `/dev/kvm`.
    Kvm,
    /// A virtual machine.
    Vm(VmId),
    /// A vCPU of a virtual machine.
    Vcpu(VmId),
    /// The VFIO device of a VM.
    KvmVfio(VmId),
    /// The migration state of an emulated device, in transfer.
    Migration(MigrationFile),
}

/// An open file of a device (`vfio_device_file`). The device records which one is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeviceFile {
    pub(crate) device: DeviceId,
    /// The VM that was last associated with it.
    pub(crate) kvm: Option<VmId>,
    /// True if a group gave it, so that it can access the device without BIND.
    pub(crate) through_group: bool,
}

/// The file of an object of a context. It keeps the object and the context alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectFile {
    pub(crate) context: ContextId,
    pub(crate) object: ObjectId,
    /// The context's file; holds a reference.
    pub(crate) iommufd: FileId,
}

/// A file through which the state of an emulated device is saved or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MigrationFile {
    pub(crate) device: DeviceId,
    /// True if it saves the device's state, false if it restores it.
    pub(crate) saves: bool,
}

/// Returns the name of a file in views.
pub(crate) fn file_ref(file: FileId) -> FileRef {
    FileRef(file.0.into())
}

impl File {
    /// Returns the name of its kind in views.
    pub(crate) fn kind(&self) -> FileKind {
        match self {
            Self::Iommufd(_) => FileKind::Iommufd,
            Self::Device(_) => FileKind::Device,
            Self::Group(_) => FileKind::Group,
            Self::Container(_) => FileKind::Container,
            Self::Memfd(_) | Self::ReadOnlyMemfd(_) => FileKind::Memfd,
            Self::Eventfd => FileKind::Eventfd,
            Self::Socket => FileKind::Socket,
            Self::Pidfd(_) => FileKind::Pidfd,
            Self::Image(_) => FileKind::Image,
            Self::MockAccess(_) | Self::DmaBuf | Self::Queue(_) => FileKind::Other,
            Self::Kvm => FileKind::Kvm,
            Self::Vm(_) => FileKind::Vm,
            Self::Vcpu(_) => FileKind::Vcpu,
            Self::KvmVfio(_) => FileKind::KvmVfio,
            Self::Migration(_) => FileKind::MigrationData,
        }
    }

    /// Returns true if it is a file of VFIO, for KVM.
    pub(crate) fn is_vfio(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Group(_))
    }
}

impl Machine {
    pub(crate) fn file(&self, id: FileId) -> &File {
        &self.files.open.get(id).file
    }

    pub(crate) fn file_mut(&mut self, id: FileId) -> &mut File {
        &mut self.files.open.get_mut(id).file
    }

    /// Returns the slot of a descriptor. Fails with `EBADF`.
    pub(crate) fn descriptor(&self, pid: Pid, fd: Fd) -> Result<Descriptor, Failure> {
        self.process(pid).descriptors.get(&fd).copied().ok_or(fail(Errno::EBADF))
    }

    /// Returns the file of a descriptor, for calls that refuse `O_PATH`. Fails with `EBADF`.
    pub(crate) fn usable(&self, pid: Pid, fd: Fd) -> Result<FileId, Failure> {
        let file = self.descriptor(pid, fd)?.file;
        if matches!(self.file(file), File::Image(_)) { Err(fail(Errno::EBADF)) } else { Ok(file) }
    }

    /// Iterates over the files that processes and memory keep open: in descriptors, packets, page
    /// sets.
    pub(crate) fn open_files(&self) -> impl Iterator<Item = FileId> {
        let slots = self.pids().flat_map(|(_, process)| process.descriptors.values());
        let sources = self.page_sets().filter_map(|set| set.source.file());
        slots.map(|slot| slot.file).chain(self.files_in_flight()).chain(sources)
    }

    pub(crate) fn get_file(&mut self, id: FileId) {
        self.files.open.get_mut(id).refs += 1;
    }

    /// Drops a reference, and with the last one the object of the file.
    pub(crate) fn put_file(&mut self, id: FileId) {
        let open = self.files.open.get_mut(id);
        open.refs -= 1;
        if open.refs > 0 {
            if matches!(open.file, File::Eventfd) {
                self.hang_up(id);
            }
            return;
        }
        match self.files.open.remove(id).file {
            File::Iommufd(context) => self.release_context(context),
            File::Device(of) => self.release_device_file(of, id),
            File::Group(group) => self.release_group_file(group),
            File::Container(container) => self.release_container_file(container),
            File::Socket => self.release_socket(id),
            File::MockAccess(access) => self.release_mock_access(access),
            File::Queue(queue) => self.release_queue(queue),
            File::Vm(vm) => self.release_vm(vm),
            File::Vcpu(vm) => self.put_vm(vm),
            File::KvmVfio(vm) => self.release_kvm_vfio(vm),
            File::Eventfd => {
                self.files.eventfds.remove(&id);
            }
            File::DmaBuf => {
                self.files.dma_bufs.remove(&id);
            }
            File::Memfd(_)
            | File::ReadOnlyMemfd(_)
            | File::Pidfd(_)
            | File::Image(_)
            | File::Kvm
            | File::Migration(_) => {}
        }
    }

    /// Creates a file whose only reference the kernel itself holds.
    pub(crate) fn new_file(&mut self, file: File) -> FileId {
        self.files.open.insert(OpenFile { refs: 1, nonblock: false, file })
    }

    /// Returns true if one of these is open.
    pub(crate) fn is_any_open(&self, which: &[File]) -> bool {
        self.files.iter().any(|(_, open)| which.contains(&open.file))
    }

    /// Installs a file under a descriptor and takes a reference. Fails with `EMFILE`.
    pub(crate) fn install(
        &mut self,
        pid: Pid,
        file: FileId,
        forced: Option<Fd>,
    ) -> Result<Fd, Failure> {
        let taken = &self.process(pid).descriptors;
        let free = |fd: &Fd| !taken.contains_key(fd);
        let lowest = || (FIRST_FD..FD_END).map(Fd).find(free);
        let fd = forced.filter(free).or_else(lowest).ok_or(fail(Errno::EMFILE))?;
        self.process_mut(pid).descriptors.insert(fd, Descriptor { file, cloexec: true });
        self.get_file(file);
        Ok(fd)
    }

    /// Creates a file with a descriptor. Fails with `EMFILE`.
    pub(crate) fn install_new(
        &mut self,
        pid: Pid,
        file: File,
        forced: Option<Fd>,
    ) -> Result<Fd, Failure> {
        self.install_file(pid, file, forced).map(|(fd, _)| fd)
    }

    /// Creates a file with a descriptor and returns both. Fails with `EMFILE`.
    fn install_file(
        &mut self,
        pid: Pid,
        file: File,
        forced: Option<Fd>,
    ) -> Result<(Fd, FileId), Failure> {
        let nonblock = matches!(file, File::Eventfd);
        let id = self.files.open.insert(OpenFile { refs: 0, nonblock, file });
        let installed = self.install(pid, id, forced).inspect_err(|_| {
            self.files.open.remove(id);
        });
        installed.map(|fd| (fd, id))
    }

    pub(crate) fn close_descriptor(&mut self, pid: Pid, fd: Fd) {
        let slot = self.process_mut(pid).descriptors.remove(&fd).expect("an open descriptor");
        self.put_file(slot.file);
    }

    /// Opens a path. Fails with `ENOENT`, and with the errnos of the driver.
    fn open(&mut self, pid: Pid, path: &str, place: &Placement) -> SyscallResult {
        match path {
            "/dev/iommu" => self.open_iommufd(pid, false, place),
            "/dev/vfio/vfio" if self.containers_by_iommufd => self.open_iommufd(pid, true, place),
            "/dev/vfio/vfio" => self.open_container(pid, place),
            "/dev/kvm" => self.install_new(pid, File::Kvm, place.fd).map(Reply::Fd),
            _ => match self.open_group(pid, path, place) {
                Some(opened) => opened,
                None => self.open_device(pid, path, place),
            },
        }
    }

    fn close(&mut self, pid: Pid, fd: Fd) -> SyscallResult {
        self.descriptor(pid, fd)?;
        self.close_descriptor(pid, fd);
        self.reclaim();
        Ok(Reply::Done)
    }

    fn dup(&mut self, pid: Pid, fd: Fd, place: &Placement) -> SyscallResult {
        let file = self.descriptor(pid, fd)?.file;
        self.install(pid, file, place.fd).map(Reply::Fd)
    }

    fn set_cloexec(&mut self, pid: Pid, fd: Fd, on: bool) -> SyscallResult {
        let slot = self.process_mut(pid).descriptors.get_mut(&fd).ok_or(fail(Errno::EBADF))?;
        slot.cloexec = on;
        Ok(Reply::Done)
    }

    /// Sets O_NONBLOCK (`setfl`) for all holders of the file.
    fn set_nonblock(&mut self, pid: Pid, fd: Fd, on: bool) -> SyscallResult {
        let file = self.usable(pid, fd)?;
        self.files.open.get_mut(file).nonblock = on;
        Ok(Reply::Done)
    }

    /// Returns the errno of a call that finds no data: EAGAIN, or EINTR if it may wait (see
    /// `would_block`).
    fn not_now(&self, file: FileId) -> Errno {
        if self.files.open.get(file).nonblock { Errno::EAGAIN } else { Errno::EINTR }
    }

    /// Returns inode and length. Only memfds have their own; all other files report 0.
    fn stat(&self, pid: Pid, fd: Fd) -> SyscallResult {
        let file = self.descriptor(pid, fd)?.file;
        let nothing = Reply::Stat { inode: 0, length_bytes: 0 };
        Ok(self.memory_of(file).map_or(nothing, |memory| self.stat_memory(memory)))
    }
}
