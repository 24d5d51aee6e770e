//! The world that is checked: a machine, both roles, and an environment that may do its worst.
//!
//! A [`World`] is one state: plain, canonical, and complete. An [`Action`] is one thing that can
//! happen next: a role makes its next call, or that call fails, or a process is killed, or somebody
//! calls it off, or a device writes to memory and raises an interrupt, or the guest takes one or
//! works on. How often the environment may act is a budget in the state, so that every run is
//! finite unless the roles themselves go round in circles.
//!
//! What a device's DMA reaches is not an action but part of every state's view: whatever it could
//! touch at this moment is judged at this moment.

use crate::action::{Action, Kind, NEW, Side};
use crate::environment::{Budget, errnos};
use crate::rank::Rank;
use crate::scenario::Scenario;
use crate::setting::Setting;
use handoff_model::call::{Access, Answer, Call};
use handoff_model::errno::Errno;
use handoff_model::ids::Pid;
use handoff_model::incoming::{Arrival, Incoming, Origin};
use handoff_model::outgoing::{Outcome, Outgoing};
use handoff_model::phase::{InPhase, OutPhase};
use handoff_model::protocol::Mode;
use handoff_model::role::{Role, Trouble};
use handoff_model::view::View;
use handoff_sim_kernel::Machine;

/// Program images: what was running, and what shall.
pub(crate) const OLD_IMAGE: u8 = 0;
pub(crate) const NEW_IMAGE: u8 = 1;

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    mode: Mode,
    pub(crate) machine: Machine,
    pub(crate) outgoing: Part<Outgoing, Outcome>,
    pub(crate) incoming: Part<Incoming, Arrival>,
    budget: Budget,
    /// The new process has a SIGKILL pending: it may go on a little, and will die.
    dying: bool,
    pub(crate) history: History,
}

/// What a process does about the handoff.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part<R, O> {
    /// Not yet anything (by exec, the new program before it runs).
    Absent,
    /// It acts.
    Acting(R),
    /// It has ended so.
    Ended(O),
    /// It was killed.
    Killed,
}

impl<R, O: Copy> Part<R, O> {
    pub(crate) fn acting(&self) -> Option<&R> {
        match self {
            Self::Acting(role) => Some(role),
            _ => None,
        }
    }

    pub(crate) fn ended(&self) -> Option<O> {
        match self {
            Self::Ended(outcome) => Some(*outcome),
            _ => None,
        }
    }
}

/// What a property must know of the past. Each is a bit or a count that a state cannot forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by itself")]
pub struct History {
    /// The old process has allowed the new one to change things.
    pub commit_allowed: bool,
    /// The new process has passed the point of no return.
    pub committed: bool,
    /// The new process changed something before it was allowed to.
    pub changed_early: bool,
    /// The guest was stopped by the handoff.
    pub was_stopped: bool,
    /// How far the guest has come.
    pub progress: u64,
    /// The program that runs after an execve is the old one again.
    pub fell_back: bool,
    /// A call was failed, a process killed, or it was called off.
    pub disturbed: bool,
    /// The environment has killed the old process, the new one.
    pub killed: [bool; 2],
}

/// What an action did, for a story.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Of a step: the role's phase and call, and the answer.
    pub call: Option<(String, Call, Answer)>,
    /// What it led to.
    pub trouble: Option<Trouble>,
}

/// A world in parts that recur in many worlds.
pub(crate) struct Parts {
    pub(crate) machine: Machine,
    pub(crate) outgoing: Part<Outgoing, Outcome>,
    pub(crate) incoming: Part<Incoming, Arrival>,
    pub(crate) rest: Rest,
}

/// What of a world is neither the machine nor a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rest {
    mode: Mode,
    pub(crate) budget: Budget,
    pub(crate) dying: bool,
    pub(crate) history: History,
}

impl World {
    pub(crate) fn into_parts(self) -> Parts {
        let Self { mode, machine, outgoing, incoming, budget, dying, history } = self;
        Parts { machine, outgoing, incoming, rest: Rest { mode, budget, dying, history } }
    }

    pub(crate) fn of_parts(parts: Parts) -> Self {
        let Parts { machine, outgoing, incoming, rest } = parts;
        let Rest { mode, budget, dying, history } = rest;
        Self { mode, machine, outgoing, incoming, budget, dying, history }
    }

    /// The first state.
    pub(crate) fn new(
        scenario: &Scenario,
        machine: Machine,
        outgoing: Outgoing,
        incoming: Part<Incoming, Arrival>,
    ) -> Self {
        Self {
            mode: scenario.mode,
            machine,
            outgoing: Part::Acting(outgoing),
            incoming,
            budget: Budget::of(scenario),
            dying: false,
            history: History::default(),
        }
    }

    /// Everything that can happen now, in a fixed order.
    pub fn actions(&self, setting: &Setting, actions: &mut Vec<Action>) {
        for side in self.sides() {
            if let Some(call) = self.next_call(side) {
                if !self.machine.would_block(side.pid(), &call) {
                    actions.push(Action::Step(side));
                }
                if setting.fail_calls && self.budget.fail_calls > 0 {
                    actions.extend(errnos(&call).iter().map(|errno| Action::Fail(side, *errno)));
                }
            }
        }
        if self.dying {
            actions.push(Action::Die);
        }
        self.disturbances(actions);
        self.guest_actions(setting, actions);
    }

    fn disturbances(&self, actions: &mut Vec<Action>) {
        let under_way = self.outgoing.acting().is_some() || self.incoming.acting().is_some();
        if !under_way {
            return;
        }
        if self.budget.kill > 0 {
            let alive = self.sides().filter(|side| self.is_alive(*side));
            actions.extend(alive.map(Action::Kill));
        }
        if self.budget.cancel && self.outgoing.acting().is_some_and(Outgoing::can_cancel) {
            actions.push(Action::Cancel);
        }
    }

    fn guest_actions(&self, setting: &Setting, actions: &mut Vec<Action>) {
        let devices = (0u8..).zip(&self.budget.interrupts);
        actions.extend(devices.filter(|(_, left)| **left > 0).map(|(at, _)| Action::Raise(at)));
        for side in self.sides().filter(|side| self.machine.guest_runs(side.pid())) {
            let ready = |device: &str| self.machine.can_deliver(side.pid(), device, 0);
            let devices = (0u8..).zip(&setting.devices).filter(|(_, name)| ready(name));
            actions.extend(devices.map(|(at, _)| Action::Take(side, at)));
            if self.budget.guest_steps > 0 {
                actions.push(Action::Work(side));
            }
        }
    }

    fn is_alive(&self, side: Side) -> bool {
        self.machine.alive(side.pid())
    }

    /// The call that a side's role wants to make. By exec the new program is in the old process.
    fn next_call(&self, side: Side) -> Option<Call> {
        match (side, &self.outgoing, &self.incoming) {
            (Side::Old, Part::Acting(outgoing), _) => outgoing.next(),
            (Side::Old, _, Part::Acting(incoming)) if self.is_exec() => incoming.next(),
            (Side::New, _, Part::Acting(incoming)) if !self.is_exec() => incoming.next(),
            _ => None,
        }
    }

    pub(crate) fn is_exec(&self) -> bool {
        self.mode == Mode::Exec
    }

    /// By exec the second process never exists.
    fn sides(&self) -> impl Iterator<Item = Side> {
        let all = [Side::Old, Side::New];
        all.into_iter().take(if self.is_exec() { 1 } else { 2 })
    }

    /// Does an action. The state is the next one afterwards.
    pub fn act(&mut self, setting: &Setting, action: &Action) -> Happening {
        let mut happening = Happening { call: None, trouble: None };
        self.history.disturbed |= action.is_fault();
        match action {
            Action::Step(side) => happening = self.step(setting, *side, None),
            Action::Fail(side, errno) => {
                self.budget.fail_calls -= 1;
                happening = self.step(setting, *side, Some(*errno));
            }
            Action::Kill(side) => {
                self.budget.kill -= 1;
                self.history.killed[*side as usize] = true;
                self.machine.kill(side.pid());
                self.notice_ends();
            }
            Action::Die => {
                self.machine.kill(NEW);
                self.notice_ends();
            }
            Action::Cancel => {
                self.budget.cancel = false;
                if let Part::Acting(outgoing) = &mut self.outgoing {
                    happening.trouble = outgoing.cancel();
                }
                self.notice_ends();
            }
            Action::Raise(device) => {
                self.budget.interrupts[usize::from(*device)] -= 1;
                self.machine.raise(&setting.devices[usize::from(*device)], 0);
            }
            Action::Take(side, device) => {
                self.machine.deliver(side.pid(), &setting.devices[usize::from(*device)], 0);
            }
            Action::Work(side) => {
                self.budget.guest_steps -= 1;
                self.machine.guest_work(side.pid());
                self.history.progress += 1;
            }
        }
        self.forget();
        happening
    }

    fn step(&mut self, setting: &Setting, side: Side, fail: Option<Errno>) -> Happening {
        let call = self.next_call(side).expect("a step has a call");
        let phase = self.phase_name(side);
        self.note_before(side, &call);
        let answer = match (fail, &call) {
            (Some(errno), _) => Err(errno),
            (None, Call::Kill { .. }) => self.send_kill(side, &call),
            (None, _) => self.machine.call(side.pid(), &call),
        };
        let trouble = self.take(setting, side, &call, &answer);
        self.notice_ends();
        Happening { call: Some((phase, call, answer)), trouble }
    }

    /// A signal is sent at once and takes effect a little later.
    fn send_kill(&mut self, side: Side, call: &Call) -> Answer {
        let answer = self.machine.clone().call(side.pid(), call);
        self.dying = answer.is_ok();
        answer
    }

    fn phase_name(&self, side: Side) -> String {
        match (side, &self.outgoing, &self.incoming) {
            (Side::Old, Part::Acting(role), _) => role.phase_name(),
            (_, _, Part::Acting(role)) => role.phase_name(),
            _ => String::new(),
        }
    }

    fn note_before(&mut self, side: Side, call: &Call) {
        let by_new = side == Side::New && !self.is_exec();
        if by_new && call.access() == Access::Mutates && !self.history.commit_allowed {
            self.history.changed_early = true;
        }
    }

    /// Gives the answer to the role, or lets the process go where the call took it.
    fn take(
        &mut self,
        setting: &Setting,
        side: Side,
        call: &Call,
        answer: &Answer,
    ) -> Option<Trouble> {
        let old_acts = side == Side::Old && self.outgoing.acting().is_some();
        self.note_after(old_acts, call, answer);
        match (call, answer) {
            (Call::Exit { .. }, Ok(_)) if old_acts => {
                let outcome = self.outgoing.acting().and_then(Outgoing::outcome);
                self.outgoing = Part::Ended(outcome.unwrap_or(Outcome::RolledBack));
                None
            }
            (Call::Exit { .. }, Ok(_)) => {
                self.incoming = Part::Ended(Arrival::Left);
                None
            }
            (Call::Exec { .. }, Ok(_)) => {
                self.become_program(setting, side);
                None
            }
            _ if old_acts => match &mut self.outgoing {
                Part::Acting(role) => role.took(answer.clone()),
                _ => None,
            },
            _ => match &mut self.incoming {
                Part::Acting(role) => role.took(answer.clone()),
                _ => None,
            },
        }
    }

    fn note_after(&mut self, old_acts: bool, call: &Call, answer: &Answer) {
        let phase = self.outgoing.acting().map(Outgoing::phase);
        if answer.is_err() {
            return;
        }
        match call {
            Call::StopGuest => self.history.was_stopped = true,
            Call::SendMessage { .. } if old_acts && phase == Some(OutPhase::Commit) => {
                self.history.commit_allowed = true;
            }
            _ => {}
        }
    }

    fn become_program(&mut self, setting: &Setting, side: Side) {
        let fell_back = self.machine.running_image(side.pid()) == Some(OLD_IMAGE);
        let mut protocol = setting.protocol.clone();
        if fell_back {
            protocol = protocol.last_resort();
        }
        let origin = Origin::Exec {
            stream: setting.stream.expect("a launched VM has a stream"),
            old_image: setting.old_image,
        };
        self.outgoing = Part::Absent;
        self.incoming = Part::Acting(Incoming::new(&protocol, origin));
        self.history.fell_back = fell_back;
    }

    /// A role whose process is gone was killed with it; one that has nothing more to do has ended.
    fn notice_ends(&mut self) {
        if self.outgoing.acting().is_some() && !self.is_alive(Side::Old) {
            self.outgoing = Part::Killed;
        }
        let home = if self.is_exec() { Side::Old } else { Side::New };
        if self.incoming.acting().is_some() && !self.is_alive(home) {
            self.incoming = Part::Killed;
        }
        if let Part::Acting(role) = &self.incoming
            && matches!(role.phase(), InPhase::Run | InPhase::Settle)
        {
            self.history.committed = true;
        }
        if let Part::Acting(role) = &self.outgoing
            && role.next().is_none()
        {
            self.outgoing = Part::Ended(role.outcome().unwrap_or(Outcome::Refused));
        }
        if let Part::Acting(role) = &self.incoming
            && role.next().is_none()
        {
            self.incoming = Part::Ended(role.arrival().unwrap_or(Arrival::Left));
        }
    }

    /// Clears what can matter no more, so that equal futures are equal states.
    fn forget(&mut self) {
        self.dying &= !self.is_exec() && self.is_alive(Side::New);
        let over = self.outgoing.acting().is_none() && self.incoming.acting().is_none();
        if over {
            self.budget.kill = 0;
            self.budget.fail_calls = 0;
        }
        if self.outgoing.acting().is_none() {
            self.budget.cancel = false;
        }
    }

    /// The process that must have the virtual machine now; `None` once it is lost with its process.
    pub fn keeper(&self) -> Option<Pid> {
        let side = self.keeping_side();
        self.is_alive(side).then_some(side.pid())
    }

    /// The process that must have it, or had it, was killed from outside.
    pub fn keeper_was_killed(&self) -> bool {
        self.history.killed[self.keeping_side() as usize]
    }

    fn keeping_side(&self) -> Side {
        let moved = self.history.committed && !self.is_exec();
        if moved { Side::New } else { Side::Old }
    }

    /// How it ended for the old process; `None` while it goes on, and once it was killed.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outgoing.ended()
    }

    /// The guest is with the new process, or with the new program, for good.
    pub fn is_handed_over(&self) -> bool {
        self.incoming.ended() == Some(Arrival::TookOver) && !self.history.fell_back
    }

    /// What must happen in some run from here, because the environment may do it or a role must.
    pub(crate) fn expected(&self) -> Vec<Kind> {
        let Budget { fail_calls, kill, cancel, guest_steps, interrupts } = &self.budget;
        let interrupts = interrupts.iter().any(|left| *left > 0);
        let all = [
            (true, Kind::OldCall),
            (!self.is_exec(), Kind::NewCall),
            (*fail_calls > 0, Kind::Failure),
            (*kill > 0, Kind::Kill),
            (*cancel, Kind::Cancel),
            (interrupts, Kind::Interrupt),
            (interrupts, Kind::Taking),
            (*guest_steps > 0, Kind::Work),
        ];
        all.into_iter().filter(|(is_expected, _)| *is_expected).map(|(_, kind)| kind).collect()
    }

    /// The handoff has stopped the guest, which is not lost and runs nowhere.
    pub fn is_dark(&self) -> bool {
        let mut sides = self.sides();
        self.history.was_stopped
            && self.keeper().is_some()
            && !sides.any(|side| self.machine.guest_runs(side.pid()))
    }

    /// How far it is from its end.
    pub fn rank(&self) -> Rank {
        let past = (self.history.fell_back, self.dying);
        Rank::of(&self.budget, past, &self.outgoing, &self.incoming, &self.machine)
    }

    /// Nobody acts any more.
    pub fn is_quiescent(&self) -> bool {
        self.outgoing.acting().is_none() && self.incoming.acting().is_none()
    }

    /// Descriptors may be inheritable now: from the window's opening to its closing, by exec.
    pub fn window_is_open(&self) -> bool {
        let out = self.outgoing.acting().map(Outgoing::phase);
        let inn = self.incoming.acting().map(Incoming::phase);
        matches!(out, Some(OutPhase::OpenWindow | OutPhase::Exec | OutPhase::CloseWindow))
            || (self.is_exec()
                && matches!(
                    inn,
                    Some(
                        InPhase::ReadStream
                            | InPhase::CloseWindow
                            | InPhase::OpenWindow
                            | InPhase::Fallback
                            | InPhase::Leave
                    )
                ))
    }

    /// What can be seen of it.
    pub fn view(&self) -> View {
        self.machine.view()
    }
}
