//! The transitions of a state: what can happen next, and what it does.

use super::{Done, World};
use crate::scenario::corruption::Wrong;
use crate::scenario::errnos;
use crate::state::action::{Action, Side};
use crate::state::constants::{Phases, Setting};
use crate::state::parts::{Machinery, Part, Player, Store};
use handoff_model::abi::call::{Access, Call, GuestCall, ProcessCall, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::protocol::Mode;
use handoff_model::protocol::phase::Place;
use handoff_model::protocol::phase::{InPhase, OutPhase};
use handoff_model::role::Trouble;
use handoff_model::role::incoming::{Arrival, Incoming, Origin};
use handoff_model::role::outgoing::Outcome;
use std::borrow::Borrow;

impl<S: Store> World<S> {
    /// Everything that can happen now, in a fixed order.
    pub fn actions(&self, setting: &Setting, actions: &mut Vec<Action>) {
        for side in self.sides() {
            if let Some(call) = self.next_call(side) {
                if !self.machine.would_block(side, &call) {
                    actions.push(Action::Step(side));
                }
                if setting.fail_calls && self.rest.budget.fail_calls > 0 {
                    actions.extend(
                        errnos(call.borrow()).iter().map(|errno| Action::Fail(side, *errno)),
                    );
                }
            }
        }
        if self.rest.dying {
            actions.push(Action::Die);
        }
        self.disturbances(actions);
        self.guest_actions(setting, actions);
    }

    fn disturbances(&self, actions: &mut Vec<Action>) {
        if self.is_quiescent() {
            return;
        }
        if self.rest.budget.kill > 0 {
            let alive = self.sides().filter(|side| self.is_alive(*side));
            actions.extend(alive.map(Action::Kill));
        }
        if self.rest.budget.cancel && self.outgoing.can_cancel() {
            actions.push(Action::Cancel);
        }
    }

    fn guest_actions(&self, setting: &Setting, actions: &mut Vec<Action>) {
        let left = &self.rest.budget.interrupts[..setting.devices.len()];
        let is_armed = self.rest.history.armed.is_some();
        for (at, left) in (0u8..).zip(left) {
            if *left > 0 && (is_armed || !setting.is_later(at)) {
                actions.push(Action::Raise(at));
            }
        }
        let is_unstopped = !self.rest.history.was_stopped && self.machine.guest_runs(Side::Old);
        if self.rest.budget.arm && is_unstopped && self.outgoing.can_change() {
            actions.push(Action::Arm);
        }
        for side in self.sides().filter(|side| self.machine.guest_runs(*side)) {
            let devices = (0u8..).zip(&setting.devices).map(|(at, _)| at);
            let ready = devices.filter(|at| self.machine.can_deliver(setting, side, *at));
            actions.extend(ready.map(|at| Action::Take(side, at)));
            if self.rest.budget.guest_steps > 0 {
                actions.push(Action::Work(side));
            }
        }
    }

    pub(super) fn is_alive(&self, side: Side) -> bool {
        self.machine.alive(side)
    }

    /// The call that a side's role wants to make. By exec the new program is in the old process.
    fn next_call(&self, side: Side) -> Option<S::Call> {
        match side {
            Side::Old if self.outgoing.is_acting() => self.outgoing.next(),
            Side::Old if self.is_exec() => self.incoming.next(),
            Side::New if !self.is_exec() => self.incoming.next(),
            _ => None,
        }
    }

    /// A side's next call asks only for what its process is: it changes nothing, cannot fail, and
    /// nobody sees it.
    pub(crate) fn asks_for_itself(&self, side: Side) -> bool {
        let call = self.next_call(side);
        call.is_some_and(|call| {
            matches!(call.borrow(), Call::Process(ProcessCall::GetUid | ProcessCall::GetMemlock))
        })
    }

    pub(crate) fn is_exec(&self) -> bool {
        self.rest.mode == Mode::Exec
    }

    /// By exec the second process never exists.
    pub(super) fn sides(&self) -> impl Iterator<Item = Side> {
        Side::BOTH[..if self.is_exec() { 1 } else { 2 }].iter().copied()
    }

    /// Does an action. The state is the next one afterwards.
    pub(crate) fn advance(&mut self, setting: &Setting, action: &Action) {
        self.go(setting, action);
    }

    pub(super) fn go(&mut self, setting: &Setting, action: &Action) -> Done<S> {
        let mut done = Done { call: None, trouble: None };
        self.rest.history.disturbed |= action.is_fault();
        match action {
            Action::Step(side) => done = self.step(setting, *side, None),
            Action::Fail(side, errno) => {
                self.rest.budget.fail_calls -= 1;
                done = self.step(setting, *side, Some(*errno));
            }
            Action::Kill(side) => {
                self.rest.budget.kill -= 1;
                self.rest.history.killed[*side as usize] = true;
                self.machine.kill(*side);
                self.notice_ends(&setting.phases);
            }
            Action::Die => {
                self.machine.kill(Side::New);
                self.notice_ends(&setting.phases);
            }
            Action::Cancel => {
                self.rest.budget.cancel = false;
                done.trouble = self.outgoing.cancel();
                self.notice_ends(&setting.phases);
            }
            Action::Raise(device) => {
                self.rest.budget.interrupts[usize::from(*device)] -= 1;
                self.machine.raise(setting, *device);
            }
            Action::Take(side, device) => {
                self.machine.deliver(setting, *side, *device);
            }
            Action::Arm => self.arm(setting),
            Action::Work(side) => {
                self.rest.budget.guest_steps -= 1;
                self.machine.guest_work(*side);
                self.rest.history.progress += 1;
            }
        }
        self.forget();
        done
    }

    /// What changes the virtual machine disturbs whoever has cut its state, and is told to him.
    fn arm(&mut self, setting: &Setting) {
        self.rest.budget.arm = false;
        self.machine.arm(setting);
        let Some((eventfd, file)) = self.machine.armed(setting) else { return };
        self.rest.history.armed = Some(file);
        if let Some((vm, descriptors)) = setting.with_armed(eventfd) {
            self.rest.history.disturbed |= self.outgoing.change(&vm, &descriptors);
        }
    }

    fn step(&mut self, setting: &Setting, side: Side, fail: Option<Errno>) -> Done<S> {
        let call = self.next_call(side).expect("a step has a call");
        self.note_before(side, call.borrow());
        let wrong = self.wrong(setting, side);
        let refused = wrong.and_then(|(wrong, place)| wrong.refuses(place, call.borrow()));
        let answer = match (fail.or(refused), call.borrow()) {
            (Some(errno), call) => self.machine.said(call.refused(errno)),
            (None, Call::Process(ProcessCall::Kill { .. })) => self.send_kill(side, &call),
            (None, _) => self.machine.call(side, &call),
        };
        let old_acts = side == Side::Old && self.outgoing.is_acting();
        self.note_after(old_acts, call.borrow(), answer.borrow().is_ok());
        let told =
            wrong.and_then(|(wrong, place)| wrong.tell(place, call.borrow(), answer.borrow()));
        let answer = told.map_or(answer, |told| self.machine.said(told));
        let trouble = self.take(setting, side, call.borrow(), &answer);
        self.notice_ends(&setting.phases);
        Done { call: Some((call, answer)), trouble }
    }

    /// What a role that acts is told that is not so, and where it is. A program that is executed
    /// again reads what it has written.
    fn wrong(&self, setting: &Setting, side: Side) -> Option<(&'static Wrong, Place)> {
        let wrong = setting.wrong.filter(|_| !self.rest.history.fell_back)?;
        let old = self.outgoing.phase().filter(|_| side == Side::Old).map(Place::Old);
        Some((wrong, old.or(self.incoming.phase().map(Place::New))?))
    }

    /// A signal is sent at once and takes effect a little later.
    fn send_kill(&mut self, side: Side, call: &S::Call) -> S::Answer {
        let answer = self.machine.clone().call(side, call);
        self.rest.dying = answer.borrow().is_ok();
        answer
    }

    fn note_before(&mut self, side: Side, call: &Call) {
        let by_new = side == Side::New && !self.is_exec();
        if by_new && call.access() == Access::Mutates && !self.rest.history.commit_allowed {
            self.rest.history.changed_early = true;
        }
    }

    /// Gives the answer to the role, or lets the process go where the call took it.
    fn take(
        &mut self,
        setting: &Setting,
        side: Side,
        call: &Call,
        answer: &S::Answer,
    ) -> Option<Trouble> {
        let old_acts = side == Side::Old && self.outgoing.is_acting();
        let is_ok = answer.borrow().is_ok();
        match call {
            Call::Process(ProcessCall::Exit { .. }) if is_ok && old_acts => {
                let outcome = self.outgoing.end().unwrap_or(Outcome::RolledBack);
                self.outgoing.set(Part::Ended(outcome));
            }
            Call::Process(ProcessCall::Exit { .. }) if is_ok => {
                self.incoming.set(Part::Ended(Arrival::Left));
            }
            Call::Process(ProcessCall::Exec { .. }) if is_ok => self.become_program(setting, side),
            _ if old_acts => return self.outgoing.took(answer),
            _ => return self.incoming.took(answer),
        }
        None
    }

    fn note_after(&mut self, old_acts: bool, call: &Call, is_ok: bool) {
        let phase = self.outgoing.phase();
        match call {
            _ if !is_ok => {}
            Call::Guest(GuestCall::Stop) => self.rest.history.was_stopped = true,
            Call::Socket(SocketCall::Send { .. })
                if old_acts && phase == Some(OutPhase::Commit) =>
            {
                self.rest.history.commit_allowed = true;
            }
            Call::Socket(SocketCall::Send { .. }) if !old_acts => {
                self.rest.history.committed |= self.incoming.phase() == Some(InPhase::Committed);
            }
            // No property asks whether any other call was made.
            _ => {}
        }
    }

    fn become_program(&mut self, setting: &Setting, side: Side) {
        let fell_back = self.machine.runs_old_image(side);
        let mut protocol = setting.protocol.clone();
        if fell_back {
            protocol = protocol.last_resort();
        }
        let origin = Origin::Exec {
            stream: setting.stream.expect("a launched VM has a stream"),
            old_image: setting.old_image,
        };
        self.outgoing.set(Part::Absent);
        self.incoming.set(Part::Acting(Incoming::new(&protocol, origin)));
        self.rest.history.fell_back = fell_back;
    }

    /// A role whose process is gone was killed with it; one that has nothing more to do has ended.
    fn notice_ends(&mut self, phases: &Phases) {
        if self.outgoing.is_acting() && !self.is_alive(Side::Old) {
            self.outgoing.set(Part::Killed);
        }
        let home = if self.is_exec() { Side::Old } else { Side::New };
        if self.incoming.is_acting() && !self.is_alive(home) {
            self.incoming.set(Part::Killed);
        }
        let phase = self.incoming.phase();
        self.rest.history.committed |= phase.is_some_and(|phase| phases.is_committed(phase));
        if self.outgoing.is_done() {
            let outcome = self.outgoing.end().unwrap_or(Outcome::Refused);
            self.outgoing.set(Part::Ended(outcome));
        }
        if self.incoming.is_done() {
            let arrival = self.incoming.end().unwrap_or(Arrival::Left);
            self.incoming.set(Part::Ended(arrival));
        }
    }

    /// Clears what can matter no more, so that equal futures are equal states.
    fn forget(&mut self) {
        self.rest.dying &= !self.is_exec() && self.is_alive(Side::New);
        if self.is_quiescent() {
            self.rest.budget.kill = 0;
            self.rest.budget.fail_calls = 0;
        }
        if !self.outgoing.is_acting() {
            self.rest.budget.cancel = false;
        }
        self.rest.budget.arm &= self.outgoing.is_acting() && !self.rest.history.was_stopped;
    }
}
