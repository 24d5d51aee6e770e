//! Calls that only the old processes of other protocols make: QEMU's, and those with known bugs.

use super::script::Script;
use super::{Outgoing, OutgoingOutcome};
use crate::abi::call::{Call, CallResult, ContainerCall, FileCall, ProcessCall};
use crate::abi::ids::ObjectId;
use crate::protocol::misreport::Misreport;
use crate::protocol::phase::OutPhase;
use crate::role::calls::take_ownership;
use crate::role::cursor::Transition;
use crate::role::lab::new_addresses;
use crate::stream::State;
use crate::vm::Kind;
use crate::vm::launch::containers;

/// Exit status that a shell reports for a process killed by SIGABRT.
const SIGABRT_STATUS: u8 = 134;

impl Script<'_> {
    pub(super) fn foreign(&self, phase: OutPhase) -> Vec<Call> {
        match phase {
            OutPhase::ProveOwnership => take_ownership(self.vm, self.descriptors),
            OutPhase::ReleaseVaddr => self.release_addresses(),
            OutPhase::RestoreVaddr => self.restore_addresses(),
            OutPhase::RestoreWhole => self.restore_sections(),
            OutPhase::CloseVm => self
                .get(Kind::Kvm)
                .map(|fd| Call::File(FileCall::Close { fd }))
                .into_iter()
                .collect(),
            OutPhase::Abort | OutPhase::AbortRestoring => {
                vec![Call::Process(ProcessCall::Exit { status: SIGABRT_STATUS })]
            }
            OutPhase::Completed => Vec::new(),
            other => unreachable!("{other:?} has no calls here"),
        }
    }

    fn release_addresses(&self) -> Vec<Call> {
        let containers = containers(self.vm, self.descriptors);
        containers
            .map(|container| Call::Container(ContainerCall::ForgetVaddrs { container }))
            .collect()
    }

    fn restore_addresses(&self) -> Vec<Call> {
        let containers: Vec<_> = containers(self.vm, self.descriptors).collect();
        new_addresses(self.vm, |at| containers.get(usize::from(at)).copied())
    }

    /// Returns one call per container, from its first address to its last.
    fn restore_sections(&self) -> Vec<Call> {
        let mut sections: Vec<Call> = Vec::new();
        for call in self.restore_addresses() {
            match (sections.last_mut(), &call) {
                (
                    Some(Call::Container(ContainerCall::GiveVaddr {
                        container,
                        iova,
                        length_bytes,
                        ..
                    })),
                    Call::Container(ContainerCall::GiveVaddr {
                        container: of,
                        iova: next,
                        length_bytes: more,
                        ..
                    }),
                ) if container == of => {
                    *length_bytes = next.0.saturating_add(*more).saturating_sub(iova.0);
                }
                _ => sections.push(call),
            }
        }
        sections
    }
}

impl Outgoing {
    pub(super) fn judge_foreign(&mut self, call: &Call, answer: &CallResult) -> Transition {
        if self.walk.phase == OutPhase::ReleaseVaddr {
            self.released += usize::from(answer.is_ok());
        }
        Transition::of(call, answer)
    }

    pub(super) fn note_foreign(&mut self) {
        if self.walk.phase == OutPhase::Completed {
            self.outcome = Some(OutgoingOutcome::HandedOver);
        }
    }

    /// Returns those calls that the present phase makes: addresses are restored only where they
    /// were invalidated.
    pub(super) fn required<'a>(&self, calls: &'a [Call]) -> &'a [Call] {
        let required = match self.walk.phase {
            OutPhase::RestoreVaddr => self.restores(calls),
            OutPhase::RestoreWhole => self.released,
            OutPhase::AbortRestoring => self.released.min(1),
            _ => calls.len(),
        };
        &calls[..calls.len().min(required)]
    }

    /// Returns how many of these calls are for a container whose addresses were invalidated.
    fn restores(&self, calls: &[Call]) -> usize {
        let release = &self.plan.calls[OutPhase::ReleaseVaddr as usize];
        let released = &release[..self.released.min(release.len())];
        let is_released = |call: &&Call| match call {
            Call::Container(ContainerCall::GiveVaddr { container, .. }) => released
                .contains(&Call::Container(ContainerCall::ForgetVaddrs { container: *container })),
            _ => false,
        };
        calls.iter().take_while(is_released).count()
    }
}

/// Returns the snapshot with the given mistakes in it.
pub(super) fn misreported(mut state: State, misreports: &[Misreport]) -> State {
    for misreport_kind in misreports {
        misreport(*misreport_kind, &mut state);
    }
    state
}

fn misreport(misreport_kind: Misreport, state: &mut State) {
    match misreport_kind {
        Misreport::SpaceOfFirst => {
            for device in state.vm.devices.iter_mut().skip(1) {
                device.ioas = ObjectId(0);
            }
        }
        Misreport::ZeroIsNone => {
            let first = state.descriptors.iter().position(|(key, _)| key.kind == Kind::Device);
            first.map(|at| state.descriptors.remove(at));
        }
    }
}
