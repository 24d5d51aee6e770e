//! Known ways to get a handoff wrong, as edits of the protocol's table.
//!
//! Each names where it was seen and what it breaks. They prove that the properties can fail: the
//! checker must find every one of them.

mod qemu;
mod type1;

use crate::protocol::misreport::Slip;
use crate::protocol::phase::Place;
use crate::protocol::phase::{InPhase, OutPhase};
use crate::protocol::{Mode, Protocol, Rule, STUBBORN_TRIES};
use crate::variants::mutants::Omission;
use crate::vm::blocker::BlockerKind;

/// A bug of a protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    /// What scenarios call it.
    pub id: &'static str,
    /// What goes wrong, in a sentence.
    pub sentence: &'static str,
    /// Where it was seen, or what it is modelled on.
    pub source: &'static str,
    /// The variant that has it.
    pub variant: &'static str,
    /// The mode in which it shows.
    pub mode: Mode,
    /// The property that must catch it.
    pub breaks: &'static str,
    /// The rows that differ.
    pub edits: &'static [Edit],
}

/// A difference from the table of [`crate::protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A row of the old process.
    Out(Rule<OutPhase>),
    /// A row of the new process.
    In(Rule<InPhase>),
    /// A precondition that nobody judges.
    Waive(BlockerKind),
    /// Something that is not done.
    Omit(Omission),
    /// Something that the old process tells wrong.
    Slip(Slip),
}

impl Defect {
    /// A protocol with this bug in it.
    #[must_use]
    pub fn plant(&self, mut protocol: Protocol) -> Protocol {
        for edit in self.edits {
            match *edit {
                Edit::Out(rule) => replace(&mut protocol.outgoing, rule),
                Edit::In(rule) => replace(&mut protocol.incoming, rule),
                Edit::Waive(kind) => protocol.waived.push(kind),
                Edit::Omit(omission) => protocol = protocol.without(omission),
                Edit::Slip(slip) => protocol.slips.push(slip),
            }
        }
        protocol
    }
}

/// Puts a row in the place of the one for the same phase, or adds it. A row for a phase that the
/// mode does not have, and that leads to phases it does not have, is never reached.
fn replace<P: PartialEq>(rules: &mut Vec<Rule<P>>, rule: Rule<P>) {
    match rules.iter_mut().find(|other| other.phase == rule.phase) {
        Some(old) => *old = rule,
        None => rules.push(rule),
    }
}

/// All known bugs, of every variant.
pub fn all() -> impl Iterator<Item = &'static Defect> {
    DEFECTS.iter().chain(qemu::DEFECTS).chain(type1::DEFECTS)
}

/// By its name.
pub fn find(id: &str) -> Option<&'static Defect> {
    all().find(|defect| defect.id == id)
}

const fn out(phase: OutPhase, next: OutPhase, undo: OutPhase) -> Edit {
    Edit::Out(Rule { phase, next, undo: Some(undo), tries: 1 })
}

const fn out_firm(phase: OutPhase, next: OutPhase) -> Edit {
    Edit::Out(Rule { phase, next, undo: None, tries: STUBBORN_TRIES })
}

const fn inn(phase: InPhase, next: InPhase, undo: InPhase) -> Edit {
    Edit::In(Rule { phase, next, undo: Some(undo), tries: 1 })
}

const fn inn_firm(phase: InPhase, next: InPhase) -> Edit {
    Edit::In(Rule { phase, next, undo: None, tries: STUBBORN_TRIES })
}

use InPhase as I;
use OutPhase as O;

/// Those of the protocol that a VMM should use.
pub const DEFECTS: &[Defect] = &[
    Defect {
        id: "ownership-not-taken",
        sentence: "the new process runs the guest without taking the mappings over",
        source: "a new process that trusts the descriptors alone",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "OWN-1",
        edits: &[inn(I::AwaitCommit, I::Committed, I::Leave)],
    },
    Defect {
        id: "runs-unowned",
        sentence: "the new process lets the guest run, and takes the mappings over when it does",
        source: "QEMU 10.1: with its guest running, the old process does not own what the new one has probed",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "OWN-2",
        edits: &[
            inn(I::AwaitCommit, I::Committed, I::Leave),
            inn_firm(I::Run, I::TakeOver),
            inn_firm(I::TakeOver, I::Settle),
        ],
    },
    Defect {
        id: "resumed-before-unparked",
        sentence: "the guest runs again before KVM takes its interrupts again",
        source: "QEMU 10.1 and 10.2: FAILED is notified after vm_start",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "IRQ-2",
        edits: &[
            out(O::Park, O::Save, O::Resume),
            out(O::Save, O::Cut, O::Resume),
            out(O::Cut, O::Hand, O::Resume),
            out(O::Hand, O::AwaitPrepared, O::Resume),
            out(O::AwaitPrepared, O::Commit, O::Resume),
            out_firm(O::TakeBack, O::Resume),
            out_firm(O::Resume, O::Unpark),
            out_firm(O::Unpark, O::Part),
        ],
    },
    Defect {
        id: "no-take-back",
        sentence: "after a failure the old process resumes without taking the ownership back",
        source: "QEMU 10.1: no rollback path issues IOMMU_IOAS_CHANGE_PROCESS",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "BACK-1",
        edits: &[out_firm(O::AwaitGone, O::Resume)],
    },
    Defect {
        id: "taken-back-too-early",
        sentence: "the old process takes the ownership back while the new one may still take it",
        source: "a kill that is taken for a death",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "OWN-1",
        edits: &[out_firm(O::Dismiss, O::TakeBack)],
    },
    Defect {
        id: "mapped-twice",
        sentence: "the new process maps guest RAM again, as for a fresh guest",
        source: "a memory listener that is not held back while incoming",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "PIN-1",
        edits: &[
            inn(I::TakeOver, I::MapAgain, I::Refuse),
            inn(I::MapAgain, I::Committed, I::Refuse),
        ],
    },
    Defect {
        id: "charged-to-the-dead",
        sentence: "nobody looks at the accounting mode before an execve",
        source: "Linux 6.13 to 7.3: CHANGE_PROCESS with per-process accounting and a dead owner",
        variant: "safe",
        mode: Mode::Exec,
        breaks: "CHG-1",
        edits: &[Edit::Waive(BlockerKind::ChargedToProcess)],
    },
    Defect {
        id: "charged-to-nobody",
        sentence: "nobody looks at whether the mapper had CAP_IPC_LOCK",
        source: "Linux 6.13 to 7.3: CHANGE_PROCESS leaves VmPin of such pages where it was",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "PIN-2",
        edits: &[Edit::Waive(BlockerKind::ChargedToNobody)],
    },
    Defect {
        id: "kvm-left-open",
        sentence: "the new process keeps open what it needed only to make its virtual machine",
        source: "a descriptor whose owner is a local variable of C",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "NEXT-1",
        edits: &[Edit::Omit(Omission::Call(Place::New(I::MakeVm), "close"))],
    },
    Defect {
        id: "ram-initialised",
        sentence: "the new process initialises guest RAM that is preserved in place",
        source: "QEMU 10.0, fixed by b42f28111e, e56ba1878f and 8ffe0623a1",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "DMA-1",
        edits: &[inn(I::MapRam, I::WipeRam, I::Refuse), inn(I::WipeRam, I::MakeVm, I::Refuse)],
    },
    Defect {
        id: "remapped",
        sentence: "the new process unmaps guest RAM and maps it from its own memory",
        source: "live update without CHANGE_PROCESS",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "MAP-1",
        edits: &[inn(I::AwaitCommit, I::Remap, I::Leave), inn(I::Remap, I::Committed, I::Refuse)],
    },
    Defect {
        id: "unwound",
        sentence: "a failure of the new process is unwound by detaching devices and destroying objects",
        source: "QEMU 10.1: the error path of iommufd_cdev_attach",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "DEV-1",
        edits: &[inn_firm(I::Refuse, I::Unwind), inn_firm(I::Unwind, I::Leave)],
    },
    Defect {
        id: "reset-on-realize",
        sentence: "the new process resets the devices that it sets up",
        source: "QEMU 10.0: reset of an incoming vfio-pci device, before QEMU_PCI_SKIP_RESET_ON_CPR",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "DEV-1",
        edits: &[
            inn(I::Verify, I::ResetDevices, I::Refuse),
            inn(I::ResetDevices, I::MapRam, I::Refuse),
        ],
    },
    Defect {
        id: "resumed-unrevoked",
        sentence: "the old process gives up waiting and resumes while the new one may still commit",
        source: "a timeout without a way to revoke the commit",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "VM-1",
        edits: &[out(O::AwaitCommitted, O::Release, O::Resume)],
    },
    Defect {
        id: "cut-while-running",
        sentence: "the guest is saved before it is stopped",
        source: "QEMU 10.1: cpr_state_save precedes migration_stop_vm",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "VM-2",
        edits: &[
            out(O::AwaitReady, O::Save, O::Part),
            out(O::Save, O::Stop, O::Part),
            out(O::Stop, O::Cut, O::Resume),
        ],
    },
    Defect {
        id: "events-drained",
        sentence: "the new process reads the eventfds empty when it sets interrupts up",
        source: "QEMU 10.1 before 322ee16824: interrupts between the two processes are lost",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "IRQ-1",
        edits: &[
            inn(I::Load, I::DrainEvents, I::Refuse),
            inn(I::DrainEvents, I::Prepared, I::Refuse),
        ],
    },
    Defect {
        id: "not-fenced",
        sentence: "the old process keeps everything open after the guest has moved",
        source: "QEMU 10.1: the old process is not fenced after completion",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "FD-1",
        edits: &[out(O::AwaitCommitted, O::End, O::Revoke)],
    },
    Defect {
        id: "lingering",
        sentence: "a new process that has refused stays, with everything that it received",
        source: "QEMU 10.1: incoming defer, and a realize that fails",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "FD-1",
        edits: &[inn_firm(I::Refuse, I::End)],
    },
    Defect {
        id: "window-left-open",
        sentence: "the new program does not set CLOEXEC again",
        source: "descriptors that any later fork and exec inherits",
        variant: "safe",
        mode: Mode::Exec,
        breaks: "FD-2",
        edits: &[inn(I::ReadStream, I::Verify, I::Fallback)],
    },
    Defect {
        id: "probe-takes-ownership",
        sentence: "the new process calls CHANGE_PROCESS to learn whether the kernel has it",
        source: "QEMU 10.1: iommufd_change_process_capable in the realize of the new process",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "READ-1",
        edits: &[
            inn(I::Verify, I::ProbeForReal, I::Refuse),
            inn(I::ProbeForReal, I::MapRam, I::Refuse),
        ],
    },
    Defect {
        id: "stays-stopped",
        sentence: "a failure after the stop does not let the guest run again",
        source: "QEMU 10.1: a failing vm_stop leaves the guest paused",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "BACK-1",
        edits: &[out(O::Save, O::Cut, O::Part)],
    },
    Defect {
        id: "checked-late",
        sentence: "whether mappings can change their process is learned when they must",
        source: "QEMU 10.1: the only complete check of mappings is pre_save, after the stop",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "PRE-1",
        edits: &[Edit::Waive(BlockerKind::MappedByAddress)],
    },
    Defect {
        id: "limit-unjudged",
        sentence: "nobody asks whether RLIMIT_MEMLOCK allows the pinned pages twice",
        source: "QEMU 11.1: with 1.5 times the pinned pages the handoff passes every check and loses the VM",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "PRE-1",
        edits: &[Edit::Waive(BlockerKind::MemlockTooSmall)],
    },
    Defect {
        id: "taken-on-trust",
        sentence: "the new process believes the stream, and compares nothing with the kernel",
        source: "QEMU 10.2: of what the incoming side skips nothing is verified",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "TRUE-1",
        edits: &[inn(I::ReadStream, I::MapRam, I::Refuse)],
    },
    Defect {
        id: "refuses-silently",
        sentence: "a new process that finds something wrong ends without a word",
        source: "an exit(1) where a reply was due",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "WHY-1",
        edits: &[inn(I::Verify, I::MapRam, I::Leave)],
    },
    Defect {
        id: "ends-too-early",
        sentence: "the old process ends although the new one has not taken over",
        source: "QEMU 10.1 without a return path: the old process completes before anybody has answered",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "VM-3",
        edits: &[out(O::Hand, O::Release, O::Resume)],
    },
    Defect {
        id: "overcautious",
        sentence: "the new process refuses what it could take over",
        source: "QEMU 10.2.0, fixed by 0e387bd1df: a probe's answer read the wrong way round",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "DONE-1",
        edits: &[inn(I::Check, I::Refuse, I::Refuse)],
    },
    Defect {
        id: "waits-for-each-other",
        sentence: "a new process whose commit could not be told waits, and tells nobody",
        source: "two processes that each wait for the other's next word",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "END-1",
        edits: &[inn(I::Committed, I::Claim, I::AwaitCommit)],
    },
    Defect {
        id: "waits-for-the-dead",
        sentence: "the old process does not take the end of its peer for an answer",
        source: "QEMU 10.1: no deadline and no hang-up handler in a wait",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "END-1",
        edits: &[out(O::AwaitPrepared, O::Commit, O::AwaitPrepared)],
    },
    Defect {
        id: "begins-anew",
        sentence: "a new process that refuses, or is gone, is offered the handoff again, and nobody counts how often",
        source: "a retry without a limit",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "END-2",
        edits: &[out(O::AwaitReady, O::Stop, O::Offer)],
    },
    Defect {
        id: "not-told-to-leave",
        sentence: "the old process waits for the end of a new one that it has not told to leave",
        source: "a join without a stop before it",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "END-3",
        edits: &[out_firm(O::Drain, O::AwaitGone)],
    },
    Defect {
        id: "word-given-blind",
        sentence: "the old process allows the commit before the new one has everything in place",
        source: "one round trip less: a permission that is sent with what it needs",
        variant: "safe",
        mode: Mode::Transfer,
        breaks: "REF-1",
        edits: &[out(O::Hand, O::Commit, O::Resume), inn(I::Load, I::AwaitCommit, I::Refuse)],
    },
];

#[cfg(test)]
mod tests {
    use super::all;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let names: BTreeSet<_> = all().map(|defect| defect.id).collect();
        assert_eq!(names.len(), all().count());
        let kebab = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(|name| kebab(name)));
    }
}
