//! What an old process tells wrong: mistakes in what it writes into the stream and hands over.
//!
//! They are in known bugs only ([`crate::variants::defects`]). What goes wrong on the way, or is a lie, is not of the protocol.

use crate::abi::ids::ObjectId;
use crate::stream::State;
use crate::vm::Kind;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slip {
    /// The address space is noted of the first device of each, and of no other.
    SpaceOfFirst,
    /// The first device's descriptor counts as absent, as one does whose number is 0 for a program that asks whether it is greater.
    ZeroIsNone,
}

impl Slip {
    /// Makes it.
    pub(crate) fn make(self, state: &mut State) {
        match self {
            Self::SpaceOfFirst => {
                for device in state.vm.devices.iter_mut().skip(1) {
                    device.ioas = ObjectId(0);
                }
            }
            Self::ZeroIsNone => {
                let first = state.descriptors.iter().position(|(key, _)| key.kind == Kind::Device);
                first.map(|at| state.descriptors.remove(at));
            }
        }
    }
}
