//! How fast the search is, beside other tools on the same space: `cargo bench --bench search`.
//!
//! Two-phase commit with 7 and 8 resource managers, in this search on one and two threads, in stateright's, and in SPIN
//! where `spin` and `gcc` are installed (`-O2 -DSAFETY -DNOREDUCE`, its table large enough from the beginning: `-w22`); then the worlds of two handoffs in this search and in
//! stateright's. Each is run three times in turn; a figure is the median. A tool that counts other states or transitions
//! ends the run: figures of different spaces are not compared.

#![expect(clippy::print_stdout, reason = "a table for people")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of states are far below 2^52"
)]

#[path = "../tests/two_phase_commit.rs"]
mod two_phase_commit;

use handoff_specs::built_in::text_of;
use handoff_specs::packed::PackedSystem;
use handoff_specs::scenario::Scenario;
use handoff_specs::search::{Limits, Said, explore};
use handoff_specs::system::System;
use mimalloc::MiMalloc;
use stateright::{Checker, Model};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use two_phase_commit::TwoPhaseCommit;

/// As the command has it. All the searches in this process allocate by it, SPIN does not allocate much.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often each tool runs.
const TIMES: usize = 3;

/// What a tool found, and how long it took.
#[derive(Clone, Copy)]
struct Figures {
    states: u64,
    /// Where the tool counts them.
    transitions: Option<u64>,
    seconds: f64,
    /// Where the tool tells.
    bytes_per_state: Option<u64>,
}

type Tool<'a> = (String, Box<dyn Fn() -> Figures + 'a>);

fn main() {
    for managers in [7, 8] {
        let model = TwoPhaseCommit { managers };
        let mut tools: Vec<Tool<'_>> = vec![
            ("this search, 1 thread".to_owned(), Box::new(move || of_commit(model, 1))),
            ("this search, 2 threads".to_owned(), Box::new(move || of_commit(model, 2))),
            ("stateright, breadth first".to_owned(), Box::new(move || by_stateright(model))),
        ];
        match spin(managers) {
            Ok(tool) => tools.push(("SPIN".to_owned(), tool)),
            Err(missing) => println!("SPIN is left out: {missing}"),
        }
        table(&format!("two-phase commit, {managers} resource managers"), &tools);
    }
    handoff("a handoff of two devices", "");
    handoff(
        "a handoff of two devices, with two calls that fail and twice the interrupts and the guest's work",
        "[may]\nfail_calls = 2\ninterrupts = 2\nguest_steps = 2\n",
    );
}

/// The built-in scenario `transfer`, and what else may happen in it.
fn handoff(name: &str, may: &str) {
    let text = text_of("transfer").expect("a built-in scenario");
    let scenario = Scenario::parse("transfer", &format!("{text}\n{may}")).expect("a scenario");
    let system = System::new(&scenario).expect("set up");
    let tools: Vec<Tool<'_>> = vec![
        ("this search, 1 thread".to_owned(), Box::new(|| of_handoff(&system, 1))),
        ("this search, 2 threads".to_owned(), Box::new(|| of_handoff(&system, 2))),
        ("stateright, breadth first".to_owned(), Box::new(|| by_stateright(system.clone()))),
    ];
    table(name, &tools);
}

/// Runs the tools in turn, and tells the medians.
fn table(name: &str, tools: &[Tool<'_>]) {
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
        let told = |figure: Option<u64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
        let last = rates.last().expect("a tool");
        println!(
            "{tool:28}{states:>12}{:>14}{rate:>12.0}{:>9.2}{:>9}",
            told(transitions),
            rate / last,
            told(bytes_per_state)
        );
    }
}

/// States a second, of the median run.
fn rate(runs: &[Figures]) -> f64 {
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    runs[0].states as f64 / seconds[seconds.len() / 2]
}

fn limits(threads: usize) -> Limits {
    Limits { threads: NonZeroUsize::new(threads).expect("not zero"), ..Limits::default() }
}

fn of_commit(model: TwoPhaseCommit, threads: usize) -> Figures {
    let ask = (1, |state: &u64| Said { good: 1, bad: u64::from(!model.is_consistent(*state)) });
    let started = Instant::now();
    let found = explore(&model, &ask, limits(threads));
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(found.cut, None);
    figures(&found, seconds)
}

fn of_handoff(system: &System, threads: usize) -> Figures {
    let packed = PackedSystem::new(system);
    let started = Instant::now();
    let found = explore(&packed, &packed, limits(threads));
    figures(&found, started.elapsed().as_secs_f64())
}

fn figures<S>(found: &handoff_specs::search::Exploration<S>, seconds: f64) -> Figures {
    let states = u64::from(found.states());
    let transitions = Some(found.transitions);
    Figures { states, transitions, seconds, bytes_per_state: Some(found.bytes / states) }
}

fn by_stateright<M>(model: M) -> Figures
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

/// SPIN's verifier of the same space, compiled; what is missing where it cannot be.
fn spin(managers: u32) -> Result<Box<dyn Fn() -> Figures>, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("spin-{managers}"));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/two_phase_commit.pml");
    let run = |command: &mut Command| match command.current_dir(&folder).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => Err(format!("{}: {error}", command.get_program().display())),
    };
    run(Command::new("spin").arg(format!("-DN={managers}")).arg("-a").arg(source))?;
    run(Command::new("gcc").args(["-O2", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"]))?;
    Ok(Box::new(move || {
        let output = Command::new("./pan").args(["-m10000", "-w22"]).current_dir(&folder).output();
        let output = output.expect("it was just made");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("errors: 0"), "{text}");
        let before = |words: &str| -> f64 {
            let line = text.lines().find(|line| line.contains(words)).expect("pan tells");
            let number = line.split_whitespace().find_map(|word| word.parse().ok());
            number.expect("a number")
        };
        let (states, transitions) = (before("states, stored"), before("transitions (="));
        let bytes = before("total actual memory usage") * f64::from(1 << 20);
        Figures {
            states: states as u64,
            // pan counts the way to the first state as one.
            transitions: Some(transitions as u64 - 1),
            seconds: before("pan: elapsed time"),
            bytes_per_state: Some((bytes / states) as u64),
        }
    }))
}
