//! Exhaustive search over any [`stateright::Model`]: breadth first, level by level, on all cores.
//!
//! What it promises, and stateright 0.31's own checkers do not: the first violation of each property
//! is a shortest one, whatever the number of threads and properties; results are the same for any
//! number of threads; what cut the search short is said, and without a cut the search was complete.
//!
//! A level's states are expanded in parallel; their successors are then merged in order by one
//! thread, which numbers new states. A state is known by a 64-bit hash;
//! [`Exploration::collision_estimate`] says how likely it is that two states were taken for one.
//! Every edge is kept, so that what cannot be seen in single states (cycles, dead ends) can be judged
//! afterwards ([`crate::graph`]).
//!
//! This module knows nothing of what is modelled.

use rustc_hash::FxHashMap;
use stateright::Model;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// When to stop although there is more.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most states.
    pub states_max: u32,
    /// The longest time.
    pub time_max: Option<Duration>,
    /// How many threads work.
    pub threads: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { states_max: 50_000_000, time_max: None, threads }
    }
}

/// What cut a search short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// [`Limits::states_max`].
    States(u32),
    /// [`Limits::time_max`].
    Time(Duration),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(most) => write!(f, "the limit of {most} states"),
            Self::Time(most) => write!(f, "the time limit of {} s", most.as_secs()),
        }
    }
}

/// What a judge says of a state, for each of its questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Idle,
    /// Good.
    Good,
    /// Bad.
    Bad,
}

/// The number of a state, in the order of discovery; the initial states come first.
pub type StateIndex = u32;

/// A finished search.
#[derive(Debug)]
pub struct Exploration {
    /// For each state where it was first reached from, and by which of that state's actions.
    parents: Vec<(StateIndex, u16)>,
    /// Where each state's successors begin in `targets`; one more at the end.
    offsets: Vec<u64>,
    targets: Vec<StateIndex>,
    /// How many states are initial.
    initial: u32,
    /// The greatest number of steps by which a state is first reached.
    pub depth: u32,
    /// For each question the first state of which a judge said bad.
    pub bad: Vec<Option<StateIndex>>,
    /// For each question in how many states a judge said good.
    pub good: Vec<u64>,
    /// What cut the search short; `None`: it is complete.
    pub cut: Option<Cut>,
}

/// A successor that is not known to be old.
struct Found<S> {
    fingerprint: u64,
    action: u16,
    /// `None` where it was already known when it was found.
    state: Option<S>,
}

/// Explores everything that can be reached. `judge` is asked about each state once.
pub fn explore<M>(
    model: &M,
    questions: usize,
    judge: impl Fn(&M::State) -> Vec<Said> + Sync,
    limits: Limits,
) -> Exploration
where
    M: Model + Sync,
    M::State: Hash + Send + Sync,
{
    let mut search = Search::new(questions);
    let mut frontier = search.begin(model);
    let started = Instant::now();
    while !frontier.is_empty() {
        let said = in_parallel(limits.threads, &frontier, |_, state| judge(state));
        search.note(frontier.len(), &said);
        search.result.cut = search.over(limits, started);
        if search.result.cut.is_some() {
            break;
        }
        let known = &search.known;
        let found = in_parallel(limits.threads, &frontier, |_, state| expand(model, state, known));
        frontier = search.merge(frontier.len(), found);
    }
    search.finish()
}

/// What a state is known by: the same in every run.
fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn expand<M: Model>(
    model: &M,
    state: &M::State,
    known: &FxHashMap<u64, StateIndex>,
) -> Vec<Found<M::State>>
where
    M::State: Hash,
{
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    let successors = (0u16..).zip(actions).filter_map(|(action, what)| {
        let next = model.next_state(state, what)?;
        let fingerprint = fingerprint(&next);
        let state = (!known.contains_key(&fingerprint)).then_some(next);
        Some(Found { fingerprint, action, state })
    });
    successors.collect()
}

/// Maps in order, on several threads.
fn in_parallel<T: Sync, R: Send>(
    threads: NonZeroUsize,
    items: &[T],
    work: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(threads.get()).max(1);
    let one = |chunk: usize, items: &[T]| {
        let numbered = items.iter().enumerate().map(|(at, item)| work(chunk * share + at, item));
        numbered.collect::<Vec<_>>()
    };
    if items.len() < 64 {
        return one(0, items);
    }
    std::thread::scope(|scope| {
        let one = &one;
        let chunks = items.chunks(share).enumerate();
        let running: Vec<_> =
            chunks.map(|(at, chunk)| scope.spawn(move || one(at, chunk))).collect();
        let joined = running.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    })
}

/// A search under way.
struct Search {
    known: FxHashMap<u64, StateIndex>,
    /// The first state of the present level.
    level: StateIndex,
    result: Exploration,
}

impl Search {
    fn new(questions: usize) -> Self {
        let result = Exploration {
            parents: Vec::new(),
            offsets: vec![0],
            targets: Vec::new(),
            initial: 0,
            depth: 0,
            bad: vec![None; questions],
            good: vec![0; questions],
            cut: None,
        };
        Self { known: FxHashMap::default(), level: 0, result }
    }

    fn begin<M: Model>(&mut self, model: &M) -> Vec<M::State>
    where
        M::State: Hash,
    {
        let mut frontier = Vec::new();
        for state in model.init_states() {
            if let Some(state) = self.number(fingerprint(&state), (0, 0), Some(state)).1 {
                frontier.push(state);
            }
        }
        self.result.initial = self.count();
        frontier
    }

    fn count(&self) -> StateIndex {
        StateIndex::try_from(self.result.parents.len()).expect("the limit on states is lower")
    }

    /// The number of a state, and the state itself where it is new.
    fn number<S>(
        &mut self,
        fingerprint: u64,
        parent: (StateIndex, u16),
        state: Option<S>,
    ) -> (StateIndex, Option<S>) {
        let next = self.count();
        match self.known.entry(fingerprint) {
            std::collections::hash_map::Entry::Occupied(entry) => (*entry.get(), None),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(next);
                self.result.parents.push(parent);
                (next, state)
            }
        }
    }

    fn note(&mut self, states: usize, said: &[Vec<Said>]) {
        for (state, answers) in (self.level..).zip(said) {
            for (question, answer) in answers.iter().enumerate() {
                match answer {
                    Said::Idle => {}
                    Said::Good => self.result.good[question] += 1,
                    Said::Bad => {
                        self.result.bad[question].get_or_insert(state);
                    }
                }
            }
        }
        debug_assert_eq!(states, said.len(), "every state of the level is judged");
    }

    fn over(&self, limits: Limits, started: Instant) -> Option<Cut> {
        if self.count() > limits.states_max {
            return Some(Cut::States(limits.states_max));
        }
        limits.time_max.filter(|most| started.elapsed() > *most).map(Cut::Time)
    }

    /// Numbers what a level found, in its order, and records every edge.
    fn merge<S>(&mut self, states: usize, found: Vec<Vec<Found<S>>>) -> Vec<S> {
        let mut frontier = Vec::new();
        let next_level = self.count();
        for (parent, successors) in (self.level..).zip(found) {
            for Found { fingerprint, action, state } in successors {
                let (target, new) = self.number(fingerprint, (parent, action), state);
                self.result.targets.push(target);
                frontier.extend(new);
            }
            self.result.offsets.push(self.result.targets.len() as u64);
        }
        debug_assert_eq!(self.level as usize + states, next_level as usize);
        self.level = next_level;
        self.result.depth += u32::from(!frontier.is_empty());
        frontier
    }

    fn finish(mut self) -> Exploration {
        // States that a cut left unexpanded have no edges that are known.
        let edges = self.result.targets.len() as u64;
        self.result.offsets.resize(self.result.parents.len() + 1, edges);
        self.result
    }
}

impl Exploration {
    /// How many states there are.
    pub fn states(&self) -> u32 {
        StateIndex::try_from(self.parents.len()).expect("states are numbered by u32")
    }

    /// How many transitions there are.
    pub fn transitions(&self) -> u64 {
        self.targets.len() as u64
    }

    /// The states that a state leads to.
    pub fn successors(&self, state: StateIndex) -> &[StateIndex] {
        let at = |place: usize| usize::try_from(self.offsets[place]).expect("edges fit in memory");
        &self.targets[at(state as usize)..at(state as usize + 1)]
    }

    /// How likely it is that two different states were taken for one: n² / 2⁶⁵.
    pub fn collision_estimate(&self) -> f64 {
        let n = f64::from(self.states());
        n * n / 2f64.powi(65)
    }

    /// A shortest run to a state: the first state of it, and the place of each action among those
    /// of its state.
    pub fn run_to(&self, state: StateIndex) -> (StateIndex, Vec<u16>) {
        let (mut at, mut actions) = (state, Vec::new());
        while at >= self.initial {
            let (parent, action) = self.parents[at as usize];
            actions.push(action);
            at = parent;
        }
        actions.reverse();
        (at, actions)
    }
}
