//! Packed states of twenty bytes, for the search.
//!
//! A packed state is the [numbers](crate::state::interned) of its four parts, and a hash. So a
//! search stores states exactly, in little memory, and compares them as fast as words.
//!
//! Invariant: packed states are equal exactly if the states are. The hash, which orders a search,
//! is computed from the values of the parts and not from their numbers, so no result of a search
//! depends on threads.

use crate::properties::{Judgement, Kind, PROPERTIES, Property, Relation, Status};
use crate::spec::AbstractSpec;
use crate::state::State;
use crate::state::action::{Action, Side};
use crate::state::interned::{InternedState, Interners, PackedIds};
use crate::state::system::System;
use dashmap::DashMap;
use handoff_checker::intern::InternId;
use handoff_checker::reduction::Reducible;
use handoff_checker::search::{Labels, Observer};
use rustc_hash::FxBuildHasher;
use stateright::Model;
use std::hash::{Hash, Hasher};

/// A state, as the numbers of its parts in a [`PackedSystem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    parts: PackedIds,
    hash: u32,
}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
    }
}

/// A system with packed states.
#[derive(Debug)]
pub struct PackedSystem<'a> {
    system: &'a System,
    numbers: Interners<'a>,
    spec: AbstractSpec,
    /// Cached labels of the properties that depend only on the machine and the status.
    labels: DashMap<(InternId, Status), Labels, FxBuildHasher>,
    /// Indices in [`PROPERTIES`] of the other properties, by kind.
    relations: Vec<(usize, Relation)>,
    terminations: Vec<usize>,
    refinements: Vec<usize>,
}

impl<'a> PackedSystem<'a> {
    /// Packs a system.
    pub fn new(system: &'a System) -> Self {
        Self {
            system,
            numbers: Interners::new(system.constants()),
            spec: system.abstract_spec(),
            labels: DashMap::default(),
            relations: places(|kind| match kind {
                Kind::Action(relation) => Some(relation),
                _ => None,
            })
            .collect(),
            terminations: places_of(|kind| matches!(kind, Kind::Termination)),
            refinements: places_of(|kind| matches!(kind, Kind::Refinement)),
        }
    }

    /// Packs a state.
    pub fn pack(&self, state: State) -> Packed {
        self.packed(self.numbers.of(state))
    }

    fn packed(&self, parts: PackedIds) -> Packed {
        let hash = self.numbers.hash(parts) >> u32::BITS;
        Packed { parts, hash: u32::try_from(hash).expect("half of it") }
    }

    /// Returns the state that [`Self::pack`] packed.
    pub fn unpack(&self, packed: &Packed) -> State {
        self.numbers.state(packed.parts)
    }

    /// Returns the interned state.
    pub(crate) fn interned(&self, packed: &Packed) -> InternedState<'_> {
        self.numbers.numbered(packed.parts)
    }

    /// Returns the labels of all properties that depend only on the machine and the status of the
    /// handoff.
    fn of_case(&self, packed: &Packed, state: &InternedState<'_>) -> Labels {
        let key = (packed.parts[0], self.system.status(state));
        if let Some(labels) = self.labels.get(&key) {
            return *labels;
        }
        let mut labels = Labels::default();
        for (at, judgement) in self.system.judge(&self.unpack(packed)).into_iter().enumerate() {
            if !self.sees_more(at) {
                labels = note(labels, at, judgement.as_ref());
            }
        }
        self.labels.insert(key, labels);
        labels
    }

    fn sees_more(&self, at: usize) -> bool {
        self.terminations.contains(&at) || self.refinements.contains(&at)
    }
}

/// Returns the indices in [`PROPERTIES`] for which `pick` returns a value, with that value.
fn places<T>(pick: impl Fn(Kind) -> Option<T>) -> impl Iterator<Item = (usize, T)> {
    let picked = move |(at, property): (usize, &'static Property)| Some((at, pick(property.kind)?));
    PROPERTIES.iter().enumerate().filter_map(picked)
}

fn places_of(is: impl Fn(Kind) -> bool) -> Vec<usize> {
    places(|kind| is(kind).then_some(())).map(|(at, ())| at).collect()
}

fn note(labels: Labels, index: usize, judgement: Option<&Judgement>) -> Labels {
    let bit = 1 << index;
    match judgement {
        None | Some(Judgement::Vacuous) => labels,
        Some(Judgement::Holds) => Labels { witness: labels.witness | bit, ..labels },
        Some(Judgement::Fails(_)) => Labels { violation: labels.violation | bit, ..labels },
    }
}

impl Model for PackedSystem<'_> {
    type State = Packed;
    type Action = Action;

    fn init_states(&self) -> Vec<Packed> {
        vec![self.pack(self.system.init().clone())]
    }

    fn actions(&self, packed: &Packed, actions: &mut Vec<Action>) {
        self.interned(packed).actions(self.system.constants(), actions);
    }

    fn next_state(&self, packed: &Packed, action: Action) -> Option<Packed> {
        let mut state = self.interned(packed);
        state.advance(self.system.constants(), &action);
        Some(self.packed(self.numbers.of_successor(&state, packed.parts)))
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        Vec::new()
    }
}

/// Evaluates [`PROPERTIES`], in their order.
impl Observer<Self> for PackedSystem<'_> {
    fn property_count(&self) -> usize {
        PROPERTIES.len()
    }

    fn state(&self, packed: &Packed) -> Labels {
        let state = self.interned(packed);
        let labels = self.of_case(packed, &state);
        let deadlock = self.system.judge_deadlock(&state);
        let rest = self.system.judge_rest(&self.spec, &state);
        let note_all = |labels, places: &[usize], judgement: &Judgement| {
            places.iter().fold(labels, |labels, at| note(labels, *at, Some(judgement)))
        };
        let labels = note_all(labels, &self.terminations, &deadlock);
        note_all(labels, &self.refinements, &rest)
    }

    fn edge(&self, from: &Packed, to: &Packed) -> u64 {
        let (system, from, to) = (self.system, self.interned(from), self.interned(to));
        let strays = !self.spec.allows(system.abstract_state(&from), system.abstract_state(&to));
        let (before, after) = (system.snapshot(&from), system.snapshot(&to));
        let violates = |relation: &Relation| !(relation.holds)(&before, &after);
        let bad = self.relations.iter().filter(|(_, relation)| violates(relation));
        let bad = bad.fold(0, |bits, (at, _)| bits | 1 << at);
        self.refinements.iter().fold(bad, |bits, at| bits | u64::from(strays) << at)
    }

    fn kind(&self, action: &Action) -> usize {
        action.kind() as usize
    }

    fn faults(&self, action: &Action) -> u16 {
        u16::from(action.is_fault())
    }
}

/// Few actions are independent. There is no symmetry, because both roles process all objects in one
/// fixed order. And actions that can fail, be cancelled or be visible to a property commute with no
/// other: only two calls remain.
impl Reducible for PackedSystem<'_> {
    fn representative(&self, packed: Packed) -> Packed {
        packed
    }

    fn is_ample(&self, packed: &Packed, actions: &[Action], place: usize) -> bool {
        let Action::Step(side) = actions[place] else { return false };
        let can_be_cancelled = side == Side::Old && actions.contains(&Action::Cancel);
        !can_be_cancelled && self.interned(packed).asks_for_itself(side)
    }
}
