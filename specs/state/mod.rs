//! The world that is checked: a machine, both roles, and an environment that may do its worst.
//!
//! A [`State`] is one state: plain, canonical, and complete. An [`Action`] is one thing that can
//! happen next: a role makes its next call, or that call fails, or a process is killed, or somebody
//! calls it off, or a device writes to memory and raises an interrupt, or the guest takes one,
//! works on, or has another one armed. How often the environment may act is a budget in the state,
//! so that every run is finite unless the roles themselves go round in circles.
//!
//! What a device's DMA reaches is not an action but part of every state's view: whatever it could
//! touch at this moment is judged at this moment.

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

/// One state. Whether its parts are there as they are or by numbers is all the same to its rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<S: Store = Whole> {
    pub(crate) machine: S::Machine,
    pub(crate) outgoing: S::Old,
    pub(crate) incoming: S::New,
    pub(crate) aux: Aux,
}

/// What of a world is neither the machine nor a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aux {
    mode: Mode,
    budget: RemainingFaults,
    /// The new process has a SIGKILL pending: it may go on a little, and will die.
    dying: bool,
    pub(crate) history: History,
}

/// What a property must know of the past. Each is a bit or a count that a state cannot forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by itself")]
pub struct History {
    /// The old process has allowed the new one to change things.
    pub commit_allowed: bool,
    /// The new process has passed the point of no return.
    pub committed: bool,
    /// The new process changed something before it was allowed to.
    pub changed_early: bool,
    /// The guest was stopped by the handoff.
    pub was_stopped: bool,
    /// How far the guest has come.
    pub progress: u64,
    /// The program that runs after an execve is the old one again.
    pub fell_back: bool,
    /// A call was failed, a process killed, or it was called off; or the virtual machine changed
    /// after its state was cut.
    pub faulted: bool,
    /// The environment has killed the old process, the new one.
    pub killed: [bool; 2],
    /// The eventfd of the interrupt that was armed while the guest ran.
    pub armed: Option<FileRef>,
}

/// What an action did, for a story.
#[derive(Clone, Debug)]
pub struct StepEffect {
    /// Of a step: the role's phase and call, and the answer.
    pub call: Option<(String, Call, CallResult)>,
    /// What it led to.
    pub error: Option<StepError>,
    /// Calls that the old VMM makes besides the handoff.
    pub besides: Vec<CompletedCall>,
}

/// The call that an action made, the answer, and what that led to.
struct CallDone<S: Store> {
    call: Option<(S::Call, S::Answer)>,
    error: Option<StepError>,
}

impl State {
    /// The first state.
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

    /// Does an action, and tells it. The state is the next one afterwards.
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

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the new process, or program, goes on with, while it acts and as soon as it has read it.
    pub fn adopted(&self) -> Option<(Vm, Descriptors)> {
        self.incoming.acting().and_then(Incoming::inventory)
    }

    /// What can be seen of it.
    pub fn view(&self) -> View {
        self.machine.view()
    }
}
