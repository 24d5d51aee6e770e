//! The reference: the simulated kernel as a proptest state machine.

use super::state::State;
use super::{After, Step};
use super::{generate, prologue};
use handoff_model::abi::call::{Call, ProcessCall, Reply};
use handoff_model::abi::ids::Pid;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use proptest_state_machine::ReferenceStateMachine;

/// The kernel of the profile with this number (the order of `profiles`).
#[derive(Debug)]
pub(super) struct Reference<const PROFILE: usize>;

/// Returns the state after the prologue of a case.
fn begin<const PROFILE: usize>(steps: Vec<Step>) -> State {
    let start = State::nothing(super::profile::<PROFILE>());
    let state = steps.iter().fold(start, Reference::<PROFILE>::apply);
    State { prologue: steps, ..state }
}

impl<const PROFILE: usize> ReferenceStateMachine for Reference<PROFILE> {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        prologue::steps().prop_map(begin::<PROFILE>).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Step> {
        generate::step(state)
    }

    /// Accepts steps of living processes, and a bounded number of processes.
    fn preconditions(state: &State, step: &Step) -> bool {
        const PROCESSES_MAX: usize = 4;
        let alive = |pid: &Pid| state.processes.contains(pid) && state.machine.alive(*pid);
        match step {
            Step::Call(pid, call) => alive(pid) && state.can_compare(*pid, call),
            Step::Kill(pid) | Step::Exec(pid) => alive(pid),
            Step::Fork(pid) => alive(pid) && state.alive().len() < PROCESSES_MAX,
            Step::Spawn(_) => state.alive().len() < PROCESSES_MAX,
            Step::Pair(a, b) => alive(a) && alive(b),
        }
    }

    fn apply(mut state: State, step: &Step) -> State {
        state.refusal = None;
        let answer = match step {
            Step::Call(pid, call) => Some(state.call(*pid, call)),
            Step::Spawn(spec) => {
                let pid = state.machine.spawn(*spec);
                state.processes.push(pid);
                None
            }
            Step::Fork(pid) => {
                let child = state.machine.fork(*pid);
                state.processes.push(child);
                let theirs = state.mappings.iter().filter(|(of, ..)| of == pid);
                let inherited: Vec<_> =
                    theirs.map(|(_, va, length)| (child, *va, *length)).collect();
                state.mappings.extend(inherited);
                None
            }
            Step::Kill(pid) => {
                state.machine.kill(*pid);
                None
            }
            Step::Exec(pid) => {
                let image = state.machine.image(*pid, 0);
                let done = state.machine.call(*pid, &Call::Process(ProcessCall::Exec { image }));
                assert_eq!(done, Ok(Reply::Done), "an image can be executed");
                state.mappings.retain(|(of, ..)| of != pid);
                None
            }
            Step::Pair(a, b) => {
                state.machine.socketpair(*a, *b);
                None
            }
        };
        state.after = Some(After { answer, seen: state.seen() });
        state
    }
}
