//! State of a run: the simulated machine, and the objects, mappings and files that the next steps
//! may use.

use super::{After, ProcessObservation, Step};
use crate::target::simulated::SimulatedTarget;
use handoff_model::abi::argument::Ioctl;
use handoff_model::abi::call::{
    Call, CallResult, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, PAGE_BYTES, Pid, Uid, Va};
use handoff_model::abi::request::{IOMMU_IOAS_MAP_FILE, IOMMU_TEST_CMD};
use handoff_model::abi::uapi;
use handoff_model::abi::view::{Account, FileKind, FileRef};
use handoff_sim_kernel::{Failure, Machine, Placement, ProcessSpec, Profile};
use iommufd_bindings::iommu_ioas_map_file;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

/// `IOMMU_TEST_OP_*` that create a mock device.
pub(super) const MOCK_DOMAIN: u32 = 2;
pub(super) const MOCK_DOMAIN_FLAGS: u32 = 12;

/// Lowest IOVA that steps use by preference.
pub(super) const BASE: u64 = 0x1000_0000;

/// The machine, and the test's knowledge of it.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) machine: Machine,
    /// The steps before the first random one.
    pub(super) prologue: Vec<Step>,
    /// Every process that was ever created.
    pub(super) processes: Vec<Pid>,
    /// Known objects of each context, by its file. A file's name is reused after its release.
    pub(super) known: BTreeMap<FileRef, Known>,
    /// The context of each bound device file.
    pub(super) bound: BTreeMap<FileRef, FileRef>,
    /// True if a mock device was created. Then no real device is bound, because a real IOMMU takes
    /// a mock domain for its own and the kernel hangs.
    pub(super) has_mock: bool,
    /// True if a dead memory map was not uncharged (H3). On a real kernel, pinning or unpinning
    /// then hangs.
    pub(super) is_stuck: bool,
    /// Mappings: process, address, length in bytes.
    pub(super) mappings: Vec<(Pid, Va, u64)>,
    /// Result of the last step.
    pub(super) after: Option<After>,
    /// The branch that refused the last step.
    pub(super) refusal: Option<Failure>,
}

/// Known objects of a context.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) spaces: BTreeSet<ObjectId>,
    /// HWPTs, devices, and other objects that may have been created.
    pub(super) others: BTreeSet<ObjectId>,
}

/// Limits on locked memory in pages; low ones are reached often.
const LIMITS: [u64; 5] = [0, 4, 8, 16, u64::MAX];

/// Generates a process of any kind.
pub(super) fn spec() -> impl Strategy<Value = ProcessSpec> {
    let uid = prop::sample::select(vec![0, 1000, 1000, 1000, 1001]);
    (uid, prop::bool::weighted(0.2), prop::sample::select(&LIMITS)).prop_map(
        |(uid, cap_ipc_lock, pages)| ProcessSpec {
            uid: Uid(uid),
            cap_ipc_lock,
            memlock_bytes: pages.saturating_mul(PAGE_BYTES),
        },
    )
}

impl State {
    /// Returns the state without processes.
    pub(super) fn nothing(profile: Profile) -> Self {
        Self {
            machine: SimulatedTarget::new(profile).machine().clone(),
            prologue: Vec::new(),
            processes: Vec::new(),
            known: BTreeMap::new(),
            bound: BTreeMap::new(),
            has_mock: false,
            is_stuck: false,
            mappings: Vec::new(),
            after: None,
            refusal: None,
        }
    }

    /// Returns the living processes.
    pub(super) fn alive(&self) -> Vec<Pid> {
        self.processes.iter().copied().filter(|pid| self.machine.alive(*pid)).collect()
    }

    pub(super) fn call(&mut self, pid: Pid, call: &Call) -> CallResult {
        let place = Placement::default();
        let takes = matches!(call, Call::Iommufd(IommufdCall::ChangeProcess { .. }));
        let has_dead_owner = takes
            && self.machine.view().page_sets.iter().any(|set| {
                set.owner_alive == Some(false) && matches!(set.account, Some(Account::Process(_)))
            });
        let (answer, refusal) = self.machine.call_explained(pid, call, &place);
        self.refusal = refusal;
        self.is_stuck |= answer == Err(Errno::EINVAL) && has_dead_owner;
        self.note(pid, call, &answer);
        answer
    }

    /// Returns true if a call of a living process returns without waiting, its answer can be
    /// compared, and its effects end with the process.
    pub(super) fn can_compare(&self, pid: Pid, call: &Call) -> bool {
        let kind = |fd: Fd| self.kind(pid, fd);
        match call {
            // The other kernel's `Kernel` implementation unmaps only what it has mapped.
            Call::Memory(MemoryCall::Munmap { va, length_bytes }) => {
                self.mappings.contains(&(pid, *va, *length_bytes))
            }
            // A socket in flight over a socket is released only by the kernel's garbage collection.
            Call::Socket(SocketCall::Send { fds, .. }) => {
                !fds.iter().any(|fd| kind(*fd) == Some(FileKind::Socket))
            }
            // A read of another file may wait.
            Call::File(FileCall::ReadEvent { fd }) => kind(*fd) == Some(FileKind::Eventfd),
            // No other call of the generator may wait.
            Call::File(_)
            | Call::Memory(_)
            | Call::Process(_)
            | Call::Socket(_)
            | Call::Guest(_) => true,
            // This includes calls with mutated bytes.
            Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => mapped_file(call).is_none_or(|fd| {
                [None, Some(FileKind::Memfd), Some(FileKind::Eventfd)].contains(&kind(fd))
            }),
        }
    }

    /// Returns the kind of a descriptor's file.
    fn kind(&self, pid: Pid, fd: Fd) -> Option<FileKind> {
        self.machine.kind_of(pid, fd)
    }

    /// Returns the open file of a descriptor.
    fn file(&self, pid: Pid, fd: Fd) -> Option<FileRef> {
        self.machine.file_of(pid, fd)
    }

    /// Records created resources, and forgets released ones.
    fn note(&mut self, pid: Pid, call: &Call, answer: &CallResult) {
        let Ok(reply) = answer else { return };
        match call {
            Call::File(call) => self.note_file(pid, call, reply),
            Call::Memory(call) => self.note_memory(pid, call, reply),
            Call::Iommufd(call) => self.note_iommufd(pid, call, reply),
            Call::Device(call) => self.note_device(pid, call, reply),
            Call::Ioctl { fd, ioctl } => self.note_bytes(pid, *fd, ioctl, reply),
            // They neither map memory nor create an object in a context.
            Call::Process(_)
            | Call::Socket(_)
            | Call::Guest(_)
            | Call::Container(_)
            | Call::Kvm(_) => {}
        }
    }

    fn note_file(&mut self, pid: Pid, call: &FileCall, reply: &Reply) {
        match (call, reply) {
            (FileCall::Open { .. }, Reply::Fd(fd)) => {
                let file = self.file(pid, *fd).expect("just opened");
                self.known.insert(file, Known::default());
                self.bound.remove(&file);
            }
            (
                FileCall::Open { .. }
                | FileCall::Close { .. }
                | FileCall::Dup { .. }
                | FileCall::SetCloexec { .. }
                | FileCall::SetNonblock { .. }
                | FileCall::Stat { .. }
                | FileCall::WriteAt { .. }
                | FileCall::ReadAt { .. }
                | FileCall::Eventfd
                | FileCall::ReadEvent { .. }
                | FileCall::WriteEvent { .. }
                | FileCall::Read { .. }
                | FileCall::Write { .. },
                _,
            ) => {}
        }
    }

    fn note_memory(&mut self, pid: Pid, call: &MemoryCall, reply: &Reply) {
        match (call, reply) {
            (MemoryCall::Mmap { length_bytes, .. }, Reply::Va(va)) => {
                self.mappings.push((pid, *va, *length_bytes));
            }
            (MemoryCall::Munmap { va, .. }, _) => {
                self.mappings.retain(|(of, at, _)| (*of, at) != (pid, va));
            }
            (
                MemoryCall::Memfd { .. }
                | MemoryCall::Truncate { .. }
                | MemoryCall::SealSize { .. }
                | MemoryCall::AddSeals { .. }
                | MemoryCall::ReopenReadOnly { .. }
                | MemoryCall::PunchHole { .. }
                | MemoryCall::Mmap { .. },
                _,
            ) => {}
        }
    }

    /// Returns the known objects of a descriptor's context, or of the context to which its device
    /// is bound.
    fn known_at(&mut self, pid: Pid, fd: Fd) -> Option<&mut Known> {
        let file = self.file(pid, fd)?;
        let context = self.bound.get(&file).copied().unwrap_or(file);
        Some(self.known.entry(context).or_default())
    }

    fn note_iommufd(&mut self, pid: Pid, call: &IommufdCall, reply: &Reply) {
        match (call, reply) {
            (IommufdCall::IoasAlloc { iommufd }, Reply::Object(id)) => {
                if let Some(known) = self.known_at(pid, *iommufd) {
                    known.spaces.insert(*id);
                }
            }
            (IommufdCall::HwptAlloc { iommufd, .. }, Reply::Object(id)) => {
                if let Some(known) = self.known_at(pid, *iommufd) {
                    known.others.insert(*id);
                }
            }
            (IommufdCall::Destroy { iommufd, id }, _) => {
                if let Some(known) = self.known_at(pid, *iommufd) {
                    known.spaces.remove(id);
                    known.others.remove(id);
                }
            }
            (
                IommufdCall::IoasAlloc { .. }
                | IommufdCall::IoasIovaRanges { .. }
                | IommufdCall::IoasMap { .. }
                | IommufdCall::IoasMapFile { .. }
                | IommufdCall::IoasCopy { .. }
                | IommufdCall::IoasUnmap { .. }
                | IommufdCall::ChangeProcess { .. }
                | IommufdCall::GetRlimitMode { .. }
                | IommufdCall::SetRlimitMode { .. }
                | IommufdCall::HwptAlloc { .. }
                | IommufdCall::ProbeHwpt { .. }
                | IommufdCall::ProbeNesting { .. }
                | IommufdCall::GetHwInfo { .. },
                _,
            ) => {}
        }
    }

    fn note_device(&mut self, pid: Pid, call: &DeviceCall, reply: &Reply) {
        match (call, reply) {
            (DeviceCall::Bind { device, iommufd }, Reply::Object(id)) => {
                let (device, iommufd) = (self.file(pid, *device), self.file(pid, *iommufd));
                if let (Some(device), Some(context)) = (device, iommufd) {
                    self.bound.insert(device, context);
                    self.known.entry(context).or_default().others.insert(*id);
                }
            }
            (DeviceCall::Attach { device, .. }, Reply::Object(id)) => {
                if let Some(known) = self.known_at(pid, *device) {
                    known.others.insert(*id);
                }
            }
            (
                DeviceCall::Bind { .. }
                | DeviceCall::Attach { .. }
                | DeviceCall::Detach { .. }
                | DeviceCall::Info { .. }
                | DeviceCall::RegionInfo { .. }
                | DeviceCall::IrqInfo { .. }
                | DeviceCall::SetIrqs { .. }
                | DeviceCall::Reset { .. },
                _,
            ) => {}
        }
    }

    fn note_bytes(&mut self, pid: Pid, fd: Fd, ioctl: &Ioctl, reply: &Reply) {
        let Reply::Ioctl(outcome) = reply else { return };
        if outcome.result.is_err() {
            return;
        }
        if let Some(known) = self.known_at(pid, fd) {
            known.others.extend(objects(&outcome.bytes));
            self.has_mock |= makes_mock_device(ioctl);
        }
    }

    pub(super) fn seen(&self) -> BTreeMap<Pid, ProcessObservation> {
        let alive = self.alive().into_iter();
        alive
            .map(|pid| {
                let vm_pin_pages = self.machine.vm_pin_pages(pid);
                let vm_lck_pages = self.machine.vm_lck_pages(pid);
                (pid, ProcessObservation { vm_pin_pages, vm_lck_pages })
            })
            .collect()
    }
}

/// Returns the file of a MAP_FILE. A file that refers back to the context (the iommufd itself, a
/// device bound to it, a socket with it in flight) is never released: the mapping holds the file,
/// and the file the mapping.
fn mapped_file(call: &Call) -> Option<Fd> {
    let (_, ioctl) =
        uapi::encode(call).filter(|(_, ioctl)| ioctl.request == IOMMU_IOAS_MAP_FILE)?;
    let fd = ioctl.argument.bytes().get(offset_of!(iommu_ioas_map_file, fd)..)?.first_chunk()?;
    Some(Fd(i32::from_ne_bytes(*fd)))
}

/// Returns the words of a structure that may be object ids.
fn objects(bytes: &[u8]) -> impl Iterator<Item = ObjectId> + '_ {
    const OBJECTS_MAX: u32 = 40;
    let words = bytes
        .chunks_exact(4)
        .skip(2)
        .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")));
    words.filter(|word| (1..OBJECTS_MAX).contains(word)).map(ObjectId)
}

/// Returns true if the ioctl creates a mock device when it succeeds.
fn makes_mock_device(ioctl: &Ioctl) -> bool {
    let op = ioctl.argument.bytes().get(4..).and_then(|rest| rest.first_chunk());
    let op = op.map(|bytes| u32::from_ne_bytes(*bytes));
    ioctl.request == IOMMU_TEST_CMD && [Some(MOCK_DOMAIN), Some(MOCK_DOMAIN_FLAGS)].contains(&op)
}
