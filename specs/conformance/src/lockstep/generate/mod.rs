//! What may happen next: steps that collide.
//!
//! Descriptors are mostly those that the process has, of the kind that a call wants; objects mostly
//! those that were told of; addresses and lengths mostly those of areas that are mapped, at their
//! ends, one page or half a page off. Sometimes everything is anything, and sometimes a structure
//! is sent with one field of it spoiled.

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

/// The next step.
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
    // What is not chosen is not made: a case has hundreds of steps, and each has dozens of sorts.
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

/// Calls of one sort that a process may make.
type Sort = fn(&Caller) -> Calls;

/// Sorts of calls, and how often they come.
const SORTS: &[(u32, Sort)] = &[
    (10, Caller::file_call),
    (8, Caller::memory_call),
    (44, Caller::ioas_call),
    (12, Caller::object_call),
    (14, Caller::device_call),
    (14, Caller::mock_call),
    (3, Caller::process_call),
];
