//! Exhaustive search over any [`stateright::Model`]: breadth first, on all cores.
//!
//! What it promises, and stateright 0.31's own checkers do not:
//! * the first run of each violation is a cheapest one: with the fewest faults, and among those with the
//!   fewest steps. Without faults that is a shortest run;
//! * results are the same for any number of threads;
//! * states are known exactly ([`explore`]), or by 64 bits ([`explore_hashed`]) with an estimate of what that may hide;
//! * a state beyond the model's boundary is judged before it is left;
//! * a panic of the model is a finding with the run that leads to it;
//! * what cut the search short is said, and without a cut it was complete;
//! * what a limit cut short can go on later, to the same end ([`explore_in_runs`]).
//!
//! States are settled generation by generation, each of one [cost](Judge::faults). A generation is expanded block by
//! block: the threads take pieces of a block and sort what they find by shards; then they take shards, each of
//! which takes in what was found for it, in the order of the pieces. Successors by a fault wait until everything
//! with fewer faults is settled. So nothing is locked, and nothing depends on who was first.
//!
//! This module knows nothing of what is modelled.

mod checkpoint;
mod exploration;
mod found;
mod frontier;
mod limits;
mod shard;

pub use checkpoint::{Checkpoint, Unusable};
pub use exploration::{Exploration, StateIndex};
pub use limits::{Cut, Limits};
pub use shard::{Exact, Fingerprint, Key};

use crate::pool::in_parallel;
use exploration::Numbers;
use found::{Counts, Found};
use frontier::Order;
use limits::resident_bytes;
use shard::{Candidate, Cost, Place, SHARD_MAX, SHARDS, Shard, shard_of};
use stateright::Model;
use std::any::Any;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

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

    /// About a transition: which questions it answers badly. What is found is the state that it leaves, and the first of
    /// these is one that is reached by the fewest faults, and then steps; whether the transition is a fault does not count.
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

/// Explores as [`explore`] does, in as many runs as it takes: from the beginning, or from where an earlier run of the same
/// model, judge and limit of steps was cut short. What the last run returns is what one run would have.
///
/// With the exploration a checkpoint is returned where a limit of states, time or memory has cut it short: the next run can
/// go on from there. A run expands some states at least whatever the time; limits of states and of memory count what
/// earlier runs have found, too.
///
/// # Errors
/// The checkpoint is not one of such a search.
pub fn explore_in_runs<M>(
    model: &M,
    judge: &impl Judge<M>,
    limits: Limits,
    from: Option<Checkpoint>,
) -> Result<(Exploration<M::State>, Option<Checkpoint>), Unusable>
where
    M: Model + Sync,
    M::State: Clone + Eq + Hash + Send + Sync,
{
    let mut search = Search::new(judge.questions(), limits);
    let mut frontier = Vec::new();
    match from {
        Some(checkpoint) => frontier = search.remake(model, checkpoint)?,
        None => search.begin(model.init_states()),
    }
    search.go_on(model, judge, frontier);
    let checkpoint = search.cut.is_some_and(Cut::can_go_on).then(|| search.checkpoint());
    Ok((search.finish(), checkpoint))
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
    search.go_on(model, judge, Vec::new());
    search.finish()
}

/// A search under way.
struct Search<S, K> {
    shards: Vec<Shard<S, K>>,
    numbers: Numbers,
    order: Order,
    /// What the states that are being expanded cost, and how many of them have been.
    cost: Cost,
    expanded: usize,
    limits: Limits,
    started: Instant,
    has_gone_on: bool,
    cut: Option<Cut>,
    counts: Counts,
    depth: u32,
    bytes: u64,
    bad: Vec<Option<Place>>,
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
            expanded: 0,
            limits,
            started: Instant::now(),
            has_gone_on: false,
            cut: None,
            counts: Counts::new(questions),
            depth: 0,
            bytes: 0,
            bad: vec![None; questions],
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

    /// Expands these states, from the first that was not, and whatever they lead to, until a limit is reached.
    fn go_on<M>(&mut self, model: &M, judge: &impl Judge<M>, frontier: Vec<Place>)
    where
        M: Model<State = S> + Sync,
    {
        let mut next = Some(frontier);
        while let Some(frontier) = next {
            for block in frontier[self.expanded..].chunks(BLOCK) {
                self.cut = self.cut.or_else(|| self.over());
                if self.cut.is_some() {
                    return;
                }
                let found = self.expand(model, judge, block);
                self.weigh(&frontier, &found);
                self.take_in(found);
                self.expanded += block.len();
                self.has_gone_on = true;
            }
            next = self.settle();
        }
    }

    /// Takes the states of the next cost to be expanded; `None`: there are none.
    fn settle(&mut self) -> Option<Vec<Place>> {
        let has_next = self.shards.iter().any(|shard| !shard.next.is_empty());
        let deferred = self.shards.iter().filter_map(|shard| shard.deferred.keys().next()).min();
        let next = (self.cost.0, self.cost.1 + u32::from(!self.numbers.is_empty()));
        let cost = if has_next { next } else { *deferred? };
        for shard in &mut self.shards {
            shard.settle(cost);
        }
        Some(self.open(cost))
    }

    /// Numbers the states that were found last, which have this cost, and takes them to be expanded.
    fn open(&mut self, cost: Cost) -> Vec<Place> {
        (self.cost, self.expanded) = (cost, 0);
        self.number(cost);
        let frontier = self.order.next(&self.shards);
        self.shards.iter_mut().for_each(Shard::open);
        if !frontier.is_empty() {
            self.depth = self.depth.max(cost.1);
        }
        frontier
    }

    fn number(&mut self, cost: Cost) {
        self.numbers.begin(cost);
        for (at, shard) in self.shards.iter().enumerate() {
            self.numbers.add(at, shard.last());
        }
    }

    /// Remembers how much memory was ever taken.
    fn weigh(&mut self, frontier: &Vec<Place>, found: &[Found<S>]) {
        let known: usize = self.shards.iter().map(Shard::bytes).sum();
        let found: usize = found.iter().map(Found::bytes).sum();
        let bytes = known + found + self.order.bytes() + frontier.capacity() * size_of::<Place>();
        self.bytes = self.bytes.max(bytes as u64);
    }

    fn over(&self) -> Option<Cut> {
        let Limits { states_max, time_max, memory_max_bytes, .. } = self.limits;
        let states: usize = self.shards.iter().map(|shard| shard.keys.len()).sum();
        let is_full = |shard: &Shard<S, K>| shard.keys.len() > SHARD_MAX / 2;
        if states > states_max as usize || self.shards.iter().any(is_full) {
            return Some(Cut::States(states_max));
        }
        let is_late = |most: &Duration| self.has_gone_on && self.started.elapsed() > *most;
        let time = time_max.filter(is_late).map(Cut::Time);
        let is_too_much = |most: &u64| resident_bytes().is_some_and(|now| now > *most);
        time.or_else(|| memory_max_bytes.filter(is_too_much).map(Cut::Memory))
    }

    /// Expands a block, piece by piece.
    fn expand<M>(&self, model: &M, judge: &impl Judge<M>, block: &[Place]) -> Vec<Found<S>>
    where
        M: Model<State = S> + Sync,
    {
        let pieces = block.chunks(self.limits.piece_of(block.len())).collect();
        in_parallel(self.limits.threads_for(block.len()), pieces, |piece: &[Place]| {
            let (mut found, mut actions) = (Found::new(piece.len()), Vec::new());
            for place in piece {
                self.expand_one::<M>(model, judge, *place, &mut actions, &mut found);
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
        place: Place,
        actions: &mut Vec<M::Action>,
        found: &mut Found<S>,
    ) {
        let state = self.shards[place.shard()].opened(place.index());
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
            let own = K::hash(state);
            for (action, what) in (0u16..).zip(actions.drain(..)) {
                doing = Some(action);
                let (faults, kind) = (judge.faults(&what), judge.kind(&what));
                let Some(next) = model.next_state(state, what) else { continue };
                found.taken[kind] += 1;
                found.note_bad(judge.edge(state, &next), place);
                let hash = K::hash(&next);
                let stays = hash == own && K::are_one(state, &next, hash);
                if !stays {
                    let candidate = Candidate { state: next, parent: place, action, faults };
                    found.keep::<K>(hash, candidate);
                }
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
        self.counts.add(&found);
        for (question, place) in found.firsts {
            self.bad[question].get_or_insert(place);
        }
        if found.panic.is_some() && self.panic.is_none() {
            (self.panic, self.cut) = (found.panic, Some(Cut::Panic));
        }
    }

    fn finish(mut self) -> Exploration<S, K> {
        self.number_rest();
        for shard in &mut self.shards {
            shard.deferred.clear();
        }
        let (numbers, counts) = (self.numbers, self.counts);
        let too_deep = self.limits.depth_max.filter(|_| counts.too_deep).map(Cut::Depth);
        let beyond = (counts.beyond > 0).then_some(Cut::Boundary(counts.beyond));
        let panic = self.panic.map(|(place, action, message)| Panic {
            state: numbers.of(place),
            action,
            message,
        });
        Exploration {
            transitions: counts.transitions,
            depth: self.depth,
            bad: self.bad.iter().map(|place| place.map(|place| numbers.of(place))).collect(),
            good: counts.good,
            taken: counts.taken,
            cut: self.cut.or(too_deep).or(beyond),
            panic,
            bytes: self.bytes,
            shards: self.shards,
            numbers,
        }
    }

    /// States that a cut left unexpanded have numbers, too.
    fn number_rest(&mut self) {
        if self.shards.iter().any(|shard| !shard.next.is_empty()) {
            self.number((self.cost.0, self.cost.1 + 1));
        }
        self.shards.iter_mut().for_each(Shard::close);
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
