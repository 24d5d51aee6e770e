//! What properties, ranks and verdicts ask of a world.

use super::World;
use crate::properties::Moment;
use crate::properties::ranking::Rank;
use crate::state::action::{Kind, Side};
use crate::state::constants::Setting;
use crate::state::faults::Budget;
use crate::state::parts::{Machinery, Player, Store};
use handoff_model::abi::ids::Pid;
use handoff_model::protocol::phase::Place;
use handoff_model::role::Cause;
use handoff_model::role::incoming::Arrival;
use handoff_model::role::outgoing::Outcome;

impl<S: Store> World<S> {
    /// The process that must have the virtual machine now; `None` once it is lost with its process.
    pub fn keeper(&self) -> Option<Pid> {
        let side = self.keeping_side();
        self.is_alive(side).then_some(side.pid())
    }

    /// The process that must have it, or had it, was killed from outside.
    pub fn keeper_was_killed(&self) -> bool {
        self.rest.history.killed[self.keeping_side() as usize]
    }

    fn keeping_side(&self) -> Side {
        let moved = self.rest.history.committed && !self.is_exec();
        if moved { Side::New } else { Side::Old }
    }

    /// How it ended for the old process; `None` while it goes on, and once it was killed.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outgoing.ended()
    }

    /// The guest is with the new process, or with the new program, for good.
    pub fn is_handed_over(&self) -> bool {
        self.incoming.ended() == Some(Arrival::TookOver) && !self.rest.history.fell_back
    }

    /// By exec: the old program runs again.
    pub fn runs_again(&self) -> bool {
        self.rest.history.fell_back
    }

    /// What must happen in some run from here, because the environment may do it or a role must.
    pub(crate) fn expected(&self, setting: &Setting) -> Vec<Kind> {
        let Budget { fail_calls, kill, cancel, guest_steps, interrupts, arm } = &self.rest.budget;
        let interrupts = interrupts.iter().any(|left| *left > 0);
        let all = [
            (true, Kind::OldCall),
            (!self.is_exec(), Kind::NewCall),
            (*fail_calls > 0, Kind::Failure),
            (*kill > 0, Kind::Kill),
            (*cancel, Kind::Cancel),
            (interrupts, Kind::Interrupt),
            (interrupts && !setting.kvm, Kind::Taking),
            (*guest_steps > 0, Kind::Work),
            (*arm, Kind::Arming),
        ];
        all.into_iter().filter(|(is_expected, _)| *is_expected).map(|(_, kind)| kind).collect()
    }

    /// The handoff has stopped the guest, which is not lost and runs nowhere.
    pub fn is_dark(&self) -> bool {
        let mut sides = self.sides();
        self.rest.history.was_stopped
            && self.keeper().is_some()
            && !sides.any(|side| self.machine.guest_runs(side))
    }

    /// How far it is from its end.
    pub fn rank(&self) -> Rank {
        Rank {
            environment: self.rest.budget.left(),
            fallback: !self.rest.history.fell_back,
            old: self.outgoing.left(),
            new: self.incoming.left(),
            dying: self.rest.dying,
            untaken: self.machine.untaken(),
        }
    }

    /// The old process goes back because the new one is gone, although nothing has disturbed
    /// either: nobody has said why.
    pub fn is_unexplained(&self) -> bool {
        !self.rest.history.disturbed && self.outgoing.cause() == Some(Cause::PeerGone)
    }

    /// By exec: the new program acts, and not the old one again.
    pub fn is_new_program(&self) -> bool {
        self.is_exec() && self.incoming.is_acting() && !self.rest.history.fell_back
    }

    /// Nothing is under way, and a process that has not the guest lives on.
    pub fn leaves_one_over(&self) -> bool {
        let mut others = self.sides().filter(|side| *side != self.keeping_side());
        self.is_quiescent() && others.any(|side| self.is_alive(side))
    }

    /// Nobody acts any more.
    pub fn is_quiescent(&self) -> bool {
        !self.outgoing.is_acting() && !self.incoming.is_acting()
    }

    /// Descriptors may be inheritable now: from the window's opening to its closing, by exec.
    pub fn window_is_open(&self, setting: &Setting) -> bool {
        let old = self.outgoing.phase().map(Place::Old);
        let new = self.incoming.phase().map(Place::New);
        [old, new].into_iter().flatten().any(|place| setting.phases.in_window(place))
    }

    /// Where the handoff is, as properties see it.
    pub(crate) fn moment(&self, setting: &Setting) -> Moment {
        Moment {
            mode: setting.protocol.mode,
            keeper: self.keeper(),
            keeper_was_killed: self.keeper_was_killed(),
            quiescent: self.is_quiescent(),
            outcome: self.outcome(),
            fell_back: self.rest.history.fell_back,
            handed_over: self.is_handed_over(),
            disturbed: self.rest.history.disturbed,
            due: setting.due,
            unexplained: self.is_unexplained(),
            new_program: self.is_new_program(),
            left_over: self.leaves_one_over(),
            was_stopped: self.rest.history.was_stopped,
            changed_early: self.rest.history.changed_early,
            commit_allowed: self.rest.history.commit_allowed,
            progress: Some(self.rest.history.progress),
            window_open: self.window_is_open(setting),
            armed: self.rest.history.armed,
        }
    }
}
