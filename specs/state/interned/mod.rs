//! Interned states: machines, participants, calls and results by number, with cached results of
//! their operations.
//!
//! Most states are new combinations of known parts. So each part is stored once and has a number,
//! and the result of a call on a machine, the next state of a role and the facts that the
//! transition rules need are computed once for each number (collapse compression).
//!
//! Invariant: equal parts have one number, different parts different ones. Numbers depend on which
//! thread came first, so no result may depend on their order.

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

/// The interners of a state space.
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

/// An interned state.
pub(crate) type InternedState<'n> = State<Interned<'n>>;

/// Parts are stored by number.
pub(crate) struct Interned<'n>(PhantomData<&'n ()>);

impl<'n> Store for Interned<'n> {
    type Call = CallId<'n>;
    type Answer = ResultId<'n>;
    type Machine = MachineId<'n>;
    type Old = PlayerId<'n, Outgoing>;
    type New = PlayerId<'n, Incoming>;
}

/// The numbers of a state's parts: machine, old participant, new participant, and the rest.
pub(crate) type PackedIds = [InternId; 4];

impl<'a> Interners<'a> {
    /// Creates empty interners.
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

    /// Interns the parts of a state.
    pub(crate) fn of(&self, state: State) -> PackedIds {
        let State { machine, outgoing, incoming, aux: rest } = state;
        [
            self.machine(machine),
            self.player(outgoing),
            self.player(incoming),
            self.rests.number(rest, |_| ()),
        ]
    }

    /// Returns the numbers of an interned state that is one action away from another. Most actions
    /// leave the rest unchanged, and comparing it is cheaper than looking it up.
    pub(crate) fn of_successor(&self, state: &InternedState<'_>, from: PackedIds) -> PackedIds {
        let [.., before] = from;
        let is_same = *self.rests.get(before) == state.aux;
        let rest = if is_same { before } else { self.rests.number(state.aux, |_| ()) };
        [state.machine.number, state.outgoing.number, state.incoming.number, rest]
    }

    /// Returns a hash of the values of the parts; it does not depend on their numbers.
    pub(crate) fn hash(&self, [machine, outgoing, incoming, rest]: PackedIds) -> u64 {
        FxBuildHasher.hash_one([
            self.machines.hash(machine),
            self.outgoing.hash(outgoing),
            self.incoming.hash(incoming),
            self.rests.hash(rest),
        ])
    }

    /// Returns the interned state with these parts.
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

    /// Returns the plain state.
    pub(crate) fn state(&self, [machine, outgoing, incoming, rest]: PackedIds) -> State {
        State {
            machine: self.machines.get(machine).clone(),
            outgoing: self.outgoing.get(outgoing).clone(),
            incoming: self.incoming.get(incoming).clone(),
            aux: *self.rests.get(rest),
        }
    }
}

/// An interned call.
pub(crate) struct CallId<'n>(&'n Interners<'n>, InternId);

impl Borrow<Call> for CallId<'_> {
    fn borrow(&self) -> &Call {
        self.0.calls.get(self.1)
    }
}

/// An interned result.
pub(crate) struct ResultId<'n>(&'n Interners<'n>, InternId);

impl Borrow<CallResult> for ResultId<'_> {
    fn borrow(&self) -> &CallResult {
        self.0.answers.get(self.1)
    }
}
