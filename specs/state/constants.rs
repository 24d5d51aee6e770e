//! The constants of a state space: what is the same in every state of a scenario that was set up.

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

/// What is the same in every state of a check.
#[derive(Clone, Debug)]
pub struct Constants {
    /// The protocol of both roles.
    pub protocol: Protocol,
    /// The devices' names.
    pub devices: Vec<String>,
    /// The view before anything happened.
    pub base: View,
    /// The open files that must be handed over, each exactly once.
    pub preserved: BTreeSet<FileRef>,
    /// What the protocol must make of it.
    pub expected: Expected,
    /// What is told that is not so.
    pub corruption: Option<&'static Corruption>,
    /// The calls by which it came to be.
    pub opening: Vec<CompletedCall>,
    /// Names of processes, open files and RAM blocks.
    pub names: Names,
    /// The virtual machine as it was launched, and its descriptors.
    pub launched: (Vm, Descriptors),
    /// What the guest may have armed while it runs: interrupts of the last device.
    pub(super) later: Option<Vec<Interrupts>>,
    /// What its tables say of each phase.
    pub(crate) phases: Phases,
    /// Calls may fail.
    pub(crate) fail_calls: bool,
    /// KVM takes interrupts from the eventfds, and no guest reads any.
    pub(crate) kvm: bool,
    /// Where the new program finds the stream, by exec.
    pub(crate) stream: Option<Fd>,
    /// The program to go back to, by exec.
    pub(crate) old_image: Fd,
}

/// What the tables of a protocol say of each phase, by its number: asked of every state.
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

    /// Returns true if the old process goes back in this phase.
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
    /// Whether the guest may have an interrupt armed.
    pub(crate) fn may_arm(&self) -> bool {
        self.later.is_some()
    }

    /// Whether the interrupt of a device is armed later, if at all.
    pub(crate) fn is_later(&self, device: u8) -> bool {
        self.later.is_some() && usize::from(device) + 1 == self.devices.len()
    }

    /// The calls by which the old VMM arms the interrupt of the last device; none where there is
    /// nothing to arm.
    pub(crate) fn arm(&self, machine: &mut Machine) -> Vec<CompletedCall> {
        let Some(interrupts) = &self.later else { return Vec::new() };
        let (mut next, (mut vm, mut descriptors)) = (machine.clone(), self.launched.clone());
        let mut handle = RecordingHandle { machine: &mut next, made: Vec::new() };
        // What a variant has broken before may make it fail; then nothing is armed.
        if launch::arm(interrupts, &mut vm, &mut descriptors, &mut handle).is_err() {
            return Vec::new();
        }
        let made = handle.made;
        *machine = next;
        made
    }

    /// The inventory with that interrupt in it, by its eventfd.
    pub(crate) fn with_armed(&self, eventfd: Fd) -> Option<(Vm, Descriptors)> {
        let interrupts = self.later.as_ref()?;
        let (mut vm, mut descriptors) = self.launched.clone();
        let device = vm.devices.last_mut()?;
        device.interrupts.clone_from(interrupts);
        device.interrupt_keys().for_each(|(_, key)| descriptors.insert(key, eventfd));
        if let Some(wrong) = self.corruption {
            wrong.corrupt_inventory(&mut vm, &mut descriptors);
        }
        Some((vm, descriptors))
    }

    /// What it should look like, and which files must be handed over, where the guest has armed an
    /// interrupt, whose eventfd this is.
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

/// The old process's door, with everything that goes through it written down.
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
