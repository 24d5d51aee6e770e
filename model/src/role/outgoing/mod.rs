//! The role of the old process, which owns the guest and decides whether to commit.
//!
//! It is created from a protocol, the inventory ([`Vm`]), the descriptors of this process, and a
//! transport. `script` computes the calls of every phase from these; `judge` evaluates each answer.
//!
//! **Invariant:** until the old process has received `Committed` it can roll back, and the guest
//! then runs here again; afterwards it only unmaps and closes what it holds, and exits. By exec, a
//! successful `execve` ends this role: from then on only the new program can fall back.
//!
//! One packet decides. To roll back after `Commit`, [`OutPhase::Revoke`] shuts down the receiving
//! side of the socket, which the kernel orders either before or after the new process's send:
//!
//! * Before: the send fails with EPIPE. The new process finds the old one alive, and leaves.
//! * After: `Committed` is in the queue, [`OutPhase::Drain`] reads it, and the handoff has
//!   succeeded.
//!
//! So both processes agree.
//!
//! Mirrors: `migration/migration.c`, `migration/cpr-transfer.c`, `migration/cpr-exec.c` and
//! `hw/vfio/cpr-iommufd.c` of QEMU 10.2, with these differences: the guest stops before its
//! snapshot is taken (or before an early one is confirmed), the probe has no side effect, the
//! commit is acknowledged and can be revoked, and a rollback reclaims the ownership.

mod judge;
#[cfg(feature = "lab")]
mod lab;
mod script;

use super::calls::send;
use super::cursor::{Advance, Cursor, Transition};
use super::{Cause, Role, StepError};
use crate::abi::call::{Call, CallResult, GuestCall, SocketCall};
use crate::abi::ids::{Fd, Uid};
use crate::protocol::measure::{ProgressMeasure, Table};
use crate::protocol::phase::OutPhase;
use crate::protocol::{Protocol, confirms};
use crate::shared::Shared;
use crate::stream::{Message, Offer, State};
use crate::vm::blocker::{self, Blocker};
use crate::vm::{ChargedTo, Descriptors, Vm};
use script::Script;
use serde::{Deserialize, Serialize};

/// The transport to the new process or program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutgoingTransport {
    /// A new process takes over.
    Transfer {
        /// This end of a SOCK_SEQPACKET pair.
        socket: Fd,
        /// A pidfd of the new process.
        pidfd: Fd,
    },
    /// A new program in this process takes over, by `execve`.
    Exec {
        /// The image of the new program.
        new_image: Fd,
        /// The image of this program, for the fallback.
        old_image: Fd,
    },
}

/// The outcome for the old process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutgoingOutcome {
    /// The guest belongs to the new process.
    HandedOver,
    /// The handoff was refused before the guest stopped, without side effects.
    Refused,
    /// The guest was stopped, and runs here again.
    RolledBack,
    /// The guest runs here again, but the ownership of its memory could not be reclaimed: the pages
    /// are still owned by, and charged to, the new process, which has exited. DMA continues;
    /// CHANGE_PROCESS must be called again.
    RolledBackUnowned,
}

/// The role of the old process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing {
    plan: Shared<Plan>,
    walk: Cursor<OutPhase>,
    memlock_bytes: u64,
    uid: Uid,
    /// True once the guest was stopped, or a rollback has tried to start it.
    stopped: bool,
    snapshot: Snapshot,
    unowned: bool,
    /// Number of containers whose addresses are invalidated.
    #[cfg(feature = "lab")]
    released: usize,
    cause: Option<Cause>,
    outcome: Option<OutgoingOutcome>,
}

/// The status of the snapshot that the new process receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Snapshot {
    /// Not taken yet; the inventory can still change.
    NotYet,
    /// Taken or being taken, and up to date.
    Made,
    /// Outdated: the virtual machine has changed since.
    Outdated,
}

/// Data that stays fixed unless the virtual machine changes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Plan {
    protocol: Protocol,
    transport: OutgoingTransport,
    table: Table<OutPhase>,
    /// The calls of each phase, in the order of [`OutPhase::ALL`]; empty for a phase that the table
    /// does not name.
    calls: Vec<Vec<Call>>,
    /// The names of the iommufds, or of the containers.
    contexts: Vec<String>,
    /// The name of the virtual machine.
    vm: String,
    user_pages: u64,
    /// Blockers that follow from the inventory alone.
    blockers: Vec<Blocker>,
}

impl Plan {
    fn new(
        protocol: &Protocol,
        vm: &Vm,
        descriptors: &Descriptors,
        transport: OutgoingTransport,
    ) -> Self {
        let state = State::of(vm, descriptors);
        #[cfg(feature = "lab")]
        let state = state.map(|state| lab::misreported(state, &protocol.misreports));
        let script = Script { vm, descriptors, state, transport };
        let table = Table::new(protocol.outgoing.clone(), &protocol.outgoing_jumps);
        let named = |phase: &OutPhase| table.names(*phase);
        let made =
            |phase: &OutPhase| protocol.mutations.remaining_calls(*phase, script.calls(*phase));
        let calls = |phase| if named(phase) { made(phase) } else { Vec::new() };
        Self {
            calls: OutPhase::ALL.iter().map(calls).collect(),
            contexts: vm.contexts.iter().map(|context| context.name.clone()).collect(),
            vm: vm.name.clone(),
            user_pages: vm.charged_pages(ChargedTo::User),
            blockers: blocker::of_inventory(vm, descriptors),
            protocol: protocol.clone(),
            table,
            transport,
        }
    }
}

impl Outgoing {
    /// Creates a role in the first phase of its table.
    pub fn new(
        protocol: &Protocol,
        vm: &Vm,
        descriptors: &Descriptors,
        transport: OutgoingTransport,
    ) -> Self {
        let plan = Plan::new(protocol, vm, descriptors, transport);
        Self {
            walk: Cursor::begin(&plan.table.rules),
            plan: Shared::new(plan),
            memlock_bytes: 0,
            uid: Uid(0),
            stopped: false,
            snapshot: Snapshot::NotYet,
            unowned: false,
            #[cfg(feature = "lab")]
            released: 0,
            cause: None,
            outcome: None,
        }
    }

    /// Returns every call of every phase, as computed from the inventory.
    pub fn script(&self) -> impl Iterator<Item = (OutPhase, &Call)> {
        let phases = OutPhase::ALL.iter().zip(&self.plan.calls);
        phases.flat_map(|(phase, calls)| calls.iter().map(|call| (*phase, call)))
    }

    /// Returns the calls of the present phase.
    fn calls(&self) -> &[Call] {
        let calls = &self.plan.calls[self.walk.phase as usize];
        #[cfg(feature = "lab")]
        let calls = self.required(calls);
        calls
    }

    /// Skips phases without calls, and records the outcome at the end.
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
                (false, _) => OutgoingOutcome::Refused,
                (true, false) => OutgoingOutcome::RolledBack,
                (true, true) => OutgoingOutcome::RolledBackUnowned,
            };
            self.outcome.get_or_insert(back);
        }
    }

    /// Records the effect of entering a phase; some have one even if they make no calls.
    fn note(&mut self) {
        if self.walk.phase == OutPhase::Snapshot {
            self.snapshot = Snapshot::Made;
        }
        if self.walk.phase == OutPhase::Release {
            self.outcome = Some(OutgoingOutcome::HandedOver);
        }
        #[cfg(feature = "lab")]
        self.note_foreign();
    }

    /// Returns the `sendmsg` of the offer, with the results of the preflight.
    fn offer(&self, socket: Fd) -> Call {
        let Plan { vm, user_pages, table, .. } = &*self.plan;
        let early = confirms(&table.rules);
        let offer = Offer { vm: vm.clone(), uid: self.uid, user_pages: *user_pages, early };
        send(socket, &Message::Offer(offer), Vec::new())
    }
}

impl Role for Outgoing {
    type Phase = OutPhase;
    type End = OutgoingOutcome;

    fn next_call(&self) -> Option<Call> {
        let call = self.calls().get(self.walk.at as usize)?;
        Some(match (self.walk.phase, call) {
            (OutPhase::Offer, Call::Socket(SocketCall::Send { fd, .. })) => self.offer(*fd),
            _ => call.clone(),
        })
    }

    fn complete(&mut self, answer: CallResult) -> Option<StepError> {
        let call = self.next_call()?;
        let (phase, at) = (self.walk.phase, self.walk.at);
        let stops = call == Call::Guest(GuestCall::Stop) && answer.is_ok();
        self.stopped |= stops || call == Call::Guest(GuestCall::Start);
        let judged = self.judge(&call, &answer);
        let verdict = self.plan.protocol.mutations.verdict(phase, &call, judged);
        let calls = self.calls().len();
        if let Advance::Left = self.walk.advance(&self.plan.table, calls, &verdict) {
            if let Transition::Failed(error) = &verdict {
                self.cause.get_or_insert(error.cause());
            }
            self.arrive();
        }
        let gave_up = matches!(verdict, Transition::Failed(_))
            && (phase, at) != (self.walk.phase, self.walk.at);
        self.unowned |= gave_up && phase == OutPhase::ReclaimOwnership;
        verdict.error()
    }

    fn remaining(&self) -> ProgressMeasure {
        self.walk.remaining(&self.plan.table, self.calls().len())
    }

    fn phase(&self) -> OutPhase {
        self.walk.phase
    }

    fn end(&self) -> Option<OutgoingOutcome> {
        self.outcome
    }

    fn cause(&self) -> Option<Cause> {
        self.cause
    }

    fn can_cancel(&self) -> bool {
        self.walk.rule(&self.plan.table.rules).is_some_and(|rule| rule.undo.is_some())
    }

    fn cancel(&mut self) -> Option<StepError> {
        let undo = self.walk.rule(&self.plan.table.rules).and_then(|rule| rule.undo)?;
        self.cause.get_or_insert(Cause::Cancelled);
        self.walk.jump(undo);
        self.arrive();
        Some(StepError::Cancelled)
    }

    fn can_change(&self) -> bool {
        self.walk.at == 0
    }

    fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool {
        let Plan { protocol, transport, calls: before, .. } = &*self.plan;
        let mut plan = Plan::new(protocol, vm, descriptors, *transport);
        if self.snapshot != Snapshot::NotYet {
            self.snapshot = Snapshot::Outdated;
            for phase in [OutPhase::Snapshot, OutPhase::SendFds] {
                plan.calls[phase as usize].clone_from(&before[phase as usize]);
            }
        }
        self.plan = Shared::new(plan);
        self.snapshot == Snapshot::Outdated
    }
}
