//! Compares the speed of a check with that of stateright (`cargo bench --bench check`).
//!
//! Explores the states of two handoffs with our search on one and two threads and with stateright,
//! each three times in turn. Each figure is the median.

#![expect(clippy::print_stdout, reason = "a table for people")]
#![expect(clippy::cast_precision_loss, reason = "counts of states are far below 2^52")]

#[path = "../specs/checker/benches/tools.rs"]
mod tools;

use handoff_checker::search::explore;
use handoff_specs::check::packed::PackedSystem;
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::library::text_of;
use handoff_specs::state::system::System;
use mimalloc::MiMalloc;
use std::time::Instant;
use tools::{Figures, Tool, by_stateright, figures, limits, table};

/// The same allocator as the command's. All searches in this process use it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    handoff("a handoff of two devices", "");
    handoff(
        "a handoff of two devices, with two calls that fail and twice the interrupts and the \
         guest's work",
        "[may]\nfail_calls = 2\ninterrupts = 2\nguest_steps = 2\n",
    );
}

/// Explores the built-in scenario `transfer` with the additional budget `may`.
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

fn of_handoff(system: &System, threads: usize) -> Figures {
    let packed = PackedSystem::new(system);
    let started = Instant::now();
    let found = explore(&packed, &packed, limits(threads));
    figures(&found, started.elapsed().as_secs_f64())
}
