//! Corruptions: one wrong fact that a scenario injects into what a process reads.
//!
//! Many validations only matter for inputs that no other check rejects. So each corruption changes
//! one fact and, if possible, is one that only one check rejects: a changed frame gets a matching
//! checksum, and with a shorter descriptor list the inventory needs fewer descriptors.
//!
//! A scenario selects one (`wrong = "…"`). The expected outcome ([`Expected`]) follows from its
//! site: the protocol must refuse a corrupt inventory of the old process before the guest stops,
//! and corrupt input of the new process before anything is changed. For a call that always fails,
//! it depends on the call.
//!
//! Only the new process, or the new program, reads a corrupt stream. If the old program is executed
//! again, it reads the stream that it wrote.

mod catalog;

use crate::scenario::expectation::Expected;
use handoff_model::abi::call::{Call, CallResult, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_model::protocol::phase::OutPhase;
use handoff_model::protocol::phase::RolePhase;
use handoff_model::protocol::{Mode, Protocol, confirms};
use handoff_model::stream::{Message, Offer, State};
use handoff_model::variants::Variant;
use handoff_model::vm::{Descriptors, Key, Kind, Vm};

/// One wrong fact in what a process reads.
#[derive(Clone, Copy, Debug)]
pub struct Corruption {
    /// The name in scenarios.
    pub id: &'static str,
    /// The wrong field or answer, as a clause.
    pub sentence: &'static str,
    /// The outcome that the protocol must reach.
    pub expected: Expected,
    site: Site,
}

impl PartialEq for Corruption {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Corruption {}

/// The place at which a corruption is injected.
#[derive(Clone, Copy, Debug)]
enum Site {
    /// The memfds, before the handoff: an earlier handoff that failed has left data there.
    Leftover,
    /// The named call of a phase, which always fails without effect.
    Refused(RolePhase, &'static str, Errno),
    /// The named call of a phase, which takes effect but reports an error.
    Denied(RolePhase, &'static str, Errno),
    /// The inventory of the old process, from the start.
    Inventory(fn(&mut Vm, &mut Descriptors)),
    /// The number of bytes that a write of the stream returns.
    Written(fn(&mut u64)),
    /// The offer.
    Offer(fn(&mut Offer)),
    /// A message with descriptors.
    Descriptors(fn(&mut Packet)),
    /// The frame of the stream.
    Frame(fn(&mut Vec<u8>)),
    /// The state that the stream carries.
    State(fn(&mut State)),
}

/// A message with descriptors as it arrives.
struct Packet {
    first: u32,
    total: u32,
    fds: Vec<Fd>,
    truncated: bool,
}

/// Corruptions that only apply to iommufds: object ids, CHANGE_PROCESS, mappings of BARs.
const OF_IOMMUFD: &[&str] = &[
    "limit-lost",
    "bar-mapped",
    "iommufd-other",
    "space-absent",
    "device-unbound",
    "hwpt-absent",
    "hwpt-plain",
];

/// Returns the corruption with this name.
pub fn find(id: &str) -> Option<&'static Corruption> {
    CORRUPTIONS.iter().find(|corruption| corruption.id == id)
}

impl Corruption {
    /// Returns true if the corruption can occur in a mode: by `execve` no descriptors arrive, and
    /// only by `execve` do their numbers matter.
    pub fn is_for(&self, mode: Mode) -> bool {
        match (self.site, self.id) {
            (Site::Descriptors(_) | Site::Offer(_), _) | (_, "list-short") => {
                mode == Mode::Transfer
            }
            (_, "number-closed") => mode == Mode::Exec,
            (Site::Refused(place, ..) | Site::Denied(place, ..), _) => {
                let Protocol { outgoing, incoming, .. } = Protocol::safe(mode);
                match place {
                    RolePhase::Old(phase) => outgoing.iter().any(|rule| rule.phase == phase),
                    RolePhase::New(phase) => incoming.iter().any(|rule| rule.phase == phase),
                }
            }
            _ => true,
        }
    }

    /// Returns the outcome that a variant must reach. With an early snapshot, the new process
    /// reads the stream before the guest stops and must refuse it by then.
    pub fn expected_of(&self, variant: &Variant) -> Expected {
        let protocol = Protocol::of(variant);
        let is_late = match self.site {
            Site::Refused(place, ..) | Site::Denied(place, ..) => !protocol.is_before_stop(place),
            _ => false,
        };
        let offers = protocol.outgoing.iter().any(|rule| rule.phase == OutPhase::Offer);
        match self.expected {
            _ if matches!(self.site, Site::Offer(_)) && !offers => Expected::HandedOver,
            Expected::RefusedBeforeChange if confirms(&protocol.outgoing) && !is_late => {
                Expected::RefusedBeforeStop
            }
            expected => expected,
        }
    }

    /// Returns true if the corruption only applies to iommufds, not to containers.
    pub fn is_of_iommufd(&self) -> bool {
        OF_IOMMUFD.contains(&self.id)
    }

    /// Writes more bytes into the memfds than any stream of a small VM has.
    pub(crate) fn leave(&self, kernel: &mut impl Kernel, descriptors: &Descriptors) {
        let Site::Leftover = self.site else { return };
        for kind in [Kind::Stream, Kind::Guest] {
            let Some(fd) = descriptors.get(&Key::new(kind, "", 0)) else { continue };
            let answer = kernel.call(&FileCall::write_at(fd, 0, vec![b'x'; 1 << 14]));
            assert!(answer.is_ok(), "a memfd takes more than a page");
        }
    }

    /// Corrupts the inventory of the old process.
    pub(crate) fn corrupt_inventory(&self, vm: &mut Vm, descriptors: &mut Descriptors) {
        if let Site::Inventory(change) = self.site {
            change(vm, descriptors);
        }
    }

    /// Returns the errno with which a call of a phase always fails, if it does.
    pub(crate) fn refuses(&self, place: RolePhase, call: &Call) -> Option<Errno> {
        match self.site {
            Site::Refused(at, name, errno) if (at, name) == (place, call.name()) => Some(errno),
            _ => None,
        }
    }

    /// Returns the corrupt answer of a call; `None` if the answer is not corrupted.
    pub(crate) fn corrupt(
        &self,
        place: RolePhase,
        call: &Call,
        answer: &CallResult,
    ) -> Option<CallResult> {
        Some(Ok(match (self.site, call, answer.as_ref().ok()?) {
            (Site::Denied(at, name, errno), ..) if (at, name) == (place, call.name()) => {
                return Some(Err(errno));
            }
            (
                Site::Written(change),
                Call::File(FileCall::WriteAt { .. }),
                Reply::Length(length),
            ) => Reply::Length(changed(*length, change)),
            (Site::Frame(change), Call::File(FileCall::ReadAt { .. }), Reply::Bytes(bytes)) => {
                State::from_bytes(bytes).ok()?;
                Reply::Bytes(changed(bytes.clone(), change))
            }
            (Site::State(change), Call::File(FileCall::ReadAt { .. }), Reply::Bytes(bytes)) => {
                Reply::Bytes(changed(State::from_bytes(bytes).ok()?, change).to_bytes())
            }
            (Site::Offer(change), _, Reply::Message { bytes, fds, truncated }) => {
                let Ok(Message::Offer(offer)) = Message::from_bytes(bytes) else { return None };
                let bytes = Message::Offer(changed(offer, change)).to_bytes();
                Reply::Message { bytes, fds: fds.clone(), truncated: *truncated }
            }
            (Site::Descriptors(change), _, Reply::Message { bytes, fds, truncated }) => {
                let Ok(Message::Descriptors { first, total }) = Message::from_bytes(bytes) else {
                    return None;
                };
                let packet = Packet { first, total, fds: fds.clone(), truncated: *truncated };
                let Packet { first, total, fds, truncated } = changed(packet, change);
                let bytes = Message::Descriptors { first, total }.to_bytes();
                Reply::Message { bytes, fds, truncated }
            }
            _ => return None,
        }))
    }
}

fn changed<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// Every corruption.
pub const CORRUPTIONS: &[Corruption] = catalog::CORRUPTIONS;

#[cfg(test)]
mod tests {
    use super::CORRUPTIONS;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = CORRUPTIONS.iter().map(|corruption| corruption.id).collect();
        assert_eq!(names.len(), CORRUPTIONS.len());
        assert!(super::OF_IOMMUFD.iter().all(|name| names.contains(name)));
    }
}
