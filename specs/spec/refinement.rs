//! The refinement mapping from states of the protocol to states of the abstract spec.
//!
//! The [`AbstractState`] of a state is a function of what is observable of its machine
//! ([`Observation`]), of its history variables, of the processes' outcomes, and of whether the old
//! process is rolling back, which is the only use of a phase. The protocol refines the abstract
//! spec if the initial state maps to the initial one; if each transition is a stuttering step or
//! one enabled action, possibly followed by the start of the old VMM's rollback; and if in a state
//! in which no role acts no program has an enabled action. Then every run of the protocol is a run
//! of the spec with stuttering, and the spec's invariants hold for the protocol.
//!
//! If one call has several effects (such as the last close and the exit), the mapping shows the
//! relevant one. If one action takes several calls (such as owning the pages of several contexts),
//! it shows the first and the last.

use crate::spec::{AbstractSpec, AbstractState, Decision, Guest, Life, Participant};
use crate::state::State;
use crate::state::action::Side;
use crate::state::constants::{Constants, Phases};
use crate::state::observation::{Observation, SideObservation};
use crate::state::parts::{MachineOps, Player, Store};
use handoff_model::role::outgoing::OutgoingOutcome;

impl<S: Store> State<S> {
    /// Maps the state to its abstract state.
    pub fn abstract_state(&self, constants: &Constants) -> AbstractState {
        let history = &self.aux.history;
        let observation = self.machine.observe(constants);
        let committed = history.committed && !history.fell_back;
        let decision = match (committed, history.commit_allowed) {
            (true, _) => Decision::Committed,
            (_, true) => Decision::CommitAllowed,
            _ => Decision::Undecided,
        };
        let home = if committed && !self.is_exec() { Side::New } else { Side::Old };
        let works = observation.devices_unchanged && observation.sides[home as usize].sees;
        if self.is_exec() {
            let program = self.program();
            let here = self.party(constants, &observation, program, Side::Old, true);
            let gone = Participant { life: Life::Gone, guest: Guest::Absent, holds: false };
            let [old, new] = if program == Side::Old { [here, gone] } else { [gone, here] };
            return AbstractState {
                old,
                new,
                owner: observation.owner.map(|_| program),
                works,
                decision,
            };
        }
        let old = self.party(
            constants,
            &observation,
            Side::Old,
            Side::Old,
            decision != Decision::Committed,
        );
        let new = self.party(
            constants,
            &observation,
            Side::New,
            Side::New,
            decision != Decision::Undecided,
        );
        AbstractState { old, new, owner: observation.owner, works, decision }
    }

    /// Returns the program that the process runs, or ran when it was killed (exec mode).
    fn program(&self) -> Side {
        let has_become = self.outgoing.is_absent() && !self.aux.history.fell_back;
        if has_become { Side::New } else { Side::Old }
    }

    /// Maps a program and its process. A stopped guest counts only if the program `may` run it.
    fn party(
        &self,
        constants: &Constants,
        observation: &Observation,
        program: Side,
        process: Side,
        may: bool,
    ) -> Participant {
        let SideObservation { alive, guest, holds, .. } = observation.sides[process as usize];
        let history = &self.aux.history;
        let life = match (alive, history.killed[process as usize]) {
            (true, _) if program == Side::Old && self.is_going_back(&constants.phases) => {
                Life::GivesUp
            }
            (true, _) => Life::Here,
            (false, true) => Life::Killed,
            (false, false) => Life::Gone,
        };
        let guest = match guest {
            Some((true, _)) => Guest::Runs,
            Some((false, progress)) if may && progress == Some(history.progress) => Guest::Stopped,
            _ => Guest::Absent,
        };
        Participant { life, guest, holds }
    }

    fn is_going_back(&self, phases: &Phases) -> bool {
        let is_back = self.outgoing.phase().is_some_and(|phase| phases.is_rollback(phase));
        let was_back =
            self.outgoing.ended().is_some_and(|outcome| outcome != OutgoingOutcome::HandedOver);
        let history = &self.aux.history;
        history.fell_back || !history.committed && (is_back || was_back)
    }
}

/// Describes why the spec does not allow a step; `None` if it does.
pub(crate) fn violation_of(
    spec: &AbstractSpec,
    from: AbstractState,
    to: AbstractState,
) -> Option<String> {
    if spec.allows(from, to) {
        return None;
    }
    let early = spec.between(from, to).next();
    let early =
        early.map(|action| format!("{}, which it may do only when {}", action.name, action.when));
    let parts = facts(&from).into_iter().zip(facts(&to)).filter(|(before, after)| before != after);
    let changes: Vec<_> =
        parts.map(|((name, before), (_, after))| format!("{name}: {before} → {after}")).collect();
    let violation =
        early.unwrap_or_else(|| "no action of the abstract spec allows this change".to_owned());
    Some(format!("{violation} ({})", changes.join("; ")))
}

/// Returns the variables of a state in words.
fn facts(it: &AbstractState) -> [(&'static str, String); 9] {
    let life = |party: &Participant| {
        let words = match party.life {
            Life::Here => "active",
            Life::GivesUp => "rolling back",
            Life::Gone => "absent",
            Life::Killed => "killed",
        };
        words.to_owned()
    };
    let guest = |party: &Participant| format!("{:?}", party.guest).to_lowercase();
    let yes = |is: bool| (if is { "yes" } else { "no" }).to_owned();
    let owner = it.owner.map_or("none", |side| match side {
        Side::Old => "old VMM",
        Side::New => "new VMM",
    });
    [
        ("the old VMM", life(&it.old)),
        ("the new VMM", life(&it.new)),
        ("the guest in the old VMM", guest(&it.old)),
        ("the guest in the new VMM", guest(&it.new)),
        ("the old VMM holds the devices", yes(it.old.holds)),
        ("the new VMM holds the devices", yes(it.new.holds)),
        ("the owner of the pages", owner.to_owned()),
        ("the devices reach the guest", yes(it.works)),
        ("the decision", it.decision.to_string()),
    ]
}
