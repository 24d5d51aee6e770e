//! The transition system that is checked: a simulated kernel, the roles of both VMMs, and an
//! environment that injects faults.
//!
//! A [`State`] is plain, canonical and complete. An [`Action`] is a transition: a role makes its
//! next call, that call fails, a process is killed, the handoff is cancelled, a device writes to
//! memory and raises an interrupt, or the guest takes an interrupt, takes a step, or has another
//! interrupt armed. The state contains the remaining budget of the environment, so every run is
//! finite unless the roles themselves cycle.
//!
//! DMA is not an action. Every state's view contains the memory that each device can reach, so
//! properties cover it in every state.
//!
//! | module | contents |
//! |---|---|
//! | [`action`] | the transitions, and the two processes |
//! | [`constants`] | the values that all states of a scenario share |
//! | [`setup`] | the initial state of a scenario |
//! | `transition` | the transition relation |
//! | `queries` | the facts that properties and verdicts need |
//! | [`parts`], [`interned`] | the parts of a state: stored by value, or by number in a search |
//! | [`observation`] | the variables of the abstract spec, read from a machine |
//! | [`system`] | the scenario as a [`stateright::Model`] |

pub mod action;
pub mod constants;
pub(crate) mod faults;
pub mod interned;
pub mod observation;
pub mod parts;
mod queries;
pub mod setup;
pub mod system;
mod transition;

use crate::scenario::Scenario;
use crate::state::action::{Action, Side};
use crate::state::constants::Constants;
use crate::state::faults::RemainingFaults;
use crate::state::parts::{Participation, Store, Whole};
use handoff_model::abi::call::{Call, CallResult, CompletedCall};
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::Mode;
use handoff_model::role::incoming::{Incoming, IncomingOutcome};
use handoff_model::role::outgoing::Outgoing;
use handoff_model::role::{Role, StepError};
use handoff_model::vm::{Descriptors, Vm};
use handoff_sim_kernel::Machine;

/// A state. Its transition rules are the same whether its parts are stored by value or by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<S: Store = Whole> {
    pub(crate) machine: S::Machine,
    pub(crate) outgoing: S::Old,
    pub(crate) incoming: S::New,
    pub(crate) aux: Aux,
}

/// The part of a state that is neither the machine nor a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aux {
    mode: Mode,
    budget: RemainingFaults,
    /// The new process has a SIGKILL pending: it may make a few more calls before it dies.
    dying: bool,
    pub(crate) history: History,
}

/// History variables that properties need. Each is a bit or a count that only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct History {
    /// The old process has permitted the new one to mutate kernel objects.
    pub commit_allowed: bool,
    /// The new process has passed the point of no return.
    pub committed: bool,
    /// The new process mutated kernel objects before it was permitted to.
    pub changed_early: bool,
    /// The handoff has stopped the guest.
    pub was_stopped: bool,
    /// Number of steps that the guest has taken.
    pub progress: u64,
    /// The old program runs again after an execve.
    pub fell_back: bool,
    /// A call was failed, a process was killed, the handoff was cancelled, or the virtual machine
    /// changed after its state was saved.
    pub faulted: bool,
    /// True if the environment has killed the old process, and the new one.
    pub killed: [bool; 2],
    /// The eventfd of the interrupt that was armed while the guest ran.
    pub armed: Option<FileRef>,
}

/// The effects of an action, for a counterexample.
#[derive(Clone, Debug)]
pub struct StepEffect {
    /// The role's phase, its call and the result, if the action is a step.
    pub call: Option<(String, Call, CallResult)>,
    /// The role's error, if the step caused one.
    pub error: Option<StepError>,
    /// Calls that the old VMM makes outside the handoff.
    pub besides: Vec<CompletedCall>,
}

/// The call of an action, its result, and the role's error.
struct CallDone<S: Store> {
    call: Option<(S::Call, S::Answer)>,
    error: Option<StepError>,
}

impl State {
    /// Creates the initial state.
    pub(crate) fn new(
        scenario: &Scenario,
        machine: Machine,
        outgoing: Outgoing,
        incoming: Participation<Incoming, IncomingOutcome>,
    ) -> Self {
        let rest = Aux {
            mode: scenario.mode,
            budget: RemainingFaults::of(scenario),
            dying: false,
            history: History::default(),
        };
        Self { machine, outgoing: Participation::Acting(outgoing), incoming, aux: rest }
    }

    /// Executes an action in place, and returns its effects.
    pub fn act(&mut self, constants: &Constants, action: &Action) -> StepEffect {
        let phase = match action {
            Action::Step(side) | Action::Fail(side, _) => self.phase_name(*side),
            _ => None,
        };
        let arms = *action == Action::Arm;
        let besides = if arms { constants.arm(&mut self.machine.clone()) } else { Vec::new() };
        let CallDone { call, error } = self.go(constants, action);
        let call = phase.zip(call).map(|(phase, (call, answer))| (phase, call, answer));
        StepEffect { call, error, besides }
    }

    fn phase_name(&self, side: Side) -> Option<String> {
        let of_old = self.outgoing.acting().filter(|_| side == Side::Old).map(Role::phase_name);
        of_old.or_else(|| self.incoming.acting().map(Role::phase_name))
    }

    /// Returns the machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the inventory that the new process, or program, has read, while it acts.
    pub fn adopted(&self) -> Option<(Vm, Descriptors)> {
        self.incoming.acting().and_then(Incoming::inventory)
    }

    /// Returns everything that is observable from outside.
    pub fn view(&self) -> View {
        self.machine.view()
    }
}
