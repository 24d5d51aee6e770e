//! Worlds in twenty bytes.
//!
//! A world has four parts: the machine, the two roles, and the rest. Each recurs in many worlds, is kept once, and has
//! a number; a packed world is four numbers, and a hash. So a search keeps worlds exactly, in little memory, and compares
//! them as fast as words.
//!
//! Invariant: equal parts have one number, different parts different ones, so packed worlds are equal when the worlds
//! are. Which number a part gets depends on which thread came first. So the hash, by which a search puts its states in order, is
//! one of what the parts are and not of their numbers: nothing that a search says depends on threads.

use crate::action::Action;
use crate::property::{END_1, END_2, Judgement, Moment, PROPERTIES, place_of};
use crate::rank::Rank;
use crate::search::{Judge, Said};
use crate::system::System;
use crate::world::{Part, Parts, Rest, World};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use handoff_model::incoming::{Arrival, Incoming};
use handoff_model::outgoing::{Outcome, Outgoing};
use handoff_sim_kernel::Machine;
use rustc_hash::FxBuildHasher;
use stateright::{Model, Property};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

/// A world, by the numbers of its parts in a [`PackedSystem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    machine: u32,
    outgoing: u32,
    incoming: u32,
    rest: u32,
    hash: u32,
}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
    }
}

/// Values, each once, and their numbers and hashes.
struct Once<T> {
    numbers: DashMap<T, (u32, u64), FxBuildHasher>,
    values: boxcar::Vec<T>,
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.values.count())
    }
}

impl<T: Clone + Eq + Hash> Once<T> {
    fn new() -> Self {
        Self { numbers: DashMap::default(), values: boxcar::Vec::new() }
    }

    fn number(&self, value: T) -> (u32, u64) {
        if let Some(known) = self.numbers.get(&value) {
            return *known;
        }
        match self.numbers.entry(value) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let hash = FxBuildHasher.hash_one(entry.key());
                let at = self.values.push(entry.key().clone());
                let number = u32::try_from(at).expect("fewer parts than worlds");
                *entry.insert((number, hash))
            }
        }
    }

    fn get(&self, number: u32) -> &T {
        &self.values[number as usize]
    }
}

/// A system whose states are packed.
#[derive(Debug)]
pub struct PackedSystem<'a> {
    system: &'a System,
    machines: Once<Machine>,
    outgoing: Once<Part<Outgoing, Outcome>>,
    incoming: Once<Part<Incoming, Arrival>>,
    rests: Once<Rest>,
    /// What properties but [`END_1`] have said of a machine at a moment.
    said: DashMap<(u32, Moment), Said, FxBuildHasher>,
    end: usize,
    nearer: usize,
}

impl<'a> PackedSystem<'a> {
    /// The same system.
    pub fn new(system: &'a System) -> Self {
        Self {
            system,
            machines: Once::new(),
            outgoing: Once::new(),
            incoming: Once::new(),
            rests: Once::new(),
            said: DashMap::default(),
            end: place_of(END_1),
            nearer: place_of(END_2),
        }
    }

    /// The packed form of a world.
    pub fn pack(&self, world: World) -> Packed {
        let Parts { machine, outgoing, incoming, rest } = world.into_parts();
        let parts = (
            self.machines.number(machine),
            self.outgoing.number(outgoing),
            self.incoming.number(incoming),
            self.rests.number(rest),
        );
        let ((machine, a), (outgoing, b), (incoming, c), (rest, d)) = parts;
        let hash = u32::try_from(FxBuildHasher.hash_one([a, b, c, d]) >> 32).expect("half of it");
        Packed { machine, outgoing, incoming, rest, hash }
    }

    /// The world of a packed form that [`Self::pack`] made.
    pub fn world(&self, packed: &Packed) -> World {
        World::of_parts(Parts {
            machine: self.machines.get(packed.machine).clone(),
            outgoing: self.outgoing.get(packed.outgoing).clone(),
            incoming: self.incoming.get(packed.incoming).clone(),
            rest: self.rests.get(packed.rest).clone(),
        })
    }

    /// [`World::rank`].
    fn rank(&self, packed: &Packed) -> Rank {
        let (old, new) = (self.outgoing.get(packed.outgoing), self.incoming.get(packed.incoming));
        let Rest { budget, dying, history, .. } = self.rests.get(packed.rest);
        Rank::of(budget, (history.fell_back, *dying), old, new, self.machines.get(packed.machine))
    }

    /// What all properties but [`END_1`] say.
    fn of_case(&self, packed: &Packed, world: &World) -> Said {
        let key = (packed.machine, self.system.moment(world));
        if let Some(said) = self.said.get(&key) {
            return *said;
        }
        let mut said = Said::default();
        for (at, judgement) in self.system.judge(world).into_iter().enumerate() {
            if at != self.end {
                said = note(said, at, judgement.as_ref());
            }
        }
        self.said.insert(key, said);
        said
    }
}

fn note(said: Said, question: usize, judgement: Option<&Judgement>) -> Said {
    let bit = 1 << question;
    match judgement {
        None | Some(Judgement::Idle) => said,
        Some(Judgement::Holds) => Said { good: said.good | bit, ..said },
        Some(Judgement::Fails(_)) => Said { bad: said.bad | bit, ..said },
    }
}

impl Model for PackedSystem<'_> {
    type State = Packed;
    type Action = Action;

    fn init_states(&self) -> Vec<Packed> {
        vec![self.pack(self.system.init().clone())]
    }

    fn actions(&self, packed: &Packed, actions: &mut Vec<Action>) {
        self.system.actions(&self.world(packed), actions);
    }

    fn next_state(&self, packed: &Packed, action: Action) -> Option<Packed> {
        let mut world = self.world(packed);
        world.act(self.system.setting(), &action);
        Some(self.pack(world))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::new()
    }
}

/// Asks [`PROPERTIES`], in their order; what disturbs a handoff is a fault.
impl Judge<Self> for PackedSystem<'_> {
    fn questions(&self) -> usize {
        PROPERTIES.len()
    }

    fn state(&self, packed: &Packed) -> Said {
        let world = self.world(packed);
        let said = self.of_case(packed, &world);
        note(said, self.end, Some(&self.system.judge_end(&world)))
    }

    /// Every step lowers the rank.
    fn edge(&self, from: &Packed, to: &Packed) -> u64 {
        u64::from(self.rank(to) >= self.rank(from)) << self.nearer
    }

    fn kind(&self, action: &Action) -> usize {
        action.kind() as usize
    }

    fn faults(&self, action: &Action) -> u16 {
        u16::from(action.is_fault())
    }
}
