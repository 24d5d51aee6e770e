//! How a world is a handoff in essence, and what is no step of one.
//!
//! A world's [`AbstractState`] is read from what can be seen of its machine ([`Observation`]), from
//! what its history and its processes' ends say, and from whether the old process is on its way
//! back, which is all that is asked of a phase. The protocol refines the essence if the first
//! world's is the first state there, each transition leaves it as it is or does what one row does
//! (and what it did may make the old process give up), and a world in which nobody acts any more is
//! one in which no program has anything left to do. Every run of the protocol is then one of the
//! essence with steps that change nothing in between, and what is invariant there is so here.
//!
//! Where one call does many things (the last close and the exit, say) the essence sees the one that
//! matters, and where one thing takes many calls (to own the pages of several contexts) it sees the
//! first and the last.

use crate::spec::{AbstractSpec, AbstractState, Decision, Guest, Life, Participant};
use crate::state::State;
use crate::state::action::Side;
use crate::state::constants::{Constants, Phases};
use crate::state::observation::{Observation, SideObservation};
use crate::state::parts::{MachineOps, Player, Store};
use handoff_model::role::outgoing::OutgoingOutcome;

impl<S: Store> State<S> {
    /// What it is in essence.
    pub fn essence(&self, constants: &Constants) -> AbstractState {
        let history = &self.aux.history;
        let sight = self.machine.observe(constants);
        let committed = history.committed && !history.fell_back;
        let word = match (committed, history.commit_allowed) {
            (true, _) => Decision::Committed,
            (_, true) => Decision::CommitAllowed,
            _ => Decision::Undecided,
        };
        let home = if committed && !self.is_exec() { Side::New } else { Side::Old };
        let works = sight.devices_unchanged && sight.sides[home as usize].sees;
        if self.is_exec() {
            let program = self.program();
            let here = self.party(constants, &sight, program, Side::Old, true);
            let gone = Participant { life: Life::Gone, guest: Guest::Absent, holds: false };
            let [old, new] = if program == Side::Old { [here, gone] } else { [gone, here] };
            return AbstractState {
                old,
                new,
                owner: sight.owner.map(|_| program),
                works,
                decision: word,
            };
        }
        let old = self.party(constants, &sight, Side::Old, Side::Old, word != Decision::Committed);
        let new = self.party(constants, &sight, Side::New, Side::New, word != Decision::Undecided);
        AbstractState { old, new, owner: sight.owner, works, decision: word }
    }

    /// By exec: which program the process runs, or ran when it was killed.
    fn program(&self) -> Side {
        let has_become = self.outgoing.is_absent() && !self.aux.history.fell_back;
        if has_become { Side::New } else { Side::Old }
    }

    /// A program and its process. A guest that stands still counts only where it `may` run.
    fn party(
        &self,
        constants: &Constants,
        sight: &Observation,
        program: Side,
        process: Side,
        may: bool,
    ) -> Participant {
        let SideObservation { alive, guest, holds, .. } = sight.sides[process as usize];
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

/// What speaks against a step from one state to another.
pub(crate) fn violation_of(
    essence: &AbstractSpec,
    from: AbstractState,
    to: AbstractState,
) -> Option<String> {
    if essence.allows(from, to) {
        return None;
    }
    let early = essence.between(from, to).next();
    let early = early.map(|row| format!("{}, which it may only when {}", row.name, row.when));
    let parts = facts(&from).into_iter().zip(facts(&to)).filter(|(before, after)| before != after);
    let changes: Vec<_> =
        parts.map(|((what, before), (_, after))| format!("{what}: {before} → {after}")).collect();
    let what = early.unwrap_or_else(|| "no step of a handoff does this".to_owned());
    Some(format!("{what} ({})", changes.join("; ")))
}

/// A state in words, part by part.
fn facts(it: &AbstractState) -> [(&'static str, String); 9] {
    let life = |party: &Participant| format!("{:?}", party.life).to_lowercase();
    let guest = |party: &Participant| format!("{:?}", party.guest).to_lowercase();
    let yes = |is: bool| (if is { "yes" } else { "no" }).to_owned();
    let owner = it.owner.map_or("nobody".to_owned(), |side| format!("{side:?}").to_lowercase());
    [
        ("the old one", life(&it.old)),
        ("the new one", life(&it.new)),
        ("the guest in the old one", guest(&it.old)),
        ("the guest in the new one", guest(&it.new)),
        ("the old one holds the devices", yes(it.old.holds)),
        ("the new one holds the devices", yes(it.new.holds)),
        ("the owner of the pages", owner),
        ("the devices reach the guest", yes(it.works)),
        ("the decision", it.decision.to_string()),
    ]
}
