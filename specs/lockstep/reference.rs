//! The reference: the simulated kernel, and what the next steps may be about.

use super::mock::makes_mock_device;
use super::{After, Seen, Step};
use super::{generate, prologue};
use crate::conform::simulated::Simulated;
use handoff_model::call::{Answer, Call, Reply};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, ObjectId, PAGE_BYTES, Pid, Uid, Va};
use handoff_model::request::IOMMU_IOAS_MAP_FILE;
use handoff_model::uapi;
use handoff_model::view::{Account, FileKind, FileRef};
use handoff_sim_kernel::{Machine, Placement, ProcessSpec, Profile, Refusal};
use iommufd_bindings::iommu_ioas_map_file;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use proptest_state_machine::ReferenceStateMachine;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

/// The kernel of the profile with this number ([`Profile::all`]).
#[derive(Debug)]
pub(super) struct Reference<const PROFILE: usize>;

/// The machine, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) machine: Machine,
    /// The steps that came before the first random one.
    pub(super) prologue: Vec<Step>,
    /// Every process that ever was.
    pub(super) processes: Vec<Pid>,
    /// What was told of each context; a file's name is used again when it is gone.
    pub(super) known: BTreeMap<FileRef, Known>,
    /// The context of each bound device file.
    pub(super) bound: BTreeMap<FileRef, FileRef>,
    /// A mock device was made. Then no real one is bound: a real IOMMU takes the domain of a mock one for
    /// its own, and the kernel hangs.
    pub(super) has_mock: bool,
    /// A charge of a dead memory map was not given back (K3). What pins or unpins then hangs a real kernel.
    pub(super) is_stuck: bool,
    /// Mappings: whose, where, how long.
    pub(super) mappings: Vec<(Pid, Va, u64)>,
    /// Of the last step.
    pub(super) after: Option<After>,
    /// Of the last step: which branch refused.
    pub(super) refusal: Option<Refusal>,
}

/// Objects of a context.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) spaces: BTreeSet<ObjectId>,
    /// HWPTs, devices, and whatever else may have been made.
    pub(super) others: BTreeSet<ObjectId>,
}

/// Limits on locked memory that are often met, in pages.
const LIMITS: [u64; 5] = [0, 4, 8, 16, u64::MAX];

/// A process of any kind.
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
    /// No process yet.
    pub(super) fn nothing(profile: Profile) -> Self {
        Self {
            machine: Simulated::new(profile).machine().clone(),
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

    /// After these steps.
    fn after<const PROFILE: usize>(steps: Vec<Step>) -> Self {
        let start = Self::nothing(super::profile::<PROFILE>());
        let state = steps.iter().fold(start, Reference::<PROFILE>::apply);
        Self { prologue: steps, ..state }
    }

    /// The processes that live.
    pub(super) fn alive(&self) -> Vec<Pid> {
        self.processes.iter().copied().filter(|pid| self.machine.alive(*pid)).collect()
    }

    fn call(&mut self, pid: Pid, call: &Call) -> Answer {
        let place = Placement::default();
        let takes = matches!(call, Call::ChangeProcess { .. });
        let has_dead_owner = takes
            && self.machine.view().page_sets.iter().any(|set| {
                set.owner_alive == Some(false) && matches!(set.account, Some(Account::Process(_)))
            });
        let (answer, refusal) = self.machine.call_explained(pid, call, &place);
        self.refusal = refusal;
        match (&answer, call) {
            (Ok(Reply::Va(va)), Call::Mmap { length_bytes, .. }) => {
                self.mappings.push((pid, *va, *length_bytes));
            }
            (Ok(_), Call::Munmap { va, .. }) => {
                self.mappings.retain(|(of, at, _)| (of, at) != (&pid, va));
            }
            _ => {}
        }
        self.is_stuck |= answer == Err(Errno::EINVAL) && has_dead_owner;
        self.note(pid, call, &answer);
        answer
    }

    /// Whether a call of a process that lives comes back with what can be compared, and leaves what goes with the
    /// process.
    fn can_compare(&self, pid: Pid, call: &Call) -> bool {
        let kind = |fd: Fd| self.kind(pid, fd);
        match call {
            // The other kernel's door takes away only what was mapped through it.
            Call::Munmap { va, length_bytes } => self.mappings.contains(&(pid, *va, *length_bytes)),
            // A socket that is sent over a socket goes when the kernel collects garbage.
            Call::SendMessage { fds, .. } => {
                !fds.iter().any(|fd| kind(*fd) == Some(FileKind::Socket))
            }
            // Elsewhere than on an eventfd, it may wait.
            Call::ReadEvent { fd } => kind(*fd) == Some(FileKind::Eventfd),
            _ => mapped_file(call).is_none_or(|fd| {
                [None, Some(FileKind::Memfd), Some(FileKind::Eventfd)].contains(&kind(fd))
            }),
        }
    }

    /// What a descriptor is open on.
    fn kind(&self, pid: Pid, fd: Fd) -> Option<FileKind> {
        self.machine.kind_of(pid, fd)
    }

    /// The open file of a descriptor.
    fn file(&self, pid: Pid, fd: Fd) -> Option<FileRef> {
        self.machine.file_of(pid, fd)
    }

    /// Remembers objects that were made, and forgets those that are gone.
    fn note(&mut self, pid: Pid, call: &Call, answer: &Answer) {
        let Ok(reply) = answer else { return };
        let Some(file) = uapi::encode(call).and_then(|(fd, _)| self.file(pid, fd)) else {
            if let (Call::Open { .. }, Reply::Fd(fd)) = (call, reply) {
                let file = self.file(pid, *fd).expect("just opened");
                self.known.insert(file, Known::default());
                self.bound.remove(&file);
            }
            return;
        };
        let context = self.bound.get(&file).copied().unwrap_or(file);
        let known = self.known.entry(context).or_default();
        match (call, reply) {
            (Call::IoasAlloc { .. }, Reply::Object(id)) => {
                known.spaces.insert(*id);
            }
            (Call::Bind { iommufd, .. }, Reply::Object(id)) => {
                if let Some(context) = self.file(pid, *iommufd) {
                    self.bound.insert(file, context);
                    self.known.entry(context).or_default().others.insert(*id);
                }
            }
            (_, Reply::Object(id)) => {
                known.others.insert(*id);
            }
            (Call::Destroy { id, .. }, _) => {
                known.spaces.remove(id);
                known.others.remove(id);
            }
            (Call::Ioctl { ioctl, .. }, Reply::Ioctl(outcome)) if outcome.result.is_ok() => {
                self.has_mock |= makes_mock_device(ioctl);
                known.others.extend(generate::objects(&outcome.bytes));
            }
            _ => {}
        }
    }

    fn seen(&self) -> BTreeMap<Pid, Seen> {
        let alive = self.alive().into_iter();
        alive
            .map(|pid| {
                let vm_pin_pages = self.machine.vm_pin_pages(pid);
                let vm_lck_pages = self.machine.vm_lck_pages(pid);
                (pid, Seen { vm_pin_pages, vm_lck_pages })
            })
            .collect()
    }
}

/// The file of a MAP_FILE. One that leads back to the context (itself, a device that is bound to it, a socket in
/// which it waits) is never released again: the mapping keeps the file, and the file the mapping.
fn mapped_file(call: &Call) -> Option<Fd> {
    let (_, ioctl) =
        uapi::encode(call).filter(|(_, ioctl)| ioctl.request == IOMMU_IOAS_MAP_FILE)?;
    let fd = ioctl.argument.bytes().get(offset_of!(iommu_ioas_map_file, fd)..)?.first_chunk()?;
    Some(Fd(i32::from_ne_bytes(*fd)))
}

impl<const PROFILE: usize> ReferenceStateMachine for Reference<PROFILE> {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        prologue::steps().prop_map(State::after::<PROFILE>).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Step> {
        generate::step(state)
    }

    /// Steps of processes that live, and not more processes than a few.
    fn preconditions(state: &State, step: &Step) -> bool {
        const PROCESSES_MAX: usize = 4;
        let alive = |pid: &Pid| state.processes.contains(pid) && state.machine.alive(*pid);
        match step {
            Step::Call(pid, call) => alive(pid) && state.can_compare(*pid, call),
            Step::Kill(pid) | Step::Exec(pid) => alive(pid),
            Step::Fork(pid) => alive(pid) && state.alive().len() < PROCESSES_MAX,
            Step::Spawn(_) => state.alive().len() < PROCESSES_MAX,
            Step::Pair(a, b) => alive(a) && alive(b),
        }
    }

    fn apply(mut state: State, step: &Step) -> State {
        state.refusal = None;
        let answer = match step {
            Step::Call(pid, call) => Some(state.call(*pid, call)),
            Step::Spawn(spec) => {
                let pid = state.machine.spawn(*spec);
                state.processes.push(pid);
                None
            }
            Step::Fork(pid) => {
                let child = state.machine.fork(*pid);
                state.processes.push(child);
                let theirs = state.mappings.iter().filter(|(of, ..)| of == pid);
                let inherited: Vec<_> =
                    theirs.map(|(_, va, length)| (child, *va, *length)).collect();
                state.mappings.extend(inherited);
                None
            }
            Step::Kill(pid) => {
                state.machine.kill(*pid);
                None
            }
            Step::Exec(pid) => {
                let image = state.machine.image(*pid, 0);
                let done = state.machine.call(*pid, &Call::Exec { image });
                assert_eq!(done, Ok(Reply::Done), "an image can be executed");
                state.mappings.retain(|(of, ..)| of != pid);
                None
            }
            Step::Pair(a, b) => {
                state.machine.socketpair(*a, *b);
                None
            }
        };
        state.after = Some(After { answer, seen: state.seen() });
        state
    }
}
