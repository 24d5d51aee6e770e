//! The transition relation: the actions that are enabled in a state, and their effects.

use super::{CallDone, State};
use crate::scenario::corruption::Corruption;
use crate::scenario::errnos;
use crate::state::action::{Action, Side};
use crate::state::constants::{Constants, Phases};
use crate::state::parts::{MachineOps, Participation, Player, Store};
use handoff_model::abi::call::{Access, Call, GuestCall, ProcessCall, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::protocol::Mode;
use handoff_model::protocol::phase::RolePhase;
use handoff_model::protocol::phase::{InPhase, OutPhase};
use handoff_model::role::StepError;
use handoff_model::role::incoming::{Incoming, IncomingOutcome, IncomingTransport};
use handoff_model::role::outgoing::OutgoingOutcome;
use std::borrow::Borrow;

impl<S: Store> State<S> {
    /// Returns all enabled actions, in a fixed order.
    pub fn actions(&self, constants: &Constants, actions: &mut Vec<Action>) {
        for side in self.sides() {
            if let Some(call) = self.next_call(side) {
                if !self.machine.would_block(side, &call) {
                    actions.push(Action::Step(side));
                }
                if constants.fail_calls && self.aux.budget.fail_calls > 0 {
                    actions.extend(
                        errnos(call.borrow()).iter().map(|errno| Action::Fail(side, *errno)),
                    );
                }
            }
        }
        if self.aux.dying {
            actions.push(Action::Die);
        }
        self.disturbances(actions);
        self.guest_actions(constants, actions);
    }

    fn disturbances(&self, actions: &mut Vec<Action>) {
        if self.is_quiescent() {
            return;
        }
        if self.aux.budget.kill > 0 {
            let alive = self.sides().filter(|side| self.is_alive(*side));
            actions.extend(alive.map(Action::Kill));
        }
        if self.aux.budget.cancel && self.outgoing.can_cancel() {
            actions.push(Action::Cancel);
        }
    }

    fn guest_actions(&self, constants: &Constants, actions: &mut Vec<Action>) {
        let left = &self.aux.budget.interrupts[..constants.devices.len()];
        let is_armed = self.aux.history.armed.is_some();
        for (at, left) in (0u8..).zip(left) {
            if *left > 0 && (is_armed || !constants.is_later(at)) {
                actions.push(Action::Raise(at));
            }
        }
        let is_unstopped = !self.aux.history.was_stopped && self.machine.guest_runs(Side::Old);
        if self.aux.budget.arm && is_unstopped && self.outgoing.can_change() {
            actions.push(Action::Arm);
        }
        for side in self.sides().filter(|side| self.machine.guest_runs(*side)) {
            let devices = (0u8..).zip(&constants.devices).map(|(at, _)| at);
            let ready = devices.filter(|at| self.machine.can_deliver(constants, side, *at));
            actions.extend(ready.map(|at| Action::Take(side, at)));
            if self.aux.budget.guest_steps > 0 {
                actions.push(Action::Work(side));
            }
        }
    }

    pub(super) fn is_alive(&self, side: Side) -> bool {
        self.machine.alive(side)
    }

    /// Returns the next call of a side's role. In exec mode the new program runs in the old
    /// process.
    fn next_call(&self, side: Side) -> Option<S::Call> {
        match side {
            Side::Old if self.outgoing.is_acting() => self.outgoing.next(),
            Side::Old if self.is_exec() => self.incoming.next(),
            Side::New if !self.is_exec() => self.incoming.next(),
            _ => None,
        }
    }

    /// Returns true if a side's next call only queries its process's identity: it changes no state,
    /// cannot fail, and is invisible to others.
    pub(crate) fn asks_for_itself(&self, side: Side) -> bool {
        let call = self.next_call(side);
        call.is_some_and(|call| {
            matches!(call.borrow(), Call::Process(ProcessCall::GetUid | ProcessCall::GetMemlock))
        })
    }

    pub(crate) fn is_exec(&self) -> bool {
        self.aux.mode == Mode::Exec
    }

    /// Returns the processes that exist: in exec mode there is no second one.
    pub(super) fn sides(&self) -> impl Iterator<Item = Side> {
        Side::BOTH[..if self.is_exec() { 1 } else { 2 }].iter().copied()
    }

    /// Executes an action in place.
    pub(crate) fn advance(&mut self, constants: &Constants, action: &Action) {
        self.go(constants, action);
    }

    pub(super) fn go(&mut self, constants: &Constants, action: &Action) -> CallDone<S> {
        let mut done = CallDone { call: None, error: None };
        self.aux.history.faulted |= action.is_fault();
        match action {
            Action::Step(side) => done = self.step(constants, *side, None),
            Action::Fail(side, errno) => {
                self.aux.budget.fail_calls -= 1;
                done = self.step(constants, *side, Some(*errno));
            }
            Action::Kill(side) => {
                self.aux.budget.kill -= 1;
                self.aux.history.killed[*side as usize] = true;
                self.machine.kill(*side);
                self.notice_ends(&constants.phases);
            }
            Action::Die => {
                self.machine.kill(Side::New);
                self.notice_ends(&constants.phases);
            }
            Action::Cancel => {
                self.aux.budget.cancel = false;
                done.error = self.outgoing.cancel();
                self.notice_ends(&constants.phases);
            }
            Action::Raise(device) => {
                self.aux.budget.interrupts[usize::from(*device)] -= 1;
                self.machine.raise(constants, *device);
            }
            Action::Take(side, device) => {
                self.machine.deliver(constants, *side, *device);
            }
            Action::Arm => self.arm(constants),
            Action::Work(side) => {
                self.aux.budget.guest_steps -= 1;
                self.machine.guest_work(*side);
                self.aux.history.progress += 1;
            }
        }
        self.forget();
        done
    }

    /// Arms the interrupt and informs the old role. It is a fault if the VM's state was already
    /// saved.
    fn arm(&mut self, constants: &Constants) {
        self.aux.budget.arm = false;
        self.machine.arm(constants);
        let Some((eventfd, file)) = self.machine.armed(constants) else { return };
        self.aux.history.armed = Some(file);
        if let Some((vm, descriptors)) = constants.with_armed(eventfd) {
            self.aux.history.faulted |= self.outgoing.change(&vm, &descriptors);
        }
    }

    fn step(&mut self, constants: &Constants, side: Side, fail: Option<Errno>) -> CallDone<S> {
        let call = self.next_call(side).expect("a step has a call");
        self.note_before(side, call.borrow());
        let corruption = self.corruption(constants, side);
        let refused =
            corruption.and_then(|(corruption, place)| corruption.refuses(place, call.borrow()));
        let answer = match (fail.or(refused), call.borrow()) {
            (Some(errno), call) => self.machine.intern_result(call.refused(errno)),
            (None, Call::Process(ProcessCall::Kill { .. })) => self.send_kill(side, &call),
            (None, _) => self.machine.call(side, &call),
        };
        let old_acts = side == Side::Old && self.outgoing.is_acting();
        self.note_after(old_acts, call.borrow(), answer.borrow().is_ok());
        let corrupted = corruption.and_then(|(corruption, place)| {
            corruption.corrupt(place, call.borrow(), answer.borrow())
        });
        let answer = corrupted.map_or(answer, |other| self.machine.intern_result(other));
        let error = self.take(constants, side, call.borrow(), &answer);
        self.notice_ends(&constants.phases);
        CallDone { call: Some((call, answer)), error }
    }

    /// Returns the corruption to inject into an acting role, and its phase. A program that is
    /// executed again reads uncorrupted data.
    fn corruption(
        &self,
        constants: &Constants,
        side: Side,
    ) -> Option<(&'static Corruption, RolePhase)> {
        let corruption = constants.corruption.filter(|_| !self.aux.history.fell_back)?;
        let old = self.outgoing.phase().filter(|_| side == Side::Old).map(RolePhase::Old);
        Some((corruption, old.or(self.incoming.phase().map(RolePhase::New))?))
    }

    /// Sends a SIGKILL, which takes effect some time later.
    fn send_kill(&mut self, side: Side, call: &S::Call) -> S::Answer {
        let answer = self.machine.clone().call(side, call);
        self.aux.dying = answer.borrow().is_ok();
        answer
    }

    fn note_before(&mut self, side: Side, call: &Call) {
        let by_new = side == Side::New && !self.is_exec();
        if by_new && call.access() == Access::Mutates && !self.aux.history.commit_allowed {
            self.aux.history.changed_early = true;
        }
    }

    /// Passes the result to the role, or ends or replaces it if the call was exit or exec.
    fn take(
        &mut self,
        constants: &Constants,
        side: Side,
        call: &Call,
        answer: &S::Answer,
    ) -> Option<StepError> {
        let old_acts = side == Side::Old && self.outgoing.is_acting();
        let is_ok = answer.borrow().is_ok();
        match call {
            Call::Process(ProcessCall::Exit { .. }) if is_ok && old_acts => {
                let outcome = self.outgoing.end().unwrap_or(OutgoingOutcome::RolledBack);
                self.outgoing.set(Participation::Ended(outcome));
            }
            Call::Process(ProcessCall::Exit { .. }) if is_ok => {
                self.incoming.set(Participation::Ended(IncomingOutcome::Left));
            }
            Call::Process(ProcessCall::Exec { .. }) if is_ok => {
                self.become_program(constants, side);
            }
            _ if old_acts => return self.outgoing.took(answer),
            _ => return self.incoming.took(answer),
        }
        None
    }

    fn note_after(&mut self, old_acts: bool, call: &Call, is_ok: bool) {
        let phase = self.outgoing.phase();
        match call {
            _ if !is_ok => {}
            Call::Guest(GuestCall::Stop) => self.aux.history.was_stopped = true,
            Call::Socket(SocketCall::Send { .. })
                if old_acts && phase == Some(OutPhase::Commit) =>
            {
                self.aux.history.commit_allowed = true;
            }
            Call::Socket(SocketCall::Send { .. }) if !old_acts => {
                self.aux.history.committed |= self.incoming.phase() == Some(InPhase::Committed);
            }
            // No property depends on other calls.
            _ => {}
        }
    }

    fn become_program(&mut self, constants: &Constants, side: Side) {
        let fell_back = self.machine.runs_old_image(side);
        let mut protocol = constants.protocol.clone();
        if fell_back {
            protocol = protocol.last_resort();
        }
        let origin = IncomingTransport::Exec {
            stream: constants.stream.expect("a launched VM has a stream"),
            old_image: constants.old_image,
        };
        self.outgoing.set(Participation::Absent);
        self.incoming.set(Participation::Acting(Incoming::new(&protocol, origin)));
        self.aux.history.fell_back = fell_back;
    }

    /// Marks roles as killed if their process is dead, and as ended if they have no further call.
    fn notice_ends(&mut self, phases: &Phases) {
        if self.outgoing.is_acting() && !self.is_alive(Side::Old) {
            self.outgoing.set(Participation::Killed);
        }
        let home = if self.is_exec() { Side::Old } else { Side::New };
        if self.incoming.is_acting() && !self.is_alive(home) {
            self.incoming.set(Participation::Killed);
        }
        let phase = self.incoming.phase();
        self.aux.history.committed |= phase.is_some_and(|phase| phases.is_committed(phase));
        if self.outgoing.is_done() {
            let outcome = self.outgoing.end().unwrap_or(OutgoingOutcome::Refused);
            self.outgoing.set(Participation::Ended(outcome));
        }
        if self.incoming.is_done() {
            let arrival = self.incoming.end().unwrap_or(IncomingOutcome::Left);
            self.incoming.set(Participation::Ended(arrival));
        }
    }

    /// Resets variables that no longer matter, so that states with equal futures are equal.
    fn forget(&mut self) {
        self.aux.dying &= !self.is_exec() && self.is_alive(Side::New);
        if self.is_quiescent() {
            self.aux.budget.kill = 0;
            self.aux.budget.fail_calls = 0;
        }
        if !self.outgoing.is_acting() {
            self.aux.budget.cancel = false;
        }
        self.aux.budget.arm &= self.outgoing.is_acting() && !self.aux.history.was_stopped;
    }
}
