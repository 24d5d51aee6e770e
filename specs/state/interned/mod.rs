//! Machines, players, calls and answers by numbers, with what each of them once did.
//!
//! Few things happen in many worlds: most worlds are new combinations of parts that were there before. So each part is
//! kept once and has a number, and what a machine answers to a call, what a role makes of an answer, and what the rules
//! of a world ask of either is found out once for each number and remembered.
//!
//! Invariant: equal parts have one number, different parts different ones. Which it is depends on which thread came
//! first, so nothing may depend on the order of numbers.

use crate::scenario::DEVICES_MAX;
use crate::state::action::Side;
use crate::state::constants::Setting;
use crate::state::observation::Sight;
use crate::state::parts::{Machinery, Part, Player, Store};
use crate::state::{Rest, World};
use handoff_checker::intern::{Number, Once};
use handoff_checker::memo::Chain;
use handoff_model::abi::call::{Answer, Call};
use handoff_model::abi::ids::Fd;
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::Mode;
use handoff_model::protocol::measure::Left;
use handoff_model::role::incoming::Incoming;
use handoff_model::role::outgoing::Outgoing;
use handoff_model::role::{Cause, Role, Trouble};
use handoff_model::vm::{Descriptors, Vm};
use handoff_sim_kernel::Machine;
use rustc_hash::FxBuildHasher;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

/// What rules ask of a machine.
struct OfMachine {
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

/// What rules ask of a player.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by itself")]
struct OfPlayer<R: Role> {
    is_absent: bool,
    is_acting: bool,
    ended: Option<R::End>,
    phase: Option<R::Phase>,
    end: Option<R::End>,
    cause: Option<Cause>,
    next: Option<Number>,
    can_cancel: bool,
    can_change: bool,
    left: Option<Left>,
    /// What it became by an answer.
    took: Chain<Number, Number>,
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

/// Players of a role.
type Players<R> = Once<Part<R, <R as Role>::End>, OfPlayer<R>>;

/// All of them, of worlds with one setting.
pub(crate) struct Numbers<'a> {
    setting: &'a Setting,
    machines: Once<Machine, OfMachine>,
    outgoing: Players<Outgoing>,
    incoming: Players<Incoming>,
    rests: Once<Rest>,
    calls: Once<Call>,
    answers: Once<Answer>,
}

impl fmt::Debug for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} machines", self.machines.count())
    }
}

/// A world by numbers.
pub(crate) type Numbered<'n> = World<Interned<'n>>;

/// Parts are stored by their numbers.
pub(crate) struct Interned<'n>(PhantomData<&'n ()>);

impl<'n> Store for Interned<'n> {
    type Call = CallNumber<'n>;
    type Answer = AnswerNumber<'n>;
    type Machine = MachineNumber<'n>;
    type Old = PlayerNumber<'n, Outgoing>;
    type New = PlayerNumber<'n, Incoming>;
}

/// The numbers of a world's parts: machine, players, and the rest.
pub(crate) type Quartet = [Number; 4];

impl<'a> Numbers<'a> {
    /// None yet.
    pub(crate) fn new(setting: &'a Setting) -> Self {
        Self {
            setting,
            machines: Once::default(),
            outgoing: Once::default(),
            incoming: Once::default(),
            rests: Once::default(),
            calls: Once::default(),
            answers: Once::default(),
        }
    }

    /// The numbers of a world's parts.
    pub(crate) fn of(&self, world: World) -> Quartet {
        let World { machine, outgoing, incoming, rest } = world;
        [
            self.machine(machine),
            self.player(outgoing),
            self.player(incoming),
            self.rests.number(rest, |_| ()),
        ]
    }

    /// The same of a world by numbers.
    pub(crate) fn of_numbered(&self, world: &Numbered<'_>) -> Quartet {
        let rest = self.rests.number(world.rest, |_| ());
        [world.machine.number, world.outgoing.number, world.incoming.number, rest]
    }

    /// A hash of what the parts are, whatever their numbers.
    pub(crate) fn hash(&self, [machine, outgoing, incoming, rest]: Quartet) -> u64 {
        FxBuildHasher.hash_one([
            self.machines.hash(machine),
            self.outgoing.hash(outgoing),
            self.incoming.hash(incoming),
            self.rests.hash(rest),
        ])
    }

    /// A world by the numbers of its parts.
    pub(crate) fn numbered(&self, [machine, outgoing, incoming, rest]: Quartet) -> Numbered<'_> {
        World {
            machine: MachineNumber { all: self, number: machine },
            outgoing: PlayerNumber { all: self, number: outgoing, role: PhantomData },
            incoming: PlayerNumber { all: self, number: incoming, role: PhantomData },
            rest: *self.rests.get(rest),
        }
    }

    /// The world as it is.
    pub(crate) fn world(&self, [machine, outgoing, incoming, rest]: Quartet) -> World {
        World {
            machine: self.machines.get(machine).clone(),
            outgoing: self.outgoing.get(outgoing).clone(),
            incoming: self.incoming.get(incoming).clone(),
            rest: *self.rests.get(rest),
        }
    }

    fn machine(&self, machine: Machine) -> Number {
        self.machines.number(machine, |machine| OfMachine::new(self.setting, machine))
    }

    fn player<R: Numberable>(&self, part: Part<R, R::End>) -> Number {
        R::among(self).number(part, |part| OfPlayer {
            is_absent: part.is_absent(),
            is_acting: part.is_acting(),
            ended: part.ended(),
            phase: part.phase(),
            end: part.end(),
            cause: part.cause(),
            next: part.next().map(|call| self.calls.number(call, |_| ())),
            can_cancel: part.can_cancel(),
            can_change: part.can_change(),
            left: part.left(),
            took: Chain::default(),
        })
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

/// A role whose players have numbers.
pub(crate) trait Numberable: Role + Clone + Eq + Hash {
    #[expect(private_interfaces, reason = "only this file looks inside")]
    fn among<'n>(all: &'n Numbers<'_>) -> &'n Players<Self>;
}

impl Numberable for Outgoing {
    #[expect(private_interfaces, reason = "only this file looks inside")]
    fn among<'n>(all: &'n Numbers<'_>) -> &'n Players<Self> {
        &all.outgoing
    }
}

impl Numberable for Incoming {
    #[expect(private_interfaces, reason = "only this file looks inside")]
    fn among<'n>(all: &'n Numbers<'_>) -> &'n Players<Self> {
        &all.incoming
    }
}

/// A call by its number.
pub(crate) struct CallNumber<'n>(&'n Numbers<'n>, Number);

impl Borrow<Call> for CallNumber<'_> {
    fn borrow(&self) -> &Call {
        self.0.calls.get(self.1)
    }
}

/// An answer by its number.
pub(crate) struct AnswerNumber<'n>(&'n Numbers<'n>, Number);

impl Borrow<Answer> for AnswerNumber<'_> {
    fn borrow(&self) -> &Answer {
        self.0.answers.get(self.1)
    }
}

/// A machine by its number.
#[derive(Clone)]
pub(crate) struct MachineNumber<'n> {
    all: &'n Numbers<'n>,
    number: Number,
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

/// A player by its number.
pub(crate) struct PlayerNumber<'n, R: Role> {
    all: &'n Numbers<'n>,
    number: Number,
    role: PhantomData<R>,
}

impl<R: Numberable> PlayerNumber<'_, R> {
    fn facts(&self) -> &OfPlayer<R> {
        R::among(self.all).facts(self.number)
    }

    fn part(&self) -> &Part<R, R::End> {
        R::among(self.all).get(self.number)
    }
}

impl<'n, R: Numberable> Player for PlayerNumber<'n, R> {
    type Role = R;
    type Call = CallNumber<'n>;
    type Answer = AnswerNumber<'n>;

    fn is_absent(&self) -> bool {
        self.facts().is_absent
    }

    fn is_acting(&self) -> bool {
        self.facts().is_acting
    }

    fn ended(&self) -> Option<R::End> {
        self.facts().ended
    }

    fn phase(&self) -> Option<R::Phase> {
        self.facts().phase
    }

    fn end(&self) -> Option<R::End> {
        self.facts().end
    }

    fn cause(&self) -> Option<Cause> {
        self.facts().cause
    }

    fn next(&self) -> Option<CallNumber<'n>> {
        self.facts().next.map(|call| CallNumber(self.all, call))
    }

    fn left(&self) -> Option<Left> {
        self.facts().left
    }

    fn is_done(&self) -> bool {
        self.facts().is_acting && self.facts().next.is_none()
    }

    fn took(&mut self, answer: &AnswerNumber<'n>) -> Option<Trouble> {
        let took = &R::among(self.all).facts(self.number).took;
        self.number = took.get(&answer.1).unwrap_or_else(|| {
            let mut part = self.part().clone();
            let _ = part.took(answer.borrow());
            let next = self.all.player(part);
            took.add(answer.1, next);
            next
        });
        None
    }

    fn can_cancel(&self) -> bool {
        self.facts().can_cancel
    }

    fn cancel(&mut self) -> Option<Trouble> {
        let mut next = self.part().clone();
        let _ = next.cancel();
        self.set(next);
        None
    }

    fn can_change(&self) -> bool {
        self.facts().can_change
    }

    fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool {
        let mut next = self.part().clone();
        let outdated = next.change(vm, descriptors);
        self.set(next);
        outdated
    }

    fn set(&mut self, part: Part<R, R::End>) {
        self.number = self.all.player(part);
    }
}
