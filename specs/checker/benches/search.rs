//! Speed of the search, compared with other tools on the same state space: `cargo bench -p
//! handoff-checker`.
//!
//! Two-phase commit with 7 and 8 resource managers, in this search on one and two threads, in
//! stateright's, and in SPIN where `spin` and `gcc` are installed (`-O2 -DSAFETY -DNOREDUCE`, with
//! a hash table that is large enough from the beginning: `-w22`). The tools run in turn, three
//! times; figures are medians.

#![expect(clippy::print_stdout, reason = "a table for people")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of states are far below 2^52"
)]

mod tools;
#[path = "../tests/two_phase_commit.rs"]
mod two_phase_commit;

use handoff_checker::search::{Labels, explore};
use mimalloc::MiMalloc;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tools::{Figures, Tool, by_stateright, figures, limits, table};
use two_phase_commit::TwoPhaseCommit;

/// The allocator that the command uses. It serves all searches in this process; SPIN allocates
/// little.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    for managers in [7, 8] {
        let model = TwoPhaseCommit { managers };
        let mut tools: Vec<Tool<'_>> = vec![
            ("this search, 1 thread".to_owned(), Box::new(move || run_search(model, 1))),
            ("this search, 2 threads".to_owned(), Box::new(move || run_search(model, 2))),
            ("stateright, breadth first".to_owned(), Box::new(move || by_stateright(model))),
        ];
        match spin(managers) {
            Ok(tool) => tools.push(("SPIN".to_owned(), tool)),
            Err(missing) => println!("SPIN is left out: {missing}"),
        }
        table(&format!("two-phase commit, {managers} resource managers"), &tools);
    }
}

fn run_search(model: TwoPhaseCommit, threads: usize) -> Figures {
    let ask = (1, |state: &u64| Labels {
        witness: 1,
        violation: u64::from(!model.is_consistent(*state)),
    });
    let started = Instant::now();
    let found = explore(&model, &ask, limits(threads));
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(found.cut, None);
    figures(&found, seconds)
}

/// Compiles SPIN's verifier of the same space. 62+=/// /// # Errors /// If a tool is missing or
/// fails.
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
        let output = output.expect("pan was just compiled");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("errors: 0"), "{text}");
        let before = |words: &str| -> f64 {
            let line = text.lines().find(|line| line.contains(words)).expect("pan reports it");
            let number = line.split_whitespace().find_map(|word| word.parse().ok());
            number.expect("a number")
        };
        let (states, transitions) = (before("states, stored"), before("transitions (="));
        let bytes = before("total actual memory usage") * f64::from(1 << 20);
        Figures {
            states: states as u64,
            // pan counts the step to the first state as a transition.
            transitions: Some(transitions as u64 - 1),
            seconds: before("pan: elapsed time"),
            bytes_per_state: Some((bytes / states) as u64),
        }
    }))
}
