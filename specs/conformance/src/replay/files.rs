//! Open files and descriptors of the recorded run, and the replay's knowledge of them.
//!
//! A *file* is an open file description, which dup, fork, exec and messages share. The simulated
//! kernel keeps the same descriptor tables with the same numbers. This module adds what the
//! simulator cannot represent: files that it does not model, and which files are *doubtful*.
//!
//! A file becomes doubtful when the recorded run changed it in a way that the simulator did not
//! follow. Answers about it may then legitimately differ. Files that an ioctl has connected (a
//! context and its devices, a group and its container) share their doubts.

use super::ioctls::Asked;
use handoff_model::abi::call::{Call, FileCall, GuestCall, MemoryCall, ProcessCall, SocketCall};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::FileKind;
use std::collections::BTreeMap;

/// An open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(usize);

/// The kind of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file that the simulator has under the same descriptor.
    Simulated(FileKind),
    /// A file that does not belong to the handoff: a log, a program.
    Foreign,
    /// One end (0 or 1) of a socket pair that the simulator has, too.
    Packets { wire: usize, end: usize },
    /// Any other unix socket, with the path that it is bound to.
    Socket { path: Option<String> },
    /// One end (0 or 1) of a connection of such sockets.
    Stream { wire: usize, end: usize },
}

impl Kind {
    /// Returns true if the simulator has such a file under the same descriptor.
    pub(super) fn is_simulated(&self) -> bool {
        !matches!(self, Self::Foreign | Self::Socket { .. } | Self::Stream { .. })
    }
}

/// An open file description and its known properties.
#[derive(Debug)]
struct File {
    kind: Kind,
    is_doubtful: bool,
    /// True if a recorded call has set the length of this memfd.
    is_sized: bool,
    /// Number of the group of files that share their doubts.
    circle: usize,
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
    /// Records a new file under a descriptor.
    pub(super) fn open(&mut self, pid: Pid, fd: Fd, kind: Kind, cloexec: bool) -> FileId {
        let file = FileId(self.files.len());
        let circle = file.0;
        self.files.push(File { kind, is_doubtful: false, is_sized: false, circle });
        self.install(pid, fd, file, cloexec);
        file
    }

    /// Records a file under one more descriptor.
    pub(super) fn install(&mut self, pid: Pid, fd: Fd, file: FileId, cloexec: bool) {
        self.tables.entry(pid).or_default().insert(fd, Slot { file, cloexec });
    }

    /// Returns the file of a descriptor, if known.
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

    /// Removes a descriptor.
    pub(super) fn close(&mut self, pid: Pid, fd: Fd) -> Option<FileId> {
        Some(self.tables.get_mut(&pid)?.remove(&fd)?.file)
    }

    /// Returns the descriptors of a process in a range, both ends inclusive.
    pub(super) fn within(&self, pid: Pid, first: Fd, last: Fd) -> Vec<Fd> {
        let table = self.tables.get(&pid).into_iter().flatten();
        table.map(|(fd, _)| *fd).filter(|fd| (first..=last).contains(fd)).collect()
    }

    /// Copies the parent's descriptors to a child.
    pub(super) fn fork(&mut self, parent: Pid, child: Pid) {
        let table = self.tables.get(&parent).cloned().unwrap_or_default();
        self.tables.insert(child, table);
    }

    /// Closes the CLOEXEC descriptors of a process at exec, or all at exit. Returns their files.
    pub(super) fn drop_all(&mut self, pid: Pid, only_cloexec: bool) -> Vec<FileId> {
        let table = self.tables.entry(pid).or_default();
        let (gone, kept) =
            std::mem::take(table).into_iter().partition(|(_, slot)| slot.cloexec || !only_cloexec);
        *table = kept;
        let gone: BTreeMap<Fd, Slot> = gone;
        gone.into_values().map(|slot| slot.file).collect()
    }

    /// Returns true if a process has a descriptor of the file.
    pub(super) fn is_held(&self, file: FileId) -> bool {
        self.tables.values().flat_map(BTreeMap::values).any(|slot| slot.file == file)
    }

    /// Returns true if a recorded call has set the length of a memfd.
    pub(super) fn is_sized(&self, file: FileId) -> bool {
        self.files[file.0].is_sized
    }

    pub(super) fn set_sized(&mut self, file: FileId) {
        self.files[file.0].is_sized = true;
    }

    /// Ties two files, so that they share their doubts.
    pub(super) fn tie(&mut self, one: FileId, other: FileId) {
        let (kept, gone) = (self.files[one.0].circle, self.files[other.0].circle);
        let is_doubtful = self.is_doubtful(one) || self.is_doubtful(other);
        for file in self.files.iter_mut().filter(|file| [kept, gone].contains(&file.circle)) {
            file.circle = kept;
            file.is_doubtful = is_doubtful;
        }
    }

    pub(super) fn is_doubtful(&self, file: FileId) -> bool {
        self.files[file.0].is_doubtful
    }

    /// Marks a file as doubtful, with all files tied to it, and for a socket pair both ends.
    pub(super) fn doubt(&mut self, file: FileId) {
        let circle = self.files[file.0].circle;
        let wire = match *self.kind(file) {
            Kind::Packets { wire, .. } => Some(wire),
            _ => None,
        };
        let is_end = |file: &File| {
            wire.is_some()
                && matches!(file.kind, Kind::Packets { wire: other, .. } if Some(other) == wire)
        };
        let near = self.files.iter_mut().filter(|file| file.circle == circle || is_end(file));
        near.for_each(|file| file.is_doubtful = true);
    }
}

/// Returns every descriptor that a call names.
pub(super) fn descriptors(call: &Call) -> Vec<Fd> {
    match call {
        Call::File(call) => of_file(call).into_iter().collect(),
        Call::Memory(call) => of_memory(call).into_iter().collect(),
        Call::Process(call) => of_process(call).into_iter().collect(),
        Call::Socket(SocketCall::Send { fd, fds, .. }) => [&[*fd], fds.as_slice()].concat(),
        Call::Socket(
            SocketCall::Receive { fd, .. }
            | SocketCall::ReceiveFew { fd, .. }
            | SocketCall::ShutdownReceive { fd },
        )
        | Call::Guest(GuestCall::Save { fd } | GuestCall::Load { fd }) => vec![*fd],
        Call::Guest(GuestCall::Stop | GuestCall::Start) => Vec::new(),
        Call::Iommufd(_)
        | Call::Device(_)
        | Call::Container(_)
        | Call::Kvm(_)
        | Call::Ioctl { .. } => Asked::of(call).expect("an ioctl").descriptors(),
    }
}

fn of_file(call: &FileCall) -> Option<Fd> {
    match call {
        FileCall::Open { .. } | FileCall::Eventfd => None,
        FileCall::Close { fd }
        | FileCall::Dup { fd }
        | FileCall::SetCloexec { fd, .. }
        | FileCall::SetNonblock { fd, .. }
        | FileCall::Stat { fd }
        | FileCall::WriteAt { fd, .. }
        | FileCall::ReadAt { fd, .. }
        | FileCall::ReadEvent { fd }
        | FileCall::WriteEvent { fd, .. }
        | FileCall::Read { fd, .. }
        | FileCall::Write { fd, .. } => Some(*fd),
    }
}

fn of_memory(call: &MemoryCall) -> Option<Fd> {
    match call {
        MemoryCall::Memfd { .. } | MemoryCall::Munmap { .. } => None,
        MemoryCall::Mmap { fd, .. } => *fd,
        MemoryCall::Truncate { fd, .. }
        | MemoryCall::SealSize { fd }
        | MemoryCall::AddSeals { fd, .. }
        | MemoryCall::ReopenReadOnly { fd }
        | MemoryCall::PunchHole { fd, .. } => Some(*fd),
    }
}

fn of_process(call: &ProcessCall) -> Option<Fd> {
    match call {
        ProcessCall::GetMemlock
        | ProcessCall::SetMemlock { .. }
        | ProcessCall::GetUid
        | ProcessCall::SetUid { .. }
        | ProcessCall::GetCapIpcLock
        | ProcessCall::DropCapIpcLock
        | ProcessCall::Exit { .. } => None,
        ProcessCall::Exec { image: fd }
        | ProcessCall::Kill { pidfd: fd }
        | ProcessCall::AwaitExit { pidfd: fd } => Some(*fd),
    }
}
