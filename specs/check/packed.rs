//! Worlds in twenty bytes.
//!
//! A packed world is the [numbers](crate::state::interned) of its four parts, and a hash. So a search keeps worlds exactly, in
//! little memory, and compares them as fast as words.
//!
//! Invariant: packed worlds are equal when the worlds are. The hash, by which a search puts its states in order, is one of
//! what the parts are and not of their numbers: nothing that a search says depends on threads.

use crate::properties::{END_1, END_2, Judgement, Moment, PROPERTIES, REF_1, place_of};
use crate::state::World;
use crate::state::action::{Action, Side};
use crate::state::interned::{Numbered, Numbers, Quartet};
use crate::state::system::System;
use dashmap::DashMap;
use handoff_checker::intern::Number;
use handoff_checker::reduction::Reducible;
use handoff_checker::search::{Judge, Said};
use rustc_hash::FxBuildHasher;
use stateright::{Model, Property};
use std::hash::{Hash, Hasher};

/// A world, by the numbers of its parts in a [`PackedSystem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    parts: Quartet,
    hash: u32,
}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
    }
}

/// A system whose states are packed.
#[derive(Debug)]
pub struct PackedSystem<'a> {
    system: &'a System,
    numbers: Numbers<'a>,
    /// What properties but [`END_1`] and [`REF_1`] have said of a machine at a moment.
    said: DashMap<(Number, Moment), Said, FxBuildHasher>,
    end: usize,
    nearer: usize,
    refines: usize,
}

impl<'a> PackedSystem<'a> {
    /// The same system.
    pub fn new(system: &'a System) -> Self {
        Self {
            system,
            numbers: Numbers::new(system.setting()),
            said: DashMap::default(),
            end: place_of(END_1),
            nearer: place_of(END_2),
            refines: place_of(REF_1),
        }
    }

    /// The packed form of a world.
    pub fn pack(&self, world: World) -> Packed {
        self.packed(self.numbers.of(world))
    }

    fn packed(&self, parts: Quartet) -> Packed {
        let hash = self.numbers.hash(parts) >> u32::BITS;
        Packed { parts, hash: u32::try_from(hash).expect("half of it") }
    }

    /// The world of a packed form that [`Self::pack`] made.
    pub fn world(&self, packed: &Packed) -> World {
        self.numbers.world(packed.parts)
    }

    /// That world by numbers.
    pub(crate) fn numbered(&self, packed: &Packed) -> Numbered<'_> {
        self.numbers.numbered(packed.parts)
    }

    /// What all properties but [`END_1`] and [`REF_1`] say.
    fn of_case(&self, packed: &Packed, world: &Numbered<'_>) -> Said {
        let key = (packed.parts[0], self.system.moment(world));
        if let Some(said) = self.said.get(&key) {
            return *said;
        }
        let mut said = Said::default();
        for (at, judgement) in self.system.judge(&self.world(packed)).into_iter().enumerate() {
            if at != self.end && at != self.refines {
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
        self.numbered(packed).actions(self.system.setting(), actions);
    }

    fn next_state(&self, packed: &Packed, action: Action) -> Option<Packed> {
        let mut world = self.numbered(packed);
        world.advance(self.system.setting(), &action);
        Some(self.packed(self.numbers.of_numbered(&world)))
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
        let world = self.numbered(packed);
        let said = self.of_case(packed, &world);
        let said = note(said, self.end, Some(&self.system.judge_end(&world)));
        note(said, self.refines, Some(&self.system.judge_rest(&world)))
    }

    /// Every step lowers the rank, and is one of the essence or none.
    fn edge(&self, from: &Packed, to: &Packed) -> u64 {
        let (system, from, to) = (self.system, self.numbered(from), self.numbered(to));
        let rises = to.rank() >= from.rank();
        let strays = !system.essence().allows(system.essence_of(&from), system.essence_of(&to));
        u64::from(rises) << self.nearer | u64::from(strays) << self.refines
    }

    fn kind(&self, action: &Action) -> usize {
        action.kind() as usize
    }

    fn faults(&self, action: &Action) -> u16 {
        u16::from(action.is_fault())
    }
}

/// What little there is. No two things of a handoff are alike, for both roles go through everything in one order. And whatever
/// can fail, be called off or be seen by a property commutes with nothing: of all calls two are left.
impl Reducible for PackedSystem<'_> {
    fn representative(&self, packed: Packed) -> Packed {
        packed
    }

    fn may_come_first(&self, packed: &Packed, actions: &[Action], place: usize) -> bool {
        let Action::Step(side) = actions[place] else { return false };
        let can_be_called_off = side == Side::Old && actions.contains(&Action::Cancel);
        !can_be_called_off && self.numbered(packed).asks_for_itself(side)
    }
}
