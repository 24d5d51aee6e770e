//! The role of the new process, which adopts the guest and commits.
//!
//! It is created from a protocol and a transport, over which it receives the descriptors and the
//! stream with the inventory. `script` computes the calls of each phase, `judge` evaluates each
//! answer, and `adopted` compares the kernel's state with the inventory.
//!
//! **Invariant:** before it has received `Commit` (by exec: before `ChangeOwner`) the new process
//! changes nothing that the old process can see. It adopts descriptors, compares every id, mapping
//! and device of the inventory with the kernel's state, maps guest RAM, and builds a stopped guest.
//! Then it takes the ownership and passes the point of no return, which is one packet. If it fails
//! before that, it exits, which closes everything that it received, or by exec executes the old
//! program again. It never unwinds state that is not its own.
//!
//! A mapping is verified without changing it by `IOMMU_IOAS_COPY` of a range onto itself, which
//! cannot succeed: EEXIST means that the range is mapped, ENOENT that it is not, or not completely.
//!
//! Mirrors: `vfio_cpr_load_device` and the incoming branches of `iommufd_cdev_attach` in QEMU 10.2
//! (`hw/vfio/cpr-iommufd.c`, `hw/vfio/iommufd.c`): bind, alloc, attach and map are skipped. Unlike
//! in QEMU, the skipped steps are verified, and no error path issues a mutating ioctl.

mod adopted;
mod judge;
#[cfg(feature = "lab")]
mod lab;
mod script;

use super::cursor::{Advance, Cursor, Transition};
use super::{Cause, Role, StepError};
use crate::abi::call::{Call, CallResult};
use crate::abi::ids::{Fd, Uid, Va};
use crate::protocol::Protocol;
use crate::protocol::measure::{ProgressMeasure, Table};
use crate::protocol::mutation::Mutations;
use crate::protocol::phase::InPhase;
use crate::shared::Shared;
use crate::stream::Offer;
use crate::vm::blocker::BlockerKind;
use crate::vm::{Backing, Descriptors, Key, Kind, Vm};
use adopted::Adopted;
use script::Script;
use serde::{Deserialize, Serialize};

/// The transport from the old process or program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IncomingTransport {
    /// Everything arrives over one end of a SOCK_SEQPACKET pair.
    Transfer {
        /// The socket.
        socket: Fd,
    },
    /// The old program executed this one, and the descriptors are inherited.
    Exec {
        /// The memfd of the stream.
        stream: Fd,
        /// The image of the old program, for the fallback.
        old_image: Fd,
    },
}

/// The outcome for the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncomingOutcome {
    /// The guest belongs to this process.
    TookOver,
    /// The takeover failed, and this process exits.
    Left,
}

/// The role of the new process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incoming {
    plan: Shared<Plan>,
    transport: IncomingTransport,
    walk: Cursor<InPhase>,
    offer: Option<Offer>,
    memlock_bytes: u64,
    uid: Uid,
    arrived: Vec<Fd>,
    adopted: Option<Shared<Adopted>>,
    /// The addresses at which guest RAM is mapped, in the order of the file-backed blocks.
    mapped: Vec<Va>,
    /// `/dev/kvm`, open while the virtual machine is created.
    kvm: Option<Fd>,
    /// KVM's virtual machine.
    kvm_vm: Option<Fd>,
    reason: String,
    cause: Option<Cause>,
    outcome: Option<IncomingOutcome>,
}

/// Data that is fixed for the whole run.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Plan {
    table: Table<InPhase>,
    memlock_waived: bool,
    omitted: Mutations,
}

impl Incoming {
    /// Creates a role in the first phase of its table.
    pub fn new(protocol: &Protocol, origin: IncomingTransport) -> Self {
        let plan = Plan {
            table: Table::new(protocol.incoming.clone(), &protocol.incoming_jumps),
            memlock_waived: protocol.skipped_preconditions.contains(&BlockerKind::MemlockTooSmall),
            omitted: protocol.mutations.clone(),
        };
        Self {
            walk: Cursor::begin(&plan.table.rules),
            plan: Shared::new(plan),
            transport: origin,
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
            outcome: None,
        }
    }

    /// Returns the inventory and the descriptors, once the stream is read. A VMM continues with
    /// them, and hands them over in the next handoff. Guest RAM has the addresses at which this
    /// process mapped it.
    pub fn inventory(&self) -> Option<(Vm, Descriptors)> {
        let adopted = self.adopted.as_ref()?;
        let mut vm = adopted.vm.clone();
        let files = vm.ram.iter_mut().filter(|block| block.backing == Backing::File);
        files.zip(&self.mapped).for_each(|(block, va)| block.va = *va);
        let mut descriptors = adopted.descriptors.clone();
        self.kvm_vm.iter().for_each(|fd| descriptors.insert(Key::new(Kind::Kvm, "", 0), *fd));
        Some((vm, descriptors))
    }

    /// Returns every call of every phase that a role with this transport makes for an inventory.
    pub fn script(
        protocol: &Protocol,
        origin: IncomingTransport,
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
        let named = InPhase::ALL.iter().filter(|phase| role.plan.table.names(**phase));
        named.flat_map(of_phase).collect()
    }

    /// Returns the calls of the present phase that the inventory determines; empty if it determines
    /// none.
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

    /// Skips phases without calls, and records the outcome at the end.
    fn arrive(&mut self) {
        while self.count() == 0 {
            match self.walk.rule(&self.plan.table.rules) {
                Some(rule) => self.walk.jump(rule.next),
                None => break,
            }
        }
        match self.walk.phase {
            InPhase::Cleanup => self.outcome = Some(IncomingOutcome::TookOver),
            InPhase::Leave | InPhase::End => {
                self.outcome.get_or_insert(IncomingOutcome::Left);
            }
            _ => {}
        }
    }

    fn remember(&mut self, error: &StepError) {
        if self.cause.is_none() {
            self.cause = Some(error.cause());
            if self.walk.phase == InPhase::Refuse {
                self.reason = error.to_string();
            }
        }
    }
}

impl Role for Incoming {
    type Phase = InPhase;
    type End = IncomingOutcome;

    fn next_call(&self) -> Option<Call> {
        self.call_at(self.walk.at)
    }

    fn complete(&mut self, answer: CallResult) -> Option<StepError> {
        let call = self.next_call()?;
        let count = self.count();
        let phase = self.walk.phase;
        let judged = self.judge(&call, &answer);
        let verdict = self.plan.omitted.verdict(phase, &call, judged);
        if let Advance::Left = self.walk.advance(&self.plan.table, count, &verdict) {
            if let Transition::Failed(error) = &verdict {
                self.remember(error);
            }
            self.arrive();
        }
        verdict.error()
    }

    fn remaining(&self) -> ProgressMeasure {
        self.walk.remaining(&self.plan.table, self.count())
    }

    fn phase(&self) -> InPhase {
        self.walk.phase
    }

    fn end(&self) -> Option<IncomingOutcome> {
        self.outcome
    }

    fn cause(&self) -> Option<Cause> {
        self.cause
    }
}
