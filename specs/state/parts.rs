//! What a world is made of, and what it asks of that: a machine and two players.
//!
//! The rules of a world are written once, over [`MachineOps`] and [`Player`]. A world as it is
//! holds a [`Machine`] and [`Participation`]s; a search holds [numbers](crate::state::interned) of
//! such and remembers what each of them once did. Both go by the same rules.

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

/// How the parts of a state are stored.
pub trait Store {
    /// A call.
    type Call: Borrow<Call>;
    /// An answer.
    type Answer: Borrow<CallResult>;
    /// The machine.
    type Machine: MachineOps<Call = Self::Call, Answer = Self::Answer>;
    /// The player of the old process's role.
    type Old: Player<Role = Outgoing, Call = Self::Call, Answer = Self::Answer>;
    /// The player of the new process's role.
    type New: Player<Role = Incoming, Call = Self::Call, Answer = Self::Answer>;
}

/// Parts are stored as the values that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whole {}

impl Store for Whole {
    type Call = Call;
    type Answer = CallResult;
    type Machine = Machine;
    type Old = Participation<Outgoing, OutgoingOutcome>;
    type New = Participation<Incoming, IncomingOutcome>;
}

/// The machine of a world.
pub trait MachineOps: Clone {
    /// A call, as it holds one.
    type Call: Borrow<Call>;
    /// An answer, as it holds one.
    type Answer: Borrow<CallResult>;

    /// [`Machine::call`].
    fn call(&mut self, side: Side, call: &Self::Call) -> Self::Answer;
    /// An answer that the machine has not given.
    fn intern_result(&self, answer: CallResult) -> Self::Answer;
    /// [`Machine::would_block`].
    fn would_block(&self, side: Side, call: &Self::Call) -> bool;
    /// Whether a process lives.
    fn alive(&self, side: Side) -> bool;
    /// Whether the guest runs there.
    fn guest_runs(&self, side: Side) -> bool;
    /// Whether a guest could take a device's interrupt.
    fn can_deliver(&self, constants: &Constants, side: Side, device: u8) -> bool;
    /// Whether a process runs the old program.
    fn runs_old_image(&self, side: Side) -> bool;
    /// [`Machine::unread`].
    fn unread_interrupts(&self) -> u64;
    /// [`Machine::view`].
    fn view(&self) -> View;
    /// What can be seen, as far as it matters.
    fn observe(&self, constants: &Constants) -> Observation;
    /// Kills a process.
    fn kill(&mut self, side: Side);
    /// A device writes to memory and raises an interrupt.
    fn raise(&mut self, constants: &Constants, device: u8);
    /// The guest takes a device's interrupt.
    fn deliver(&mut self, constants: &Constants, side: Side, device: u8);
    /// The guest works on.
    fn guest_work(&mut self, side: Side);
    /// The old VMM arms the interrupt of the last device.
    fn arm(&mut self, constants: &Constants);
    /// The descriptor and the file of the eventfd that this gave.
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

/// What a process does about the handoff.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Participation<R, O> {
    /// Not yet anything (by exec, the new program before it runs).
    Absent,
    /// It acts.
    Acting(R),
    /// It has ended so.
    Ended(O),
    /// It was killed.
    Killed,
}

/// A part of a world that plays a role.
pub trait Player {
    /// The role.
    type Role: Role;
    /// A call, as it holds one.
    type Call;
    /// An answer, as it holds one.
    type Answer;

    /// Whether it does not do anything yet, or has become another part.
    fn is_absent(&self) -> bool;
    /// Whether it acts.
    fn is_acting(&self) -> bool;
    /// How it ended, where it has.
    fn ended(&self) -> Option<<Self::Role as Role>::End>;
    /// Its phase, while it acts.
    fn phase(&self) -> Option<<Self::Role as Role>::Phase>;
    /// How the role that acts says to have ended.
    fn end(&self) -> Option<<Self::Role as Role>::End>;
    /// Why the role that acts goes back.
    fn cause(&self) -> Option<Cause>;
    /// The call that it wants to make next.
    fn next(&self) -> Option<Self::Call>;
    /// At most so much is left of it, while it acts.
    fn left(&self) -> Option<ProgressMeasure>;
    /// Whether it acts and has no call to make any more.
    fn is_done(&self) -> bool;
    /// Takes the answer to that call. Numbers do not remember what went wrong.
    fn took(&mut self, answer: &Self::Answer) -> Option<StepError>;
    /// Whether it could be called off now.
    fn can_cancel(&self) -> bool;
    /// Calls it off.
    fn cancel(&mut self) -> Option<StepError>;
    /// Whether its virtual machine may change now.
    fn can_change(&self) -> bool;
    /// Learns that it has; → whether its state was cut before.
    fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool;
    /// Becomes another part.
    fn set(&mut self, part: Participation<Self::Role, <Self::Role as Role>::End>);
}

impl<R: Role> Participation<R, R::End> {
    /// The role, while it acts.
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
