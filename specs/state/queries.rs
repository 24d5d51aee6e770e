//! The facts about a state that properties, ranks and verdicts need.

use super::State;
use crate::properties::Status;
use crate::properties::ranking::Rank;
use crate::state::action::{Kind, Side};
use crate::state::constants::Constants;
use crate::state::faults::RemainingFaults;
use crate::state::parts::{MachineOps, Player, Store};
use handoff_model::abi::ids::Pid;
use handoff_model::protocol::phase::RolePhase;
use handoff_model::role::Cause;
use handoff_model::role::incoming::IncomingOutcome;
use handoff_model::role::outgoing::OutgoingOutcome;

impl<S: Store> State<S> {
    /// Returns the process that must have the virtual machine now; `None` if it was lost with its
    /// process.
    pub fn guest_owner(&self) -> Option<Pid> {
        let side = self.owning_side();
        self.is_alive(side).then_some(side.pid())
    }

    /// Returns true if the process that must have the guest, or had it, was killed from outside.
    pub fn guest_owner_was_killed(&self) -> bool {
        self.aux.history.killed[self.owning_side() as usize]
    }

    fn owning_side(&self) -> Side {
        let moved = self.aux.history.committed && !self.is_exec();
        if moved { Side::New } else { Side::Old }
    }

    /// Returns the outcome for the old process; `None` while it acts, and if it was killed.
    pub fn outcome(&self) -> Option<OutgoingOutcome> {
        self.outgoing.ended()
    }

    /// Returns true if the new process, or the new program, has the guest permanently.
    pub fn is_handed_over(&self) -> bool {
        self.incoming.ended() == Some(IncomingOutcome::TookOver) && !self.aux.history.fell_back
    }

    /// Returns true if the old program runs again (exec mode).
    pub fn runs_again(&self) -> bool {
        self.aux.history.fell_back
    }

    /// Returns the kinds of actions that must occur in some run from here: the environment may take
    /// them, or a role must.
    pub(crate) fn expected(&self, constants: &Constants) -> Vec<Kind> {
        let RemainingFaults { fail_calls, kill, cancel, guest_steps, interrupts, arm } =
            &self.aux.budget;
        let interrupts = interrupts.iter().any(|left| *left > 0);
        let all = [
            (true, Kind::OldCall),
            (!self.is_exec(), Kind::NewCall),
            (*fail_calls > 0, Kind::Failure),
            (*kill > 0, Kind::Kill),
            (*cancel, Kind::Cancel),
            (interrupts, Kind::Interrupt),
            (interrupts && !constants.kvm, Kind::Taking),
            (*guest_steps > 0, Kind::Work),
            (*arm, Kind::Arming),
        ];
        all.into_iter().filter(|(is_expected, _)| *is_expected).map(|(_, kind)| kind).collect()
    }

    /// Returns true if the handoff has stopped the guest, and the guest is neither lost nor
    /// running.
    pub fn is_dark(&self) -> bool {
        let mut sides = self.sides();
        self.aux.history.was_stopped
            && self.guest_owner().is_some()
            && !sides.any(|side| self.machine.guest_runs(side))
    }

    /// Returns the rank, which bounds the remaining steps.
    pub fn rank(&self) -> Rank {
        Rank {
            environment: self.aux.budget.remaining(),
            fallback: !self.aux.history.fell_back,
            old: self.outgoing.left(),
            new: self.incoming.left(),
            dying: self.aux.dying,
            unread: self.machine.unread_interrupts(),
        }
    }

    /// Returns true if the old process rolls back because the peer has exited, although no fault
    /// has disturbed either and no reason was given.
    pub fn is_unexplained(&self) -> bool {
        !self.aux.history.faulted && self.outgoing.cause() == Some(Cause::PeerGone)
    }

    /// Returns true if the new program acts, and not the old one again (exec mode).
    pub fn is_new_program(&self) -> bool {
        self.is_exec() && self.incoming.is_acting() && !self.aux.history.fell_back
    }

    /// Returns true if the handoff has terminated and a process without the guest is still alive.
    pub fn leaves_one_over(&self) -> bool {
        let mut others = self.sides().filter(|side| *side != self.owning_side());
        self.is_quiescent() && others.any(|side| self.is_alive(side))
    }

    /// Returns true if no process acts any more.
    pub fn is_quiescent(&self) -> bool {
        !self.outgoing.is_acting() && !self.incoming.is_acting()
    }

    /// Returns true if descriptors may be inheritable now: from the opening of the window to its
    /// closing, in exec mode.
    pub fn window_is_open(&self, constants: &Constants) -> bool {
        let old = self.outgoing.phase().map(RolePhase::Old);
        let new = self.incoming.phase().map(RolePhase::New);
        [old, new].into_iter().flatten().any(|place| constants.phases.in_window(place))
    }

    /// Returns the status of the handoff, as properties see it.
    pub(crate) fn status(&self, constants: &Constants) -> Status {
        Status {
            mode: constants.protocol.mode,
            guest_owner: self.guest_owner(),
            guest_owner_was_killed: self.guest_owner_was_killed(),
            quiescent: self.is_quiescent(),
            outcome: self.outcome(),
            fell_back: self.aux.history.fell_back,
            handed_over: self.is_handed_over(),
            faulted: self.aux.history.faulted,
            expected: constants.expected,
            unexplained: self.is_unexplained(),
            new_program: self.is_new_program(),
            left_over: self.leaves_one_over(),
            was_stopped: self.aux.history.was_stopped,
            changed_early: self.aux.history.changed_early,
            commit_allowed: self.aux.history.commit_allowed,
            progress: Some(self.aux.history.progress),
            window_open: self.window_is_open(constants),
            armed: self.aux.history.armed,
        }
    }
}
