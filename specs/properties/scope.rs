//! Where a property applies: the scenarios in which its predicate could fail at all.

use crate::scenario::expectation::Expected;
use handoff_model::abi::view::View;
use handoff_model::protocol::Mode;

/// What decides whether a property applies: facts about a scenario, or about one state of it.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// By transfer or by exec.
    pub mode: Mode,
    /// What the protocol must make of it.
    pub due: Expected,
    /// What could be seen before the handoff.
    pub base: &'a View,
    /// The guest may have an interrupt armed while a handoff is under way, which `base` does not
    /// show yet.
    pub arms_later: bool,
    /// KVM takes the guest's interrupts.
    pub kvm: bool,
}

/// Where a property can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Always,
    /// Where two processes take part.
    Transfer,
    /// Where the protocol must refuse.
    Refused,
    /// Where it must refuse before anything is changed.
    Misled,
    /// Where it must not happen, and two processes take part.
    Denied,
    /// Where it must happen.
    Possible,
    /// Where anybody is charged for pinned pages.
    Charged,
    /// Where pages that are pinned count in VmPin; also where none can be seen.
    Iommufd,
    /// Where a container maps anything.
    Container,
    /// Where a device raises interrupts.
    Interrupts,
    /// Where the guest runs in KVM, and a device raises interrupts.
    Kvm,
    /// Where there is a device, and memory that it reaches.
    PassedThrough,
}

impl Scope {
    /// Returns true if the property can be asked there.
    pub fn covers(self, setup: &Setup<'_>) -> bool {
        let Setup { mode, due, base, arms_later, kvm } = *setup;
        let vectors = || base.devices.values().flat_map(|device| &device.interrupts);
        match self {
            Self::Always => true,
            Self::Transfer => mode == Mode::Transfer,
            Self::Refused => due == Expected::RefusedBeforeStop,
            Self::Misled => due == Expected::RefusedBeforeChange,
            Self::Denied => mode == Mode::Transfer && due != Expected::HandedOver,
            Self::Possible => due == Expected::HandedOver,
            Self::Charged => base.page_sets.iter().any(|set| set.account.is_some()),
            Self::Iommufd => {
                let sets = &base.page_sets;
                sets.is_empty() || sets.iter().any(|set| set.awaits_address.is_none())
            }
            Self::Container => base.page_sets.iter().any(|set| set.awaits_address.is_some()),
            Self::Interrupts => arms_later || vectors().next().is_some(),
            Self::Kvm => arms_later && kvm || vectors().any(|vector| vector.irqfd.is_some()),
            Self::PassedThrough => !base.devices.is_empty() && !base.page_sets.is_empty(),
        }
    }

    /// Why it cannot.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::Transfer => "asked only by transfer",
            Self::Refused => "nothing has to be refused before the guest stops",
            Self::Misled => "nothing has to be refused when it has stopped",
            Self::Denied => "nothing has to be refused by another process",
            Self::Possible => "it must not happen",
            Self::Charged => "nobody is charged for pinned pages",
            Self::Iommufd => "what a container pins counts in no VmPin",
            Self::Container => "no container maps anything",
            Self::Interrupts => "no interrupt is armed",
            Self::Kvm => "KVM takes no interrupt",
            Self::PassedThrough => "no device reaches any memory",
        }
    }
}
