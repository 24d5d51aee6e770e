//! The parts of a state and their operations: a machine and two participants.
//!
//! The transition rules are written once, over [`MachineOps`] and [`Player`]. A plain state holds a
//! [`Machine`] and [`Participation`]s; a search holds their [numbers](crate::state::interned) and
//! caches the results of operations. Both follow the same rules.

use crate::state::action::OLD_IMAGE;
use crate::state::action::Side;
use crate::state::constants::Constants;
use crate::state::observation::Observation;
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::ids::Fd;
use handoff_model::abi::view::{FileRef, View};
use handoff_model::protocol::measure::ProgressMeasure;
use handoff_model::role::incoming::{Incoming, IncomingOutcome};
use handoff_model::role::outgoing::{Outgoing, OutgoingOutcome};
use handoff_model::role::{Cause, Role, StepError};
use handoff_model::vm::{Descriptors, Vm};
use handoff_sim_kernel::Machine;
use std::borrow::Borrow;
use std::fmt::Debug;

/// The representation of a state's parts.
pub trait Store {
    /// A call.
    type Call: Borrow<Call>;
    /// The result of a call.
    type Answer: Borrow<CallResult>;
    /// The machine.
    type Machine: MachineOps<Call = Self::Call, Answer = Self::Answer>;
    /// The participant in the old process's role.
    type Old: Player<Role = Outgoing, Call = Self::Call, Answer = Self::Answer>;
    /// The participant in the new process's role.
    type New: Player<Role = Incoming, Call = Self::Call, Answer = Self::Answer>;
}

/// Parts are stored by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whole {}

impl Store for Whole {
    type Call = Call;
    type Answer = CallResult;
    type Machine = Machine;
    type Old = Participation<Outgoing, OutgoingOutcome>;
    type New = Participation<Incoming, IncomingOutcome>;
}

/// Operations on the machine of a state.
pub trait MachineOps: Clone {
    /// The representation of a call.
    type Call: Borrow<Call>;
    /// The representation of a call's result.
    type Answer: Borrow<CallResult>;

    /// [`Machine::call`].
    fn call(&mut self, side: Side, call: &Self::Call) -> Self::Answer;
    /// Returns the representation of a result that the machine did not produce.
    fn intern_result(&self, answer: CallResult) -> Self::Answer;
    /// [`Machine::would_block`].
    fn would_block(&self, side: Side, call: &Self::Call) -> bool;
    /// Returns true if a process is alive.
    fn alive(&self, side: Side) -> bool;
    /// Returns true if a process runs the guest.
    fn guest_runs(&self, side: Side) -> bool;
    /// Returns true if a guest can take a device's interrupt.
    fn can_deliver(&self, constants: &Constants, side: Side, device: u8) -> bool;
    /// Returns true if a process runs the old program.
    fn runs_old_image(&self, side: Side) -> bool;
    /// [`Machine::unread`].
    fn unread_interrupts(&self) -> u64;
    /// [`Machine::view`].
    fn view(&self) -> View;
    /// Returns the variables of the abstract spec.
    fn observe(&self, constants: &Constants) -> Observation;
    /// Kills a process.
    fn kill(&mut self, side: Side);
    /// A device writes to memory and raises an interrupt.
    fn raise(&mut self, constants: &Constants, device: u8);
    /// The guest takes a device's interrupt.
    fn deliver(&mut self, constants: &Constants, side: Side, device: u8);
    /// The guest takes a step.
    fn guest_work(&mut self, side: Side);
    /// The old VMM arms the interrupt of the last device.
    fn arm(&mut self, constants: &Constants);
    /// Returns the descriptor and the file of the eventfd that [`Self::arm`] created.
    fn armed(&self, constants: &Constants) -> Option<(Fd, FileRef)>;
}

impl MachineOps for Machine {
    type Call = Call;
    type Answer = CallResult;

    fn call(&mut self, side: Side, call: &Call) -> CallResult {
        self.call(side.pid(), call)
    }

    fn intern_result(&self, answer: CallResult) -> CallResult {
        answer
    }

    fn would_block(&self, side: Side, call: &Call) -> bool {
        self.would_block(side.pid(), call)
    }

    fn alive(&self, side: Side) -> bool {
        self.alive(side.pid())
    }

    fn guest_runs(&self, side: Side) -> bool {
        self.guest_runs(side.pid())
    }

    fn can_deliver(&self, constants: &Constants, side: Side, device: u8) -> bool {
        self.can_deliver(side.pid(), &constants.devices[usize::from(device)], 0)
    }

    fn runs_old_image(&self, side: Side) -> bool {
        self.running_image(side.pid()) == Some(OLD_IMAGE)
    }

    fn unread_interrupts(&self) -> u64 {
        self.unread()
    }

    fn view(&self) -> View {
        self.view()
    }

    fn observe(&self, constants: &Constants) -> Observation {
        Observation::of(&self.view(), constants)
    }

    fn kill(&mut self, side: Side) {
        self.kill(side.pid());
    }

    fn raise(&mut self, constants: &Constants, device: u8) {
        self.raise(&constants.devices[usize::from(device)], 0);
    }

    fn deliver(&mut self, constants: &Constants, side: Side, device: u8) {
        self.deliver(side.pid(), &constants.devices[usize::from(device)], 0);
    }

    fn guest_work(&mut self, side: Side) {
        self.guest_work(side.pid());
    }

    fn arm(&mut self, constants: &Constants) {
        constants.arm(self);
    }

    fn armed(&self, constants: &Constants) -> Option<(Fd, FileRef)> {
        let view = self.view();
        let device = view.devices.get(constants.devices.last()?)?;
        let trigger = device.interrupts.first()?.trigger?;
        let table = &view.processes.get(&Side::Old.pid())?.descriptors;
        let (fd, _) = table.iter().find(|(_, open)| open.file == trigger)?;
        Some((*fd, trigger))
    }
}

/// A process's part in the handoff.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Participation<R, O> {
    /// The process has not begun (in exec mode, the new program before it runs).
    Absent,
    /// The process acts in its role.
    Acting(R),
    /// The process has ended with this outcome.
    Ended(O),
    /// The process was killed.
    Killed,
}

/// Operations on a participant in a role.
pub trait Player {
    /// The role.
    type Role: Role;
    /// The representation of a call.
    type Call;
    /// The representation of a call's result.
    type Answer;

    /// Returns true if it has not begun, or has become another program.
    fn is_absent(&self) -> bool;
    /// Returns true if it acts.
    fn is_acting(&self) -> bool;
    /// Returns its outcome, if it has ended.
    fn ended(&self) -> Option<<Self::Role as Role>::End>;
    /// Returns its phase, while it acts.
    fn phase(&self) -> Option<<Self::Role as Role>::Phase>;
    /// Returns the outcome that the acting role reports.
    fn end(&self) -> Option<<Self::Role as Role>::End>;
    /// Returns why the acting role rolls back.
    fn cause(&self) -> Option<Cause>;
    /// Returns its next call.
    fn next(&self) -> Option<Self::Call>;
    /// Returns an upper bound on its remaining work, while it acts.
    fn left(&self) -> Option<ProgressMeasure>;
    /// Returns true if it acts and has no further call.
    fn is_done(&self) -> bool;
    /// Completes that call with its result. Interned participants do not return the error.
    fn took(&mut self, answer: &Self::Answer) -> Option<StepError>;
    /// Returns true if it can be cancelled now.
    fn can_cancel(&self) -> bool;
    /// Cancels it.
    fn cancel(&mut self) -> Option<StepError>;
    /// Returns true if its virtual machine may change now.
    fn can_change(&self) -> bool;
    /// Informs it of a changed VM. Returns true if it had already saved the VM's state.
    fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool;
    /// Replaces it.
    fn set(&mut self, part: Participation<Self::Role, <Self::Role as Role>::End>);
}

impl<R: Role> Participation<R, R::End> {
    /// Returns the role, while it acts.
    pub(crate) fn acting(&self) -> Option<&R> {
        match self {
            Self::Acting(role) => Some(role),
            _ => None,
        }
    }
}

impl<R: Role> Player for Participation<R, R::End> {
    type Role = R;
    type Call = Call;
    type Answer = CallResult;

    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn is_acting(&self) -> bool {
        self.acting().is_some()
    }

    fn ended(&self) -> Option<R::End> {
        match self {
            Self::Ended(end) => Some(*end),
            _ => None,
        }
    }

    fn phase(&self) -> Option<R::Phase> {
        self.acting().map(Role::phase)
    }

    fn end(&self) -> Option<R::End> {
        self.acting().and_then(Role::end)
    }

    fn cause(&self) -> Option<Cause> {
        self.acting().and_then(Role::cause)
    }

    fn next(&self) -> Option<Call> {
        self.acting().and_then(Role::next_call)
    }

    fn left(&self) -> Option<ProgressMeasure> {
        self.acting().map(Role::remaining)
    }

    fn is_done(&self) -> bool {
        self.acting().is_some_and(|role| role.next_call().is_none())
    }

    fn took(&mut self, answer: &CallResult) -> Option<StepError> {
        match self {
            Self::Acting(role) => role.complete(answer.clone()),
            _ => None,
        }
    }

    fn can_cancel(&self) -> bool {
        self.acting().is_some_and(Role::can_cancel)
    }

    fn cancel(&mut self) -> Option<StepError> {
        match self {
            Self::Acting(role) => role.cancel(),
            _ => None,
        }
    }

    fn can_change(&self) -> bool {
        self.acting().is_some_and(Role::can_change)
    }

    fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool {
        match self {
            Self::Acting(role) => role.change(vm, descriptors),
            _ => false,
        }
    }

    fn set(&mut self, part: Self) {
        *self = part;
    }
}
