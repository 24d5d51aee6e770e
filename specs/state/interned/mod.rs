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

use crate::state::constants::Constants;
use crate::state::parts::Store;
use crate::state::{Aux, State};
use handoff_checker::intern::{InternId, Interner};
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::role::incoming::Incoming;
use handoff_model::role::outgoing::Outgoing;
use handoff_sim_kernel::Machine;
use machine::{MachineEntry, MachineId};
use player::{PlayerId, Players};
use rustc_hash::FxBuildHasher;
use std::borrow::Borrow;
use std::fmt;
use std::hash::BuildHasher;
use std::marker::PhantomData;

/// All of them, of worlds with one setting.
pub(crate) struct Interners<'a> {
    constants: &'a Constants,
    machines: Interner<Machine, MachineEntry>,
    outgoing: Players<Outgoing>,
    incoming: Players<Incoming>,
    rests: Interner<Aux>,
    calls: Interner<Call>,
    answers: Interner<CallResult>,
}

impl fmt::Debug for Interners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} machines", self.machines.count())
    }
}

/// A world by numbers.
pub(crate) type InternedState<'n> = State<Interned<'n>>;

/// Parts are stored by their numbers.
pub(crate) struct Interned<'n>(PhantomData<&'n ()>);

impl<'n> Store for Interned<'n> {
    type Call = CallId<'n>;
    type Answer = ResultId<'n>;
    type Machine = MachineId<'n>;
    type Old = PlayerId<'n, Outgoing>;
    type New = PlayerId<'n, Incoming>;
}

/// The numbers of a world's parts: machine, players, and the rest.
pub(crate) type PackedIds = [InternId; 4];

impl<'a> Interners<'a> {
    /// None yet.
    pub(crate) fn new(constants: &'a Constants) -> Self {
        Self {
            constants,
            machines: Interner::default(),
            outgoing: Interner::default(),
            incoming: Interner::default(),
            rests: Interner::default(),
            calls: Interner::default(),
            answers: Interner::default(),
        }
    }

    /// The numbers of a world's parts.
    pub(crate) fn of(&self, state: State) -> PackedIds {
        let State { machine, outgoing, incoming, aux: rest } = state;
        [
            self.machine(machine),
            self.player(outgoing),
            self.player(incoming),
            self.rests.number(rest, |_| ()),
        ]
    }

    /// The same of a world by numbers that is one action away from another. Most actions leave the
    /// rest as it is, and to compare it costs less than to look it up.
    pub(crate) fn of_successor(&self, state: &InternedState<'_>, from: PackedIds) -> PackedIds {
        let [.., before] = from;
        let is_same = *self.rests.get(before) == state.aux;
        let rest = if is_same { before } else { self.rests.number(state.aux, |_| ()) };
        [state.machine.number, state.outgoing.number, state.incoming.number, rest]
    }

    /// A hash of what the parts are, whatever their numbers.
    pub(crate) fn hash(&self, [machine, outgoing, incoming, rest]: PackedIds) -> u64 {
        FxBuildHasher.hash_one([
            self.machines.hash(machine),
            self.outgoing.hash(outgoing),
            self.incoming.hash(incoming),
            self.rests.hash(rest),
        ])
    }

    /// A world by the numbers of its parts.
    pub(crate) fn numbered(
        &self,
        [machine, outgoing, incoming, rest]: PackedIds,
    ) -> InternedState<'_> {
        State {
            machine: MachineId { all: self, number: machine },
            outgoing: PlayerId { all: self, number: outgoing, role: PhantomData },
            incoming: PlayerId { all: self, number: incoming, role: PhantomData },
            aux: *self.rests.get(rest),
        }
    }

    /// The world as it is.
    pub(crate) fn state(&self, [machine, outgoing, incoming, rest]: PackedIds) -> State {
        State {
            machine: self.machines.get(machine).clone(),
            outgoing: self.outgoing.get(outgoing).clone(),
            incoming: self.incoming.get(incoming).clone(),
            aux: *self.rests.get(rest),
        }
    }
}

/// A call by its number.
pub(crate) struct CallId<'n>(&'n Interners<'n>, InternId);

impl Borrow<Call> for CallId<'_> {
    fn borrow(&self) -> &Call {
        self.0.calls.get(self.1)
    }
}

/// An answer by its number.
pub(crate) struct ResultId<'n>(&'n Interners<'n>, InternId);

impl Borrow<CallResult> for ResultId<'_> {
    fn borrow(&self) -> &CallResult {
        self.0.answers.get(self.1)
    }
}
