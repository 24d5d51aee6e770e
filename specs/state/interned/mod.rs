//! Machines, players, calls and answers by numbers, with what each of them once did.
//!
//! Few things happen in many worlds: most worlds are new combinations of parts that were there
//! before. So each part is kept once and has a number, and what a machine answers to a call, what a
//! role makes of an answer, and what the rules of a world ask of either is found out once for each
//! number and remembered.
//!
//! Invariant: equal parts have one number, different parts different ones. Which it is depends on
//! which thread came first, so nothing may depend on the order of numbers.

mod machine;
mod player;

use crate::state::constants::Setting;
use crate::state::parts::Store;
use crate::state::{Rest, World};
use handoff_checker::intern::{Number, Once};
use handoff_model::abi::call::{Answer, Call};
use handoff_model::role::incoming::Incoming;
use handoff_model::role::outgoing::Outgoing;
use handoff_sim_kernel::Machine;
use machine::{MachineNumber, OfMachine};
use player::{PlayerNumber, Players};
use rustc_hash::FxBuildHasher;
use std::borrow::Borrow;
use std::fmt;
use std::hash::BuildHasher;
use std::marker::PhantomData;

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

    /// The same of a world by numbers that is one action away from another. Most actions leave the
    /// rest as it is, and to compare it costs less than to look it up.
    pub(crate) fn of_successor(&self, world: &Numbered<'_>, from: Quartet) -> Quartet {
        let [.., before] = from;
        let is_same = *self.rests.get(before) == world.rest;
        let rest = if is_same { before } else { self.rests.number(world.rest, |_| ()) };
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
