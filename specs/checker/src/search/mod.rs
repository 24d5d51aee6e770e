//! Exhaustive breadth-first search over any [`stateright::Model`], on all cores.
//!
//! Guarantees that stateright 0.31's own checkers do not give:
//! * the first run to each violation is a cheapest one: with the fewest faults, and among those
//!   with the fewest steps. Without faults that is a shortest run;
//! * results are the same for any number of threads;
//! * states are stored exactly ([`explore`]), or as 64 bits ([`explore_hashed`], hash compaction)
//!   with an estimate of the collision probability;
//! * a state beyond the model's boundary is checked before it is dropped;
//! * a panic of the model is a finding with the run that leads to it;
//! * an incomplete search names its reason; without one it was exhaustive;
//! * a search that a limit interrupted can resume later, with the same result
//!   ([`explore_in_runs`]).
//!
//! States are explored generation by generation; a generation has one [cost](Observer::faults). It
//! is expanded block by block: the threads take pieces of a block and sort the successors by shard;
//! then they take shards, and insert the successors of each in the order of the pieces. Successors
//! by a fault are deferred until all states with fewer faults are known. So no lock is needed, and
//! no result depends on the scheduling of threads.

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

/// A panic of the model or of the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The state in which it happened.
    pub state: StateIndex,
    /// The index of the action that panicked; `None` if it happened before any action.
    pub action: Option<u16>,
    /// The panic's message.
    pub message: String,
}

/// Explores all reachable states and stores each of them.
pub fn explore<M>(model: &M, observer: &impl Observer<M>, limits: Limits) -> Exploration<M::State>
where
    M: Model + Sync,
    M::State: Clone + Eq + Hash + Send + Sync,
{
    run(model, observer, limits)
}

/// Explores all reachable states and stores 64 bits of each: see
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

/// Explores as [`explore`] does, in as many runs as it takes: from the initial states, or from the
/// checkpoint of an earlier run with the same model, observer and depth limit. The last run returns
/// what a single run would have.
///
/// The checkpoint returned is `Some` if a limit of states, time or memory interrupted the search;
/// the next run can resume from it. A run expands at least one block, even without time left;
/// limits of states and of memory include the states of earlier runs.
///
/// # Errors
/// If the checkpoint does not belong to this search.
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
        Some(checkpoint) => frontier = search.restore(model, checkpoint)?,
        None => search.begin(model.init_states()),
    }
    search.expand_all(model, observer, frontier);
    let checkpoint = search.cut.is_some_and(StopReason::can_resume).then(|| search.checkpoint());
    Ok((search.finish(), checkpoint))
}

/// Number of states that are expanded before their successors are inserted.
const BLOCK: usize = 1 << 17;

fn run<M, K>(model: &M, observer: &impl Observer<M>, limits: Limits) -> Exploration<M::State, K>
where
    M: Model + Sync,
    M::State: Send + Sync,
    K: Key<M::State>,
{
    let mut search = Search::new(observer.property_count(), limits);
    search.begin(model.init_states());
    search.expand_all(model, observer, Vec::new());
    search.finish()
}

/// A search in progress.
struct Search<S, K> {
    shards: Vec<Shard<S, K>>,
    numbers: Numbers,
    order: Order,
    /// Cost of the states that are being expanded.
    cost: Cost,
    /// Number of states of the generation that have been expanded.
    expanded: usize,
    limits: Limits,
    started: Instant,
    has_expanded: bool,
    cut: Option<StopReason>,
    counts: Counts,
    depth: u32,
    bytes: u64,
    bad: Vec<Option<Place>>,
    panic: Option<(Place, Option<u16>, String)>,
}

impl<S: Send + Sync, K: Key<S>> Search<S, K> {
    fn new(properties: usize, limits: Limits) -> Self {
        assert!(properties <= PROPERTIES_MAX, "{properties} properties, at most {PROPERTIES_MAX}");
        Self {
            shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
            numbers: Numbers::default(),
            order: Order::default(),
            cost: (0, 0),
            expanded: 0,
            limits,
            started: Instant::now(),
            has_expanded: false,
            cut: None,
            counts: Counts::new(properties),
            depth: 0,
            bytes: 0,
            bad: vec![None; properties],
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

    /// Expands these states, from the first one not yet expanded, and all that follow, until a
    /// limit is reached.
    fn expand_all<M>(&mut self, model: &M, observer: &impl Observer<M>, frontier: Vec<Place>)
    where
        M: Model<State = S> + Sync,
    {
        let mut next = Some(frontier);
        while let Some(frontier) = next {
            for block in frontier[self.expanded..].chunks(BLOCK) {
                self.cut = self.cut.or_else(|| self.reached_limit());
                if self.cut.is_some() {
                    return;
                }
                let found = self.expand(model, observer, block);
                self.measure_memory(&frontier, &found);
                self.take_in(found);
                self.expanded += block.len();
                self.has_expanded = true;
            }
            next = self.settle();
        }
    }

    /// Returns the states of the next cost, ready to be expanded; `None` if none are left.
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

    /// Numbers the states that were found last, which have this cost, and returns them to be
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

    /// Updates the peak memory.
    fn measure_memory(&mut self, frontier: &Vec<Place>, found: &[Found<S>]) {
        let known: usize = self.shards.iter().map(Shard::bytes).sum();
        let found: usize = found.iter().map(Found::bytes).sum();
        let bytes = known + found + self.order.bytes() + frontier.capacity() * size_of::<Place>();
        self.bytes = self.bytes.max(bytes as u64);
    }

    fn reached_limit(&self) -> Option<StopReason> {
        let Limits { states_max, time_max, memory_max_bytes, .. } = self.limits;
        let states: usize = self.shards.iter().map(|shard| shard.keys.len()).sum();
        let is_full = |shard: &Shard<S, K>| shard.keys.len() > SHARD_MAX / 2;
        if states > states_max as usize || self.shards.iter().any(is_full) {
            return Some(StopReason::States(states_max));
        }
        let is_over_time = |most: &Duration| self.has_expanded && self.started.elapsed() > *most;
        let time = time_max.filter(is_over_time).map(StopReason::Time);
        let is_over_memory = |most: &u64| resident_bytes().is_some_and(|now| now > *most);
        time.or_else(|| memory_max_bytes.filter(is_over_memory).map(StopReason::Memory))
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

    /// Numbers the states that an interruption left unexpanded.
    fn number_rest(&mut self) {
        if self.shards.iter().any(|shard| !shard.next.is_empty()) {
            self.number((self.cost.0, self.cost.1 + 1));
        }
        self.shards.iter_mut().for_each(Shard::close);
    }
}
