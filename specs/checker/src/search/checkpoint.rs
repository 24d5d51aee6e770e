//! Checkpoints: a search that a limit interrupted, saved so that it can resume.
//!
//! A limit takes effect between two blocks of a generation, when all successors of the earlier
//! blocks are inserted and counted. So no work is lost, and none is repeated. For each state only
//! its edge is saved: the number of its parent, and the index of the action. To resume, each state
//! is recomputed by one step, in the order of the numbers. Its place follows from its hash, its
//! number from its place, and the order of expansion from both: so all of these are the same as
//! before, and the search continues as if it had never stopped.
//!
//! A digest of all states in their places verifies this. It does not detect a model that has the
//! same states but different transitions from those already expanded; whoever stores checkpoints
//! must make sure that the model is the same.

use super::exploration::StateIndex;
use super::found::Counts;
use super::place::{Candidate, Cost, Place, shard_of};
use super::shard::{Exact, Key, Shard};
use super::{BLOCK, Search};
use crate::pool::in_parallel;
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};
use stateright::Model;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An interrupted search, in about eight bytes a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    states: StateIndex,
    /// Number of states that have been expanded.
    expanded: StateIndex,
    /// First state and cost of each generation. The last generation that begins among the expanded
    /// states is being expanded.
    generations: Vec<(StateIndex, Cost)>,
    /// The edges to all states but the initial ones.
    edges: Vec<Edge>,
    /// The edges to the deferred candidates, by cost.
    deferred: Vec<(Cost, Vec<Edge>)>,
    depth_max: Option<u32>,
    counts: Counts,
    bad: Vec<Option<StateIndex>>,
    digest: u64,
}

/// An edge to a state: its parent, and the index of the action among the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Edge {
    parent: StateIndex,
    action: u16,
}

/// The reason why a search cannot resume from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The checkpoint was made with another depth limit, which left out other states.
    #[error("it was made with another depth limit")]
    Depth,
    /// Its numbers are inconsistent, or do not match the number of properties.
    #[error("it contradicts itself, or was made for other properties")]
    Contradiction,
    /// The model cannot execute a step.
    #[error("the model has no step from state {0} by action {1}")]
    NoStep(StateIndex, u16),
    /// A step leads to a state that is already known.
    #[error("the step from state {0} by action {1} leads to a state that is already known")]
    Twice(StateIndex, u16),
    /// The recomputed states differ from the saved ones.
    #[error("the model reaches other states than those recorded")]
    OtherStates,
}

impl Checkpoint {
    /// Returns the number of states that were found.
    pub fn states(&self) -> u32 {
        self.states
    }

    /// Returns how many of them were expanded.
    pub fn expanded(&self) -> u32 {
        self.expanded
    }

    /// Iterates over the generations: the numbers of their states, and their cost.
    fn generations(&self) -> impl Iterator<Item = (Range<StateIndex>, Cost)> {
        let ends = self.generations.iter().skip(1).map(|(first, _)| *first);
        let ends = ends.chain([self.states]);
        self.generations.iter().zip(ends).map(|((first, cost), end)| (*first..end, *cost))
    }

    fn initial(&self) -> StateIndex {
        self.states.saturating_sub(StateIndex::try_from(self.edges.len()).unwrap_or(self.states))
    }

    fn edges(&self, states: &Range<StateIndex>) -> &[Edge] {
        let at = |state: StateIndex| (state - self.initial()) as usize;
        &self.edges[at(states.start)..at(states.end)]
    }

    /// Returns true if the numbers are consistent.
    fn is_sound(&self) -> bool {
        let mut generations = self.generations();
        let first = generations.next().is_some_and(|(states, _)| states == (0..self.initial()));
        first
            && self.edges.len() + self.initial() as usize == self.states as usize
            && generations.all(|(states, _)| states.start <= states.end)
            && self.expanded < self.states
    }

    fn fits<S, K: Key<S>>(&self, search: &Search<S, K>) -> Result<(), Unusable> {
        if self.depth_max != search.limits.depth_max {
            return Err(Unusable::Depth);
        }
        let Counts { good, taken, .. } = &search.counts;
        let lengths = [self.counts.good.len(), self.bad.len(), self.counts.taken.len()];
        let fits = lengths == [good.len(), good.len(), taken.len()] && self.is_sound();
        if fits { Ok(()) } else { Err(Unusable::Contradiction) }
    }
}

impl<S: Clone + Eq + Hash + Send + Sync> Search<S, Exact<S>> {
    /// Returns the checkpoint of a search that a limit interrupted.
    pub(super) fn checkpoint(&mut self) -> Checkpoint {
        let (first, _) = *self.numbers.generations().last().expect("a limit strikes within one");
        let expanded = StateIndex::try_from(self.expanded).expect("states are numbered by u32");
        self.number_rest();
        self.shards.iter_mut().for_each(Shard::forget_known);
        let states = self.numbers.count();
        Checkpoint {
            states,
            expanded: first + expanded,
            generations: self.numbers.generations().to_vec(),
            edges: (0..states).filter_map(|state| self.edge_to(state)).collect(),
            deferred: self.deferred_edges(),
            depth_max: self.limits.depth_max,
            counts: self.counts.clone(),
            bad: self.bad.iter().map(|at| at.map(|place| self.numbers.of(place))).collect(),
            digest: self.digest(),
        }
    }

    fn edge(&self, parent: Place, action: u16) -> Option<Edge> {
        (parent != Place::NONE).then(|| Edge { parent: self.numbers.of(parent), action })
    }

    fn edge_to(&self, state: StateIndex) -> Option<Edge> {
        let place = self.numbers.place(state);
        let shard = &self.shards[place.shard()];
        self.edge(shard.parents[place.index()], shard.actions[place.index()])
    }

    fn deferred_edges(&self) -> Vec<(Cost, Vec<Edge>)> {
        let mut edges: BTreeMap<Cost, Vec<Edge>> = BTreeMap::new();
        for (cost, candidates) in self.shards.iter().flat_map(|shard| shard.deferred.iter()) {
            let some = candidates.iter().filter_map(|it| self.edge(it.parent, it.action));
            edges.entry(cost).or_default().extend(some);
        }
        edges.into_iter().collect()
    }

    /// Returns a digest of all states in their places.
    fn digest(&self) -> u64 {
        let mut digest = FxHasher::default();
        for shard in &self.shards {
            shard.keys.iter().for_each(|key| digest.write_u64(Key::<S>::stored_hash(key)));
            for candidate in shard.deferred.iter().flat_map(|(_, candidates)| candidates) {
                digest.write_u64(Exact::hash(&candidate.state));
            }
        }
        digest.finish()
    }

    /// Restores everything in a search that has not begun, and returns the generation that was
    /// being expanded.
    pub(super) fn restore<M>(&mut self, model: &M, from: Checkpoint) -> Result<Vec<Place>, Unusable>
    where
        M: Model<State = S> + Sync,
    {
        from.fits(self)?;
        let (mut frontier, mut first) = (Vec::new(), 0);
        for (at, (states, cost)) in from.generations().enumerate() {
            if at == 0 {
                self.begin(model.init_states());
            } else {
                self.restore_states(model, from.edges(&states))?;
            }
            if states.start <= from.expanded {
                (frontier, first) = (self.open(cost), states.start);
            }
        }
        self.restore_deferred(model, &from.deferred)?;
        if self.digest() != from.digest {
            return Err(Unusable::OtherStates);
        }
        if from.bad.iter().flatten().any(|state| *state >= self.numbers.count()) {
            return Err(Unusable::Contradiction);
        }
        self.expanded = (from.expanded - first) as usize;
        self.bad = from.bad.iter().map(|at| at.map(|state| self.numbers.place(state))).collect();
        self.counts = from.counts;
        Ok(frontier)
    }

    /// Recomputes the states of a generation.
    fn restore_states<M>(&mut self, model: &M, edges: &[Edge]) -> Result<(), Unusable>
    where
        M: Model<State = S> + Sync,
    {
        for block in edges.chunks(BLOCK) {
            for (candidate, edge) in self.follow_all(model, block)?.into_iter().zip(block) {
                let hash = Exact::hash(&candidate.state);
                let shard = &mut self.shards[shard_of(hash)];
                let known = shard.keys.len();
                shard.insert(hash, candidate);
                if shard.keys.len() == known {
                    return Err(Unusable::Twice(edge.parent, edge.action));
                }
            }
        }
        Ok(())
    }

    fn restore_deferred<M>(
        &mut self,
        model: &M,
        deferred: &[(Cost, Vec<Edge>)],
    ) -> Result<(), Unusable>
    where
        M: Model<State = S> + Sync,
    {
        for (cost, edges) in deferred {
            self.shards[0].deferred.keep_cost(*cost);
            for candidate in self.follow_all(model, edges)? {
                let shard = &mut self.shards[shard_of(Exact::hash(&candidate.state))];
                shard.deferred.push(*cost, candidate);
            }
        }
        Ok(())
    }

    fn follow_all<M>(&self, model: &M, edges: &[Edge]) -> Result<Vec<Candidate<S>>, Unusable>
    where
        M: Model<State = S> + Sync,
    {
        let pieces = edges.chunks(self.limits.piece_of(edges.len())).collect();
        let made = in_parallel(self.limits.threads_for(edges.len()), pieces, |piece: &[Edge]| {
            let follow = |edge: &Edge| {
                let made = self.follow(model, *edge);
                made.ok_or(Unusable::NoStep(edge.parent, edge.action))
            };
            piece.iter().map(follow).collect::<Result<Vec<_>, _>>()
        });
        let made: Vec<Vec<_>> = made.into_iter().collect::<Result<_, _>>()?;
        Ok(made.into_iter().flatten().collect())
    }

    /// Follows an edge; `None` if the model has no such transition, or panics.
    fn follow<M: Model<State = S>>(&self, model: &M, edge: Edge) -> Option<Candidate<S>> {
        let Edge { parent, action } = edge;
        let parent = (parent < self.numbers.count()).then(|| self.numbers.place(parent))?;
        let from = &self.shards[parent.shard()].keys[parent.index()].0;
        let step = || {
            let mut actions = Vec::new();
            model.actions(from, &mut actions);
            let action = actions.into_iter().nth(usize::from(action))?;
            model.next_state(from, action)
        };
        let state = catch_unwind(AssertUnwindSafe(step)).ok()??;
        Some(Candidate { state, parent, action, faults: 0 })
    }
}
