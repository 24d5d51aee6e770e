//! Who holds which open files in the recorded run, and what the replay knows of them.
//!
//! A *file* is an open file description: what dup, fork, exec and messages share. The simulated
//! kernel keeps the same descriptor tables under the same numbers; here stands what it has no place
//! for: sockets that it does not model, which files are *doubtful*, and which object of a context
//! bears which number.
//!
//! A file is doubtful once something has happened to it that the simulator did not follow. Answers
//! about it may then differ for good reason. A device shares the doubts about its context.

use handoff_model::call::Call;
use handoff_model::ids::{Fd, ObjectId, Pid};
use std::collections::BTreeMap;

/// An open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(usize);

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Iommufd,
    Device,
    Memfd,
    Eventfd,
    Pidfd,
    Image,
    /// One end (0 or 1) of a pair of sockets that the simulator has, too.
    Packets {
        wire: usize,
        end: usize,
    },
    /// Any other unix socket, with the path that it is bound to.
    Socket {
        path: Option<String>,
    },
    /// One end (0 or 1) of a connection of such sockets.
    Stream {
        wire: usize,
        end: usize,
    },
}

impl Kind {
    /// Whether the simulator has such a file under the same descriptor.
    pub(super) fn is_simulated(&self) -> bool {
        !matches!(self, Self::Socket { .. } | Self::Stream { .. })
    }
}

/// An open file description and what is known of it.
#[derive(Debug)]
struct File {
    kind: Kind,
    is_doubtful: bool,
    /// Of a memfd: a recorded call has set its length.
    is_sized: bool,
    /// Of a bound device.
    context: Option<FileId>,
    /// Of a context: the recorded number of an object, and the simulator's.
    objects: BTreeMap<ObjectId, ObjectId>,
}

/// A slot of a descriptor table.
#[derive(Clone, Copy, Debug)]
struct Slot {
    file: FileId,
    cloexec: bool,
}

/// All files and all descriptor tables.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<File>,
    tables: BTreeMap<Pid, BTreeMap<Fd, Slot>>,
}

impl Files {
    /// A new file under a descriptor.
    pub(super) fn open(&mut self, pid: Pid, fd: Fd, kind: Kind, cloexec: bool) -> FileId {
        let file = FileId(self.files.len());
        let objects = BTreeMap::new();
        let (is_doubtful, is_sized, context) = (false, false, None);
        self.files.push(File { kind, is_doubtful, is_sized, context, objects });
        self.install(pid, fd, file, cloexec);
        file
    }

    /// A file under one more descriptor.
    pub(super) fn install(&mut self, pid: Pid, fd: Fd, file: FileId, cloexec: bool) {
        self.tables.entry(pid).or_default().insert(fd, Slot { file, cloexec });
    }

    /// The file of a descriptor, where it is known.
    pub(super) fn at(&self, pid: Pid, fd: Fd) -> Option<FileId> {
        Some(self.tables.get(&pid)?.get(&fd)?.file)
    }

    pub(super) fn kind(&self, file: FileId) -> &Kind {
        &self.files[file.0].kind
    }

    pub(super) fn kind_at(&self, pid: Pid, fd: Fd) -> Option<&Kind> {
        self.at(pid, fd).map(|file| self.kind(file))
    }

    pub(super) fn set_kind(&mut self, file: FileId, kind: Kind) {
        self.files[file.0].kind = kind;
    }

    pub(super) fn set_cloexec(&mut self, pid: Pid, fd: Fd, cloexec: bool) {
        if let Some(slot) = self.tables.get_mut(&pid).and_then(|table| table.get_mut(&fd)) {
            slot.cloexec = cloexec;
        }
    }

    /// Takes a descriptor away.
    pub(super) fn close(&mut self, pid: Pid, fd: Fd) -> Option<FileId> {
        Some(self.tables.get_mut(&pid)?.remove(&fd)?.file)
    }

    /// Descriptors of a process in a range, both ends inclusive.
    pub(super) fn within(&self, pid: Pid, first: Fd, last: Fd) -> Vec<Fd> {
        let table = self.tables.get(&pid).into_iter().flatten();
        table.map(|(fd, _)| *fd).filter(|fd| (first..=last).contains(fd)).collect()
    }

    /// Gives a child its parent's descriptors.
    pub(super) fn fork(&mut self, parent: Pid, child: Pid) {
        let table = self.tables.get(&parent).cloned().unwrap_or_default();
        self.tables.insert(child, table);
    }

    /// Closes what a process does not keep: at exec the CLOEXEC descriptors, at exit all.
    pub(super) fn drop_all(&mut self, pid: Pid, only_cloexec: bool) -> Vec<FileId> {
        let table = self.tables.entry(pid).or_default();
        let (gone, kept) =
            std::mem::take(table).into_iter().partition(|(_, slot)| slot.cloexec || !only_cloexec);
        *table = kept;
        let gone: BTreeMap<Fd, Slot> = gone;
        gone.into_values().map(|slot| slot.file).collect()
    }

    /// Whether any process has a descriptor of it.
    pub(super) fn is_held(&self, file: FileId) -> bool {
        self.tables.values().flat_map(BTreeMap::values).any(|slot| slot.file == file)
    }

    /// Whether a recorded call has set the length of a memfd.
    pub(super) fn is_sized(&self, file: FileId) -> bool {
        self.files[file.0].is_sized
    }

    pub(super) fn set_sized(&mut self, file: FileId) {
        self.files[file.0].is_sized = true;
    }

    /// Notes that a device belongs to a context now.
    pub(super) fn bind(&mut self, device: FileId, context: FileId) {
        self.files[device.0].context = Some(context);
    }

    /// Whether it is known which context a device belongs to.
    pub(super) fn is_bound(&self, device: FileId) -> bool {
        self.files[device.0].context.is_some()
    }

    /// The context itself, or the one that a device is bound to.
    fn context(&self, file: FileId) -> FileId {
        self.files[file.0].context.unwrap_or(file)
    }

    pub(super) fn is_doubtful(&self, file: FileId) -> bool {
        self.files[file.0].is_doubtful || self.files[self.context(file).0].is_doubtful
    }

    /// Of a pair of sockets, both ends.
    pub(super) fn doubt(&mut self, file: FileId) {
        self.files[file.0].is_doubtful = true;
        if let Kind::Packets { wire, .. } = *self.kind(file) {
            let is_end = |file: &&mut File| matches!(file.kind, Kind::Packets { wire: other, .. } if other == wire);
            self.files.iter_mut().filter(is_end).for_each(|end| end.is_doubtful = true);
        }
    }

    /// Notes which object the simulator made where the recorded kernel made `recorded`.
    pub(super) fn bear(&mut self, file: FileId, recorded: ObjectId, simulated: ObjectId) {
        let context = self.context(file);
        self.files[context.0].objects.insert(recorded, simulated);
    }

    /// Forgets an object that was destroyed.
    pub(super) fn forget(&mut self, context: FileId, recorded: ObjectId) {
        self.files[context.0].objects.remove(&recorded);
    }

    /// The call with the simulator's numbers of objects; `None` where it names one of a doubtful
    /// context that is not known.
    pub(super) fn translated(&self, pid: Pid, call: &Call) -> Option<Call> {
        let mut call = call.clone();
        let (fd, ids) = objects(&mut call);
        let Some(file) = fd.and_then(|fd| self.at(pid, fd)) else { return Some(call) };
        let known = &self.files[self.context(file).0].objects;
        for id in ids {
            match known.get(id) {
                Some(simulated) => *id = *simulated,
                None if self.is_doubtful(file) => return None,
                None => {}
            }
        }
        Some(call)
    }
}

/// The objects that a call names, and the descriptor that leads to their context.
fn objects(call: &mut Call) -> (Option<Fd>, Vec<&mut ObjectId>) {
    match call {
        Call::Destroy { iommufd, id }
        | Call::IoasIovaRanges { iommufd, ioas: id }
        | Call::IoasMap { iommufd, ioas: id, .. }
        | Call::IoasMapFile { iommufd, ioas: id, .. }
        | Call::IoasUnmap { iommufd, ioas: id, .. }
        | Call::ProbeHwpt { iommufd, hwpt: id }
        | Call::GetHwInfo { iommufd, device: id }
        | Call::Attach { device: iommufd, page_table: id } => (Some(*iommufd), vec![id]),
        Call::IoasCopy { iommufd, source, destination, .. } => {
            (Some(*iommufd), vec![source, destination])
        }
        Call::HwptAlloc { iommufd, device, ioas } => (Some(*iommufd), vec![device, ioas]),
        _ => (None, Vec::new()),
    }
}

/// Every descriptor that a call names.
pub(super) fn descriptors(call: &Call) -> Vec<Fd> {
    match call {
        Call::Open { .. }
        | Call::Memfd { .. }
        | Call::Eventfd
        | Call::Munmap { .. }
        | Call::GetMemlock
        | Call::SetMemlock { .. }
        | Call::GetUid
        | Call::SetUid { .. }
        | Call::GetCapIpcLock
        | Call::DropCapIpcLock
        | Call::Exit { .. }
        | Call::StopGuest
        | Call::StartGuest => Vec::new(),
        Call::Mmap { fd, .. } => fd.iter().copied().collect(),
        Call::SendMessage { fd, fds, .. } => [&[*fd], fds.as_slice()].concat(),
        Call::SetIrqs { device, eventfds, .. } => [&[*device], eventfds.as_slice()].concat(),
        Call::IoasMapFile { iommufd, fd, .. } => vec![*iommufd, *fd],
        Call::Bind { device, iommufd } => vec![*device, *iommufd],
        Call::Close { fd }
        | Call::Dup { fd }
        | Call::SetCloexec { fd, .. }
        | Call::Stat { fd }
        | Call::Truncate { fd, .. }
        | Call::SealSize { fd }
        | Call::AddSeals { fd, .. }
        | Call::ReopenReadOnly { fd }
        | Call::PunchHole { fd, .. }
        | Call::WriteAt { fd, .. }
        | Call::ReadAt { fd, .. }
        | Call::ReadEvent { fd }
        | Call::WriteEvent { fd, .. }
        | Call::Read { fd, .. }
        | Call::Write { fd, .. }
        | Call::Exec { image: fd }
        | Call::Kill { pidfd: fd }
        | Call::AwaitExit { pidfd: fd }
        | Call::ReceiveMessage { fd, .. }
        | Call::ReceiveFew { fd, .. }
        | Call::ShutdownReceive { fd }
        | Call::SaveGuest { fd }
        | Call::LoadGuest { fd }
        | Call::Destroy { iommufd: fd, .. }
        | Call::IoasAlloc { iommufd: fd }
        | Call::IoasIovaRanges { iommufd: fd, .. }
        | Call::IoasMap { iommufd: fd, .. }
        | Call::IoasCopy { iommufd: fd, .. }
        | Call::IoasUnmap { iommufd: fd, .. }
        | Call::ChangeProcess { iommufd: fd, .. }
        | Call::GetRlimitMode { iommufd: fd }
        | Call::SetRlimitMode { iommufd: fd, .. }
        | Call::HwptAlloc { iommufd: fd, .. }
        | Call::ProbeHwpt { iommufd: fd, .. }
        | Call::GetHwInfo { iommufd: fd, .. }
        | Call::Attach { device: fd, .. }
        | Call::Detach { device: fd }
        | Call::DeviceInfo { device: fd }
        | Call::RegionInfo { device: fd, .. }
        | Call::IrqInfo { device: fd, .. }
        | Call::Reset { device: fd }
        | Call::Ioctl { fd, .. } => vec![*fd],
    }
}
