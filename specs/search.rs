//! Exhaustive search over any [`stateright::Model`]: breadth first, on all cores.
//!
//! What it promises, and stateright 0.31's own checkers do not:
//! * the first run of each violation is a cheapest one: with the fewest faults, and among those with the
//!   fewest steps. Without faults that is a shortest run;
//! * results are the same for any number of threads;
//! * states are known exactly ([`explore`]), or by 64 bits ([`explore_hashed`]) with an estimate of what that may hide;
//! * a state beyond the model's boundary is judged before it is left;
//! * a panic of the model is a finding with the run that leads to it;
//! * what cut the search short is said, and without a cut it was complete.
//!
//! States are settled generation by generation, each of one [cost](Judge::faults). A generation is expanded block by
//! block: the threads take pieces of a block and sort what they find by shards; then they take shards, each of
//! which takes in what was found for it, in the order of the pieces. Successors by a fault wait until everything
//! with fewer faults is settled. So nothing is locked, and nothing depends on who was first.
//!
//! This module knows nothing of what is modelled.

mod exploration;
mod found;
mod frontier;
mod limits;
mod shard;

pub use exploration::{Exploration, StateIndex};
pub use limits::{Cut, Limits};
pub use shard::{Exact, Fingerprint, Key};

use crate::parallel::in_parallel;
use exploration::Numbers;
use found::Found;
use frontier::{Open, Order};
use limits::resident_bytes;
use shard::{Candidate, Cost, Place, SHARD_MAX, SHARDS, Shard, shard_of};
use stateright::Model;
use std::any::Any;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The most questions, and the most kinds of actions.
pub const QUESTIONS_MAX: usize = 64;

/// A panic of the model or of a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// In which state.
    pub state: StateIndex,
    /// By which of its actions; `None`: before any was done.
    pub action: Option<u16>,
    /// What it said.
    pub message: String,
}

/// What a judge says of a state: a bit for each question. Neither is nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// It holds there, and could have failed.
    pub good: u64,
    /// It fails there.
    pub bad: u64,
}

/// Who asks the questions.
pub trait Judge<M: Model>: Sync {
    /// How many questions: at most [`QUESTIONS_MAX`].
    fn questions(&self) -> usize;

    /// About a state, once.
    fn state(&self, state: &M::State) -> Said;

    /// About a transition: which questions it answers badly.
    fn edge(&self, _from: &M::State, _to: &M::State) -> u64 {
        0
    }

    /// How many faults an action is.
    fn faults(&self, _action: &M::Action) -> u16 {
        0
    }

    /// Of which kind an action is, for counting: below [`QUESTIONS_MAX`].
    fn kind(&self, _action: &M::Action) -> usize {
        0
    }
}

/// So many questions about states, answered by a function.
impl<M: Model, F: Fn(&M::State) -> Said + Sync> Judge<M> for (usize, F) {
    fn questions(&self) -> usize {
        self.0
    }

    fn state(&self, state: &M::State) -> Said {
        (self.1)(state)
    }
}

/// Explores everything that can be reached. Each state is kept.
pub fn explore<M>(model: &M, judge: &impl Judge<M>, limits: Limits) -> Exploration<M::State>
where
    M: Model + Sync,
    M::State: Clone + Eq + Hash + Send + Sync,
{
    run(model, judge, limits)
}

/// Explores everything that can be reached. Of each state 64 bits are kept: see
/// [`Exploration::collision_estimate`].
pub fn explore_hashed<M>(
    model: &M,
    judge: &impl Judge<M>,
    limits: Limits,
) -> Exploration<M::State, Fingerprint>
where
    M: Model + Sync,
    M::State: Hash + Send + Sync,
{
    run(model, judge, limits)
}

/// So many states are expanded before what they led to is taken in.
const BLOCK: usize = 1 << 17;

fn run<M, K>(model: &M, judge: &impl Judge<M>, limits: Limits) -> Exploration<M::State, K>
where
    M: Model + Sync,
    M::State: Send + Sync,
    K: Key<M::State>,
{
    let mut search = Search::new(judge.questions(), limits);
    search.begin(model.init_states());
    while let Some(frontier) = search.settle() {
        for block in frontier.chunks(BLOCK) {
            search.cut = search.cut.or_else(|| search.over());
            if search.cut.is_some() {
                return search.finish();
            }
            let found = search.expand(model, judge, block);
            search.weigh(&frontier, &found);
            search.take_in(found);
        }
    }
    search.finish()
}

/// A search under way.
struct Search<S, K> {
    shards: Vec<Shard<S, K>>,
    numbers: Numbers,
    order: Order,
    /// What the states that are being expanded cost.
    cost: Cost,
    limits: Limits,
    started: Instant,
    cut: Option<Cut>,
    beyond: u64,
    too_deep: bool,
    transitions: u64,
    depth: u32,
    bytes: u64,
    bad: Vec<Option<Place>>,
    good: Vec<u64>,
    taken: Vec<u64>,
    panic: Option<(Place, Option<u16>, String)>,
}

impl<S: Send + Sync, K: Key<S>> Search<S, K> {
    fn new(questions: usize, limits: Limits) -> Self {
        assert!(questions <= QUESTIONS_MAX, "{questions} questions");
        Self {
            shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
            numbers: Numbers::default(),
            order: Order::default(),
            cost: (0, 0),
            limits,
            started: Instant::now(),
            cut: None,
            beyond: 0,
            too_deep: false,
            transitions: 0,
            depth: 0,
            bytes: 0,
            bad: vec![None; questions],
            good: vec![0; questions],
            taken: vec![0; QUESTIONS_MAX],
            panic: None,
        }
    }

    fn begin(&mut self, states: Vec<S>) {
        for state in states {
            let hash = K::hash(&state);
            let candidate = Candidate { state, parent: Place::NONE, action: 0, faults: 0 };
            self.shards[shard_of(hash)].insert(hash, candidate);
        }
    }

    /// Takes the states of the next cost to be expanded; `None`: there are none.
    fn settle(&mut self) -> Option<Vec<Open<S>>> {
        let has_next = self.shards.iter().any(|shard| !shard.next.is_empty());
        let deferred = self.shards.iter().filter_map(|shard| shard.deferred.keys().next()).min();
        let next = (self.cost.0, self.cost.1 + u32::from(!self.numbers.is_empty()));
        self.cost = if has_next { next } else { *deferred? };
        self.numbers.begin(self.cost);
        for (at, shard) in self.shards.iter_mut().enumerate() {
            shard.settle(self.cost);
            self.numbers.add(at, shard.keys.len() - shard.next.len(), shard.next.len());
        }
        let frontier = self.order.next(&mut self.shards);
        if !frontier.is_empty() {
            self.depth = self.depth.max(self.cost.1);
        }
        Some(frontier)
    }

    /// Remembers how much memory was ever taken.
    fn weigh(&mut self, frontier: &Vec<Open<S>>, found: &[Found<S>]) {
        let known: usize = self.shards.iter().map(Shard::bytes).sum();
        let found: usize = found.iter().map(Found::bytes).sum();
        let bytes = known + found + self.order.bytes() + frontier.capacity() * size_of::<Open<S>>();
        self.bytes = self.bytes.max(bytes as u64);
    }

    fn over(&self) -> Option<Cut> {
        let Limits { states_max, time_max, memory_max_bytes, .. } = self.limits;
        let states: usize = self.shards.iter().map(|shard| shard.keys.len()).sum();
        let is_full = |shard: &Shard<S, K>| shard.keys.len() > SHARD_MAX / 2;
        if states > states_max as usize || self.shards.iter().any(is_full) {
            return Some(Cut::States(states_max));
        }
        let time = time_max.filter(|most| self.started.elapsed() > *most).map(Cut::Time);
        let is_too_much = |most: &u64| resident_bytes().is_some_and(|now| now > *most);
        time.or_else(|| memory_max_bytes.filter(is_too_much).map(Cut::Memory))
    }

    /// Expands a block, piece by piece.
    fn expand<M>(&self, model: &M, judge: &impl Judge<M>, block: &[Open<S>]) -> Vec<Found<S>>
    where
        M: Model<State = S> + Sync,
    {
        let pieces = block.chunks(self.limits.piece_of(block.len())).collect();
        in_parallel(self.limits.threads_for(block.len()), pieces, |piece: &[Open<S>]| {
            let (mut found, mut actions) = (Found::new(piece.len()), Vec::new());
            for (place, state) in piece {
                self.expand_one::<M>(model, judge, (state, *place), &mut actions, &mut found);
                if found.panic.is_some() {
                    break;
                }
            }
            found
        })
    }

    /// Judges a state and follows its actions. A panic ends it.
    fn expand_one<M: Model<State = S>>(
        &self,
        model: &M,
        judge: &impl Judge<M>,
        (state, place): (&S, Place),
        actions: &mut Vec<M::Action>,
        found: &mut Found<S>,
    ) {
        let mut doing = None;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let said = judge.state(state);
            found.note_bad(said.bad, place);
            found.note_good(said.good);
            if !model.within_boundary(state) {
                found.beyond += 1;
                return;
            }
            model.actions(state, actions);
            assert!(u16::try_from(actions.len()).is_ok(), "{} actions", actions.len());
            if self.limits.depth_max.is_some_and(|most| self.cost.1 >= most) {
                found.too_deep |= !actions.is_empty();
                return;
            }
            for (action, what) in (0u16..).zip(actions.drain(..)) {
                doing = Some(action);
                let (faults, kind) = (judge.faults(&what), judge.kind(&what));
                let Some(next) = model.next_state(state, what) else { continue };
                found.taken[kind] += 1;
                found.note_bad(judge.edge(state, &next), place);
                let hash = K::hash(&next);
                let candidate = Candidate { state: next, parent: place, action, faults };
                found.keep::<K>(hash, candidate);
            }
        }));
        actions.clear();
        if let Err(panic) = done {
            found.panic = Some((place, doing, message(&*panic)));
        }
    }

    /// Makes known what the pieces of a block have found.
    fn take_in(&mut self, mut found: Vec<Found<S>>) {
        let candidates = found.iter().map(Found::transitions).sum::<u64>();
        let cost = self.cost;
        let mut work: Vec<_> = self.shards.iter_mut().map(|shard| (shard, Vec::new())).collect();
        for part in &mut found {
            for (near, (_, parts)) in part.near.iter_mut().zip(&mut work) {
                parts.push(std::mem::take(near));
            }
        }
        let threads = self.limits.threads_for(usize::try_from(candidates).unwrap_or(usize::MAX));
        in_parallel(threads, work, |(shard, parts)| {
            shard.warm(parts.iter().map(Vec::len).sum());
            for part in parts {
                shard.take_in(part, cost);
            }
        });
        for part in found {
            self.count(part);
        }
    }

    /// Adds up what a piece has counted.
    fn count(&mut self, found: Found<S>) {
        self.transitions += found.transitions();
        self.beyond += found.beyond;
        self.too_deep |= found.too_deep;
        for (all, more) in self.good.iter_mut().zip(found.good) {
            *all += more;
        }
        for (all, more) in self.taken.iter_mut().zip(found.taken) {
            *all += more;
        }
        for (question, place) in found.firsts {
            self.bad[question].get_or_insert(place);
        }
        if found.panic.is_some() && self.panic.is_none() {
            (self.panic, self.cut) = (found.panic, Some(Cut::Panic));
        }
    }

    fn finish(mut self) -> Exploration<S, K> {
        let unnumbered: usize = self.shards.iter().map(|shard| shard.next.len()).sum();
        if unnumbered > 0 {
            self.number_rest();
        }
        for shard in &mut self.shards {
            shard.next = Vec::new();
            shard.deferred.clear();
        }
        let numbers = self.numbers;
        let too_deep = self.limits.depth_max.filter(|_| self.too_deep).map(Cut::Depth);
        let beyond = (self.beyond > 0).then_some(Cut::Boundary(self.beyond));
        let panic = self.panic.map(|(place, action, message)| Panic {
            state: numbers.of(place),
            action,
            message,
        });
        Exploration {
            transitions: self.transitions,
            depth: self.depth,
            bad: self.bad.iter().map(|place| place.map(|place| numbers.of(place))).collect(),
            good: self.good,
            taken: self.taken,
            cut: self.cut.or(too_deep).or(beyond),
            panic,
            bytes: self.bytes,
            shards: self.shards,
            numbers,
        }
    }

    /// States that a cut left unexpanded have numbers, too.
    fn number_rest(&mut self) {
        self.numbers.begin((self.cost.0, self.cost.1 + 1));
        for (at, shard) in self.shards.iter().enumerate() {
            self.numbers.add(at, shard.keys.len() - shard.next.len(), shard.next.len());
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
