//! What a process is told that is not so.
//!
//! A check matters only where something is wrong that nothing else would see. So each of these is
//! one thing that is wrong, and as far as there is such a thing one that only one check sees: a
//! frame that is damaged has the checksum of what it became, a list that is too short has an
//! inventory that needs no more. A scenario says which (`wrong = "…"`), and what is due then
//! follows ([`Expected`]): what the old process's own inventory is wrong about must be refused
//! before the guest stops, what crosses before anything is changed. Of a call that fails for good
//! it depends on the call.
//!
//! What crosses is read wrong by the new process, or the new program. The old program, executed
//! again, reads what it has written.

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

/// Something that is not so.
#[derive(Clone, Copy, Debug)]
pub struct Corruption {
    /// What scenarios call it.
    pub id: &'static str,
    /// What is not so, in a sentence.
    pub sentence: &'static str,
    /// What the protocol must make of it.
    pub expected: Expected,
    site: Site,
}

impl PartialEq for Corruption {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Corruption {}

/// Where it is told.
#[derive(Clone, Copy, Debug)]
enum Site {
    /// Before the beginning: an earlier handoff, which did not happen, has left something in the
    /// memfds.
    Leftover,
    /// A call of a phase is always refused.
    Refused(RolePhase, &'static str, Errno),
    /// A call of a phase is done, and said to have failed.
    Denied(RolePhase, &'static str, Errno),
    /// In the inventory of the old process, from the beginning.
    Inventory(fn(&mut Vm, &mut Descriptors)),
    /// In the answer to a write of the stream: how much was written.
    Written(fn(&mut u64)),
    /// In the offer.
    Offer(fn(&mut Offer)),
    /// In a message with descriptors.
    Descriptors(fn(&mut Packet)),
    /// In the frame of the stream.
    Frame(fn(&mut Vec<u8>)),
    /// In the state that the stream carries.
    State(fn(&mut State)),
}

/// A message with descriptors, as it arrives.
struct Packet {
    first: u32,
    total: u32,
    fds: Vec<Fd>,
    truncated: bool,
}

/// Told of what only an iommufd has: ids, a call that takes all pages over, mappings of a BAR that
/// cannot be.
const OF_IOMMUFD: &[&str] = &[
    "limit-lost",
    "bar-mapped",
    "iommufd-other",
    "space-absent",
    "device-unbound",
    "hwpt-absent",
    "hwpt-plain",
];

/// By its name.
pub fn find(id: &str) -> Option<&'static Corruption> {
    CORRUPTIONS.iter().find(|corruption| corruption.id == id)
}

impl Corruption {
    /// Whether it is told in a mode: by `execve` no descriptors arrive, and only there do their
    /// numbers count.
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

    /// What a variant must make of it: where the state is cut early, whatever the new process finds
    /// out by then is refused before the guest stops.
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
            due => due,
        }
    }

    /// Whether it is nothing where containers translate the devices' DMA.
    pub fn is_of_iommufd(&self) -> bool {
        OF_IOMMUFD.contains(&self.id)
    }

    /// Leaves something longer than any stream of a small VM.
    pub(crate) fn leave(&self, kernel: &mut impl Kernel, descriptors: &Descriptors) {
        let Site::Leftover = self.site else { return };
        for kind in [Kind::Stream, Kind::Guest] {
            let Some(fd) = descriptors.get(&Key::new(kind, "", 0)) else { continue };
            let answer = kernel.call(&FileCall::write_at(fd, 0, vec![b'x'; 1 << 14]));
            assert!(answer.is_ok(), "a memfd takes more than a page");
        }
    }

    /// Tells it to the old process at its beginning.
    pub(crate) fn corrupt_inventory(&self, vm: &mut Vm, descriptors: &mut Descriptors) {
        if let Site::Inventory(lie) = self.site {
            lie(vm, descriptors);
        }
    }

    /// With which errno a call of a phase is refused.
    pub(crate) fn refuses(&self, place: RolePhase, call: &Call) -> Option<Errno> {
        match self.site {
            Site::Refused(at, name, errno) if (at, name) == (place, call.name()) => Some(errno),
            _ => None,
        }
    }

    /// What is answered instead; `None`: what is so.
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
            (Site::Written(lie), Call::File(FileCall::WriteAt { .. }), Reply::Length(length)) => {
                Reply::Length(changed(*length, lie))
            }
            (Site::Frame(lie), Call::File(FileCall::ReadAt { .. }), Reply::Bytes(bytes)) => {
                State::from_bytes(bytes).ok()?;
                Reply::Bytes(changed(bytes.clone(), lie))
            }
            (Site::State(lie), Call::File(FileCall::ReadAt { .. }), Reply::Bytes(bytes)) => {
                Reply::Bytes(changed(State::from_bytes(bytes).ok()?, lie).to_bytes())
            }
            (Site::Offer(lie), _, Reply::Message { bytes, fds, truncated }) => {
                let Ok(Message::Offer(offer)) = Message::from_bytes(bytes) else { return None };
                let bytes = Message::Offer(changed(offer, lie)).to_bytes();
                Reply::Message { bytes, fds: fds.clone(), truncated: *truncated }
            }
            (Site::Descriptors(lie), _, Reply::Message { bytes, fds, truncated }) => {
                let Ok(Message::Descriptors { first, total }) = Message::from_bytes(bytes) else {
                    return None;
                };
                let packet = Packet { first, total, fds: fds.clone(), truncated: *truncated };
                let Packet { first, total, fds, truncated } = changed(packet, lie);
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

/// All of them.
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
