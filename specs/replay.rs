//! A recorded run, made again on the simulated kernel, call by call.
//!
//! The simulator is right when Linux would answer the same. So every run on a real kernel, our own
//! or a foreign program's, is an examination: each call that the simulator models is made there
//! with the recorded arguments, and its answer compared with the recorded one. A difference is a
//! finding about the simulator or about the kernel.
//!
//! Processes are followed from first sight through fork, exec and exit; descriptors through open,
//! dup, close and messages; memory through mmap. What a kernel is free to choose (descriptor
//! numbers, addresses) the simulator is made to choose likewise; what two kernels must agree on is
//! in `verdict`. Devices are plugged in beforehand, as the trace itself describes them (`devices`).
//!
//! An event that the simulator has no call for is *not modelled*; where it succeeded, the files that
//! it was about become doubtful. A call about a file that is not known, or one about a doubtful
//! file that is answered differently, is *not followed*. After a difference the files of the call
//! are doubtful, too: one cause is one finding, not hundreds.
//!
//! Events take effect in the order of their returns, but for those that send: they take effect when
//! they are made, because a receiver may return before the sender does.

mod devices;
mod effects;
mod files;
mod memory;
mod report;
mod sockets;
mod told;
mod verdict;
mod wires;

pub use report::{Difference, Report, STORIES_MAX};

use devices::is_register;
use files::{FileId, Files, Kind, descriptors};
use handoff_model::call::{Access, Answer, Call, Made, Reply};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, PAGE_BYTES, Pid};
use handoff_model::trace::{Event, Header, ReadError, Reader, Record, made_of};
use handoff_sim_kernel::{Machine, Placement, Profile};
use memory::Known;
use std::collections::{BTreeMap, BTreeSet};
use wires::Wires;

/// Why a trace cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its pages are not those of the simulator.
    #[error("line 1: pages of {page_size} bytes, the simulator knows {PAGE_BYTES}")]
    PageSize {
        /// Theirs, in bytes.
        page_size: u64,
    },
    /// No simulated kernel is as old.
    #[error("line 1: kernel {kernel:?} is none, or older than the oldest that is simulated")]
    Kernel {
        /// What the header says.
        kernel: String,
    },
}

/// Replays a trace, line by line without line ends. The simulated kernel is the newest one that is
/// not newer than the recorded.
pub fn replay(lines: impl Iterator<Item = String>) -> Result<Report, ReplayError> {
    let reader = Reader::new(lines)?;
    let profile = profile(reader.header())?;
    let kernel = reader.header().kernel.clone();
    let mut events = reader.collect::<Result<Vec<(usize, Event)>, ReadError>>()?;
    events.sort_by_key(|(_, event)| effect_ns(event));
    let mut replay = Replay::new(profile, &events);
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
    let is_not_newer = |profile: &Profile| {
        release(profile.name()).is_some_and(|known| Some(known) <= release(kernel))
    };
    Profile::by_name(kernel)
        .or_else(|| Profile::all().filter(is_not_newer).last())
        .ok_or_else(|| ReplayError::Kernel { kernel: kernel.clone() })
}

/// Major and minor number of a release such as `7.2.13`.
fn release(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// When an event took effect.
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

/// A replay under way. Pids and descriptors are those of the trace but where "simulated" is said.
struct Replay {
    machine: Machine,
    /// The simulated process of each.
    processes: BTreeMap<Pid, Pid>,
    /// A simulated process that holds what is in flight.
    broker: Pid,
    broker_fds: i32,
    files: Files,
    wires: Wires,
    memory: BTreeMap<Pid, Known>,
    lost_guests: BTreeSet<Pid>,
    report: Report,
}

impl Replay {
    fn new(profile: Profile, events: &[(usize, Event)]) -> Self {
        let mut machine = Machine::new(profile);
        for device in devices::learn(events.iter().map(|(_, event)| event)) {
            machine.plug(device);
        }
        let broker = machine.spawn(told::UNSEEN);
        Self {
            machine,
            processes: BTreeMap::new(),
            broker,
            broker_fds: 1000,
            files: Files::default(),
            wires: Wires::default(),
            memory: BTreeMap::new(),
            lost_guests: BTreeSet::new(),
            report: Report::default(),
        }
    }

    fn event(&mut self, line: usize, event: &Event) {
        if !matches!(event.record, Record::Start { .. } | Record::Exit { .. }) {
            let pid = self.meet(event.pid);
            if !self.machine.alive(pid) {
                return self.count_not_followed(event);
            }
        }
        if self.is_told(event) {
            self.report.told += 1;
            return;
        }
        match made_of(event) {
            Ok(made) => match self.unmodelled_name(event, &made) {
                Some(name) => self.not_modelled(event, name),
                None => self.make(line, event, &made),
            },
            Err(not_modelled) => self.not_modelled(event, not_modelled.name),
        }
    }

    /// The simulated process. A process of which nothing was said is as `told::UNSEEN` has it.
    fn meet(&mut self, pid: Pid) -> Pid {
        let machine = &mut self.machine;
        *self.processes.entry(pid).or_insert_with(|| machine.spawn(told::UNSEEN))
    }

    /// The name under which a call is not modelled after all, because of what its file is.
    fn unmodelled_name(&self, event: &Event, made: &Made) -> Option<String> {
        let kind = |fd: Fd| self.files.kind_at(made.pid, fd);
        if matches!(made.call, Call::Ioctl { .. }) {
            return Some(event.name());
        }
        let is_other = match &made.call {
            Call::Open { path } => !devices::is_modelled(path),
            Call::Mmap { fd: Some(fd), .. } => kind(*fd).is_some_and(|kind| *kind != Kind::Memfd),
            Call::ReadEvent { fd } | Call::WriteEvent { fd, .. } => {
                kind(*fd).is_some_and(|kind| *kind != Kind::Eventfd)
            }
            Call::Read { .. } | Call::Write { .. } => true,
            Call::ReadAt { fd, offset_bytes, length_bytes } => {
                kind(*fd) == Some(&Kind::Device) && !is_register(*offset_bytes, *length_bytes)
            }
            Call::WriteAt { fd, offset_bytes, bytes } => {
                kind(*fd) == Some(&Kind::Device) && !is_register(*offset_bytes, bytes.len() as u64)
            }
            _ => false,
        };
        is_other.then(|| format!("{} (other file)", event.name()))
    }

    fn not_modelled(&mut self, event: &Event, name: String) {
        *self.report.not_modelled.entry(name).or_default() += 1;
        self.effects_unmodelled(event);
    }

    fn not_followed(&mut self, event: &Event) {
        self.count_not_followed(event);
        self.effects_unmodelled(event);
    }

    fn count_not_followed(&mut self, event: &Event) {
        *self.report.not_followed.entry(event.name()).or_default() += 1;
    }

    /// Makes a call on the simulator, judges its answer, and notes what both kernels did.
    fn make(&mut self, line: usize, event: &Event, made: &Made) {
        let (files, are_known) = self.files_of(made);
        let Some(call) = self.files.translated(made.pid, &made.call).filter(|_| are_known) else {
            if made.answer.is_ok() {
                self.lose(made, &files);
            }
            return self.not_followed(event);
        };
        let is_doubtful = self.is_doubtful(made, &files);
        let simulated = self.simulate(made, &call);
        let agree = verdict::agree(&made.call, &made.answer, &simulated);
        if agree {
            self.report.agreeing += 1;
        } else if is_doubtful {
            self.count_not_followed(event);
        } else {
            let Made { pid, call, answer: recorded } = made.clone();
            let simulated = simulated.clone();
            self.report.differ(Difference { line, pid, call, recorded, simulated });
        }
        if !agree || !self.is_memory_known(made) {
            self.lose(made, &files);
        }
        self.effects(event, made, &simulated);
    }

    /// The files that a call names, as far as they are known, and whether all are, but for descriptors
    /// that are not open at all.
    fn files_of(&self, made: &Made) -> (Vec<FileId>, bool) {
        let named = descriptors(&made.call);
        let files: Vec<FileId> =
            named.iter().filter_map(|fd| self.files.at(made.pid, *fd)).collect();
        let are_known = files.len() == named.len() || made.answer == Err(Errno::EBADF);
        (files, are_known)
    }

    /// Whether the answer may differ for good reason.
    fn is_doubtful(&self, made: &Made, files: &[FileId]) -> bool {
        files.iter().any(|file| self.files.is_doubtful(*file))
            || is_of_guest(&made.call) && self.lost_guests.contains(&made.pid)
            || !self.is_memory_known(made)
    }

    /// The simulator does not know any more how things stand with what this call has changed.
    fn lose(&mut self, made: &Made, files: &[FileId]) {
        if made.call.access() == Access::Reads {
            return;
        }
        for file in files {
            self.files.doubt(*file);
        }
        if is_of_guest(&made.call) {
            self.lost_guests.insert(made.pid);
        }
    }

    /// Whether a call maps memory that the simulated process has.
    fn is_memory_known(&self, made: &Made) -> bool {
        match made.call {
            Call::IoasMap { user_va, length_bytes, .. } => {
                let known = self.memory.get(&made.pid);
                known.is_some_and(|known| known.covers(user_va.0, length_bytes))
            }
            _ => true,
        }
    }

    /// Makes the call, with the numbers that the recorded kernel chose.
    fn simulate(&mut self, made: &Made, call: &Call) -> Answer {
        let mut place = Placement::default();
        match (&made.answer, call) {
            (Ok(Reply::Fd(fd)), _) => {
                self.vacate(made.pid, *fd);
                place.fd = Some(*fd);
            }
            (Ok(Reply::Va(va)), Call::Mmap { length_bytes, .. }) => {
                self.unmap(made.pid, va.0, *length_bytes);
                place.va = Some(*va);
            }
            (Ok(_), Call::IoasMapFile { fd, offset_bytes, length_bytes, .. }) => {
                self.stretch(made.pid, *fd, offset_bytes.saturating_add(*length_bytes));
            }
            (Ok(Reply::Message { fds, .. }), _) => place.fds.clone_from(fds),
            _ => {}
        }
        let pid = self.meet(made.pid);
        self.machine.call_placed(pid, call, &place)
    }
}

/// Whether a call is about the process's own guest.
fn is_of_guest(call: &Call) -> bool {
    matches!(
        call,
        Call::StopGuest | Call::SaveGuest { .. } | Call::LoadGuest { .. } | Call::StartGuest
    )
}
