//! What must hold: the registry of properties.
//!
//! A property is an id, a sentence, the reason why anybody cares, and a predicate over a
//! [`PropertyInput`]: the view of this moment, the view before anything happened, and a few facts
//! about where the handoff is. It never looks at a kernel's inside, so it judges a simulated and a
//! real machine alike.
//!
//! A predicate answers [`Judgement::Vacuous`] where it has nothing to say (its antecedent does not
//! hold). One that is idle in every state of a check proves nothing and is reported as vacuous.

mod descriptors;
mod guest;
mod input;
mod memory;
mod ordering;
pub mod ranking;
mod restoration;
mod scope;

use handoff_model::abi::view::View;
pub use input::{Judgement, PropertyInput, Status};
use ranking::Rank;
pub use scope::{Scope, Setup};

/// A property: what must hold in every run of a scenario.
#[derive(Debug)]
pub struct Property {
    /// Its name everywhere.
    pub id: &'static str,
    /// What it says.
    pub sentence: &'static str,
    /// Why it matters.
    pub reason: &'static str,
    /// Where it can be asked at all.
    pub scope: Scope,
    /// How it is judged.
    pub kind: Kind,
    /// Whether a host shows at the end of a run all that it asks for, to the process that has the
    /// guest.
    pub on_host: bool,
}

/// How a property is judged. One evaluator (`check::evaluate`) knows what each kind takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A predicate that no reachable state may fail.
    Invariant(fn(&PropertyInput<'_>) -> Judgement),
    /// A relation that every transition must satisfy.
    Action(Relation),
    /// Every run ends, and whenever no process can step, none waits: there is neither a cycle nor a
    /// deadlock.
    Termination,
    /// From every reachable state some run without a further fault reaches a goal, as this
    /// predicate says (`AG EF` in CTL).
    Possibility(fn(&PropertyInput<'_>) -> bool),
    /// Every transition is one of the abstract spec or stutters, and where no role acts the
    /// abstract spec has ended, too.
    Refinement,
}

/// A relation between the two states of a transition.
#[derive(Clone, Copy, Debug)]
pub struct Relation {
    /// Whether a transition from this state is one that the relation is about; where none is, the
    /// property is vacuous.
    pub applies: fn(&PropertyInput<'_>) -> bool,
    /// Whether a transition satisfies it. Asked of every transition, so it should be cheap.
    pub holds: fn(&dyn Snapshot, &dyn Snapshot) -> bool,
    /// Describes the violation by a transition that does not.
    pub violation: fn(&dyn Snapshot, &dyn Snapshot) -> String,
}

/// What a [`Relation`] can ask of either state of a transition; each answer is computed when it is
/// asked for.
pub trait Snapshot {
    /// Returns how much can still happen.
    fn rank(&self) -> Rank;
    /// Returns where the handoff is.
    fn moment(&self) -> Status;
    /// Returns what can be seen.
    fn view(&self) -> View;
}

/// By its id.
pub fn find(id: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.id == id)
}

/// All of them.
pub const PROPERTIES: &[Property] = &[
    Property {
        id: "OWN-1",
        sentence: "whenever nothing is under way, every mapping is owned by the one living \
                   process that has the guest",
        reason: "a dead owner's pages cannot be charged, limited or handed on, and a later pin of \
                 them fails",
        scope: Scope::Always,
        kind: Kind::Invariant(memory::owned_by_keeper),
        on_host: false,
    },
    Property {
        id: "OWN-2",
        sentence: "while a guest runs, its process owns what its devices are mapped to",
        reason: "whoever else owns it can end, and then the guest runs on pages that nobody can \
                 charge, limit or take back",
        scope: Scope::Always,
        kind: Kind::Invariant(memory::owned_while_running),
        on_host: false,
    },
    Property {
        id: "PIN-1",
        sentence: "no page of guest memory is pinned more often than before",
        reason: "a second pin is never given back: memory leaks with every update",
        scope: Scope::Always,
        kind: Kind::Invariant(memory::pinned_once),
        on_host: false,
    },
    Property {
        id: "PIN-2",
        sentence: "whenever nothing is under way, VmPin of each living process is what its \
                   mappings have pinned",
        reason: "a counter that has drifted is wrong for ever, and goes below zero when the pages \
                 are unmapped",
        scope: Scope::Iommufd,
        kind: Kind::Invariant(memory::vm_pin_matches),
        on_host: false,
    },
    Property {
        id: "CHG-1",
        sentence: "whenever nothing is under way, each pinned page is charged exactly once, to an \
                   account of the process that has the guest, and the kernel's books say the same",
        reason: "a charge to nobody evades the limit, a double or stale one makes the next pin \
                 fail",
        scope: Scope::Charged,
        kind: Kind::Invariant(memory::charged_once),
        on_host: false,
    },
    Property {
        id: "DMA-1",
        sentence: "whatever a device can reach is pinned, and is the memory that the guest sees",
        reason: "DMA to a page that was given to somebody else corrupts it silently",
        scope: Scope::Always,
        kind: Kind::Invariant(memory::reaches_guest_memory),
        on_host: false,
    },
    Property {
        id: "VA-1",
        sentence: "while a guest runs, no mapping waits for an address",
        reason: "until it has one its memory can be neither pinned nor looked at, no device can \
                 be added, and a second update cannot begin",
        scope: Scope::Container,
        kind: Kind::Invariant(memory::addresses_known),
        on_host: false,
    },
    Property {
        id: "MAP-1",
        sentence: "the same device addresses lead to the same pages, before, during and after",
        reason: "the guest has programmed its devices with these addresses, and they are using \
                 them",
        scope: Scope::Always,
        kind: Kind::Invariant(memory::same_map),
        on_host: false,
    },
    Property {
        id: "DEV-1",
        sentence: "no device is reset, disabled, detached or closed",
        reason: "the guest's driver does not expect it: the device is dead to it afterwards",
        scope: Scope::Always,
        kind: Kind::Invariant(guest::devices_untouched),
        on_host: true,
    },
    Property {
        id: "VM-1",
        sentence: "at most one process runs the guest",
        reason: "two copies of one guest write to the same memory, disks and network",
        scope: Scope::Always,
        kind: Kind::Invariant(guest::one_guest),
        on_host: false,
    },
    Property {
        id: "VM-2",
        sentence: "a guest that runs has come as far as it had ever come",
        reason: "a guest that runs from an older state has forgotten what it told the world",
        scope: Scope::Always,
        kind: Kind::Invariant(guest::no_progress_lost),
        on_host: false,
    },
    Property {
        id: "VM-3",
        sentence: "whenever nothing is under way the guest runs, unless the process that had it \
                   was killed from outside",
        reason: "whatever fails in an update, some process must be left that runs the guest",
        scope: Scope::Always,
        kind: Kind::Invariant(guest::runs_in_the_end),
        on_host: false,
    },
    Property {
        id: "IRQ-1",
        sentence: "every interrupt was taken by a running guest, or waits in the eventfd that the \
                   guest's process holds, where KVM takes it from there but not for ever",
        reason: "a lost interrupt is a request that never completes",
        scope: Scope::Interrupts,
        kind: Kind::Invariant(guest::no_interrupt_lost),
        on_host: true,
    },
    Property {
        id: "IRQ-2",
        sentence: "once the handoff has stopped the guest, none runs again before KVM takes every \
                   interrupt for it",
        reason: "a guest that runs before its way back is complete waits for interrupts that \
                 nobody brings",
        scope: Scope::Kvm,
        kind: Kind::Invariant(guest::irqfds_before_running),
        on_host: false,
    },
    Property {
        id: "FD-1",
        sentence: "the process that has the guest holds every descriptor of it once, and whenever \
                   nothing is under way nobody else does, or lives on; of a lost guest nobody \
                   holds any",
        reason: "a lost descriptor resets a device, a leaked one keeps it, and its memory, for \
                 ever",
        scope: Scope::Always,
        kind: Kind::Invariant(descriptors::descriptors_kept),
        on_host: true,
    },
    Property {
        id: "FD-2",
        sentence: "descriptors can be inherited only between the old program's last act and the \
                   new one's first",
        reason: "any helper that is forked and executed meanwhile would inherit the devices",
        scope: Scope::Always,
        kind: Kind::Invariant(descriptors::window_closed),
        on_host: true,
    },
    Property {
        id: "READ-1",
        sentence: "the new process changes nothing before it is allowed to",
        reason: "until then the guest runs in the old process, or goes back to it",
        scope: Scope::Transfer,
        kind: Kind::Invariant(ordering::only_reads),
        on_host: false,
    },
    Property {
        id: "BACK-1",
        sentence: "after a handoff that did not happen the guest runs where it was, with \
                   everything it had",
        reason: "a failed update must cost nothing but time",
        scope: Scope::Always,
        kind: Kind::Invariant(ordering::back_again),
        on_host: false,
    },
    Property {
        id: "NEXT-1",
        sentence: "whenever nothing is under way and the guest lives, everything is as it was at \
                   the beginning, but for who has it",
        reason: "there the next update begins: what one leaves behind, a hundred leave behind a \
                 hundredfold",
        scope: Scope::Always,
        kind: Kind::Invariant(restoration::as_at_the_beginning),
        on_host: false,
    },
    Property {
        id: "PRE-1",
        sentence: "what cannot be handed over is refused before the guest stops",
        reason: "a precondition that is learned after the stop costs downtime, or the guest",
        scope: Scope::Refused,
        kind: Kind::Invariant(ordering::refused_before_stop),
        on_host: true,
    },
    Property {
        id: "TRUE-1",
        sentence: "what is not so is refused before anything is changed, and hands nothing over",
        reason: "an inventory that is wrong is found out when something is next mapped, \
                 interrupted or handed over, and then it is too late",
        scope: Scope::Misled,
        kind: Kind::Invariant(ordering::nothing_taken_on_trust),
        on_host: false,
    },
    Property {
        id: "WHY-1",
        sentence: "the old process is told why a handoff that nothing disturbs does not happen",
        reason: "who hears only that the other process is gone can mend nothing",
        scope: Scope::Denied,
        kind: Kind::Invariant(ordering::reason_given),
        on_host: false,
    },
    Property {
        id: "DONE-1",
        sentence: "a handoff that nothing disturbs happens",
        reason: "a protocol that refuses everything is safe, and useless",
        scope: Scope::Possible,
        kind: Kind::Invariant(ordering::happens_undisturbed),
        on_host: false,
    },
    Property {
        id: "END-1",
        sentence: "every run ends, with nobody waiting",
        reason: "a handoff that hangs leaves the guest stopped",
        scope: Scope::Always,
        kind: Kind::Termination,
        on_host: false,
    },
    Property {
        id: "END-2",
        sentence: "every step brings the handoff nearer to its end, by a measure of each state \
                   alone",
        reason: "it bounds every run from wherever it is, whatever the scheduler does and without \
                 a list of all states",
        scope: Scope::Always,
        kind: Kind::Action(ranking::EVERY_STEP_LOWERS_IT),
        on_host: false,
    },
    Property {
        id: "END-3",
        sentence: "from every state some way without a further fault leads to an end in which the \
                   guest runs, unless its process was killed from outside",
        reason: "a handoff that only another failure can free is a trap",
        scope: Scope::Always,
        kind: Kind::Possibility(guest::has_ended_well),
        on_host: false,
    },
    Property {
        id: "REF-1",
        sentence: "each step changes nothing that matters, or does one step of the handoff in \
                   essence, and where nothing is under way no such step is left",
        reason: "what is proved of that by a few dozen states, by two checkers, is then true of \
                 the protocol on its kernel",
        scope: Scope::PassedThrough,
        kind: Kind::Refinement,
        on_host: false,
    },
];

impl Property {
    /// Returns its predicate, if it is judged by one.
    pub fn predicate(&self) -> Option<fn(&PropertyInput<'_>) -> Judgement> {
        match self.kind {
            Kind::Invariant(predicate) => Some(predicate),
            Kind::Action(_) | Kind::Termination | Kind::Possibility(_) | Kind::Refinement => None,
        }
    }

    /// Returns true if an infinite run violates it.
    pub(crate) fn is_liveness(&self) -> bool {
        matches!(self.kind, Kind::Termination | Kind::Possibility(_))
    }
}
