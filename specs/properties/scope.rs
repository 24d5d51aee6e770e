//! The scenarios to which a property applies: those in which it could fail.

use crate::scenario::expectation::Expected;
use handoff_model::abi::view::View;
use handoff_model::protocol::Mode;

/// Facts about a scenario, or a state of it, that decide whether a property applies.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Mode of the handoff: transfer or exec.
    pub mode: Mode,
    /// Outcome that the protocol must reach without faults.
    pub expected: Expected,
    /// View of the machine before the handoff.
    pub base: &'a View,
    /// True if the guest may arm an interrupt during the handoff, which `base` does not show yet.
    pub arms_later: bool,
    /// True if KVM injects the guest's interrupts.
    pub kvm: bool,
}

/// Scenarios to which a property applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every scenario.
    Always,
    /// Scenarios with two processes.
    Transfer,
    /// Scenarios that the protocol must refuse before the guest stops.
    Refused,
    /// Scenarios that it must refuse before anything is changed.
    Misled,
    /// Scenarios with two processes that it must refuse.
    Denied,
    /// Scenarios in which the handoff must succeed.
    Possible,
    /// Scenarios in which pinned pages are charged to an account.
    Charged,
    /// Scenarios in which VmPin counts pinned pages, or page sets cannot be observed.
    Iommufd,
    /// Scenarios in which a type1 container maps memory.
    Container,
    /// Scenarios in which a device raises interrupts.
    Interrupts,
    /// Scenarios in which KVM injects the interrupts of a device.
    Kvm,
    /// Scenarios with a device that reaches memory.
    PassedThrough,
}

impl Scope {
    /// Returns true if the property applies.
    pub fn covers(self, setup: &Setup<'_>) -> bool {
        let Setup { mode, expected, base, arms_later, kvm } = *setup;
        let vectors = || base.devices.values().flat_map(|device| &device.interrupts);
        match self {
            Self::Always => true,
            Self::Transfer => mode == Mode::Transfer,
            Self::Refused => expected == Expected::RefusedBeforeStop,
            Self::Misled => expected == Expected::RefusedBeforeChange,
            Self::Denied => mode == Mode::Transfer && expected != Expected::HandedOver,
            Self::Possible => expected == Expected::HandedOver,
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

    /// Returns why a property with this scope does not apply.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::Transfer => "only transfer mode has two processes",
            Self::Refused => "the scenario expects no refusal before the stop",
            Self::Misled => "the scenario expects no refusal after the stop",
            Self::Denied => "the scenario expects no refusal by the new process",
            Self::Possible => "the scenario expects a refusal",
            Self::Charged => "no account is charged for pinned pages",
            Self::Iommufd => "VmPin does not count the pins of a container",
            Self::Container => "no type1 container maps memory",
            Self::Interrupts => "no interrupt is armed",
            Self::Kvm => "no interrupt has an irqfd",
            Self::PassedThrough => "no device reaches memory",
        }
    }
}
