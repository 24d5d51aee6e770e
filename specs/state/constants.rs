//! The constants of a state space: the values that all states of a scenario share.

use crate::properties::Names;
use crate::scenario::corruption::Corruption;
use crate::scenario::expectation::Expected;
use crate::state::action::OLD;
use handoff_model::abi::call::{Call, CallResult, CompletedCall};
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_model::abi::view::{DescriptorView, FileKind, FileRef, InterruptView, View};
use handoff_model::protocol::Protocol;
use handoff_model::protocol::phase::{InPhase, OutPhase, RolePhase};
use handoff_model::vm::launch;
use handoff_model::vm::{Descriptors, Interrupts, Vm};
use handoff_sim_kernel::Machine;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The values that all states of a check share.
#[derive(Clone, Debug)]
pub struct Constants {
    /// The protocol of both roles.
    pub protocol: Protocol,
    /// The devices' names.
    pub devices: Vec<String>,
    /// The view of the initial state.
    pub base: View,
    /// The open files that must be handed over, each exactly once.
    pub preserved: BTreeSet<FileRef>,
    /// The outcome that the scenario requires.
    pub expected: Expected,
    /// The corruption that the scenario injects.
    pub corruption: Option<&'static Corruption>,
    /// The calls that produced the initial state.
    pub opening: Vec<CompletedCall>,
    /// Names of processes, open files and RAM blocks.
    pub names: Names,
    /// The virtual machine as it was launched, and its descriptors.
    pub launched: (Vm, Descriptors),
    /// Interrupts of the last device that the guest may have armed while it runs.
    pub(super) later: Option<Vec<Interrupts>>,
    /// Facts about each phase from the protocol's tables.
    pub(crate) phases: Phases,
    /// True if calls may fail.
    pub(crate) fail_calls: bool,
    /// True if KVM consumes the eventfds of interrupts, and no guest reads them.
    pub(crate) kvm: bool,
    /// The descriptor from which the new program reads the stream, in exec mode.
    pub(crate) stream: Option<Fd>,
    /// The program to fall back to, in exec mode.
    pub(crate) old_image: Fd,
}

/// Facts about each phase from a protocol's tables, by the phase's number. Every state needs them.
#[derive(Clone, Debug)]
pub(crate) struct Phases {
    is_rollback: Vec<bool>,
    in_window: [Vec<bool>; 2],
    is_committed: Vec<bool>,
}

impl Phases {
    pub(super) fn new(protocol: &Protocol) -> Self {
        let old = OutPhase::ALL.iter().map(|phase| protocol.in_window(RolePhase::Old(*phase)));
        let new = InPhase::ALL.iter().map(|phase| protocol.in_window(RolePhase::New(*phase)));
        Self {
            is_rollback: OutPhase::ALL.iter().map(|phase| protocol.is_rollback(*phase)).collect(),
            in_window: [old.collect(), new.collect()],
            is_committed: InPhase::ALL.iter().map(|phase| protocol.is_committed(*phase)).collect(),
        }
    }

    /// Returns true if the new process is past the point of no return in this phase.
    pub(crate) fn is_committed(&self, phase: InPhase) -> bool {
        self.is_committed[phase as usize]
    }

    /// Returns true if the old process rolls back in this phase.
    pub(crate) fn is_rollback(&self, phase: OutPhase) -> bool {
        self.is_rollback[phase as usize]
    }

    /// Returns true if descriptors may be inheritable in this phase.
    pub(crate) fn in_window(&self, place: RolePhase) -> bool {
        match place {
            RolePhase::Old(phase) => self.in_window[0][phase as usize],
            RolePhase::New(phase) => self.in_window[1][phase as usize],
        }
    }
}

impl Constants {
    /// Returns true if the guest may have an interrupt armed.
    pub(crate) fn may_arm(&self) -> bool {
        self.later.is_some()
    }

    /// Returns true if this device's interrupt is armed only at run time.
    pub(crate) fn is_later(&self, device: u8) -> bool {
        self.later.is_some() && usize::from(device) + 1 == self.devices.len()
    }

    /// Makes the calls by which the old VMM arms the interrupt of the last device. Returns none if
    /// there is no interrupt to arm.
    pub(crate) fn arm(&self, machine: &mut Machine) -> Vec<CompletedCall> {
        let Some(interrupts) = &self.later else { return Vec::new() };
        let (mut next, (mut vm, mut descriptors)) = (machine.clone(), self.launched.clone());
        let mut handle = RecordingHandle { machine: &mut next, made: Vec::new() };
        // A variant may have broken a precondition; then no interrupt is armed.
        if launch::arm(interrupts, &mut vm, &mut descriptors, &mut handle).is_err() {
            return Vec::new();
        }
        let made = handle.made;
        *machine = next;
        made
    }

    /// Returns the inventory with the armed interrupt, whose eventfd this is.
    pub(crate) fn with_armed(&self, eventfd: Fd) -> Option<(Vm, Descriptors)> {
        let interrupts = self.later.as_ref()?;
        let (mut vm, mut descriptors) = self.launched.clone();
        let device = vm.devices.last_mut()?;
        device.interrupts.clone_from(interrupts);
        device.interrupt_keys().for_each(|(_, key)| descriptors.insert(key, eventfd));
        if let Some(corruption) = self.corruption {
            corruption.corrupt_inventory(&mut vm, &mut descriptors);
        }
        Some((vm, descriptors))
    }

    /// Returns the expected view and the files that must be handed over, if the guest has armed an
    /// interrupt with this eventfd.
    pub(crate) fn expected_with(
        &self,
        armed: Option<FileRef>,
    ) -> (Cow<'_, View>, Cow<'_, BTreeSet<FileRef>>) {
        let (mut base, mut preserved) = (Cow::Borrowed(&self.base), Cow::Borrowed(&self.preserved));
        if let (Some(file), Some(name)) = (armed, self.devices.last()) {
            preserved.to_mut().insert(file);
            let irqfd = self.kvm.then_some(OLD);
            let vector =
                InterruptView { trigger: armed, raised: 0, delivered: 0, pending: 0, irqfd };
            let base = base.to_mut();
            if let Some(device) = base.devices.get_mut(name) {
                device.interrupts = vec![vector];
            }
            let open = DescriptorView { file, kind: FileKind::Eventfd, cloexec: true };
            if let Some(old) = base.processes.get_mut(&OLD) {
                old.descriptors.insert(Fd(i32::MAX), open);
            }
        }
        (base, preserved)
    }
}

/// The kernel as the old process sees it, with a record of all calls.
pub(super) struct RecordingHandle<'a> {
    pub(super) machine: &'a mut Machine,
    pub(super) made: Vec<CompletedCall>,
}

impl Kernel for RecordingHandle<'_> {
    fn call(&mut self, call: &Call) -> CallResult {
        let answer = self.machine.call(OLD, call);
        self.made.push(CompletedCall { pid: OLD, call: call.clone(), answer: answer.clone() });
        answer
    }
}
