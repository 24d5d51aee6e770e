//! Exhaustive search over any [`stateright::Model`]: breadth first, on all cores.
//!
//! What it promises, and stateright 0.31's own checkers do not:
//! * the first run of each violation is a cheapest one: with the fewest faults, and among those
//!   with the fewest steps. Without faults that is a shortest run;
//! * results are the same for any number of threads;
//! * states are known exactly ([`explore`]), or by 64 bits ([`explore_hashed`]) with an estimate of
//!   what that may hide;
//! * a state beyond the model's boundary is judged before it is left;
//! * a panic of the model is a finding with the run that leads to it;
//! * what cut the search short is said, and without a cut it was complete;
//! * what a limit cut short can go on later, to the same end ([`explore_in_runs`]).
//!
//! States are settled generation by generation, each of one [cost](Observer::faults). A generation
//! is expanded block by block: the threads take pieces of a block and sort what they find by
//! shards; then they take shards, each of which takes in what was found for it, in the order of the
//! pieces. Successors by a fault wait until everything with fewer faults is settled. So nothing is
//! locked, and nothing depends on who was first.
//!
//! This module knows nothing of what is modelled.

mod checkpoint;
mod deferred;
mod expand;
mod exploration;
mod found;
mod frontier;
mod limits;
mod observer;
mod place;
mod shard;

pub use checkpoint::{Checkpoint, Unusable};
pub use exploration::{Exploration, StateIndex};
pub use limits::{Limits, StopReason};
pub use observer::{Labels, Observer, PROPERTIES_MAX};
pub use shard::{Exact, Fingerprint, Key};

use deferred::Deferred;
use exploration::Numbers;
use found::{Counts, Found};
use frontier::Order;
use limits::resident_bytes;
use place::{Candidate, Cost, Place, SHARDS, shard_of};
use shard::{SHARD_MAX, Shard};
use stateright::Model;
use std::hash::Hash;
use std::time::{Duration, Instant};

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

/// Explores everything that can be reached. Each state is kept.
pub fn explore<M>(model: &M, observer: &impl Observer<M>, limits: Limits) -> Exploration<M::State>
where
    M: Model + Sync,
    M::State: Clone + Eq + Hash + Send + Sync,
{
    run(model, observer, limits)
}

/// Explores everything that can be reached. Of each state 64 bits are kept: see
/// [`Exploration::collision_estimate`].
pub fn explore_hashed<M>(
    model: &M,
    observer: &impl Observer<M>,
    limits: Limits,
) -> Exploration<M::State, Fingerprint>
where
    M: Model + Sync,
    M::State: Hash + Send + Sync,
{
    run(model, observer, limits)
}

/// Explores as [`explore`] does, in as many runs as it takes: from the beginning, or from where an
/// earlier run of the same model, judge and limit of steps was cut short. What the last run returns
/// is what one run would have.
///
/// With the exploration a checkpoint is returned where a limit of states, time or memory has cut it
/// short: the next run can go on from there. A run expands some states at least whatever the time;
/// limits of states and of memory count what earlier runs have found, too.
///
/// # Errors
/// The checkpoint is not one of such a search.
pub fn explore_in_runs<M>(
    model: &M,
    observer: &impl Observer<M>,
    limits: Limits,
    from: Option<Checkpoint>,
) -> Result<(Exploration<M::State>, Option<Checkpoint>), Unusable>
where
    M: Model + Sync,
    M::State: Clone + Eq + Hash + Send + Sync,
{
    let mut search = Search::new(observer.property_count(), limits);
    let mut frontier = Vec::new();
    match from {
        Some(checkpoint) => frontier = search.remake(model, checkpoint)?,
        None => search.begin(model.init_states()),
    }
    search.go_on(model, observer, frontier);
    let checkpoint = search.cut.is_some_and(StopReason::can_resume).then(|| search.checkpoint());
    Ok((search.finish(), checkpoint))
}

/// So many states are expanded before what they led to is taken in.
const BLOCK: usize = 1 << 17;

fn run<M, K>(model: &M, observer: &impl Observer<M>, limits: Limits) -> Exploration<M::State, K>
where
    M: Model + Sync,
    M::State: Send + Sync,
    K: Key<M::State>,
{
    let mut search = Search::new(observer.property_count(), limits);
    search.begin(model.init_states());
    search.go_on(model, observer, Vec::new());
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
    cut: Option<StopReason>,
    counts: Counts,
    depth: u32,
    bytes: u64,
    bad: Vec<Option<Place>>,
    panic: Option<(Place, Option<u16>, String)>,
}

impl<S: Send + Sync, K: Key<S>> Search<S, K> {
    fn new(questions: usize, limits: Limits) -> Self {
        assert!(questions <= PROPERTIES_MAX, "{questions} questions");
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

    /// Expands these states, from the first that was not, and whatever they lead to, until a limit
    /// is reached.
    fn go_on<M>(&mut self, model: &M, observer: &impl Observer<M>, frontier: Vec<Place>)
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
                let found = self.expand(model, observer, block);
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
        let deferred = self.shards.iter().filter_map(|shard| shard.deferred.lowest()).min();
        let next = (self.cost.0, self.cost.1 + u32::from(!self.numbers.is_empty()));
        let cost = if has_next { next } else { deferred? };
        for shard in &mut self.shards {
            shard.settle(cost);
        }
        Some(self.open(cost))
    }

    /// Numbers the states that were found last, which have this cost, and takes them to be
    /// expanded.
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

    fn over(&self) -> Option<StopReason> {
        let Limits { states_max, time_max, memory_max_bytes, .. } = self.limits;
        let states: usize = self.shards.iter().map(|shard| shard.keys.len()).sum();
        let is_full = |shard: &Shard<S, K>| shard.keys.len() > SHARD_MAX / 2;
        if states > states_max as usize || self.shards.iter().any(is_full) {
            return Some(StopReason::States(states_max));
        }
        let is_late = |most: &Duration| self.has_gone_on && self.started.elapsed() > *most;
        let time = time_max.filter(is_late).map(StopReason::Time);
        let is_too_much = |most: &u64| resident_bytes().is_some_and(|now| now > *most);
        time.or_else(|| memory_max_bytes.filter(is_too_much).map(StopReason::Memory))
    }

    fn finish(mut self) -> Exploration<S, K> {
        self.number_rest();
        for shard in &mut self.shards {
            shard.deferred = Deferred::default();
        }
        let (numbers, counts) = (self.numbers, self.counts);
        let too_deep = self.limits.depth_max.filter(|_| counts.too_deep).map(StopReason::Depth);
        let beyond = (counts.beyond > 0).then_some(StopReason::Boundary(counts.beyond));
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
