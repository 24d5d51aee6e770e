//! Tests of checkpoints: a search resumed over many runs has the result of an uninterrupted one,
//! and files that do not fit are refused.

use handoff_checker::search::{
    Exploration, Limits, StateIndex, StopReason, explore, explore_in_runs,
};
use handoff_specs::check::checkpoint::{CheckedInput, read, write};
use handoff_specs::check::packed::PackedSystem;
use handoff_specs::scenario::library::built_in;
use handoff_specs::state::system::System;
use std::num::NonZeroUsize;
use std::time::Duration;

fn limits(threads: usize) -> Limits {
    Limits { threads: NonZeroUsize::new(threads).expect("not zero"), ..Limits::default() }
}

/// The results of a search, except its states.
type Told = (
    Vec<(Option<(StateIndex, u16)>, (u32, u32))>,
    (u64, u32, Option<StopReason>),
    [Vec<u64>; 2],
    Vec<Option<StateIndex>>,
    String,
);

fn told<S>(found: &Exploration<S>) -> Told {
    let states = (0..found.states()).map(|at| (found.parent(at), found.cost_of(at))).collect();
    let counts = [found.good.clone(), found.taken.clone()];
    let sums = (found.transitions, found.depth, found.cut);
    (states, sums, counts, found.bad.clone(), format!("{:?}", found.panic))
}

/// Each run numbers the interned parts of states differently.
#[test]
fn a_handoff_is_the_same_in_many_runs() {
    for name in ["small-memlock", "two-faults-exec"] {
        let system = System::new(&built_in(name).expect("built in")).expect("set up");
        let packed = PackedSystem::new(&system);
        let whole = explore(&packed, &packed, limits(2));
        for threads in [1, 2] {
            let limits = Limits { time_max: Some(Duration::ZERO), ..limits(threads) };
            let (mut again, mut from, mut expanded) = (PackedSystem::new(&system), None, 0);
            let found = loop {
                let (found, left) = explore_in_runs(&again, &again, limits, from).expect("on");
                let Some(left) = left else { break found };
                assert!(left.expanded() > expanded, "each run makes progress");
                expanded = left.expanded();
                (again, from) = (PackedSystem::new(&system), Some(left));
            };
            assert!(told(&whole) == told(&found), "{name}");
            for at in 0..whole.states() {
                let one = packed.unpack(whole.state(at));
                assert!(one == again.unpack(found.state(at)), "{name}: {at}");
            }
        }
    }
}

#[test]
fn a_damaged_or_foreign_file_is_refused() {
    type Change = fn(&mut Vec<u8>);
    let of = CheckedInput { name: "square", scenario: "side = 20\nedge = 99" };
    let few = Limits { states_max: 50, ..limits(1) };
    let system = System::new(&built_in("small-memlock").expect("built in")).expect("set up");
    let packed = PackedSystem::new(&system);
    let (_, left) = explore_in_runs(&packed, &packed, few, None).expect("begun");
    let (left, mut file) = (left.expect("it is cut short"), Vec::new());
    write(&left, of, &mut file).expect("it can be written");
    assert_eq!(read(&file, of).expect("it is whole"), left);
    let cases: [(Change, &str); 9] = [
        (Vec::clear, "it is not a checkpoint"),
        (|file| file.truncate(20), "it is not a checkpoint"),
        (|file| file[0] = b'x', "it is not a checkpoint"),
        (
            |file| replace(file, "checkpoint 1", "checkpoint 2"),
            "its format is 'handoff checkpoint 2', not",
        ),
        (|file| replace(file, "edge = 99", "edge = 98"), "it is damaged"),
        (|file| file.truncate(file.len() - 1), "it is damaged or truncated"),
        (|file| *file.last_mut().expect("not empty") ^= 1, "it is damaged"),
        (
            |file| resummed(file, "edge = 99", "edge = 98"),
            "it belongs to another scenario, 'square'",
        ),
        (|file| resummed(file, "\"build\":\"", "\"build\":\"f"), "another build"),
    ];
    for (change, words) in cases {
        let mut changed = file.clone();
        change(&mut changed);
        let wrong = read(&changed, of).expect_err(words).to_string();
        assert!(wrong.contains(words), "'{wrong}' does not contain '{words}'");
    }
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 4;
        assert!(read(&changed, of).is_err(), "byte {at} may be anything");
    }
}

fn replace(file: &mut Vec<u8>, what: &str, by: &str) {
    let is_there = |part: &[u8]| part == what.as_bytes();
    let at = file.windows(what.len()).position(is_there).expect("it is there");
    file.splice(at..at + what.len(), by.bytes());
}

/// Changes a file and recomputes its checksum.
fn resummed(file: &mut Vec<u8>, what: &str, by: &str) {
    file.truncate(file.len() - 4);
    replace(file, what, by);
    file.extend(crc32fast::hash(file).to_le_bytes());
}
