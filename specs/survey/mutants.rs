//! The mutants of a protocol: everything that it does and could leave out, for a VM that has one of each.

use crate::scenario::library::built_in;
use crate::state::faults::errnos;
use crate::state::setup::set_up;
use handoff_model::call::Call;
use handoff_model::ids::Fd;
use handoff_model::incoming::{Incoming, Origin};
use handoff_model::launch::HwptPlan;
use handoff_model::mutant::{Omission, Place, mutants};
use handoff_model::outgoing::{Outgoing, Way};
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::stream::State;
use handoff_model::variant::{VARIANTS, Variant};

/// The forms of the protocol that a VMM should use.
pub fn forms() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter().filter(|variant| variant.is_ours)
}

/// All mutants of a variant, in a fixed order.
pub fn of_variant(variant: &Variant) -> Vec<Omission> {
    let protocol = Protocol::of(variant);
    mutants(&protocol, &calls(&protocol), |call| !errnos(call).is_empty())
}

/// By the name that scenarios call it.
pub fn find(variant: &Variant, name: &str) -> Option<Omission> {
    of_variant(variant).into_iter().find(|mutant| mutant.to_string() == name)
}

/// The calls of every phase.
fn calls(protocol: &Protocol) -> Vec<(Place, Call)> {
    let fd = Fd(0);
    let (name, way, origin) = match protocol.mode {
        Mode::Transfer => {
            let way = Way::Transfer { socket: fd, pidfd: fd };
            ("transfer", way, Origin::Transfer { socket: fd })
        }
        Mode::Exec => {
            let way = Way::Exec { new_image: fd, old_image: fd };
            ("exec", way, Origin::Exec { stream: fd, old_image: fd })
        }
    };
    let mut specimen = built_in(name).expect("built in");
    specimen.plan.kvm = true;
    specimen.plan.devices[0].hwpt = HwptPlan::NestParent;
    let (setting, _) = set_up(&specimen).expect("it can be set up");
    let (vm, descriptors) = &setting.launched;
    let old = Outgoing::new(protocol, vm, descriptors, way);
    let mut calls: Vec<_> =
        old.script().map(|(phase, call)| (Place::Old(phase), call.clone())).collect();
    let written = calls.iter().find_map(|(_, call)| match call {
        Call::WriteAt { bytes, .. } => State::from_bytes(bytes).ok(),
        _ => None,
    });
    let State { vm, descriptors } = written.expect("the old process writes a stream");
    let new = Incoming::script(protocol, origin, &vm, &descriptors.into_iter().collect());
    calls.extend(new.into_iter().map(|(phase, call)| (Place::New(phase), call)));
    calls
}
