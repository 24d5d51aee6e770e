//! The new process.
//!
//! Until it has been told to commit it only reads, and touches nothing but itself: it adopts
//! descriptors, compares every id, mapping and device of the inventory with what the kernel says,
//! maps guest RAM and builds a stopped guest. Then it takes the ownership and passes the point of no
//! return, which is one packet. If it cannot do either, it ends, and everything that it received is
//! closed by that end; it never unwinds anything that is not its own.
//!
//! How a mapping is verified without touching it: `IOMMU_IOAS_COPY` of a range onto itself can only
//! answer EEXIST (it is mapped) or ENOENT (it is not, or not all of it).
//!
//! Mirrors: `vfio_cpr_load_device` and the incoming branches of `iommufd_cdev_attach` in QEMU 10.2
//! (`hw/vfio/cpr-iommufd.c`, `hw/vfio/iommufd.c`): bind, alloc, attach and map are skipped. Unlike
//! there, what is skipped is verified, and no error path issues a mutating ioctl.

mod adopted;
mod script;

use crate::abi::call::{Answer, Call, Reply};
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, Uid, Va};
use crate::abi::uapi::rfc_v1::{self, Move};
use crate::protocol::Protocol;
use crate::protocol::checks::Check;
use crate::protocol::measure::{Left, Table};
use crate::protocol::phase::InPhase;
use crate::role::outgoing::{contexts, send};
use crate::role::{Cause, Role, Trouble, Verdict, Walk, Went, message_of};
use crate::shared::Shared;
use crate::stream::{Flaw, Message, Offer, State, envelope};
use crate::variants::mutants::Omitted;
use crate::vm::blocker;
use crate::vm::launch;
use crate::vm::{Backing, Descriptors, Key, Kind, Vm};
use adopted::Adopted;
use script::Script;
use serde::{Deserialize, Serialize};

/// What the new process begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// One end of a SOCK_SEQPACKET pair; everything else comes over it.
    Transfer {
        /// The socket.
        socket: Fd,
    },
    /// Inherited descriptors.
    Exec {
        /// The stream.
        stream: Fd,
        /// The program to go back to.
        old_image: Fd,
    },
}

/// How it ended, for the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// The guest is here.
    TookOver,
    /// It is not, and this process ends.
    Left,
}

/// The role of the new process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incoming {
    plan: Shared<Plan>,
    origin: Origin,
    walk: Walk<InPhase>,
    offer: Option<Offer>,
    memlock_bytes: u64,
    uid: Uid,
    arrived: Vec<Fd>,
    adopted: Option<Shared<Adopted>>,
    /// Where guest RAM fell, in the order of its file-backed blocks.
    mapped: Vec<Va>,
    /// `/dev/kvm`, while a virtual machine is made.
    kvm: Option<Fd>,
    /// The virtual machine of KVM.
    kvm_vm: Option<Fd>,
    reason: String,
    cause: Option<Cause>,
    arrival: Option<Arrival>,
}

/// What is fixed for the whole run.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Plan {
    table: Table<InPhase>,
    memlock_waived: bool,
    omitted: Omitted,
}

impl Incoming {
    /// A role at its beginning.
    pub fn new(protocol: &Protocol, origin: Origin) -> Self {
        let plan = Plan {
            table: Table::new(protocol.incoming.clone(), &protocol.incoming_jumps),
            memlock_waived: protocol.waived.contains(&blocker::BlockerKind::MemlockTooSmall),
            omitted: protocol.omitted.clone(),
        };
        Self {
            walk: Walk::begin(&plan.table.rules),
            plan: Shared::new(plan),
            origin,
            offer: None,
            memlock_bytes: 0,
            uid: Uid(0),
            arrived: Vec::new(),
            adopted: None,
            mapped: Vec::new(),
            kvm: None,
            kvm_vm: None,
            reason: String::new(),
            cause: None,
            arrival: None,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> InPhase {
        self.walk.phase
    }

    /// How it ended; `None` while it goes on.
    pub fn arrival(&self) -> Option<Arrival> {
        self.arrival
    }

    /// Why it did not happen, where it did not.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The inventory and the descriptors, as soon as they are read: what a VMM goes on with, and
    /// hands over the next time. Guest RAM is where this process has mapped it.
    pub fn inventory(&self) -> Option<(Vm, Descriptors)> {
        let adopted = self.adopted.as_ref()?;
        let mut vm = adopted.vm.clone();
        let files = vm.ram.iter_mut().filter(|block| block.backing == Backing::File);
        files.zip(&self.mapped).for_each(|(block, va)| block.va = *va);
        let mut descriptors = adopted.descriptors.clone();
        self.kvm_vm.iter().for_each(|fd| descriptors.insert(Key::new(Kind::Kvm, "", 0), *fd));
        Some((vm, descriptors))
    }

    /// Every call of every phase that a role with this origin makes for an inventory.
    pub fn script(
        protocol: &Protocol,
        origin: Origin,
        vm: &Vm,
        descriptors: &Descriptors,
    ) -> Vec<(InPhase, Call)> {
        let calls = Vec::new();
        let adopted = Adopted { vm: vm.clone(), descriptors: descriptors.clone(), calls };
        let arrived: Vec<Fd> = descriptors.iter().map(|(_, fd)| fd).collect();
        let kvm_vm = arrived.first().copied();
        let adopted = Some(Shared::new(adopted));
        let role = Self { arrived, adopted, kvm_vm, ..Self::new(protocol, origin) };
        let script = Script { vm, descriptors, origin };
        let calls = |phase: InPhase| role.calls(phase).into_iter().chain(script.calls(phase));
        let of_phase =
            |phase: &InPhase| calls(*phase).map(|call| (*phase, call)).collect::<Vec<_>>();
        InPhase::ALL.iter().flat_map(of_phase).collect()
    }

    /// The calls of a phase that needs no inventory, without those that are not made.
    fn calls(&self, phase: InPhase) -> Vec<Call> {
        self.plan.omitted.calls(phase, self.all_calls(phase))
    }

    fn all_calls(&self, phase: InPhase) -> Vec<Call> {
        match (phase, self.origin) {
            (InPhase::Check, _) => vec![Call::GetMemlock, Call::GetUid],
            (InPhase::ReadStream, Origin::Exec { stream, .. }) => vec![read(stream)],
            (InPhase::ReadStream, Origin::Transfer { .. }) => {
                self.arrived.first().map(|fd| read(*fd)).into_iter().collect()
            }
            (InPhase::MakeVm, _) => self.make_vm(),
            (InPhase::Claim, _) => self.claim(),
            (InPhase::TakeAddresses, _) => self.take_addresses(),
            (InPhase::MapVaddr | InPhase::MapVaddrOfFirst, _) => self.new_addresses(phase),
            (InPhase::Run, _) => vec![Call::StartGuest],
            (InPhase::Leave, _) => vec![Call::Exit { status: 1 }],
            (InPhase::Fallback, Origin::Exec { old_image, .. }) => {
                vec![Call::Exec { image: old_image }]
            }
            (InPhase::Settle, Origin::Exec { old_image, .. }) => {
                vec![Call::Close { fd: old_image }]
            }
            (InPhase::Settle, Origin::Transfer { socket }) => vec![Call::Close { fd: socket }],
            (_, Origin::Transfer { socket }) => self.talk(phase, socket),
            (_, Origin::Exec { .. }) => Vec::new(),
        }
    }

    fn talk(&self, phase: InPhase, socket: Fd) -> Vec<Call> {
        let say = |message| vec![send(socket, &message, Vec::new())];
        match phase {
            InPhase::AwaitOffer
            | InPhase::AwaitDescriptors
            | InPhase::AwaitConfirm
            | InPhase::AwaitCommit => {
                vec![Call::ReceiveMessage { fd: socket, wait: true }]
            }
            InPhase::Adopted => say(Message::Adopted),
            InPhase::AwaitFate => {
                let reason = "the commit could not be told".to_owned();
                let mut calls = say(Message::Refuse { reason });
                calls.push(Call::ReceiveMessage { fd: socket, wait: true });
                calls
            }
            InPhase::Ready => say(Message::Ready { uid: self.uid }),
            InPhase::Prepared => say(Message::Prepared),
            InPhase::Committed => say(Message::Committed),
            InPhase::Refuse => say(Message::Refuse { reason: self.reason.clone() }),
            _ => Vec::new(),
        }
    }

    fn make_vm(&self) -> Vec<Call> {
        if !self.adopted.as_ref().is_some_and(|adopted| adopted.vm.irqfds) {
            return Vec::new();
        }
        let [kvm, vm] = [self.kvm, self.kvm_vm].map(|fd| fd.unwrap_or(Fd(-1)));
        let path = launch::KVM.to_owned();
        vec![
            Call::Open { path },
            Call::CreateVm { kvm },
            Call::CreateIrqchip { vm },
            Call::Close { fd: kvm },
        ]
    }

    fn take_addresses(&self) -> Vec<Call> {
        let Some(adopted) = &self.adopted else { return Vec::new() };
        let files = adopted.vm.ram.iter().filter(|block| block.backing == Backing::File);
        let moved = files.zip(&self.mapped).map(|(block, new)| Move {
            old: block.va,
            new: *new,
            length_bytes: block.length_bytes,
        });
        let ioctl = rfc_v1::change_addresses(&moved.collect::<Vec<_>>());
        let contexts = contexts(&adopted.vm, &adopted.descriptors);
        contexts.map(|fd| Call::Ioctl { fd, ioctl: ioctl.clone() }).collect()
    }

    fn claim(&self) -> Vec<Call> {
        let (Some(adopted), Some(fd)) = (&self.adopted, self.kvm_vm) else { return Vec::new() };
        launch::irqfds(&adopted.vm, &adopted.descriptors, fd, true)
    }

    /// Where guest RAM fell is known only when it is mapped.
    fn new_addresses(&self, phase: InPhase) -> Vec<Call> {
        let Some((vm, descriptors)) = self.inventory() else { return Vec::new() };
        let mut containers: Vec<_> = launch::containers(&vm, &descriptors).collect();
        if phase == InPhase::MapVaddrOfFirst {
            containers.truncate(1);
        }
        launch::new_addresses(&vm, |at| containers.get(usize::from(at)).copied())
    }

    /// The calls of the present phase that the inventory fixes; empty for one that it does not.
    fn fixed(&self) -> &[Call] {
        match &self.adopted {
            Some(adopted) => &adopted.calls[self.walk.phase as usize],
            None => &[],
        }
    }

    fn count(&self) -> usize {
        match self.fixed() {
            [] => self.calls(self.walk.phase).len(),
            fixed => fixed.len(),
        }
    }

    fn call_at(&self, at: u32) -> Option<Call> {
        match self.fixed() {
            [] => self.calls(self.walk.phase).into_iter().nth(at as usize),
            fixed => fixed.get(at as usize).cloned(),
        }
    }

    fn judge(&mut self, call: &Call, answer: &Answer) -> Verdict {
        match self.walk.phase {
            InPhase::AwaitOffer => self.judge_offer(message_of(answer, call)),
            InPhase::Check => self.judge_check(call, answer),
            InPhase::AwaitDescriptors => self.judge_descriptors(call, answer),
            InPhase::ReadStream => self.judge_stream(call, answer),
            InPhase::Verify => {
                match self.adopted.as_ref().map(|a| a.verify(call, answer, &self.plan.omitted)) {
                    Some(Err(trouble)) => Verdict::Trouble(trouble),
                    _ => Verdict::Next,
                }
            }
            InPhase::AwaitConfirm => match message_of(answer, call) {
                Ok(Message::Unchanged) => Verdict::Next,
                other => unexpected(other),
            },
            InPhase::AwaitCommit => match message_of(answer, call) {
                Ok(Message::Commit) => Verdict::Next,
                other => unexpected(other),
            },
            InPhase::AwaitFate => judge_fate(call, answer),
            InPhase::MapRam => {
                if let Ok(Reply::Va(va)) = answer {
                    self.mapped.push(*va);
                }
                Verdict::of(call, answer)
            }
            InPhase::MakeVm => {
                match (call, answer) {
                    (Call::Open { .. }, Ok(Reply::Fd(fd))) => self.kvm = Some(*fd),
                    (Call::CreateVm { .. }, Ok(Reply::Fd(fd))) => self.kvm_vm = Some(*fd),
                    (Call::Close { .. }, _) => self.kvm = None,
                    _ => {}
                }
                Verdict::of(call, answer)
            }
            // Nobody may be left to hear it; an eventfd may be empty.
            InPhase::Refuse | InPhase::DrainEvents => Verdict::Next,
            _ => Verdict::of(call, answer),
        }
    }

    fn judge_offer(&mut self, message: Result<Message, Trouble>) -> Verdict {
        match message {
            Ok(Message::Offer(offer)) => {
                self.offer = Some(offer);
                Verdict::Next
            }
            other => unexpected(other),
        }
    }

    fn judge_check(&mut self, call: &Call, answer: &Answer) -> Verdict {
        match answer {
            Ok(Reply::Memlock(limit)) => self.memlock_bytes = *limit,
            Ok(Reply::Uid(uid)) => self.uid = *uid,
            _ => return Verdict::of(call, answer),
        }
        let last = matches!(call, Call::GetUid);
        let Some(offer) = self.offer.as_ref().filter(|_| last) else { return Verdict::Next };
        let early = self.plan.table.rules.iter().any(|rule| rule.phase == InPhase::AwaitConfirm);
        let same = offer.early == early;
        let other = || Trouble::OtherForm { early: offer.early };
        if let Err(trouble) = self.plan.omitted.demand(Check::SameForm, same, other) {
            return Verdict::Trouble(trouble);
        }
        let judged = Some(offer).filter(|_| !self.plan.memlock_waived);
        let found = judged.and_then(|o| blocker::of_offer(o, self.uid, self.memlock_bytes));
        let blocked = || Trouble::Blocked(found.clone().into_iter().collect());
        Verdict::from(self.plan.omitted.demand(Check::NewLimit, found.is_none(), blocked))
    }

    fn judge_descriptors(&mut self, call: &Call, answer: &Answer) -> Verdict {
        let (first, total) = match message_of(answer, call) {
            Ok(Message::Descriptors { first, total }) => (first as usize, total as usize),
            other => return unexpected(other),
        };
        let Ok(Reply::Message { fds, truncated, .. }) = answer else {
            return Verdict::of(call, answer);
        };
        let omitted = &self.plan.omitted;
        let lost = || Trouble::DescriptorsLost;
        let miscounted =
            || Trouble::from(Flaw::Count { arrived: first + fds.len(), listed: total });
        let checked = omitted
            .demand(Check::NoneLost, !truncated, lost)
            .and_then(|()| omitted.demand(Check::SomeArrived, !fds.is_empty(), lost))
            .and_then(|()| omitted.demand(Check::InOrder, first == self.arrived.len(), miscounted))
            .and_then(|()| {
                omitted.demand(Check::NoneTooMany, first + fds.len() <= total, miscounted)
            });
        if let Err(trouble) = checked {
            return Verdict::Trouble(trouble);
        }
        self.arrived.extend(fds);
        if self.arrived.len() == total { Verdict::Next } else { Verdict::Again }
    }

    fn judge_stream(&mut self, call: &Call, answer: &Answer) -> Verdict {
        let Ok(Reply::Bytes(bytes)) = answer else { return Verdict::of(call, answer) };
        let arrived = match self.origin {
            Origin::Transfer { .. } => Some(&self.arrived[..]),
            Origin::Exec { .. } => None,
        };
        let omitted = &self.plan.omitted;
        let adopted = State::read(bytes, omitted)
            .and_then(|state| Adopted::of(state, arrived, self.origin, omitted));
        match adopted {
            Ok(adopted) => {
                self.adopted = Some(Shared::new(adopted));
                self.arrived.clear();
                Verdict::Next
            }
            Err(flaw) => Verdict::Trouble(flaw.into()),
        }
    }

    /// Passes phases without calls, and notes the end.
    fn arrive(&mut self) {
        while self.count() == 0 {
            match self.walk.rule(&self.plan.table.rules) {
                Some(rule) => self.walk.jump(rule.next),
                None => break,
            }
        }
        match self.walk.phase {
            InPhase::Settle => self.arrival = Some(Arrival::TookOver),
            InPhase::Leave | InPhase::End => {
                self.arrival.get_or_insert(Arrival::Left);
            }
            _ => {}
        }
    }

    fn remember(&mut self, trouble: &Trouble) {
        if self.cause.is_none() {
            self.cause = Some(trouble.cause());
            if self.walk.phase == InPhase::Refuse {
                self.reason = trouble.to_string();
            }
        }
    }
}

/// Whether an old process that did not take the commit lives. Told that it was not taken, one that lives
/// says Abort; it never closes before, so the end of the stream is its death.
fn judge_fate(call: &Call, answer: &Answer) -> Verdict {
    if let Call::SendMessage { .. } = call {
        return match answer {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Verdict::Next,
            _ => Verdict::of(call, answer),
        };
    }
    match message_of(answer, call) {
        Err(Trouble::PeerGone) => Verdict::Next,
        Err(trouble) => Verdict::Trouble(trouble),
        Ok(_) => Verdict::Jump,
    }
}

fn read(stream: Fd) -> Call {
    let length_bytes = envelope::HEADER_BYTES as u64 + envelope::RECORD_BYTES_MAX;
    Call::ReadAt { fd: stream, offset_bytes: 0, length_bytes }
}

fn unexpected(message: Result<Message, Trouble>) -> Verdict {
    Verdict::Trouble(match message {
        Ok(Message::Abort) => Trouble::Cancelled,
        Ok(message) => Trouble::Unexpected(format!("{message:?}")),
        Err(trouble) => trouble,
    })
}

impl Role for Incoming {
    fn next(&self) -> Option<Call> {
        self.call_at(self.walk.at)
    }

    fn took(&mut self, answer: Answer) -> Option<Trouble> {
        let call = self.next()?;
        let count = self.count();
        let phase = self.walk.phase;
        let judged = self.judge(&call, &answer);
        let verdict = self.plan.omitted.verdict(phase, &call, judged);
        if let Went::Left = self.walk.advance(&self.plan.table, count, &verdict) {
            if let Verdict::Trouble(trouble) = &verdict {
                self.remember(trouble);
            }
            self.arrive();
        }
        verdict.trouble()
    }

    fn phase_name(&self) -> String {
        self.walk.phase.to_string()
    }

    fn left(&self) -> Left {
        self.walk.left(&self.plan.table, self.count())
    }
}
