//! Files that do not belong to the handoff, and memory in variants that [`Call`] does not have.
//!
//! A program opens logs and scripts, maps pages privately, tries to execute missing files. Only the
//! occupied descriptors and addresses matter. Memory that is mapped readable and writable becomes
//! anonymous memory of the simulated process; memory that is only reserved or readable is unknown.
//!
//! A recorder omits the memory of programs, heaps and stacks, and mprotect. So memory that an ioctl
//! names and that no recorded mapping covers is *unknown*. If the recorded ioctl succeeded, the
//! memory existed, and the simulated process gets some; if it failed, a different answer is not
//! followed.

use super::Replay;
use super::files::Kind;
use super::ioctls::Asked;
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::{Call, CompletedCall, MemoryCall, Reply};
use handoff_model::abi::ids::{Fd, Pid, Va};
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use handoff_model::trace::{Event, Record, made_of};
use handoff_sim_kernel::Placement;
use std::collections::BTreeMap;
use std::ops::Range;

/// `MFD_HUGETLB`.
const MFD_HUGETLB: u32 = 4;
/// `MFD_CLOEXEC`.
const MFD_CLOEXEC: u32 = 1;
/// `O_CLOEXEC`.
const O_CLOEXEC: u32 = 0x8_0000;
/// `PROT_READ | PROT_WRITE`.
const PROT_READ_WRITE: u32 = 3;
/// End of user addresses.
const VA_END: u64 = 0x7fff_ffff_f000;

/// A file that was mapped for DMA, with the offset and the length.
pub(super) struct FileMap {
    fd: Fd,
    offset_bytes: u64,
    length_bytes: u64,
}

/// Mapped files by process and IOVA.
pub(super) type FileMaps = BTreeMap<(Pid, u64), FileMap>;

/// Returns true if a path is one of the handoff's own files.
fn is_ours(path: &str) -> bool {
    path == "/dev/iommu"
        || path == "/dev/kvm"
        || path.starts_with("/dev/vfio/")
        || path.starts_with("/proc/self/fd/")
}

impl Replay {
    pub(super) fn replay_other(&mut self, event: &Event) -> bool {
        let pid = event.pid;
        match &event.record {
            Record::Open { path, flags } if !is_ours(path) => {
                self.open_other(event, flags & O_CLOEXEC != 0);
            }
            Record::Memfd { name, flags } if flags & MFD_HUGETLB != 0 => {
                self.open_huge(event, name, flags & MFD_CLOEXEC != 0);
            }
            Record::Exec { .. } => return !event.succeeded() && made_of(event).is_err(),
            Record::Mremap { addr, old_length, new_length, .. } if event.succeeded() => {
                self.unmap(pid, *addr, *old_length);
                self.unmap(pid, event.ret.unwrap_or(0).cast_unsigned(), *new_length);
            }
            Record::Mmap { fd, .. } if event.succeeded() && !self.is_mappable(event, *fd) => {
                self.map_other(event);
            }
            Record::Read { fd, .. }
            | Record::Write { fd, .. }
            | Record::Truncate { fd, .. }
            | Record::Fallocate { fd, .. }
            | Record::Seal { fd, .. }
            | Record::Setfl { fd, .. }
            | Record::Ioctl { fd, .. } => return self.is_other(pid, *fd),
            Record::Close { fd } | Record::Dup { fd, .. } | Record::Setfd { fd, .. } => {
                return self.is_standard(pid, *fd);
            }
            _ => return false,
        }
        true
    }

    fn is_other(&self, pid: Pid, fd: Fd) -> bool {
        self.files.kind_at(pid, fd) == Some(&Kind::Foreign) || self.is_standard(pid, fd)
    }

    /// Returns true for an unrecorded descriptor with which every program begins.
    fn is_standard(&self, pid: Pid, fd: Fd) -> bool {
        (0..3).contains(&fd.0) && self.files.at(pid, fd).is_none()
    }

    fn open_other(&mut self, event: &Event, cloexec: bool) {
        if let Some(fd) = opened(event) {
            self.vacate(event.pid, fd);
            self.files.open(event.pid, fd, Kind::Foreign, cloexec);
        }
    }

    /// Opens a memfd of huge pages as an ordinary memfd.
    fn open_huge(&mut self, event: &Event, name: &str, cloexec: bool) {
        let Some(fd) = opened(event) else { return };
        self.vacate(event.pid, fd);
        let simulated = self.meet(event.pid);
        let place = Placement { fd: Some(fd), ..Placement::default() };
        let _ = self.machine.call_placed(
            simulated,
            &Call::Memory(MemoryCall::Memfd { name: name.to_owned() }),
            &place,
        );
        self.files.open(event.pid, fd, Kind::Simulated(FileKind::Memfd), cloexec);
        self.set_cloexec(event.pid, fd, cloexec);
    }

    /// Returns true if the simulator has a call for the mapping.
    fn is_mappable(&self, event: &Event, fd: Fd) -> bool {
        let known = [FileKind::Memfd, FileKind::Device].map(Kind::Simulated);
        let kind = self.files.kind_at(event.pid, fd);
        made_of(event).is_ok() && (fd == Fd(-1) || kind.is_some_and(|kind| known.contains(kind)))
    }

    fn map_other(&mut self, event: &Event) {
        let Record::Mmap { length, prot, .. } = event.record else { return };
        let va = event.ret.unwrap_or(0).cast_unsigned();
        self.unmap(event.pid, va, length);
        if prot & PROT_READ_WRITE == PROT_READ_WRITE {
            self.map_anonymous(event.pid, va, length);
        }
    }

    pub(super) fn map_anonymous(&mut self, pid: Pid, va: u64, length_bytes: u64) {
        let simulated = self.meet(pid);
        let place = Placement { va: Some(Va(va)), ..Placement::default() };
        let call = MemoryCall::mmap(None, 0, length_bytes);
        match self.machine.call_placed(simulated, &call, &place) {
            Ok(Reply::Va(Va(at))) if at == va => {
                self.memory.entry(pid).or_default().insert(va, length_bytes);
            }
            Ok(Reply::Va(elsewhere)) => {
                let unmap = Call::Memory(MemoryCall::Munmap { va: elsewhere, length_bytes });
                let _ = self.machine.call(simulated, &unmap);
            }
            _ => {}
        }
    }

    /// Records which file a MAP_FILE mapped, and where.
    pub(super) fn note_file_map(&mut self, pid: Pid, asked: &Asked, recorded: &IoctlOutcome) {
        const IOVA: usize = 32;
        if !asked.is(nr::IOMMU_IOAS_MAP_FILE, None) {
            return;
        }
        let iova = recorded.bytes.get(IOVA..).and_then(|rest| rest.first_chunk());
        let (Some(iova), Some(fd), Some(offset_bytes), Some(length_bytes)) =
            (iova, asked.word(12), asked.long(16), asked.long(24))
        else {
            return;
        };
        let map = FileMap { fd: Fd(fd.cast_signed()), offset_bytes, length_bytes };
        self.file_maps.insert((pid, u64::from_ne_bytes(*iova)), map);
    }

    /// Gives a process the memory that it must have had. If a test operation compares addresses
    /// with the memory at an IOVA, they must show the file that is mapped there.
    pub(super) fn supply(&mut self, pid: Pid, asked: &Asked, range: &Range<u64>) {
        let length_bytes = range.end - range.start;
        let va = Va(range.start);
        if let (Some(iova), Some(named)) = (asked.checked_iova(), asked.addresses())
            && let Some((fd, offset_bytes)) = self.file_at(pid, iova)
            && let Some(offset_bytes) = (offset_bytes + range.start).checked_sub(named.start)
        {
            let simulated = self.meet(pid);
            let place = Placement { va: Some(va), ..Placement::default() };
            let call = MemoryCall::mmap(Some(fd), offset_bytes, length_bytes);
            if self.machine.call_placed(simulated, &call, &place) == Ok(Reply::Va(va)) {
                return self.memory.entry(pid).or_default().insert(va.0, length_bytes);
            }
        }
        self.map_anonymous(pid, va.0, length_bytes);
    }

    /// Returns the file and the offset that a process last mapped at an IOVA.
    fn file_at(&self, pid: Pid, iova: u64) -> Option<(Fd, u64)> {
        let ((_, first), map) = self.file_maps.range((pid, 0)..=(pid, iova)).next_back()?;
        let within = iova - first;
        (within < map.length_bytes).then_some((map.fd, map.offset_bytes + within))
    }

    /// Returns the unknown parts of the memory that a call names.
    pub(super) fn unknown_memory(&self, made: &CompletedCall) -> Vec<Range<u64>> {
        let named = Asked::of(&made.call).and_then(|asked| asked.addresses());
        let Some(named) = named.filter(|named| named.end <= VA_END) else { return Vec::new() };
        let length_bytes = named.end - named.start;
        match self.memory.get(&made.pid) {
            Some(known) => known.gaps(named.start, length_bytes),
            None => super::Known::default().gaps(named.start, length_bytes),
        }
    }
}

fn opened(event: &Event) -> Option<Fd> {
    let fd = event.ret.filter(|_| event.succeeded())?;
    i32::try_from(fd).ok().map(Fd)
}
