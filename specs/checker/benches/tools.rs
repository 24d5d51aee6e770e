//! Compares several tools on one state space by their medians.
//!
//! A tool that counts other states or transitions fails the run: figures of different spaces are
//! not compared.

use handoff_checker::search::{Exploration, Limits};
use stateright::{Checker, Model};
use std::num::NonZeroUsize;
use std::time::Instant;

/// Number of runs of each tool.
const TIMES: usize = 3;

/// A tool's counts, and its time.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) states: u64,
    /// `None` if the tool does not count them.
    pub(crate) transitions: Option<u64>,
    pub(crate) seconds: f64,
    /// `None` if the tool does not report it.
    pub(crate) bytes_per_state: Option<u64>,
}

pub(crate) type Tool<'a> = (String, Box<dyn Fn() -> Figures + 'a>);

/// Runs the tools in turn, and prints the medians.
pub(crate) fn table(name: &str, tools: &[Tool<'_>]) {
    let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); tools.len()];
    for _ in 0..TIMES {
        for ((_, run), all) in tools.iter().zip(&mut runs) {
            all.push(run());
        }
    }
    println!("\n{name}");
    println!(
        "{:28}{:>12}{:>14}{:>12}{:>9}{:>9}",
        "", "states", "transitions", "states/s", "times", "B/state"
    );
    let rates: Vec<f64> = runs.iter().map(|all| rate(all)).collect();
    for (((tool, _), all), rate) in tools.iter().zip(&runs).zip(&rates) {
        let Figures { states, transitions, bytes_per_state, .. } = all[0];
        assert_eq!(states, runs[0][0].states, "{tool} counts other states");
        let expected = runs[0][0].transitions;
        assert!(
            transitions.is_none() || transitions == expected,
            "{tool} counts other transitions"
        );
        let cell = |figure: Option<u64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
        let last = rates.last().expect("a tool");
        println!(
            "{tool:28}{states:>12}{:>14}{rate:>12.0}{:>9.2}{:>9}",
            cell(transitions),
            rate / last,
            cell(bytes_per_state)
        );
    }
}

/// Returns the states per second of the median run.
fn rate(runs: &[Figures]) -> f64 {
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    runs[0].states as f64 / seconds[seconds.len() / 2]
}

pub(crate) fn limits(threads: usize) -> Limits {
    Limits { threads: NonZeroUsize::new(threads).expect("not zero"), ..Limits::default() }
}

pub(crate) fn figures<S>(found: &Exploration<S>, seconds: f64) -> Figures {
    let states = u64::from(found.states());
    let transitions = Some(found.transitions);
    Figures { states, transitions, seconds, bytes_per_state: Some(found.bytes / states) }
}

pub(crate) fn by_stateright<M>(model: M) -> Figures
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::hash::Hash + Send + Sync,
    M::Action: Clone + PartialEq,
{
    let started = Instant::now();
    let checker = model.checker().spawn_bfs().join();
    let seconds = started.elapsed().as_secs_f64();
    let states = checker.unique_state_count() as u64;
    Figures { states, transitions: None, seconds, bytes_per_state: None }
}
