//! Machines by numbers: what the rules of a world ask of each, and what each became by a deed.

use super::{AnswerNumber, CallNumber, Numbers};
use crate::scenario::DEVICES_MAX;
use crate::state::action::Side;
use crate::state::constants::Setting;
use crate::state::observation::Sight;
use crate::state::parts::Machinery;
use handoff_checker::intern::Number;
use handoff_checker::memo::Chain;
use handoff_model::abi::call::Answer;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::Mode;
use handoff_sim_kernel::Machine;
use std::borrow::Borrow;

/// What rules ask of a machine.
pub(super) struct OfMachine {
    alive: [bool; 2],
    guest_runs: [bool; 2],
    runs_old_image: [bool; 2],
    can_deliver: [[bool; DEVICES_MAX]; 2],
    untaken: u64,
    sight: Sight,
    /// What it became by a deed, and what it answered.
    deeds: Chain<Deed, (Number, Option<Number>)>,
}

impl OfMachine {
    fn new(setting: &Setting, machine: &Machine) -> Self {
        // By exec there is no second process to ask about.
        let is_there = |side| side == Side::Old || setting.protocol.mode == Mode::Transfer;
        let of_sides =
            |ask: &dyn Fn(Side) -> bool| Side::BOTH.map(|side| is_there(side) && ask(side));
        let of_devices = |side| {
            let mut ready = [false; DEVICES_MAX];
            for (at, ready) in (0u8..).zip(&mut ready).take(setting.devices.len()) {
                *ready = is_there(side) && Machinery::can_deliver(machine, setting, side, at);
            }
            ready
        };
        Self {
            alive: of_sides(&|side| Machinery::alive(machine, side)),
            guest_runs: of_sides(&|side| Machinery::guest_runs(machine, side)),
            runs_old_image: of_sides(&|side| machine.runs_old_image(side)),
            can_deliver: Side::BOTH.map(of_devices),
            untaken: machine.untaken(),
            sight: Machinery::sight(machine, setting),
            deeds: Chain::default(),
        }
    }
}

/// What can be done to a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Call(Side, Number),
    Kill(Side),
    Raise(u8),
    Deliver(Side, u8),
    GuestWork(Side),
    Arm,
}

impl Numbers<'_> {
    pub(super) fn machine(&self, machine: Machine) -> Number {
        self.machines.number(machine, |machine| OfMachine::new(self.setting, machine))
    }

    /// What a machine becomes by a deed, and what it answers.
    fn done(
        &self,
        machine: Number,
        deed: Deed,
        does: impl FnOnce(&mut Machine) -> Option<Answer>,
    ) -> (Number, Option<Number>) {
        let deeds = &self.machines.facts(machine).deeds;
        if let Some(known) = deeds.get(&deed) {
            return known;
        }
        let mut next = self.machines.get(machine).clone();
        let answer = does(&mut next);
        let answer = answer.map(|answer| self.answers.number(answer, |_| ()));
        let done = (self.machine(next), answer);
        deeds.add(deed, done);
        done
    }
}

/// A machine by its number.
#[derive(Clone)]
pub(crate) struct MachineNumber<'n> {
    pub(super) all: &'n Numbers<'n>,
    pub(super) number: Number,
}

impl MachineNumber<'_> {
    fn facts(&self) -> &OfMachine {
        self.all.machines.facts(self.number)
    }

    fn does(&mut self, deed: Deed, does: impl FnOnce(&mut Machine)) {
        let silently = |machine: &mut Machine| {
            does(machine);
            None
        };
        self.number = self.all.done(self.number, deed, silently).0;
    }
}

impl<'n> Machinery for MachineNumber<'n> {
    type Call = CallNumber<'n>;
    type Answer = AnswerNumber<'n>;

    fn call(&mut self, side: Side, call: &CallNumber<'n>) -> AnswerNumber<'n> {
        let makes = |machine: &mut Machine| Some(Machinery::call(machine, side, call.borrow()));
        let (number, answer) = self.all.done(self.number, Deed::Call(side, call.1), makes);
        self.number = number;
        AnswerNumber(self.all, answer.expect("a call is answered"))
    }

    fn said(&self, answer: Answer) -> AnswerNumber<'n> {
        AnswerNumber(self.all, self.all.answers.number(answer, |_| ()))
    }

    fn would_block(&self, side: Side, call: &CallNumber<'n>) -> bool {
        Machinery::would_block(self.all.machines.get(self.number), side, call.borrow())
    }

    fn alive(&self, side: Side) -> bool {
        self.facts().alive[side as usize]
    }

    fn guest_runs(&self, side: Side) -> bool {
        self.facts().guest_runs[side as usize]
    }

    fn can_deliver(&self, _: &Setting, side: Side, device: u8) -> bool {
        self.facts().can_deliver[side as usize][usize::from(device)]
    }

    fn runs_old_image(&self, side: Side) -> bool {
        self.facts().runs_old_image[side as usize]
    }

    fn untaken(&self) -> u64 {
        self.facts().untaken
    }

    fn view(&self) -> View {
        self.all.machines.get(self.number).view()
    }

    fn sight(&self, _: &Setting) -> Sight {
        self.facts().sight
    }

    fn kill(&mut self, side: Side) {
        self.does(Deed::Kill(side), |machine| Machinery::kill(machine, side));
    }

    fn raise(&mut self, setting: &Setting, device: u8) {
        self.does(Deed::Raise(device), |machine| Machinery::raise(machine, setting, device));
    }

    fn deliver(&mut self, setting: &Setting, side: Side, device: u8) {
        let deed = Deed::Deliver(side, device);
        self.does(deed, |machine| Machinery::deliver(machine, setting, side, device));
    }

    fn guest_work(&mut self, side: Side) {
        self.does(Deed::GuestWork(side), |machine| Machinery::guest_work(machine, side));
    }

    fn arm(&mut self, setting: &Setting) {
        self.does(Deed::Arm, |machine| Machinery::arm(machine, setting));
    }

    fn armed(&self, setting: &Setting) -> Option<(Fd, FileRef)> {
        Machinery::armed(self.all.machines.get(self.number), setting)
    }
}
