//! Generator of the next step, biased towards steps that interact.
//!
//! Descriptors are usually ones that the process has, of the kind that the call needs; objects
//! usually ones that earlier calls returned; addresses and lengths usually those of mapped areas,
//! at their ends, one page or half a page off. Sometimes all values are arbitrary, and sometimes a
//! structure has one mutated field.

mod arguments;
mod calls;
pub(super) mod mock;

use super::Step;
use super::mutate::{mutations, spoil};
use super::state::{State, spec};
use arguments::Caller;
use handoff_model::abi::call::{Call, ProcessCall};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};
use std::sync::Arc;

type Calls = BoxedStrategy<Call>;

/// Generates the next step.
pub(super) fn step(state: &State) -> BoxedStrategy<Step> {
    let alive = state.alive();
    if alive.is_empty() {
        return spec().prop_map(Step::Spawn).boxed();
    }
    if state.is_stuck {
        return select(alive)
            .prop_map(|pid| Step::Call(pid, Call::Process(ProcessCall::GetUid)))
            .boxed();
    }
    let view = state.machine.view();
    // Only the chosen generator is built: a case has hundreds of steps, each with dozens of
    // categories.
    let callers: Vec<_> =
        alive.iter().map(|pid| (*pid, Arc::new(Caller::new(state, &view, *pid)))).collect();
    let weighted = callers.into_iter().map(|(pid, by)| (by.weight(), Just((pid, by))));
    let sorts = SORTS.iter().map(|(weight, sort)| (*weight, Just(*sort)));
    let calls = (Union::new_weighted(weighted.collect()), Union::new_weighted(sorts.collect()))
        .prop_flat_map(|((pid, by), sort)| {
            let mutated = prop::option::weighted(0.07, (any::<prop::sample::Index>(), mutations()));
            (sort(&by), mutated).prop_map(move |(call, mutated)| {
                let worse = mutated.and_then(|(at, how)| spoil(&call, at, how));
                Step::Call(pid, worse.unwrap_or(call))
            })
        });
    let pid = select(alive.clone());
    one_of![
        240 => calls,
        2 => spec().prop_map(Step::Spawn),
        4 => pid.clone().prop_map(Step::Fork),
        2 => pid.clone().prop_map(Step::Kill),
        1 => pid.clone().prop_map(Step::Exec),
        4 => (pid.clone(), pid).prop_map(|(a, b)| Step::Pair(a, b)),
    ]
    .boxed()
}

/// A generator of the calls of one category that a process may make.
type Sort = fn(&Caller) -> Calls;

/// Categories of calls, with their weights.
const SORTS: &[(u32, Sort)] = &[
    (10, Caller::file_call),
    (8, Caller::memory_call),
    (44, Caller::ioas_call),
    (12, Caller::object_call),
    (14, Caller::device_call),
    (14, Caller::mock_call),
    (3, Caller::process_call),
];
