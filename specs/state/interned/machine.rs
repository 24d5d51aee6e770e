//! Interned machines: cached facts about each, and its successor for each operation.

use super::{CallId, Interners, ResultId};
use crate::scenario::DEVICES_MAX;
use crate::state::action::Side;
use crate::state::constants::Constants;
use crate::state::observation::Observation;
use crate::state::parts::MachineOps;
use handoff_checker::intern::InternId;
use handoff_checker::memo::Memo;
use handoff_model::abi::call::CallResult;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::Mode;
use handoff_sim_kernel::Machine;
use std::borrow::Borrow;

/// Facts about a machine.
pub(super) struct MachineEntry {
    alive: [bool; 2],
    guest_runs: [bool; 2],
    runs_old_image: [bool; 2],
    can_deliver: [[bool; DEVICES_MAX]; 2],
    untaken: u64,
    observation: Observation,
    /// Its successor for each operation, and the result of a call.
    ops: Memo<Op, (InternId, Option<InternId>)>,
}

impl MachineEntry {
    fn new(constants: &Constants, machine: &Machine) -> Self {
        // In exec mode the second process does not exist.
        let is_there = |side| side == Side::Old || constants.protocol.mode == Mode::Transfer;
        let of_sides =
            |ask: &dyn Fn(Side) -> bool| Side::BOTH.map(|side| is_there(side) && ask(side));
        let of_devices = |side| {
            let mut ready = [false; DEVICES_MAX];
            for (at, ready) in (0u8..).zip(&mut ready).take(constants.devices.len()) {
                *ready = is_there(side) && MachineOps::can_deliver(machine, constants, side, at);
            }
            ready
        };
        Self {
            alive: of_sides(&|side| MachineOps::alive(machine, side)),
            guest_runs: of_sides(&|side| MachineOps::guest_runs(machine, side)),
            runs_old_image: of_sides(&|side| machine.runs_old_image(side)),
            can_deliver: Side::BOTH.map(of_devices),
            untaken: machine.unread(),
            observation: MachineOps::observe(machine, constants),
            ops: Memo::default(),
        }
    }
}

/// An operation on a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Call(Side, InternId),
    Kill(Side),
    Raise(u8),
    Deliver(Side, u8),
    GuestWork(Side),
    Arm,
}

impl Interners<'_> {
    pub(super) fn machine(&self, machine: Machine) -> InternId {
        self.machines.number(machine, |machine| MachineEntry::new(self.constants, machine))
    }

    /// Returns the successor of a machine and the result of a call, cached.
    fn done(
        &self,
        machine: InternId,
        op: Op,
        does: impl FnOnce(&mut Machine) -> Option<CallResult>,
    ) -> (InternId, Option<InternId>) {
        let ops = &self.machines.facts(machine).ops;
        if let Some(known) = ops.get(&op) {
            return known;
        }
        let mut next = self.machines.get(machine).clone();
        let answer = does(&mut next);
        let answer = answer.map(|answer| self.answers.number(answer, |_| ()));
        let done = (self.machine(next), answer);
        ops.add(op, done);
        done
    }
}

/// An interned machine.
#[derive(Clone)]
pub(crate) struct MachineId<'n> {
    pub(super) all: &'n Interners<'n>,
    pub(super) number: InternId,
}

impl MachineId<'_> {
    fn facts(&self) -> &MachineEntry {
        self.all.machines.facts(self.number)
    }

    fn does(&mut self, op: Op, does: impl FnOnce(&mut Machine)) {
        let silently = |machine: &mut Machine| {
            does(machine);
            None
        };
        self.number = self.all.done(self.number, op, silently).0;
    }
}

impl<'n> MachineOps for MachineId<'n> {
    type Call = CallId<'n>;
    type Answer = ResultId<'n>;

    fn call(&mut self, side: Side, call: &CallId<'n>) -> ResultId<'n> {
        let makes = |machine: &mut Machine| Some(MachineOps::call(machine, side, call.borrow()));
        let (number, answer) = self.all.done(self.number, Op::Call(side, call.1), makes);
        self.number = number;
        ResultId(self.all, answer.expect("a call is answered"))
    }

    fn intern_result(&self, answer: CallResult) -> ResultId<'n> {
        ResultId(self.all, self.all.answers.number(answer, |_| ()))
    }

    fn would_block(&self, side: Side, call: &CallId<'n>) -> bool {
        MachineOps::would_block(self.all.machines.get(self.number), side, call.borrow())
    }

    fn alive(&self, side: Side) -> bool {
        self.facts().alive[side as usize]
    }

    fn guest_runs(&self, side: Side) -> bool {
        self.facts().guest_runs[side as usize]
    }

    fn can_deliver(&self, _: &Constants, side: Side, device: u8) -> bool {
        self.facts().can_deliver[side as usize][usize::from(device)]
    }

    fn runs_old_image(&self, side: Side) -> bool {
        self.facts().runs_old_image[side as usize]
    }

    fn unread_interrupts(&self) -> u64 {
        self.facts().untaken
    }

    fn view(&self) -> View {
        self.all.machines.get(self.number).view()
    }

    fn observe(&self, _: &Constants) -> Observation {
        self.facts().observation
    }

    fn kill(&mut self, side: Side) {
        self.does(Op::Kill(side), |machine| MachineOps::kill(machine, side));
    }

    fn raise(&mut self, constants: &Constants, device: u8) {
        self.does(Op::Raise(device), |machine| MachineOps::raise(machine, constants, device));
    }

    fn deliver(&mut self, constants: &Constants, side: Side, device: u8) {
        let op = Op::Deliver(side, device);
        self.does(op, |machine| MachineOps::deliver(machine, constants, side, device));
    }

    fn guest_work(&mut self, side: Side) {
        self.does(Op::GuestWork(side), |machine| MachineOps::guest_work(machine, side));
    }

    fn arm(&mut self, constants: &Constants) {
        self.does(Op::Arm, |machine| MachineOps::arm(machine, constants));
    }

    fn armed(&self, constants: &Constants) -> Option<(Fd, FileRef)> {
        MachineOps::armed(self.all.machines.get(self.number), constants)
    }
}
