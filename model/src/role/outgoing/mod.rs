//! The old process.
//!
//! It holds everything, and it is the only one that may decide to commit. Until the new process has
//! said `Committed` it can always go back; from then on it never touches anything again but to
//! close it. What decides is one packet: [`OutPhase::Revoke`] shuts the receiving side of the
//! socket down, which the kernel orders before or after the new process's send, and
//! [`OutPhase::Drain`] reads what came before.
//!
//! Mirrors: `migration/migration.c`, `migration/cpr-transfer.c`, `migration/cpr-exec.c` and
//! `hw/vfio/cpr-iommufd.c` of QEMU 10.2, in another order: the guest stops before its state is cut
//! (or before what was cut is confirmed), the probe has no side effect, the commit is acknowledged
//! and can be revoked, and the way back takes the ownership back.

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

/// What the old process brings besides its inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutgoingTransport {
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
pub enum OutgoingOutcome {
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
    walk: Cursor<OutPhase>,
    memlock_bytes: u64,
    uid: Uid,
    /// The guest was stopped, or is let run again by a way back.
    stopped: bool,
    snapshot: Snapshot,
    unowned: bool,
    /// How many containers have let go of their addresses.
    #[cfg(feature = "lab")]
    released: usize,
    cause: Option<Cause>,
    outcome: Option<OutgoingOutcome>,
}

/// The state, as the new process is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Snapshot {
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
    transport: OutgoingTransport,
    table: Table<OutPhase>,
    /// For each phase its calls, in the order of [`OutPhase::ALL`]; none of one that the table does
    /// not name.
    calls: Vec<Vec<Call>>,
    /// The names of the iommufds, or of the containers.
    contexts: Vec<String>,
    /// The name of the virtual machine.
    vm: String,
    user_pages: u64,
    /// What the inventory says against itself.
    blockers: Vec<Blocker>,
}

impl Plan {
    fn new(
        protocol: &Protocol,
        vm: &Vm,
        descriptors: &Descriptors,
        transport: OutgoingTransport,
    ) -> Self {
        let told = State::of(vm, descriptors);
        #[cfg(feature = "lab")]
        let told = told.map(|state| lab::misreported(state, &protocol.misreports));
        let script = Script { vm, descriptors, told, transport };
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
    /// A role at its beginning.
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

    /// Every call of every phase, as the inventory has them.
    pub fn script(&self) -> impl Iterator<Item = (OutPhase, &Call)> {
        let phases = OutPhase::ALL.iter().zip(&self.plan.calls);
        phases.flat_map(|(phase, calls)| calls.iter().map(|call| (*phase, call)))
    }

    /// The calls of the present phase.
    fn calls(&self) -> &[Call] {
        let calls = &self.plan.calls[self.walk.phase as usize];
        #[cfg(feature = "lab")]
        let calls = self.due(calls);
        calls
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
                (false, _) => OutgoingOutcome::Refused,
                (true, false) => OutgoingOutcome::RolledBack,
                (true, true) => OutgoingOutcome::RolledBackUnowned,
            };
            self.outcome.get_or_insert(back);
        }
    }

    /// Some phases say something by being come to, also where they have no calls.
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

    /// The offer, with what the preflight has learned.
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
