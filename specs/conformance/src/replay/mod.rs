//! Replay of a recorded run on the simulated kernel, call by call.
//!
//! The simulator is correct if Linux would give the same answers. So every run on a real kernel, of
//! our own or of a foreign program, is a test: each call that the simulator models is made with the
//! recorded arguments, and its answer is compared with the recorded one. A difference is a finding
//! about the simulator or about the kernel.
//!
//! Processes are followed from their first event through fork, exec and exit; descriptors through
//! open, dup, close and messages; memory through mmap. Where a kernel may choose (descriptor
//! numbers, addresses), the simulator is given the recorded choice; `compare` defines the values on
//! which two kernels must agree. For a foreign program, every ioctl is made with the recorded
//! bytes, and every byte of its structure and buffers is compared. Our own runs record typed
//! answers, which are compared as such. Devices are plugged in beforehand, as the trace itself
//! describes them (`devices`).
//!
//! An event that the simulator has no call for is *not modelled*; if it succeeded, its files become
//! doubtful. A call about an unknown file, or one about a doubtful file that is answered
//! differently, is *not followed*. After a difference, the files of the call also become doubtful,
//! so that one cause produces one finding, not hundreds.
//!
//! Events take effect in the order of their returns, except for those that send: they take effect
//! on entry, because a receiver may return before the sender does.

mod both;
mod compare;
mod connections;
mod devices;
mod effects;
mod events;
mod files;
mod ioctls;
mod make;
mod memory;
mod other;
mod report;
mod sockets;

pub use report::{Difference, Report, STORIES_MAX, Share};

use connections::Connections;
use files::{Files, Kind};
use handoff_model::abi::call::{Call, CompletedCall, FileCall, MemoryCall, Reply};
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use handoff_model::trace::{Event, Header, ReadError, Reader, Record, made_as_bytes, made_of};
use handoff_sim_kernel::{Machine, Profile, is_modelled};
use ioctls::Asked;
use memory::Known;
use other::FileMaps;
use std::collections::{BTreeMap, BTreeSet};

/// Reasons why a trace cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The trace cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The page size differs from the simulator's.
    #[error("line 1: pages of {page_size} bytes, but the simulator supports only {PAGE_BYTES}")]
    PageSize {
        /// The recorded page size in bytes.
        page_size: u64,
    },
    /// No simulated kernel corresponds to the recorded one.
    #[error(
        "line 1: no simulated kernel stands for kernel {kernel:?}; supported are 6.2, and 6.12 and \
         newer"
    )]
    Kernel {
        /// The release in the trace's header.
        kernel: String,
    },
}

/// Replays a trace from its lines, without line ends. The simulated kernel is the newest one that
/// is not newer than the recorded; 6.2 stands only for itself, because containers and device files
/// changed soon after.
pub fn replay(lines: impl Iterator<Item = String>) -> Result<Report, ReplayError> {
    let reader = Reader::new(lines)?;
    let profile = profile(reader.header())?;
    let kernel = reader.header().kernel.clone();
    let is_foreign = reader.header().source == "ptrace";
    let mut events = reader.collect::<Result<Vec<(usize, Event)>, ReadError>>()?;
    events.sort_by_key(|(_, event)| effect_ns(event));
    let mut replay = Replay::new(profile, is_foreign, &events);
    for (line, event) in &events {
        replay.event(*line, event);
    }
    Ok(Report { kernel, profile: profile.name().to_owned(), seen: events.len(), ..replay.report })
}

fn profile(header: &Header) -> Result<Profile, ReplayError> {
    if header.page_size != PAGE_BYTES {
        return Err(ReplayError::PageSize { page_size: header.page_size });
    }
    let kernel = &header.kernel;
    let recorded = release(kernel);
    let is_not_newer = |profile: &Profile| {
        let known = release(profile.name());
        known.is_some() && known <= recorded && (known != Some((6, 2)) || known == recorded)
    };
    Profile::by_name(kernel)
        .or_else(|| Profile::all().filter(is_not_newer).last())
        .ok_or_else(|| ReplayError::Kernel { kernel: kernel.clone() })
}

/// Returns the major and minor number of a release such as `7.2.13`.
fn release(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns the time at which an event took effect, in nanoseconds.
fn effect_ns(event: &Event) -> u64 {
    match event.record {
        Record::Sendmsg { .. }
        | Record::Bind { .. }
        | Record::Listen { .. }
        | Record::Connect { .. }
            if event.enter_ns > 0 =>
        {
            event.enter_ns
        }
        _ => event.t_ns,
    }
}

/// A replay in progress. Pids and descriptors are those of the trace, except where named
/// "simulated".
struct Replay {
    machine: Machine,
    /// True for a foreign program's trace, whose ioctls are bytes.
    is_foreign: bool,
    /// The simulated process of each recorded one.
    processes: BTreeMap<Pid, Pid>,
    /// A simulated process that holds descriptors in flight.
    broker: Pid,
    broker_fds: i32,
    files: Files,
    wires: Connections,
    memory: BTreeMap<Pid, Known>,
    file_maps: FileMaps,
    lost_guests: BTreeSet<Pid>,
    report: Report,
}

impl Replay {
    fn new(profile: Profile, is_foreign: bool, events: &[(usize, Event)]) -> Self {
        let mut machine = Machine::new(profile);
        for device in devices::learn(events.iter().map(|(_, event)| event)) {
            machine.plug(device);
        }
        let broker = machine.spawn(events::UNSEEN);
        Self {
            machine,
            is_foreign,
            processes: BTreeMap::new(),
            broker,
            broker_fds: 1000,
            files: Files::default(),
            wires: Connections::default(),
            memory: BTreeMap::new(),
            file_maps: FileMaps::new(),
            lost_guests: BTreeSet::new(),
            report: Report::default(),
        }
    }

    fn event(&mut self, line: usize, event: &Event) {
        if is_of_devices(event) {
            self.report.of_devices.seen += 1;
        }
        if !matches!(event.record, Record::Start { .. } | Record::Exit { .. }) {
            let pid = self.meet(event.pid);
            if !self.machine.alive(pid) {
                return self.count_not_followed(event);
            }
        }
        if self.replay_event(event) {
            self.report.told += 1;
            return;
        }
        let made = if self.is_foreign { made_as_bytes(event) } else { made_of(event) };
        match made.map(|made| self.of_its_file(made)) {
            Ok(made) => match self.unmodelled_name(event, &made) {
                Some(name) => self.not_modelled(event, &name),
                None => self.make(line, event, &made),
            },
            Err(not_modelled) => self.not_modelled(event, &not_modelled.name),
        }
    }

    /// Turns an eventfd call into a plain read or write of eight bytes if its file is not an
    /// eventfd.
    fn of_its_file(&self, made: CompletedCall) -> CompletedCall {
        let is_event = |fd: Fd| match self.files.kind_at(made.pid, fd) {
            Some(Kind::Simulated(kind)) => *kind == FileKind::Eventfd,
            _ => true,
        };
        match (&made.call, &made.answer) {
            (Call::File(FileCall::ReadEvent { fd }), answer) if !is_event(*fd) => {
                let bytes = |reply: &Reply| match reply {
                    Reply::Count(count) => Reply::Bytes(count.to_ne_bytes().to_vec()),
                    other => other.clone(),
                };
                let answer = answer.as_ref().map(bytes).map_err(|errno| *errno);
                CompletedCall {
                    call: Call::File(FileCall::Read { fd: *fd, length_bytes: 8 }),
                    answer,
                    ..made
                }
            }
            (Call::File(FileCall::WriteEvent { fd, count }), answer) if !is_event(*fd) => {
                let bytes = count.to_ne_bytes().to_vec();
                let answer = answer.as_ref().map(|_| Reply::Length(8)).map_err(|errno| *errno);
                CompletedCall {
                    call: Call::File(FileCall::Write { fd: *fd, bytes }),
                    answer,
                    ..made
                }
            }
            _ => made,
        }
    }

    /// Returns the simulated process. A process without a `start` event is created as
    /// `events::UNSEEN`.
    fn meet(&mut self, pid: Pid) -> Pid {
        let machine = &mut self.machine;
        *self.processes.entry(pid).or_insert_with(|| machine.spawn(events::UNSEEN))
    }

    /// Returns the name under which a call counts as not modelled because of the kind of its file.
    fn unmodelled_name(&self, event: &Event, made: &CompletedCall) -> Option<String> {
        let kind = |fd: Fd| match self.files.kind_at(made.pid, fd) {
            Some(Kind::Simulated(kind)) => Some(*kind),
            _ => None,
        };
        let is_none_of = |fd: Fd, known: &[FileKind]| kind(fd).is_some_and(|k| !known.contains(&k));
        if let Some(asked) = Asked::of(&made.call) {
            let is_known = kind(asked.fd).is_none_or(|kind| is_modelled(&asked.ioctl, kind));
            return (!is_known).then(|| event.name());
        }
        let is_other = match &made.call {
            Call::File(call) => match call {
                FileCall::ReadEvent { fd } | FileCall::WriteEvent { fd, .. } => {
                    is_none_of(*fd, &[FileKind::Eventfd])
                }
                FileCall::Read { fd, .. } | FileCall::Write { fd, .. } => {
                    is_none_of(*fd, &[FileKind::Other])
                }
                FileCall::ReadAt { fd, .. } | FileCall::WriteAt { fd, .. } => {
                    is_none_of(*fd, WITH_OFFSETS)
                }
                FileCall::Open { .. }
                | FileCall::Close { .. }
                | FileCall::Dup { .. }
                | FileCall::SetCloexec { .. }
                | FileCall::SetNonblock { .. }
                | FileCall::Stat { .. }
                | FileCall::Eventfd => false,
            },
            Call::Memory(call) => match call {
                MemoryCall::Mmap { fd: Some(fd), .. } => is_none_of(*fd, WITH_OFFSETS),
                MemoryCall::Mmap { fd: None, .. }
                | MemoryCall::Memfd { .. }
                | MemoryCall::Truncate { .. }
                | MemoryCall::SealSize { .. }
                | MemoryCall::AddSeals { .. }
                | MemoryCall::ReopenReadOnly { .. }
                | MemoryCall::PunchHole { .. }
                | MemoryCall::Munmap { .. } => false,
            },
            // Their descriptors are of one kind, or the ioctl's file was checked above.
            Call::Process(_)
            | Call::Socket(_)
            | Call::Guest(_)
            | Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => false,
        };
        is_other.then(|| format!("{} (other file)", event.name()))
    }

    fn not_modelled(&mut self, event: &Event, name: &str) {
        let name = if is_of_kvm(event) && name.starts_with("0x") { KVM_OTHERS } else { name };
        *self.report.not_modelled.entry(name.to_owned()).or_default() += 1;
        self.effects_unmodelled(event);
    }

    fn not_followed(&mut self, event: &Event) {
        self.count_not_followed(event);
        self.effects_unmodelled(event);
    }

    fn count_not_followed(&mut self, event: &Event) {
        *self.report.not_followed.entry(event.name()).or_default() += 1;
    }
}

/// Returns true if an event is an ioctl of iommufd or VFIO.
fn is_of_devices(event: &Event) -> bool {
    matches!(event.record, Record::Ioctl { req, .. } if req >> 8 == nr::IOMMU_DESTROY >> 8)
}

/// Kinds of files that can be read at an offset and mapped.
const WITH_OFFSETS: &[FileKind] = &[FileKind::Memfd, FileKind::Device];

/// Name for KVM's many ioctls that have no name here.
const KVM_OTHERS: &str = "KVM (others)";

fn is_of_kvm(event: &Event) -> bool {
    matches!(event.record, Record::Ioctl { req, .. } if req >> 8 & 0xff == nr::KVM_CREATE_VM >> 8)
}
