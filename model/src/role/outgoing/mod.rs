//! The old process.
//!
//! It holds everything, and it is the only one that may decide to commit. Until the new process has
//! said `Committed` it can always go back; from then on it never touches anything again but to close
//! it. What decides is one packet: [`OutPhase::Revoke`] shuts the receiving side of the socket down,
//! which the kernel orders before or after the new process's send, and [`OutPhase::Drain`] reads what
//! came before.
//!
//! Mirrors: `migration/migration.c`, `migration/cpr-transfer.c`, `migration/cpr-exec.c` and
//! `hw/vfio/cpr-iommufd.c` of QEMU 10.2, in another order: the guest stops before its state is cut
//! (or before what was cut is confirmed), the probe has no side effect, the commit is acknowledged and can be revoked, and the way back
//! takes the ownership back.

mod judge;

use crate::abi::call::{Answer, Call, FDS_PER_MESSAGE_MAX};
use crate::abi::ids::{Fd, Uid};
use crate::protocol::measure::{Left, Table};
use crate::protocol::misreport::Slip;
use crate::protocol::phase::OutPhase;
use crate::protocol::{Protocol, confirms};
use crate::role::{Cause, Role, Trouble, Verdict, Walk, Went};
use crate::shared::Shared;
use crate::stream::{Message, Offer, State};
use crate::vm::blocker::{self, Blocker};
use crate::vm::launch;
use crate::vm::{ChargedTo, Descriptors, Key, Kind, Vm};
use serde::{Deserialize, Serialize};

/// What the old process brings besides its inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To a new process.
    Transfer {
        /// This end of a SOCK_SEQPACKET pair.
        socket: Fd,
        /// The new process.
        pidfd: Fd,
    },
    /// To a new program in this process.
    Exec {
        /// The new program.
        new_image: Fd,
        /// This program, to come back to.
        old_image: Fd,
    },
}

/// How it ended, for the old process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The guest is with the new process.
    HandedOver,
    /// It was refused before the guest stopped; nothing was touched.
    Refused,
    /// The guest was stopped, and runs here again.
    RolledBack,
    /// The same, but its memory could not be taken back: it is still owned by, and charged to, the
    /// process that is gone. DMA goes on; CHANGE_PROCESS must be called again.
    RolledBackUnowned,
}

/// The role of the old process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing {
    plan: Shared<Plan>,
    walk: Walk<OutPhase>,
    memlock_bytes: u64,
    uid: Uid,
    stopped: bool,
    cut: Cut,
    unowned: bool,
    /// How many containers have let go of their addresses.
    released: usize,
    cause: Option<Cause>,
    outcome: Option<Outcome>,
}

/// The state, as the new process is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cut {
    /// It can still change.
    NotYet,
    /// It is cut, or is being cut, and would be the same now.
    Made,
    /// It would be another now.
    Outdated,
}

/// What is fixed for the whole run.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Plan {
    protocol: Protocol,
    way: Way,
    table: Table<OutPhase>,
    /// For each phase its calls, in the order of [`OutPhase::ALL`].
    calls: Vec<Vec<Call>>,
    /// The names of the iommufds, or of the containers.
    contexts: Vec<String>,
    /// How many mappings each of them has.
    mappings: Vec<usize>,
    /// The name of the virtual machine.
    vm: String,
    user_pages: u64,
    /// What the inventory says against itself.
    blockers: Vec<Blocker>,
}

impl Plan {
    fn new(protocol: &Protocol, vm: &Vm, descriptors: &Descriptors, way: Way) -> Self {
        let told = told(vm, descriptors, &protocol.slips);
        let script = Script { vm, descriptors, told, way };
        let calls = |phase: &OutPhase| protocol.omitted.calls(*phase, script.calls(*phase));
        Self {
            table: Table::new(protocol.outgoing.clone(), &protocol.outgoing_jumps),
            calls: OutPhase::ALL.iter().map(calls).collect(),
            contexts: vm.contexts.iter().map(|context| context.name.clone()).collect(),
            mappings: (vm.contexts.iter())
                .map(|context| context.spaces.iter().map(|space| space.mappings.len()).sum())
                .collect(),
            vm: vm.name.clone(),
            user_pages: vm.charged_pages(ChargedTo::User),
            blockers: blocker::of_inventory(vm, descriptors),
            protocol: protocol.clone(),
            way,
        }
    }

    /// How many addresses the first containers have let go of.
    fn restores(&self, containers: usize) -> usize {
        self.mappings[..containers].iter().sum()
    }
}

impl Outgoing {
    /// A role at its beginning.
    pub fn new(protocol: &Protocol, vm: &Vm, descriptors: &Descriptors, way: Way) -> Self {
        let plan = Plan::new(protocol, vm, descriptors, way);
        Self {
            walk: Walk::begin(&plan.table.rules),
            plan: Shared::new(plan),
            memlock_bytes: 0,
            uid: Uid(0),
            stopped: false,
            cut: Cut::NotYet,
            unowned: false,
            released: 0,
            cause: None,
            outcome: None,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> OutPhase {
        self.walk.phase
    }

    /// Every call of every phase, as the inventory has them.
    pub fn script(&self) -> impl Iterator<Item = (OutPhase, &Call)> {
        let phases = OutPhase::ALL.iter().zip(&self.plan.calls);
        phases.flat_map(|(phase, calls)| calls.iter().map(|call| (*phase, call)))
    }

    /// How it ended; `None` while it goes on.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Why it did not happen, where it did not.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Whether it could be called off now.
    pub fn can_cancel(&self) -> bool {
        self.walk.rule(&self.plan.table.rules).is_some_and(|rule| rule.undo.is_some())
    }

    /// Calls it off: takes the way back from here. Nothing happens once there is none.
    pub fn cancel(&mut self) -> Option<Trouble> {
        let undo = self.walk.rule(&self.plan.table.rules).and_then(|rule| rule.undo)?;
        self.cause.get_or_insert(Cause::Cancelled);
        self.walk.jump(undo);
        self.arrive();
        Some(Trouble::Cancelled)
    }

    /// Whether the virtual machine may change now: between two phases, as under a VMM's lock.
    pub fn can_change(&self) -> bool {
        self.walk.at == 0
    }

    /// Tells it that interrupts of the virtual machine were armed while its guest runs ([`launch::arm`]). Nothing else may change from
    /// the first step on: preconditions are judged once, and a VMM refuses to plug until it is over, as QEMU does.
    /// A state that was cut stays as it was cut; → whether it was. Who cuts it early finds out before the guest stops, or when it does.
    pub fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool {
        let Plan { protocol, way, calls: before, .. } = &*self.plan;
        let mut plan = Plan::new(protocol, vm, descriptors, *way);
        if self.cut != Cut::NotYet {
            self.cut = Cut::Outdated;
            for phase in [OutPhase::Cut, OutPhase::Hand] {
                plan.calls[phase as usize].clone_from(&before[phase as usize]);
            }
        }
        self.plan = Shared::new(plan);
        self.cut == Cut::Outdated
    }

    /// Of the addresses that were let go of only those are given again.
    fn calls(&self) -> &[Call] {
        let calls = &self.plan.calls[self.walk.phase as usize];
        let due = match self.walk.phase {
            OutPhase::RestoreVaddr => self.plan.restores(self.released),
            OutPhase::RestoreWhole => self.released,
            OutPhase::AbortRestoring => self.released.min(1),
            _ => calls.len(),
        };
        &calls[..calls.len().min(due)]
    }

    /// Passes phases without calls, and notes the end.
    fn arrive(&mut self) {
        self.note();
        while self.calls().is_empty() {
            match self.walk.rule(&self.plan.table.rules) {
                Some(rule) => self.walk.jump(rule.next),
                None => break,
            }
            self.note();
        }
        if self.walk.phase == OutPhase::End {
            let back = match (self.stopped, self.unowned) {
                (false, _) => Outcome::Refused,
                (true, false) => Outcome::RolledBack,
                (true, true) => Outcome::RolledBackUnowned,
            };
            self.outcome.get_or_insert(back);
        }
    }

    /// Some phases say something by being come to, also where they have no calls.
    fn note(&mut self) {
        if self.walk.phase == OutPhase::Cut {
            self.cut = Cut::Made;
        }
        self.stopped |= matches!(self.walk.phase, OutPhase::Save | OutPhase::Resume);
        if matches!(self.walk.phase, OutPhase::Release | OutPhase::Completed) {
            self.outcome = Some(Outcome::HandedOver);
        }
    }

    /// The offer, with what the preflight has learned.
    fn offer(&self, socket: Fd) -> Call {
        let Plan { vm, user_pages, table, .. } = &*self.plan;
        let early = confirms(&table.rules);
        let offer = Offer { vm: vm.clone(), uid: self.uid, user_pages: *user_pages, early };
        send(socket, &Message::Offer(offer), Vec::new())
    }
}

impl Role for Outgoing {
    fn next(&self) -> Option<Call> {
        let call = self.calls().get(self.walk.at as usize)?;
        Some(match (self.walk.phase, call) {
            (OutPhase::Offer, Call::SendMessage { fd, .. }) => self.offer(*fd),
            _ => call.clone(),
        })
    }

    fn took(&mut self, answer: Answer) -> Option<Trouble> {
        let call = self.next()?;
        let (phase, at) = (self.walk.phase, self.walk.at);
        let judged = self.judge(&call, &answer);
        let verdict = self.plan.protocol.omitted.verdict(phase, &call, judged);
        let calls = self.calls().len();
        if let Went::Left = self.walk.advance(&self.plan.table, calls, &verdict) {
            if let Verdict::Trouble(trouble) = &verdict {
                self.cause.get_or_insert(trouble.cause());
            }
            self.arrive();
        }
        let gave_up = matches!(verdict, Verdict::Trouble(_))
            && (phase, at) != (self.walk.phase, self.walk.at);
        self.unowned |= gave_up && phase == OutPhase::TakeBack;
        verdict.trouble()
    }

    fn phase_name(&self) -> String {
        self.walk.phase.to_string()
    }

    fn left(&self) -> Left {
        self.walk.left(&self.plan.table, self.calls().len())
    }
}

fn told(vm: &Vm, descriptors: &Descriptors, slips: &[Slip]) -> Option<State> {
    let mut state = State::of(vm, descriptors)?;
    for slip in slips {
        slip.make(&mut state);
    }
    Some(state)
}

/// What a shell shows of a process that has died of SIGABRT.
const SIGABRT_STATUS: u8 = 134;

/// The calls of each phase, from the inventory and its descriptors.
struct Script<'a> {
    vm: &'a Vm,
    descriptors: &'a Descriptors,
    /// What the new process is told; `None` where a descriptor is missing.
    told: Option<State>,
    way: Way,
}

impl Script<'_> {
    fn calls(&self, phase: OutPhase) -> Vec<Call> {
        match phase {
            OutPhase::Preflight => self.preflight(),
            OutPhase::Stop => vec![Call::StopGuest],
            OutPhase::Save => self.save(),
            OutPhase::Cut => self.cut(),
            OutPhase::TakeBack | OutPhase::ProveOwnership => {
                take_ownership(self.vm, self.descriptors)
            }
            OutPhase::ReleaseVaddr => self.release_addresses(),
            OutPhase::RestoreVaddr => self.restore_addresses(),
            OutPhase::Park => self.irqfds(false),
            OutPhase::Unpark => self.irqfds(true),
            OutPhase::CloseVm => {
                self.get(Kind::Kvm).map(|fd| Call::Close { fd }).into_iter().collect()
            }
            OutPhase::RestoreWhole => self.restore_sections(),
            OutPhase::Abort | OutPhase::AbortRestoring => {
                vec![Call::Exit { status: SIGABRT_STATUS }]
            }
            OutPhase::Resume => vec![Call::StartGuest],
            OutPhase::End => Vec::new(),
            _ => match self.way {
                Way::Transfer { socket, pidfd } => self.transfer(phase, socket, pidfd),
                Way::Exec { new_image, old_image } => self.exec(phase, new_image, old_image),
            },
        }
    }

    fn transfer(&self, phase: OutPhase, socket: Fd, pidfd: Fd) -> Vec<Call> {
        let say = |message| vec![send(socket, &message, Vec::new())];
        let listen = || vec![Call::ReceiveMessage { fd: socket, wait: true }];
        match phase {
            OutPhase::Offer => {
                let blank = Offer { vm: String::new(), uid: Uid(0), user_pages: 0, early: false };
                say(Message::Offer(blank))
            }
            OutPhase::AwaitReady
            | OutPhase::AwaitAdopted
            | OutPhase::AwaitPrepared
            | OutPhase::AwaitCommitted => listen(),
            OutPhase::Confirm => say(Message::Unchanged),
            OutPhase::Hand => self.hand(socket),
            OutPhase::Commit => say(Message::Commit),
            OutPhase::Release => self.release(socket, pidfd),
            OutPhase::Revoke => vec![Call::ShutdownReceive { fd: socket }],
            OutPhase::Drain => vec![Call::ReceiveMessage { fd: socket, wait: false }],
            OutPhase::Dismiss => {
                let mut calls = say(Message::Abort);
                calls.push(Call::Kill { pidfd });
                calls
            }
            OutPhase::AwaitGone => vec![Call::AwaitExit { pidfd }],
            OutPhase::Part => vec![Call::Close { fd: socket }, Call::Close { fd: pidfd }],
            _ => Vec::new(),
        }
    }

    fn exec(&self, phase: OutPhase, new_image: Fd, old_image: Fd) -> Vec<Call> {
        match phase {
            OutPhase::OpenWindow => self.window(old_image, false),
            OutPhase::Exec => vec![Call::Exec { image: new_image }],
            OutPhase::CloseWindow => self.window(old_image, true),
            _ => Vec::new(),
        }
    }

    fn get(&self, kind: Kind) -> Option<Fd> {
        self.descriptors.get(&Key::new(kind, "", 0))
    }

    fn preflight(&self) -> Vec<Call> {
        let contexts = contexts(self.vm, self.descriptors);
        let probes = contexts.map(|iommufd| Call::ChangeProcess { iommufd, reserved: 1 });
        let containers = launch::containers(self.vm, self.descriptors);
        let questions = containers.map(|container| Call::CanUpdateVaddr { container });
        probes.chain(questions).chain([Call::GetMemlock, Call::GetUid]).collect()
    }

    fn release_addresses(&self) -> Vec<Call> {
        let containers = launch::containers(self.vm, self.descriptors);
        containers.map(|container| Call::ForgetVaddrs { container }).collect()
    }

    fn restore_addresses(&self) -> Vec<Call> {
        let containers: Vec<_> = launch::containers(self.vm, self.descriptors).collect();
        launch::new_addresses(self.vm, |at| containers.get(usize::from(at)).copied())
    }

    /// Of each container one call, from the first address to the last.
    fn restore_sections(&self) -> Vec<Call> {
        let mut sections: Vec<Call> = Vec::new();
        for call in self.restore_addresses() {
            match (sections.last_mut(), &call) {
                (
                    Some(Call::GiveVaddr { container, iova, length_bytes, .. }),
                    Call::GiveVaddr { container: of, iova: next, length_bytes: more, .. },
                ) if container == of => *length_bytes = (next.0 + more).saturating_sub(iova.0),
                _ => sections.push(call),
            }
        }
        sections
    }

    fn save(&self) -> Vec<Call> {
        let calls = |fd| vec![Call::Truncate { fd, length_bytes: 0 }, Call::SaveGuest { fd }];
        self.get(Kind::Guest).map(calls).unwrap_or_default()
    }

    fn cut(&self) -> Vec<Call> {
        let (Some(fd), Some(state)) = (self.get(Kind::Stream), &self.told) else {
            return Vec::new();
        };
        let bytes = state.to_bytes();
        vec![Call::Truncate { fd, length_bytes: 0 }, Call::WriteAt { fd, offset_bytes: 0, bytes }]
    }

    fn listed(&self) -> Vec<Fd> {
        self.vm.keys().iter().filter_map(|key| self.descriptors.get(key)).collect()
    }

    /// What the new process shall have.
    fn handed(&self) -> Vec<Fd> {
        let told = self.told.as_ref().map(|state| state.descriptors.iter().map(|(_, fd)| *fd));
        told.map_or_else(|| self.listed(), Iterator::collect)
    }

    /// As many messages as the kernel's limit on descriptors in one demands.
    fn hand(&self, socket: Fd) -> Vec<Call> {
        let listed = self.handed();
        let total = u32::try_from(listed.len()).expect("descriptors are few");
        let chunks = listed.chunks(FDS_PER_MESSAGE_MAX);
        (0..total)
            .step_by(FDS_PER_MESSAGE_MAX)
            .zip(chunks)
            .map(|(first, fds)| send(socket, &Message::Descriptors { first, total }, fds.to_vec()))
            .collect()
    }

    fn release(&self, socket: Fd, pidfd: Fd) -> Vec<Call> {
        let ram = self.vm.ram.iter();
        let unmap =
            ram.map(|block| Call::Munmap { va: block.va, length_bytes: block.length_bytes });
        let own = self.get(Kind::Kvm).into_iter().chain([socket, pidfd]);
        let close = self.listed().into_iter().chain(own).map(|fd| Call::Close { fd });
        unmap.chain(close).chain([Call::Exit { status: 0 }]).collect()
    }

    fn irqfds(&self, assign: bool) -> Vec<Call> {
        let kvm_vm = self.get(Kind::Kvm);
        kvm_vm.map_or_else(Vec::new, |fd| launch::irqfds(self.vm, self.descriptors, fd, assign))
    }

    fn window(&self, old_image: Fd, on: bool) -> Vec<Call> {
        let inherited = self.handed().into_iter().chain([old_image]);
        inherited.map(|fd| Call::SetCloexec { fd, on }).collect()
    }
}

/// The iommufds of an inventory.
pub(crate) fn contexts<'a>(vm: &'a Vm, from: &'a Descriptors) -> impl Iterator<Item = Fd> + 'a {
    vm.contexts.iter().filter_map(|context| from.get(&Key::new(Kind::Iommufd, &context.name, 0)))
}

/// The calls that make the caller the owner of every page set.
pub(crate) fn take_ownership(vm: &Vm, descriptors: &Descriptors) -> Vec<Call> {
    contexts(vm, descriptors).map(|iommufd| Call::ChangeProcess { iommufd, reserved: 0 }).collect()
}

pub(crate) fn send(socket: Fd, message: &Message, fds: Vec<Fd>) -> Call {
    Call::SendMessage { fd: socket, bytes: message.to_bytes(), fds }
}
